"""State StartJoinCommand: runs one step on a new server."""

import os
from typing import Any

from slipway import commands, joining, once
from slipway.aws import autoscaling
from slipway.errors import CommandFailed
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{action, step, parameters, timeoutSeconds, token} → {commandId, status, results}; raises CommandFailed.

    Without a lock: whoever may run a step here is the execution that sees to this server alone. A call with a
    token that came before finds the command that was sent then.
    """
    action, step = event["action"], event["step"]
    environment, server = joining.environment_of(action), action["EC2InstanceId"]
    if not autoscaling.heartbeat(action):
        raise CommandFailed(
            f"Auto Scaling does not wait for {server} any more",
            f"server {server}",
            "nothing: it replaces the server if it is wanted",
            server=server,
            step=step,
        )
    log_group, prefix = os.environ["COMMAND_LOG_GROUP"], os.environ["DOCUMENT_PREFIX"]
    if sent := once.sent(environment, event["token"], f"{prefix}-{step}"):
        return commands.check(sent, step, [server], log_group)
    return commands.start(
        environment,
        step,
        [server],
        event["parameters"],
        int(event["timeoutSeconds"]),
        prefix,
        log_group,
        mark=once.mark(event["token"]),
        sender=joining.SENDER,
    )
