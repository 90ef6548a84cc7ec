"""States AcquireLock and AcquireFreedLock: make this execution the only one that changes the environment."""

from typing import Any

from slipway import lock, validation
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{request, input, execution} → {fence, request}; raises EnvironmentLocked, HolderEnded or InvalidInput.

    The request is told anew, as things are under the lock: another release may have ended since.
    """
    return lock.acquire(
        event["request"], event["execution"], lambda request: validation.again(request, event["input"])
    )
