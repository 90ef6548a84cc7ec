"""State ApplyTier: executes the change set of a tier."""

from typing import Any

from slipway import stacks
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{stack, changeSet} → {}; raises TierFailed."""
    return stacks.apply(event["stack"], event["changeSet"])
