"""State PlanRollBack: which servers have to go back, in which order."""

from typing import Any

from slipway import waves
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{waves, cause} → {waves}. `cause`: of the roll-out that failed, or anything else."""
    return {"waves": waves.back(event["waves"], waves.begun(event["cause"]))}
