"""State CreateRestorePoint: begins the snapshot of the database that a migration is preceded by."""

from typing import Any

from slipway import lock, restore_point
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, release, outputs, execution} → {status, snapshot, detail}; raises LockLost,
    DatabaseRefused."""
    lock.assure(event["lock"])
    return restore_point.create(
        event["outputs"]["database"]["InstanceIdentifier"],
        event["environment"],
        event["release"],
        event["execution"],
    )
