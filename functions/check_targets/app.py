"""State CheckTargets: looks whether the load balancer finds the servers healthy."""

from typing import Any

from slipway import targets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{targetGroupArn, servers} → {status, targets}."""
    return targets.check(event["targetGroupArn"], event["servers"])
