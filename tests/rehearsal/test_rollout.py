"""Releases beside the one that serves, and an Auto Scaling group that holds still meanwhile, for real."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rehearsal.rehearsed import Ended, Load, Rehearsed, eventually, load


def beside(region: Rehearsed, overlay: str | None = None, **rollout: Any) -> dict[str, Any]:
    """The input of a release that starts beside the one that serves."""
    given = region.given(overlay)
    given["rollout"] |= {"strategy": "side_by_side", **rollout}
    return given


def suspended(region: Rehearsed) -> set[str]:
    name = region.tier("web")["AutoScalingGroupName"]
    found = region.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return {one["ProcessName"] for one in found["AutoScalingGroups"][0]["SuspendedProcesses"]}


@pytest.fixture(scope="module")
def went_beside(region: Rehearsed, first: Ended) -> tuple[Ended, Load, set[str]]:
    """A release to both servers at once, under load, and what was suspended meanwhile."""
    seen: set[str] = set()

    def look(execution: str) -> None:
        eventually(lambda: region.left(execution, "Configure"), 300, "servers are about to be released")
        seen.update(suspended(region))

    with load(region.site, "/") as visitors:
        ended = region.release(beside(region, "second", canary=0, batch="100%"), look)
    assert ended.status == "SUCCEEDED", f"{ended.error}: {ended.explanation}"
    return ended, visitors, seen


Went = tuple[Ended, Load, set[str]]


def test_no_visitor_notices_a_release_beside_the_former(went_beside: Went) -> None:
    ended, visitors, _ = went_beside
    assert visitors.failures == {}
    assert f"200 {ended.given['release']['id']}" in visitors.answers
    assert len(visitors.answers) == 2


def test_the_receipt_says_how_it_went(went_beside: Went) -> None:
    ended, _, _ = went_beside
    assert {one["strategy"] for one in ended.receipt["servers"]} == {"side_by_side"}
    assert ended.walked <= 80


def test_auto_scaling_holds_still_and_goes_on_afterwards(region: Rehearsed, went_beside: Went) -> None:
    assert {"Launch", "ReplaceUnhealthy", "AZRebalance"} <= went_beside[2]
    assert suspended(region) == set()


def test_a_bad_release_beside_a_good_one_is_not_noticed(region: Rehearsed, went_beside: Went) -> None:
    serving = went_beside[0].given["release"]["id"]
    with load(region.site, "/up") as visitors:
        ended = region.fail(beside(region, "unhealthy"))
    assert ended.error == "FailedClean"
    assert "500" in json.dumps(ended.explanation)
    assert set(visitors.answers) == {f"200 {serving}"}
    assert suspended(region) == set()


def test_an_alarm_takes_the_canary_back(region: Rehearsed, went_beside: Went) -> None:
    """The alarm rings from the start; the first server alone gets the release, and goes back by a reload."""
    serving = went_beside[0].given["release"]["id"]
    cloudwatch = region.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="too-slow",
        Namespace="tests",
        MetricName="seconds",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName="too-slow", StateValue="ALARM", StateReason="a test says so")
    with load(region.site, "/up") as visitors:
        ended = region.fail(beside(region, "second", alarms=["too-slow"]))
    assert ended.error == "FailedClean"
    assert "too-slow rings" in ended.explanation["what"]
    assert visitors.failures == {}
    assert {region.site().get("/up").headers["X-Slipway-Release"] for _ in range(8)} == {serving}
    cloudwatch.delete_alarms(AlarmNames=["too-slow"])
