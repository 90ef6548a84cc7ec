"""Releases beside the one that serves, and an Auto Scaling group that holds still meanwhile, for real."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehearsal.ringing import ringing
from tests.rehearsal.rehearsed import Ended, Load, Rehearsed, eventually, load, same

ERRORS = TARGETS, OWN = "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"


def beside(region: Rehearsed, overlay: str | None = None, **rollout: Any) -> dict[str, Any]:
    """The input of a release that starts beside the one that serves."""
    given = region.given(overlay)
    given["rollout"] |= {"strategy": "side_by_side", **rollout}
    return given


def counted(region: Rehearsed, metric: str, back: timedelta = timedelta(hours=3)) -> float:
    """What CloudWatch has of the load balancer since then, and since that minute began."""
    group = region.tier("web")["TargetGroupArn"]
    [found] = region.client("elbv2").describe_target_groups(TargetGroupArns=[group])["TargetGroups"]
    [balancer] = found["LoadBalancerArns"]
    now = datetime.now(UTC)
    answer = region.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/ApplicationELB",
        MetricName=metric,
        Dimensions=[{"Name": "LoadBalancer", "Value": balancer.split(":loadbalancer/")[1]}],
        StartTime=now - back,
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


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
    assert {"ReplaceUnhealthy", "AZRebalance", "AlarmNotification"} <= went_beside[2]
    assert "Launch" not in went_beside[2], "new servers wait for the outcome"
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
    with ringing(region.client("cloudwatch")) as alarm, load(region.site, "/up") as visitors:
        ended = region.fail(beside(region, "second", alarms=[alarm]))
    assert ended.error == "FailedClean"
    assert f"{alarm} rings" in ended.explanation["what"]
    assert visitors.failures == {}
    assert {region.site().get("/up").headers["X-Slipway-Release"] for _ in range(8)} == {serving}


def test_a_page_that_fails_takes_the_canary_back(region: Rehearsed, went_beside: Went) -> None:
    """Its health path answers 200 all the time: only the load balancer's metrics tell what visitors get."""
    serving = went_beside[0].given["release"]["id"]
    # A wave answers for the whole minute in which it begins, so for what the visitors of other tests met.
    eventually(lambda: not any(counted(region, each, timedelta()) for each in ERRORS), 90, "a good minute")
    before = {metric: counted(region, metric) for metric in ERRORS}
    with load(region.site, "/") as visitors:
        ended = region.fail(beside(region, "broken-page", canary=1, batch=1, bakeSeconds=600))
    told = ended.explanation
    assert (ended.error, told["error"]) == ("FailedClean", "VerificationFailed")
    said = re.fullmatch(
        r"after this wave (\d+) of \d+ requests were answered with 5xx \([\d.]+%; [\d.]+% before\)",
        told["what"],
    )
    assert said, told
    # What the region counted is what visitors met, and no more than that.
    met = sum(times for answer, times in visitors.answers.items() if answer.startswith("500 "))
    assert 5 <= int(said[1]) <= met
    assert set(visitors.answers) == {f"200 {serving}", f"500 {ended.given['release']['id']}"}
    wanted = {TARGETS: before[TARGETS] + met, OWN: before[OWN]}
    same(lambda: {metric: counted(region, metric) for metric in ERRORS}, wanted)
    assert {region.site().get("/").headers["X-Slipway-Release"] for _ in range(8)} == {serving}
