"""States CompleteJoin and CompleteAfterFailure: let a new server in, or have Auto Scaling end it."""

from typing import Any

from slipway import joining
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{action, failure} → {status, …}: see slipway.joining."""
    return joining.complete(event["action"], event["failure"])
