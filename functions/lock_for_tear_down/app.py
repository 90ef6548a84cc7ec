"""States LockForTearDown and LockFreed: make this execution the only one that changes the environment."""

from typing import Any

from slipway import lock
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{request, execution} → {fence}; raises EnvironmentLocked or HolderEnded."""
    return lock.acquire_to_tear_down(event["request"], event["execution"])
