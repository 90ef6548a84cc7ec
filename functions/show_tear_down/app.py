"""States ShowTearDown and ShowOnly: say what goes and what stays, and what is in the way."""

from typing import Any

from slipway.task import Answer, Event, task
from slipway.tear_down import inventory


@task
def handler(event: Event, context: Any) -> Answer:
    """{request} → {environment, goes, stays, hindrances, text}; raises PreflightFailed."""
    return inventory.show(event["request"])
