"""States StartCommand and Activate: run one step on a number of servers."""

import os
from typing import Any

from slipway import commands, lock
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, step, servers, parameters, timeoutSeconds} → {commandId, status, results}; raises
    CommandFailed."""
    lock.assure(event["lock"])
    return commands.start(
        event["environment"],
        event["step"],
        event["servers"],
        event["parameters"],
        int(event["timeoutSeconds"]),
        os.environ["DOCUMENT_PREFIX"],
        os.environ["COMMAND_LOG_GROUP"],
    )
