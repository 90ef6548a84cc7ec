"""State CheckNewcomer: looks whether steps can be run on a new server."""

from typing import Any

from slipway import joining
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{action} → {status, detail}."""
    return joining.agent(event["action"])
