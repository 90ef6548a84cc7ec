"""State PlanRollBack: which servers have to go back, in which order."""

from typing import Any

from slipway import roll_back, servers, waves
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{waves, cause, targetGroupArn} → {waves, lost}. `cause`: of the roll-out that failed, or anything
    else."""
    idle = servers.idle(roll_back.servers(event["waves"]), event["targetGroupArn"])
    planned = roll_back.plan(event["waves"], waves.begun(event["cause"]), idle)
    roll_back.assure_somebody(event["waves"], planned["lost"])
    return planned
