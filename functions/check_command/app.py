"""States CheckCommand and CheckActivation: look how far a step is on each server."""

import os
from typing import Any

from slipway import commands
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{commandId, step, servers} → {commandId, status, results}; raises CommandFailed."""
    return commands.check(
        event["commandId"], event["step"], event["servers"], os.environ["COMMAND_LOG_GROUP"]
    )
