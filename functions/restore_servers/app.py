"""States RestoreServers and RestoreAfterFailure: put servers back into the load balancer."""

from typing import Any

from slipway import targets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{targetGroupArn, servers} → {status, targets}."""
    return targets.restore(event["targetGroupArn"], event["servers"])
