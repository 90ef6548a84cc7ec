"""State CheckStanding: looks at what must hold whatever the templates say."""

from typing import Any

from slipway.drift import standing
from slipway.drift.finding import check_command
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{current, execution} → {findings, more, unchecked, certificateDays}."""
    current = event["current"]
    remedy = check_command(event["execution"], current["environment"]["name"], remedy=True)
    return standing.checked(current, current["outputs"], remedy)
