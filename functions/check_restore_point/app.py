"""State CheckRestorePoint: looks whether the snapshot is complete."""

from typing import Any

from slipway import restore_point
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{snapshot} → {status, snapshot, detail}; raises DatabaseRefused."""
    return restore_point.check(event["snapshot"])
