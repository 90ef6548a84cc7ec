"""States PlanJoin and PlanAgain: say what a new server is to be given, or wait for."""

from typing import Any

from slipway import joining
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{action, execution, given} → {status, release, of, steps}: see slipway.joining; doubled: another
    execution sees to this server."""
    if not joining.begin(event["action"], event["execution"]):
        return {"status": "doubled", "release": None, "of": None, "steps": []}
    return joining.plan(event["action"], event["given"])
