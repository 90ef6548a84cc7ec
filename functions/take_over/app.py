"""State TakeOver: takes the environment over from an execution that has ended without freeing it."""

from typing import Any

from slipway import clean_up
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{input, execution} → {status, …}: see slipway.clean_up."""
    return clean_up.take_over(event["input"], event["execution"])
