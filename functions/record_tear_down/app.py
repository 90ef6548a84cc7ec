"""States RecordTearDown and RecordFailure: write the receipt, and what is remembered of the environment."""

import os
from typing import Any

from slipway.task import Answer, Event, task
from slipway.tear_down import record


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, request, ending, execution, shown, database, images, failure} → the receipt; raises
    LockLost."""
    return record.record(
        event["lock"],
        event["request"],
        event["ending"],
        event["execution"],
        event["shown"],
        event["database"],
        event["images"],
        event["failure"],
        os.environ["ARTIFACT_BUCKET"],
    )
