"""A wave is watched: alarms, targets, the load balancer's errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from check_bake.app import handler
from slipway import bake
from slipway.bake import Traffic
from slipway.errors import VerificationFailed
from tests.unit.fakes import Clock, Members, install, patience

BALANCER = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/app/slipway/50dc6c495c0c9188"
BEGAN = 1_795_000_000


class Watched:
    """A load balancer with targets, and CloudWatch with alarms and counts before and after `BEGAN`."""

    def __init__(
        self,
        states: dict[str, str] | None = None,
        alarms: dict[str, str] | None = None,
        before: tuple[int, int] = (1000, 0),
        after: tuple[int, int] = (100, 0),
    ) -> None:
        self.states = states or {"i-1": "healthy", "i-2": "healthy"}
        self.alarms = alarms or {}
        self.before, self.after = before, after
        self.balancers = [BALANCER]
        self.looks = 0

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        self.looks += 1
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": server}, "TargetHealth": {"State": state, "Reason": "why"}}
                for server, state in self.states.items()
            ]
        }

    def describe_target_groups(self, TargetGroupArns: list[str]) -> dict[str, Any]:
        return {"TargetGroups": [{"LoadBalancerArns": self.balancers}]}

    def describe_alarms(self, AlarmNames: list[str], **_: Any) -> dict[str, Any]:
        found = [
            {"AlarmName": name, "StateValue": self.alarms[name], "StateReason": "too slow"}
            for name in AlarmNames
            if name in self.alarms
        ]
        return {"MetricAlarms": found[:1], "CompositeAlarms": found[1:]}

    # As CloudWatch, by whole minutes: this one is after the wave.
    MINUTE = BEGAN // 60 * 60

    def get_metric_data(
        self, MetricDataQueries: list[dict[str, Any]], StartTime: datetime, EndTime: datetime
    ) -> dict[str, Any]:
        earlier = EndTime.timestamp() <= self.MINUTE
        assert StartTime.timestamp() == self.MINUTE - (900 if earlier else 0)
        requests, errors = self.before if earlier else self.after
        values = {"RequestCount": [requests / 2] * 2, "HTTPCode_Target_5XX_Count": [errors]}
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            dimensions = {"Name": "LoadBalancer", "Value": "app/slipway/50dc6c495c0c9188"}
            assert metric["Dimensions"] == [dimensions]
            results.append({"Id": query["Id"], "Values": values.get(metric["MetricName"], [])})
        return {"MetricDataResults": results}


def look(
    monkeypatch: pytest.MonkeyPatch,
    watched: Watched,
    seconds: int = 10,
    alarms: tuple[str, ...] = (),
    **more: Any,
) -> str:
    install(monkeypatch, elbv2=watched, cloudwatch=watched, **more)
    clock = Clock()
    answer = bake.check(
        "g", ["i-1"], alarms, BEGAN * 1000, seconds, patience(clock), now=lambda: BEGAN + clock.now
    )
    return str(answer["status"])


def test_a_short_bake_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    assert look(monkeypatch, watched, seconds=10) == "baked"
    assert watched.looks > 5


def test_a_long_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(monkeypatch, Watched(), seconds=300) == "baking"


def test_without_a_time_one_look_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(alarms={"slow": "OK", "dear": "INSUFFICIENT_DATA"})
    assert look(monkeypatch, watched, seconds=0, alarms=("slow", "dear")) == "baked"
    assert watched.looks == 1


@pytest.mark.parametrize(
    ("watched", "alarms", "told"),
    [
        (Watched(alarms={"a": "OK", "slow": "ALARM"}), ("a", "slow"), "the alarm slow rings: too slow"),
        (Watched(alarms={"slow": "OK"}), ("slow", "typo"), "the alarm typo does not exist"),
        (Watched(states={"i-1": "unhealthy"}), (), r"i-1 is unhealthy \(why\)"),
        (Watched(after=(100, 20)), (), "20 of 100 requests were answered with 5xx"),
    ],
)
def test_what_ends_a_roll_out(
    monkeypatch: pytest.MonkeyPatch, watched: Watched, alarms: tuple[str, ...], told: str
) -> None:
    with pytest.raises(VerificationFailed, match=told):
        look(monkeypatch, watched, alarms=alarms)


def test_of_others_and_of_those_that_left_nothing_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(states={"i-1": "unhealthy", "i-2": "unhealthy"})
    assert look(monkeypatch, watched, autoscaling=Members(gone=["i-1"])) == "baked"


def test_before_there_is_a_load_balancer_nobody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(after=(0, 100))
    watched.balancers = []
    assert look(monkeypatch, watched) == "baked"


@pytest.mark.parametrize(
    ("after", "before", "ill"),
    [
        (Traffic(100, 4), Traffic(1000, 0), False),  # too few to say anything
        (Traffic(1000, 10), Traffic(1000, 0), False),  # 1 %
        (Traffic(1000, 11), Traffic(1000, 0), True),
        (Traffic(1000, 80), Traffic(1000, 40), False),  # as it was
        (Traffic(1000, 81), Traffic(1000, 40), True),
        (Traffic(0, 9), Traffic(0, 0), True),
    ],
)
def test_errors_are_held_against_what_is_usual(after: Traffic, before: Traffic, ill: bool) -> None:
    assert bool(bake.judged(after, before)) is ill


def test_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    install(monkeypatch, elbv2=watched, cloudwatch=watched)
    event = {"targetGroupArn": "g", "servers": ["i-1"], "alarms": [], "since": BEGAN * 1000, "bakeSeconds": 0}
    assert handler(event, None) == {"status": "baked"}
