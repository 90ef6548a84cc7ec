"""State WritePlan: puts together what a release would do. Nothing is written but the answer."""

from typing import Any

from slipway import planning
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{request, previews, servers, preflight, execution} → the plan, see slipway.planning.answer."""
    return planning.answer(
        event["request"],
        event["previews"]["rows"],
        event["servers"],
        event["preflight"],
        event["execution"],
    )
