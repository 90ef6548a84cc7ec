"""An alarm of CloudWatch that rings, for tests and benchmarks of what a release does then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAME = "too-slow"
METRIC = {"Namespace": "rehearsal", "MetricName": "seconds"}
PATIENCE = 60.0


@contextmanager
def ringing(cloudwatch: Any) -> Iterator[str]:
    """Within this block an alarm rings, whose name this gives. It does because of what was measured, and for
    an hour: whatever is measured after that."""
    cloudwatch.put_metric_alarm(
        AlarmName=NAME,
        **METRIC,
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=60,
        DatapointsToAlarm=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    try:
        cloudwatch.put_metric_data(
            Namespace=METRIC["Namespace"], MetricData=[{"MetricName": METRIC["MetricName"], "Value": 2}]
        )
        give_up = time.monotonic() + PATIENCE
        while _state(cloudwatch) != "ALARM":
            if time.monotonic() > give_up:
                raise TimeoutError(f"the alarm {NAME} does not ring: {_state(cloudwatch)}")
            time.sleep(0.2)
        yield NAME
    finally:
        cloudwatch.delete_alarms(AlarmNames=[NAME])


def _state(cloudwatch: Any) -> str:
    [alarm] = cloudwatch.describe_alarms(AlarmNames=[NAME])["MetricAlarms"]
    return str(alarm["StateValue"])
