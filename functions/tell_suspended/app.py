"""States TellSuspended and TellSuspendedAfterFailure: say that Auto Scaling could not be let go on."""

import os
from typing import Any

from slipway import receipt, scaling
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, receipt} → {warnings, next, receipt}; the receipt, if there is one, has the warnings
    then."""
    told = scaling.tell(event["environment"], os.environ["AWS_REGION"], os.environ["TOPIC_ARN"])
    written = event["receipt"]
    if written:
        written = receipt.add_warnings(written, told["warnings"], os.environ["ARTIFACT_BUCKET"])
    return {**told, "receipt": written}
