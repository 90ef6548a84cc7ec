"""State ExplainFailure: says what failed, in which state the fleet is, and what is safe to do next."""

from typing import Any

from slipway import failure
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{restorePoint, migrated, lost, request, error, cause, phase, rollback, execution} → {ending, error,
    what, where, next, command, …}."""
    return failure.explain(
        event["request"],
        event["error"],
        event["cause"],
        event["phase"],
        event["rollback"],
        event["restorePoint"],
        bool(event["migrated"]),
        event["lost"] or [],
        event["execution"]["arn"],
    )
