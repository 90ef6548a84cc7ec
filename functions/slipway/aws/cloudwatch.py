"""CloudWatch: alarms and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from slipway.aws import client


def alarms(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{"StateValue", "StateReason", …} of each of these alarms that exists, by name."""
    answer = client("cloudwatch").describe_alarms(
        AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"], MaxRecords=100
    )
    found = [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
    return {alarm["AlarmName"]: alarm for alarm in found}


def sums(
    namespace: str,
    metrics: Sequence[str],
    dimensions: Mapping[str, str],
    since: datetime,
    until: datetime,
) -> dict[str, float]:
    """The sum of each metric over the time, by name; 0 for one that was not reported."""
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                },
                "Period": 60,
                "Stat": "Sum",
            },
        }
        for number, metric in enumerate(metrics)
    ]
    answer = client("cloudwatch").get_metric_data(MetricDataQueries=queries, StartTime=since, EndTime=until)
    values = {result["Id"]: sum(result["Values"]) for result in answer["MetricDataResults"]}
    return {metric: float(values.get(f"m{number}", 0)) for number, metric in enumerate(metrics)}


def put(namespace: str, values: Sequence[tuple[str, float, str, Mapping[str, str]]]) -> None:
    """Writes values of now: (metric, value, unit, dimensions), at most 1,000."""
    data = [
        {
            "MetricName": metric,
            "Value": value,
            "Unit": unit,
            "Dimensions": [{"Name": name, "Value": of} for name, of in dimensions.items()],
        }
        for metric, value, unit, dimensions in values
    ]
    client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)
