"""State Preflight: looks for everything that would make the release fail, before anything is changed."""

import os
from typing import Any

from slipway import commands, preflight, surroundings
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{request, execution, refuse} → {problems, warnings, servers}; raises PreflightFailed with all problems
    if `refuse`.

    `servers`: [{"server", "result": what the step report says of it, or None}] of those that were asked.
    """
    orchestrator = surroundings.Orchestrator(os.environ["DOCUMENT_PREFIX"], os.environ["COMMAND_LOG_GROUP"])
    facts = surroundings.look(event["request"], event["execution"], orchestrator)
    judgement = preflight.judged(facts)
    if event["refuse"] and judgement["problems"]:
        raise preflight.failed(judgement)
    return {**judgement, "servers": preflight.reported(facts, commands.MOST_SERVERS)}
