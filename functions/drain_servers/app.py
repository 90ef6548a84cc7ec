"""State DrainServers: takes servers out of the load balancer."""

from typing import Any

from slipway import targets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{targetGroupArn, servers, drainSeconds} → {status}."""
    return targets.drain(event["targetGroupArn"], event["servers"], int(event["drainSeconds"]))
