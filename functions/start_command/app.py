"""States Stage, Configure, Migrate, Activate and Report: run the step that each is named after on a number of
servers."""

import math
import os
from typing import Any

from slipway import commands, lock, once
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, step, servers, parameters, timeoutSeconds, token?} → {commandId, status, results};
    raises LockLost, CommandFailed.

    A call with a `token` that came before finds the command that was sent then, and looks after that one.
    """
    lock.assure(event["lock"])
    log_group, prefix, step = os.environ["COMMAND_LOG_GROUP"], os.environ["DOCUMENT_PREFIX"], event["step"]
    mark = once.mark(event.get("token"))
    portions = math.ceil(len(event["servers"]) / commands.MOST_SERVERS)
    sent = once.sent(event["environment"], event.get("token"), f"{prefix}-{step}", portions)
    if sent:
        return commands.check(sent, step, event["servers"], log_group)
    return commands.start(
        event["environment"],
        step,
        event["servers"],
        event["parameters"],
        int(event["timeoutSeconds"]),
        prefix,
        log_group,
        mark=mark,
    )
