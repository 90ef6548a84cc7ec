"""State AcquireLock: makes this execution the only one that changes the environment."""

from typing import Any

from slipway import lock
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, execution, release} → {fence}; raises EnvironmentLocked."""
    return lock.acquire(event["environment"], event["execution"], event["release"])
