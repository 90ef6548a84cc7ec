"""States NotifyStarted, NotifyCertificate, Notify, NotifyFailure: say what happened, to programs and to
people."""

import os
from typing import Any

from slipway import announcement
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{event, environment, detail} → {}."""
    return announcement.announce(
        event["event"], event["environment"], event["detail"], os.environ["TOPIC_ARN"]
    )
