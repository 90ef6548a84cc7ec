"""State DetectDrift: has CloudFormation begin its drift detection in every tier."""

from typing import Any

from slipway.drift import infrastructure
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, detections} → {detections}: those that were begun before stay as they are."""
    return {"detections": infrastructure.detect(event["environment"], event["detections"])}
