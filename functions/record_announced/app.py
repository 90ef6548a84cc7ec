"""State RecordAnnounced: remembers that what is new, or has gone, has been told."""

from typing import Any

from slipway.drift import record
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, execution} → {}."""
    return record.announced(event["environment"], event["execution"])
