"""State CheckTier: looks how far CloudFormation is with a tier."""

from typing import Any

from slipway import stacks
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, tier, stack} → {status, outputs, detail}; raises TierFailed."""
    return stacks.check(event["stack"])
