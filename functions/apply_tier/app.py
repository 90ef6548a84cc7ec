"""State ApplyTier: executes the change set of a tier."""

from typing import Any

from slipway import lock, stacks
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, stack, changeSet} → {}; raises TierFailed."""
    lock.assure(event["lock"])
    return stacks.apply(event["stack"], event["changeSet"])
