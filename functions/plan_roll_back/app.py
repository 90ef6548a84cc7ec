"""State PlanRollBack: which servers have to go back, in which order."""

from typing import Any

from slipway import roll_back, waves
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{waves, cause} → {waves, lost}. `cause`: of the roll-out that failed, or anything else."""
    planned = roll_back.plan(event["waves"], waves.begun(event["cause"]))
    roll_back.assure_somebody(event["waves"], planned["lost"])
    return planned
