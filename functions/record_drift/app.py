"""State RecordDrift: remembers what a check found, and says what of it is new and what has gone."""

import os
from typing import Any

from slipway.drift import record
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{begun, infrastructure, servers, standing, execution} → {status, environment, counts, report, found,
    gone, remedy}."""
    begun = event["begun"]
    looked = record.Looked(
        environment=begun["environment"],
        fence=int(begun["fence"]),
        current=begun["current"],
        infrastructure=event["infrastructure"],
        servers=event["servers"],
        standing=event["standing"],
        execution=event["execution"],
        remedy=begun["remedy"],
    )
    settings = record.Settings(
        bucket=os.environ["ARTIFACT_BUCKET"],
        namespace=os.environ["METRICS_NAMESPACE"],
        consecutive=int(os.environ["CONSECUTIVE_CHECKS"]),
    )
    return record.record(looked, settings)
