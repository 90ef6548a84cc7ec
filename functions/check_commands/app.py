"""State CheckCommands: looks whether steps still run on servers of the environment."""

from typing import Any

from slipway import commands
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment} → {status, detail}."""
    return commands.check_quiet(event["environment"])
