"""State CheckDrained: looks whether the last connections have ended."""

from typing import Any

from slipway import targets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{targetGroupArn, servers} → {status}."""
    return targets.check_drained(event["targetGroupArn"], event["servers"])
