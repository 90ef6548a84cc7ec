"""States RemoveTiers and RemoveLastTiers: delete the stacks, each when nothing builds on it any more."""

import os
from typing import Any

from slipway import lock
from slipway.task import Answer, Event, task
from slipway.tear_down import removal


@task
def handler(event: Event, context: Any) -> Answer:
    """{lock, environment, tiers, begun} → {status, begun, left, detail}; raises TierFailed, LockLost."""
    lock.assure(event["lock"])
    return removal.advance(
        event["environment"], event["tiers"], event["begun"], os.environ["CLOUDFORMATION_ROLE_ARN"]
    )
