"""States ResumeScaling and ResumeAfterFailure: let Auto Scaling go on with what we suspended."""

from typing import Any

from slipway import scaling
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment} → {processes}. Without a look at the lock: whoever wants to may put this right."""
    return scaling.resume(event["environment"])
