"""State DrainServers: takes servers out of the load balancer."""

from typing import Any

from slipway import lock, targets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, targetGroupArn, servers, drainSeconds} → {status}."""
    lock.assure(event["lock"])
    return targets.drain(event["targetGroupArn"], event["servers"], int(event["drainSeconds"]))
