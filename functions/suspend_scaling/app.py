"""State SuspendScaling: keeps the group's servers as they are while they get a release."""

from typing import Any

from slipway import lock, scaling
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, outputs} → {processes}; raises LockLost."""
    lock.assure(event["lock"])
    group = event["outputs"]["web"]["AutoScalingGroupName"]
    return scaling.suspend(event["environment"], group, int(event["lock"]["fence"]))
