"""State ValidateInput: refuses an input that cannot be released, and completes one that can."""

import os
from typing import Any

from slipway.task import Answer, Event, task
from slipway.validation import validate


@task
def handler(event: Event, context: Any) -> Answer:
    """{input, execution} → {environment, release, rollout, allow, previous, …}; raises InvalidInput."""
    return validate(event["input"], os.environ["ARTIFACT_BUCKET"])
