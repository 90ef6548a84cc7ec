"""State ValidateTearDown: refuses an input by which nothing should be taken down."""

from typing import Any

from slipway.task import Answer, Event, task
from slipway.tear_down import request


@task
def handler(event: Event, context: Any) -> Answer:
    """{input, execution} → {environment, remove, plan, bucket}; raises InvalidInput."""
    return request.validate(event["input"], event["execution"]["arn"])
