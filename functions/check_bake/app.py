"""State CheckBake: looks whether the servers of a wave serve well."""

from typing import Any

from slipway import bake
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{targetGroupArn, servers, alarms, since, bakeSeconds} → {status}; raises VerificationFailed."""
    return bake.check(
        event["targetGroupArn"],
        event["servers"],
        event["alarms"],
        int(event["since"]),
        int(event["bakeSeconds"]),
    )
