"""The region's logs of state machines, metric filters and alarms, as AWS documents them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from rehearsal.emulator import cloudwatch, filter_patterns, metric_filters, vended_logs
from tests.contract.shipped import template

Json = Mapping[str, Any]

EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:slipway-{}:one"
FAILED = {
    "id": 9,
    "type": "ExecutionFailed",
    "timestamp": "2026-11-22T10:00:00.250Z",
    "executionFailedEventDetails": {"error": "FailedClean", "cause": "{}"},
}


# --- filter patterns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ('{ $.a = "b" }', {"a": "b"}, True),
        ("{ $.a = b }", {"a": "b"}, True),
        ('{ $.a = "b" }', {"a": "bc"}, False),
        ('{ $.a = "*b*" }', {"a": "abc"}, True),
        ('{ $.a = "?b" }', {"a": "ab"}, False),
        ('{ $.a.b[1] = "y" }', {"a": {"b": ["x", "y"]}}, True),
        ('{ $.a != "b" }', {"a": "c"}, True),
        ('{ $.a != "b" }', {}, False),
        ("{ $.a = 4 }", {"a": 4}, True),
        ("{ $.a = 4.0e0 }", {"a": 4}, True),
        ("{ $.a > 4 }", {"a": 5}, True),
        ("{ $.a <= 4 }", {"a": 5}, False),
        ("{ $.a > 4 }", {"a": "5"}, False),
        ("{ $.a IS NULL }", {"a": None}, True),
        ("{ $.a IS TRUE }", {"a": True}, True),
        ("{ $.a NOT EXISTS }", {"b": 1}, True),
        ("{ $.a NOT EXISTS }", {"a": None}, False),
        ("{ $.a = 1 || $.b = 1 && $.c = 1 }", {"a": 1}, True),
        ("{ ($.a = 1 || $.b = 1) && $.c = 1 }", {"a": 1}, False),
        ('{ $.a = "(x && y)" }', {"a": "(x && y)"}, True),
        ("", {"a": 1}, True),
    ],
)
def test_json_patterns(pattern: str, message: Json, expected: bool) -> None:
    assert filter_patterns.compiled(pattern)(json.dumps(message)) is expected


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("ERROR", "an ERROR happened", True),
        ("ERROR disk", "an ERROR happened", False),
        ('"ERROR happened" -disk', "an ERROR happened", True),
        ("-disk", "disk full", False),
        ("{ $.a = 1 }", "no JSON", False),
    ],
)
def test_words(pattern: str, message: str, expected: bool) -> None:
    assert filter_patterns.compiled(pattern)(message) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        *("[ip, user]", "{ $.a", "{ a = 1 }", "{ $.a = %b% }", "{ ($.a = 1 }", "{ $.a }"),
        *("?ERROR ?WARN", "{ $.a LIKE 1 }", "{ $.a = 1 ) }", "{ $.a = 1 $.b = 2 }"),
    ],
)
def test_what_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(filter_patterns.Unsupported):
        filter_patterns.compiled(pattern)


# --- the logs of machines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "kind", "expected"),
    [
        ("ERROR", "ExecutionFailed", True),
        ("ERROR", "TaskFailed", True),
        ("ERROR", "ExecutionSucceeded", False),
        ("FATAL", "TaskFailed", False),
        ("ALL", "TaskScheduled", True),
        ("OFF", "ExecutionFailed", False),
    ],
)
def test_levels(level: str, kind: str, expected: bool) -> None:
    assert vended_logs.logged({"level": level}, kind) is expected
    assert vended_logs.logged({"Level": level}, kind) is expected


def test_an_event_as_it_is_logged() -> None:
    arn = EXECUTION.format("release")
    assert vended_logs.record(FAILED, arn, data=True) == {
        "id": "9",
        "type": "ExecutionFailed",
        "details": {"error": "FailedClean", "cause": "{}"},
        "redrive_count": "0",
        "previous_event_id": "8",
        "event_timestamp": "1795341600250",
        "execution_arn": arn,
    }


def test_execution_data_is_left_out_if_it_is_not_wanted() -> None:
    event = {**FAILED, "type": "FailStateEntered", "stateEnteredEventDetails": {"name": "X", "input": "{}"}}
    del event["executionFailedEventDetails"]
    assert vended_logs.record(event, "arn", data=False)["details"] == {"name": "X"}


# --- the shipped filter -----------------------------------------------------------------------------------


def shipped_filter() -> Json:
    """The metric filter of the template, as PutMetricFilter gets it from a stack called slipway."""
    found = template()["Resources"]["FailedDirtyFilter"]["Properties"]
    [made] = found["MetricTransformations"]
    value = {"metricNamespace": "slipway", "metricName": made["MetricName"], "metricValue": "1"}
    pattern = found["FilterPattern"]["Fn::Sub"].replace("${AWS::StackName}", "slipway")
    return {
        "filterPattern": pattern,
        "metricTransformations": [{**value, "defaultValue": made["DefaultValue"]}],
    }


@pytest.mark.parametrize(
    ("machine", "kind", "error", "expected"),
    [
        ("release", "ExecutionFailed", "FailedClean", 0),
        ("release", "ExecutionFailed", "FailedDirty", 1),
        ("release", "ExecutionAborted", None, 0),
        ("release", "TaskFailed", "States.TaskFailed", 0),
        ("clean-up", "ExecutionFailed", "FailedDirty", 1),
        ("clean-up", "ExecutionFailed", "DeadlinePassed", 1),
        ("clean-up", "ExecutionAborted", None, 1),
        ("clean-up", "ExecutionTimedOut", "States.Timeout", 1),
        ("clean-up", "TaskFailed", "States.TaskFailed", 0),
    ],
)
def test_what_calls_a_person(machine: str, kind: str, error: str | None, expected: int) -> None:
    event = {**FAILED, "type": kind, "executionFailedEventDetails": {"error": error}}
    message = json.dumps(vended_logs.record(event, EXECUTION.format(machine), data=True))
    [point] = metric_filters.points(shipped_filter(), [{"timestamp": 1000, "message": message}])
    assert point == ("slipway", "FailedDirty", {}, expected, 1.0)


def test_values_and_dimensions_come_from_the_event() -> None:
    made = {"metricNamespace": "n", "metricName": "m", "metricValue": "$.n", "dimensions": {"Tier": "$.t"}}
    found = {"filterPattern": "{ $.n > 0 }", "metricTransformations": [{**made, "defaultValue": 0}]}
    messages: Sequence[Json] = ({"n": 3, "t": "web"}, {"n": 4}, {"n": 0, "t": "web"})
    events = [{"timestamp": 2000, "message": json.dumps(message)} for message in messages]
    assert list(metric_filters.points(found, events)) == [("n", "m", {"Tier": "web"}, 3.0, 2.0)]


# --- alarms -----------------------------------------------------------------------------------------------

NOW = 10_000 * 60 + 30.0  # in the middle of a minute
ALARM = {
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "TreatMissingData": "notBreaching",
}


def state(points: Mapping[int, float], **changes: Any) -> str | None:
    """The state of an alarm with these values, by how many seconds ago they were measured."""
    given = [{"Timestamp": NOW - ago, "Value": value} for ago, value in points.items()]

    def statistic(found: Sequence[Json]) -> float:
        values = [point["Value"] for point in found]
        return float(sum(values) if changes.get("Statistic", "Sum") == "Sum" else sum(values) / len(values))

    return cloudwatch.judged({**ALARM, **changes}, given, NOW, statistic)[0]


AVERAGE = {"Statistic": "Average"}
LOW = {"ComparisonOperator": "LessThanThreshold"}
DAILY = {"Period": 86400}
LOWEST = {**LOW, "Statistic": "Minimum"}
TWO_OF_THREE = {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}


@pytest.mark.parametrize(
    ("points", "changes", "expected"),
    [
        ({1: 1}, {}, "ALARM"),
        ({1: 0}, {}, "OK"),
        ({40: 1}, {}, "ALARM"),
        ({100: 1}, {}, "OK"),
        ({}, {}, "OK"),
        ({}, {"TreatMissingData": "breaching"}, "ALARM"),
        ({}, {"TreatMissingData": "missing"}, None),
        ({200: 1}, {"TreatMissingData": "missing"}, "INSUFFICIENT_DATA"),
        ({200: 1}, {"TreatMissingData": "ignore"}, None),
        ({1: 5}, AVERAGE, "OK"),
        ({40: 5}, AVERAGE, "ALARM"),
        ({1: 0, 40: 2}, LOW, "OK"),
        ({1: 9, 40: 0}, LOW, "ALARM"),
        ({1: 1}, DAILY, "ALARM"),
        ({80_000: 1}, DAILY, "ALARM"),
        ({95_000: 1}, DAILY, "OK"),
        ({1: 0}, {**DAILY, **LOWEST}, "ALARM"),
        ({1: 1}, {**DAILY, **LOWEST}, "OK"),
        ({1: 0}, {**DAILY, **LOW}, "OK"),
        ({4000: 0}, {**DAILY, **LOW}, "ALARM"),
        ({40: 1, 100: 1}, TWO_OF_THREE, "ALARM"),
        ({1: 1, 40: 0, 100: 1}, TWO_OF_THREE, "ALARM"),
        ({40: 1, 100: 0, 160: 0}, TWO_OF_THREE, "OK"),
    ],
)
def test_alarms(points: Mapping[int, float], changes: Json, expected: str | None) -> None:
    assert state(points, **changes) == expected


def test_the_key_of_the_topic_lets_an_alarm_through() -> None:
    policy = template()["Resources"]["TopicKey"]["Properties"]["KeyPolicy"]
    assert cloudwatch.key_allows(policy, "cloudwatch.amazonaws.com")
    own = [statement for statement in policy["Statement"] if "AWS" in statement["Principal"]]
    assert not cloudwatch.key_allows({"Statement": own}, "cloudwatch.amazonaws.com")
