"""Asking servers for what they run, and hearing them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway import once, records
from slipway.aws import autoscaling, ssm
from slipway.drift import servers
from slipway.patience import Patience
from tests.unit.fakes import refused

ONCE = Patience(seconds=0)
ORCHESTRATOR = servers.Orchestrator("slipway", "/slipway/commands")
EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:slipway-check-drift:one"
CURRENT = {
    "environment": {"name": "arable", "application": "arable", "web": {"ruby": "3.1"}},
    "release": {"id": "r2"},
    "outputs": {"web": {"AutoScalingGroupName": "group"}},
}


class Fleet:
    """Three servers, their agents, and the commands that they were sent."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.states = dict.fromkeys(("i-1", "i-2", "i-3"), "InService")
        self.agents = dict.fromkeys(self.states, "Online")
        self.unreached: set[str] = set()
        self.commands: dict[str, list[str]] = {}
        self.comments: dict[str, str] = {}
        self.ended: dict[str, str] = {}
        self.claimed: set[str] = set()
        patch.setattr(autoscaling, "group", self._group)
        patch.setattr(autoscaling, "members", self._members)
        patch.setattr(ssm, "agents", self._agents)
        patch.setattr(ssm, "send", self._send)
        patch.setattr(ssm, "commands", self._marked)
        patch.setattr(ssm, "invocations", self._invocations)
        patch.setattr(records, "claim", self._claim)
        patch.setattr(once, "DEFAULT", ONCE)

    def _group(self, _name: str) -> dict[str, Any]:
        return {"Instances": [{"InstanceId": name, "LifecycleState": at} for name, at in self.states.items()]}

    def _members(self, wanted: Any) -> dict[str, Any]:
        return {name: {"LifecycleState": self.states[name]} for name in wanted if name in self.states}

    def _agents(self, wanted: Any) -> dict[str, Any]:
        return {name: {"PingStatus": self.agents[name]} for name in wanted if name in self.agents}

    def _send(self, document: str, to: Any, _parameters: Any, _seconds: int, _log: str, comment: str) -> str:
        assert document == "slipway-report"
        if self.unreached & set(to):
            raise refused("InvalidInstanceId", "SendCommand", "not in a valid state")
        name = f"command-{len(self.commands) + 1}"
        self.commands[name], self.comments[name] = list(to), comment
        return name

    def _marked(self, _document: str, mark: str) -> list[str]:
        return [name for name, comment in self.comments.items() if comment.endswith(mark)]

    def _claim(self, _environment: str, token: str) -> bool:
        fresh = token not in self.claimed
        self.claimed.add(token)
        return fresh

    def _invocations(self, command: str) -> list[dict[str, Any]]:
        return [
            {
                "InstanceId": name,
                "CommandId": command,
                "Status": self.ended.get(name, "Success"),
                "CommandPlugins": [
                    {"Output": json.dumps({"step": "report", "ok": True, "release": "r2"}) + "\n"}
                ],
            }
            for name in self.commands[command]
        ]

    def ask(self) -> dict[str, Any]:
        return servers.ask(CURRENT, "check-1-drift", ORCHESTRATOR)

    def hear(self, asked: Any) -> dict[str, Any]:
        return servers.hear(CURRENT, asked, EXECUTION, ONCE)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(monkeypatch)


def test_every_server_in_service_is_asked_and_none_that_comes_or_goes(fleet: Fleet) -> None:
    fleet.states |= {"i-2": "Pending:Wait", "i-3": "Terminating:Wait"}
    asked = fleet.ask()
    assert (asked["asked"], asked["silent"]) == (["i-1"], [])
    heard = fleet.hear(asked)
    assert (heard["status"], heard["findings"]) == ("heard", [])
    assert heard["servers"] == [{"id": "i-1", "release": "r2", "reported": True}]


def test_a_silent_agent_is_found_and_the_others_are_heard(fleet: Fleet) -> None:
    fleet.agents["i-2"] = "ConnectionLost"
    del fleet.agents["i-3"]
    heard = fleet.hear(fleet.ask())
    found = {one["where"]: one["what"] for one in heard["findings"]}
    assert found.keys() == {"i-2", "i-3"}
    assert "its agent is ConnectionLost" in found["i-2"]
    assert {one["kind"] for one in heard["findings"]} == {"server_silent"}
    assert {one["id"]: one["reported"] for one in heard["servers"]} == {
        "i-1": True,
        "i-2": False,
        "i-3": False,
    }


def test_one_that_run_command_refuses_keeps_no_other_from_being_asked(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems Manager hears of an agent every five minutes: it says Online of one that is gone."""
    fleet.unreached = {"i-2"}
    fleet.agents["i-2"] = "Online"
    asks = iter([dict(fleet.agents), {**fleet.agents, "i-2": "ConnectionLost"}])
    kept = fleet._agents

    def agents(wanted: Any) -> dict[str, Any]:
        fleet.agents = next(asks, fleet.agents)
        return kept(wanted)

    monkeypatch.setattr(ssm, "agents", agents)
    asked = fleet.ask()
    assert asked["asked"] == ["i-1", "i-3"]
    assert [one["server"] for one in asked["silent"]] == ["i-2"]


def test_one_that_does_not_answer_in_its_time_is_silent(fleet: Fleet) -> None:
    fleet.ended["i-3"] = "TimedOut"
    heard = fleet.hear(fleet.ask())
    assert [(one["kind"], one["where"]) for one in heard["findings"]] == [("server_silent", "i-3")]


def test_one_that_has_left_its_group_since_is_not_missed(fleet: Fleet) -> None:
    asked = fleet.ask()
    fleet.ended["i-3"] = "Undeliverable"
    del fleet.states["i-3"]
    heard = fleet.hear(asked)
    assert heard["findings"] == []
    assert [one["id"] for one in heard["servers"]] == ["i-1", "i-2"]


def test_who_has_not_answered_yet_is_waited_for(fleet: Fleet) -> None:
    fleet.ended["i-1"] = "InProgress"
    assert fleet.hear(fleet.ask())["status"] == "waiting"


def test_asked_again_it_asks_nobody_twice_and_waits_for_nobody_who_came_since(fleet: Fleet) -> None:
    first = fleet.ask()
    fleet.states["i-4"], fleet.agents["i-4"] = "InService", "Online"
    again = fleet.ask()
    assert (again["command"], again["asked"]) == (first["command"], first["asked"])
    assert len(fleet.commands) == 1
    assert fleet.hear(again)["status"] == "heard"


def test_a_group_without_servers_has_nobody_to_ask(fleet: Fleet) -> None:
    fleet.states.clear()
    asked = fleet.ask()
    assert asked == {"command": "", "asked": [], "silent": []}
    assert fleet.hear(asked)["status"] == "heard"
