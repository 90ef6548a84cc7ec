"""State ExplainTearDown: says what failed, what is gone, and what is safe to do next."""

from typing import Any

from slipway.task import Answer, Event, task
from slipway.tear_down import record


@task
def handler(event: Event, context: Any) -> Answer:
    """{request, error, cause, phase, shown, database, execution} → {ending, error, what, where, next, …}."""
    return record.explain(
        event["request"],
        event["error"],
        event["cause"],
        event["phase"],
        event["shown"],
        event["database"],
        event["execution"]["arn"],
    )
