"""State EmptyBucket: deletes the images and their bucket."""

from typing import Any

from slipway import lock
from slipway.task import Answer, Event, task
from slipway.tear_down import images


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, bucket, removed} → {status, removed, detail}; raises LockLost."""
    lock.assure(event["lock"])
    return images.empty(event["bucket"], int(event["removed"]))
