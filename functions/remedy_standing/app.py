"""State RemedyStanding: puts right what no change set sees, because no template sets it."""

from typing import Any

from slipway import lock, remedy
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, outputs} → {policies, rules, processes}; raises LockLost."""
    lock.assure(event["lock"])
    return remedy.put_right(event["environment"], event["outputs"])
