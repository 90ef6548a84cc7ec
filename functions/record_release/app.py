"""States RecordRelease and RecordFailure: write the receipt, the history, and what is current."""

import os
from typing import Any

from slipway import receipt
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, migrations, plan?, warnings?, request, ending, execution, outputs, servers, failure} → the
    receipt; raises LockLost."""
    return receipt.record(
        event["lock"],
        event["request"],
        event["ending"],
        event["execution"],
        event["outputs"],
        event["servers"],
        event["failure"],
        os.environ["ARTIFACT_BUCKET"],
        os.environ["COMMAND_LOG_GROUP"],
        event["migrations"],
        event.get("plan"),
        event.get("warnings", []),
    )
