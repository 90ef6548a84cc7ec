"""State CheckDatabase: looks whether the database is available."""

from typing import Any

from slipway import database
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, outputs} → {status, detail}; raises DatabaseRefused."""
    return database.check(event["outputs"]["database"]["InstanceIdentifier"])
