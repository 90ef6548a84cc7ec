"""State CheckServers: looks whether the servers are in service and their agents online."""

from typing import Any

from slipway import servers
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, outputs, rollout, newcomers?} → {status, servers, waves, drainWaves, detail, joining}."""
    web = event["outputs"]["web"]
    return servers.check(
        web["AutoScalingGroupName"],
        event["rollout"],
        web["TargetGroupArn"],
        newcomers=event.get("newcomers", True),
    )
