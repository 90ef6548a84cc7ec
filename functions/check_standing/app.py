"""State CheckStanding: looks at what must hold whatever the templates say."""

from typing import Any

from slipway.drift import standing
from slipway.drift.finding import bounded, check_command
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{current, execution} → {findings, more, certificateDays}."""
    current = event["current"]
    remedy = check_command(event["execution"], current["environment"]["name"], remedy=True)
    return {
        **bounded(standing.check(current, current["outputs"], remedy)),
        "certificateDays": standing.certificate_days(current["outputs"]),
    }
