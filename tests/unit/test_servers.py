"""Servers in service with their agents online, and what the others lack."""

from __future__ import annotations

from typing import Any

import pytest

from check_servers.app import handler
from slipway import servers
from tests.unit.fakes import Paging, install, patience

ROLLOUT = {"strategy": "drain", "canary": 1, "batch": "25%"}


def instance(name: str, state: str = "InService", health: str = "Healthy", zone: str = "a") -> dict[str, str]:
    return {"InstanceId": name, "LifecycleState": state, "HealthStatus": health, "AvailabilityZone": zone}


def agent(name: str, status: str = "Online") -> dict[str, str]:
    return {"InstanceId": name, "PingStatus": status, "IPAddress": f"10.20.1.{name[-1]}"}


class AutoScaling:
    def __init__(
        self, *instances: dict[str, str], desired: int = 2, activity: dict[str, str] | None = None
    ) -> None:
        self.group = {"Instances": list(instances), "DesiredCapacity": desired}
        self.activity = activity

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> dict[str, Any]:
        return {"AutoScalingGroups": [self.group] if AutoScalingGroupNames == ["web"] else []}

    def describe_scaling_activities(self, AutoScalingGroupName: str, MaxRecords: int) -> dict[str, Any]:
        return {"Activities": [self.activity] if self.activity else []}


class Ssm(Paging):
    def __init__(self, *agents: dict[str, str]) -> None:
        self.agents = agents
        self.asked = 0

    def describe_instance_information(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        (condition,) = Filters
        assert len(condition["Values"]) <= 100
        self.asked += 1
        return {
            "InstanceInformationList": [
                item for item in self.agents if item["InstanceId"] in condition["Values"]
            ]
        }


class Targets:
    """Elastic Load Balancing."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": server}, "TargetHealth": {"State": state}}
                for server, state in self.states.items()
            ]
        }


def look(monkeypatch: pytest.MonkeyPatch, group: AutoScaling, ssm: Ssm) -> dict[str, Any]:
    install(monkeypatch, autoscaling=group, ssm=ssm)
    return servers.check("web", ROLLOUT, patience=patience())


def test_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch,
        autoscaling=AutoScaling(instance("i-2", zone="b"), instance("i-1")),
        ssm=Ssm(agent("i-1"), agent("i-2")),
        elbv2=Targets({"i-1": "healthy", "i-2": "unhealthy"}),
    )
    web = {"AutoScalingGroupName": "web", "TargetGroupArn": "targets"}
    answer = handler({"environment": "arable", "outputs": {"web": web}, "rollout": ROLLOUT}, None)
    assert answer["status"] == "ready"
    assert answer["servers"] == [
        {"id": "i-1", "zone": "a", "address": "10.20.1.1"},
        {"id": "i-2", "zone": "b", "address": "10.20.1.2"},
    ]
    # The one that serves is not taken out before the other one serves.
    assert answer["waves"] == answer["drainWaves"] == [{"servers": ["i-2"]}, {"servers": ["i-1"]}]


@pytest.mark.parametrize(
    ("second", "its_agent", "detail"),
    [
        (instance("i-2", "Pending"), agent("i-2"), "i-2 is Pending"),
        (instance("i-2", health="Unhealthy"), agent("i-2"), "i-2 is Unhealthy"),
        (instance("i-2"), agent("i-3"), "i-2 has not been heard of by Systems Manager"),
        (instance("i-2"), agent("i-2", "ConnectionLost"), "i-2 has an agent that is ConnectionLost"),
    ],
)
def test_waiting_says_for_whom(
    second: dict[str, str], its_agent: dict[str, str], detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = look(monkeypatch, AutoScaling(instance("i-1"), second), Ssm(agent("i-1"), its_agent))
    assert answer["status"] == "waiting"
    assert answer["detail"] == f"1 of 2 servers are ready, {detail}"
    assert [server["id"] for server in answer["servers"]] == ["i-1"]


def test_too_few_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    activity = {
        "StatusCode": "Failed",
        "StatusMessage": "You have requested more vCPU capacity than your limit.",
    }
    answer = look(monkeypatch, AutoScaling(instance("i-1"), activity=activity), Ssm(agent("i-1")))
    assert answer["status"] == "waiting"
    assert "the group says: You have requested more vCPU capacity" in answer["detail"]


def test_one_that_leaves_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    group = AutoScaling(instance("i-1"), instance("i-2"), instance("i-3", "Terminating:Wait"))
    answer = look(monkeypatch, group, Ssm(agent("i-1"), agent("i-2")))
    assert answer["status"] == "ready"
    assert [server["id"] for server in answer["servers"]] == ["i-1", "i-2"]


def test_one_that_joins_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    group = AutoScaling(instance("i-1"), instance("i-2"), instance("i-3", "Pending:Wait"))
    assert look(monkeypatch, group, Ssm(agent("i-1"), agent("i-2")))["status"] == "waiting"


def test_an_empty_group_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = look(monkeypatch, AutoScaling(), Ssm())
    assert (answer["status"], answer["servers"]) == ("waiting", [])


def test_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, autoscaling=AutoScaling(), ssm=Ssm())
    assert "is not there" in servers.check("other", ROLLOUT, patience=patience())["detail"]


def test_many_servers_are_asked_about_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"i-{number}" for number in range(120)]
    ssm = Ssm(*(agent(name) for name in names))
    answer = look(monkeypatch, AutoScaling(*(instance(name) for name in names), desired=120), ssm)
    assert answer["status"] == "ready"
    assert ssm.asked == 3
