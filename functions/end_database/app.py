"""State EndDatabase: has RDS delete the database, and keep its data as a snapshot."""

from typing import Any

from slipway import lock
from slipway.task import Answer, Event, task
from slipway.tear_down import database


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, database, execution} → {status, instance, snapshot, detail}; raises
    DatabaseRefused, LockLost."""
    lock.assure(event["lock"])
    return database.end(event["environment"], event["database"], event["execution"])
