"""State CheckServers: looks whether the servers are in service and their agents online."""

from typing import Any

from slipway import servers
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, outputs} → {status, servers, detail}."""
    return servers.check(event["outputs"]["web"]["AutoScalingGroupName"])
