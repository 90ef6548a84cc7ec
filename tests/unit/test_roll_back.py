"""The way back: without what is lost, with what is silent last."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from plan_roll_back.app import handler as plan_roll_back
from slipway import roll_back, waves
from slipway.errors import CapacityMissing
from slipway.patience import Patience
from tests.unit.fakes import Clock, Paging, install, patience

CUT = [{"servers": ["a"]}, {"servers": ["b", "c"]}, {"servers": ["d", "e"]}]


class Fleet(Paging):
    """EC2, which forgets what is lost for long, and Systems Manager."""

    def __init__(
        self,
        terminated: Collection[str] = (),
        forgotten: Collection[str] = (),
        silent: Collection[str] = (),
        out: Collection[str] = (),
    ):
        self.terminated, self.forgotten, self.silent, self.out = terminated, forgotten, silent, out

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        assert TargetGroupArn == "arn:targets"
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": server}, "TargetHealth": {"State": "healthy"}}
                for wave in CUT
                for server in wave["servers"]
                if server not in self.out
            ]
        }

    def describe_instances(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        assert Filters[0]["Name"] == "instance-id"
        assert len(Filters[0]["Values"]) <= 200
        state = {
            server: "terminated" if server in self.terminated else "running"
            for server in Filters[0]["Values"]
        }
        return {
            "Reservations": [
                {"Instances": [{"InstanceId": server, "State": {"Name": state[server]}}]}
                for server in Filters[0]["Values"]
                if server not in self.forgotten
            ]
        }

    def describe_instance_information(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        ping = {
            server: "ConnectionLost" if server in self.silent else "Online" for server in Filters[0]["Values"]
        }
        return {
            "InstanceInformationList": [
                {"InstanceId": one, "PingStatus": state} for one, state in ping.items()
            ]
        }


def planned(monkeypatch: pytest.MonkeyPatch, begun: int, **fleet: Collection[str]) -> dict[str, Any]:
    there = Fleet(**fleet)
    install(monkeypatch, ec2=there, ssm=there, elbv2=there)
    cause = json.dumps({"Error": "CommandFailed", "Cause": "…", "wavesBegun": begun})
    return plan_roll_back({"waves": CUT, "cause": cause, "targetGroupArn": "arn:targets"}, None)


def test_what_was_begun_goes_back_the_last_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, 2) == {"waves": [{"servers": ["b", "c"]}, {"servers": ["a"]}], "lost": []}


def test_whom_the_load_balancer_sends_nobody_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roll-out that was stopped may have left a server out: taking another one out before that is back
    would leave nobody."""
    assert planned(monkeypatch, 3, out=["a", "d"])["waves"] == [
        {"servers": ["a"]},
        {"servers": ["d", "e"]},
        {"servers": ["b", "c"]},
    ]


def test_what_is_lost_does_not_go_back_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, 2, terminated=["b", "d"], forgotten=["a"]) == {
        "waves": [{"servers": ["c"]}],
        "lost": ["a", "b", "d"],
    }


def test_what_is_silent_keeps_nobody_from_going_back(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Fleet(silent=["d", "b"])
    install(monkeypatch, ec2=there, ssm=there)
    assert roll_back.plan(CUT, 3, patience=patience()) == {
        "waves": [{"servers": ["e"]}, {"servers": ["c"]}, {"servers": ["a"]}, {"servers": ["d", "b"]}],
        "lost": [],
    }


def test_what_just_ended_is_lost_although_ec2_says_so_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    there, clock = Fleet(silent=["d", "b"]), Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        there.terminated = ["d"] if clock.now > 1 else []

    install(monkeypatch, ec2=there, ssm=there)
    planned = roll_back.plan(CUT, 3, patience=Patience(seconds=5, clock=clock, sleep=sleep))
    assert planned == {
        "waves": [{"servers": ["e"]}, {"servers": ["c"]}, {"servers": ["a"]}, {"servers": ["b"]}],
        "lost": ["d"],
    }
    assert clock.now > 4, "b is waited for, too"


def test_without_any_server_there_is_no_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CapacityMissing, match="none of the servers runs any more: a, b, c, d, e"):
        planned(monkeypatch, 1, terminated=["a", "b", "c"], forgotten=["d", "e"])


def test_no_more_waves_than_the_roll_out_has_time_for() -> None:
    back = [{"servers": [f"i-{number}", f"j-{number}"]} for number in range(waves.MOST_WAVES)]
    assert roll_back.around(back, [], ["i-3"]) == back


def test_a_large_fleet_is_asked_for_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Fleet(terminated=["i-999"])
    install(monkeypatch, ec2=there, ssm=there)
    cut = [{"servers": [f"i-{number}" for number in range(1000)]}]
    assert roll_back.plan(cut, 1)["lost"] == ["i-999"]
