"""State BeginCheck: says which environment is to be checked, and whether that can be now."""

import os
from typing import Any

from slipway.drift import beginning
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{input, execution} → {status, …}: see slipway.drift.beginning."""
    automatic = os.environ["AUTOMATIC_REMEDY"] == "true"
    return beginning.begin(event["input"], event["execution"], automatic)
