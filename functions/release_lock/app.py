"""State ReleaseLock: frees the environment, if this execution holds it."""

from typing import Any

from slipway import lock
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, execution} → {}."""
    return lock.release(event["environment"], event["execution"])
