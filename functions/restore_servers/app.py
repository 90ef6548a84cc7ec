"""States RestoreServers and RestoreAfterFailure: put servers back into the load balancer."""

from typing import Any

from slipway import lock, targets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, targetGroupArn, servers} → {status, targets}."""
    lock.assure(event["lock"])
    return targets.restore(event["targetGroupArn"], event["servers"])
