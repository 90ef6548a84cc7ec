"""What the clean-up reads from a lock, an execution and its history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from check_commands.app import handler as check_commands
from slipway import clean_up, commands
from tests.unit.fakes import Paging, install, patience


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"environment": "arable", "release": {}}, "arable"),
        ({"environment": {"name": "arable"}}, "arable"),
        ({"environment": {"name": 5}}, None),
        ({"environment": {}}, None),
        ({"environment": ""}, None),
        ({"environment": None}, None),
        ({}, None),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_environment_of(given: Any, expected: str | None) -> None:
    assert clean_up.environment_of(json.dumps(given)) == expected


def test_environment_of_what_is_no_json() -> None:
    assert clean_up.environment_of("{") is None


def ended(machine: str, given: Any) -> dict[str, Any]:
    """An event about the end of an execution."""
    arn = f"arn:aws:states:eu-central-1:123456789012:stateMachine:slipway-{machine}"
    detail = {"stateMachineArn": arn, "status": "ABORTED", "input": json.dumps(given)}
    return {"detail-type": "Step Functions Execution Status Change", "detail": detail}


STAYS = {"detail-type": "scaling suspended", "detail": {"environment": "arable", "what": "…"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"environment": "arable"}, ("arable", False)),
        (ended("release", {"environment": "arable"}), ("arable", False)),
        (ended("release", {"detail": {"environment": "arable"}}), (None, False)),
        (ended("clean-up", {"environment": "arable"}), ("arable", False)),
        (ended("clean-up", ended("release", {"environment": {"name": "arable"}})), ("arable", False)),
        (STAYS, ("arable", True)),
        (ended("clean-up", STAYS), ("arable", True)),
    ],
)
def test_what_a_clean_up_is_told(given: Any, expected: tuple[str | None, bool]) -> None:
    assert clean_up.told(given) == expected


def request(number: str = "2", previous: str | None = "1") -> dict[str, Any]:
    return {"release": {"id": number}, "previous": {"id": previous} if previous else None}


@pytest.mark.parametrize(
    ("wanted", "current", "entered", "expected"),
    [
        (request(), "1", ["RollOut", "RecordRelease"], False),
        (request(), "2", ["RollOut", "RecordRelease"], True),
        (request(), "2", ["RecordRelease", "ReleaseLock"], True),
        (request(previous=None), None, ["RecordRelease"], False),
        (request(previous=None), "2", ["RecordRelease"], True),
        (request("1"), "1", ["RollOut"], False),
        (request("1"), "1", ["RecordRelease", "ReleaseLock"], True),
    ],
)
def test_recorded(wanted: dict[str, Any], current: str | None, entered: list[str], expected: bool) -> None:
    known = {"release": {"id": current}} if current else None
    assert clean_up.recorded(wanted, known, entered) is expected


def test_how_one_that_was_stopped_ended() -> None:
    told = clean_up.how(
        {"status": "ABORTED", "cause": "enough"}, ["Migrate", "RollOut"], True, "x-roll-out, state Activate"
    )
    assert (told["error"], told["phase"]) == ("States.Aborted", "roll out")
    cause = json.loads(told["cause"])
    assert cause["what"] == "the execution was stopped at RollOut: enough"
    assert cause["where"] == "x-roll-out, state Activate"


def test_how_one_that_ran_into_its_time_out_ended() -> None:
    told = clean_up.how({"status": "TIMED_OUT"}, ["Configure", "Migrate"], False, "")
    assert (told["error"], told["phase"]) == ("States.Timeout", "migrate")
    assert json.loads(told["cause"])["where"] == "state Migrate"


def test_how_one_that_failed_ended() -> None:
    told = clean_up.how(
        {"status": "FAILED", "error": "FailedClean", "cause": "{}"}, ["DeployNetwork"], False, ""
    )
    assert told == {"error": "FailedClean", "cause": "{}", "phase": "DeployNetwork"}


class Commands(Paging):
    """Systems Manager, with what is still running at each look."""

    def __init__(self, *looks: list[str]) -> None:
        self.looks = list(looks)
        self.asked: list[Any] = []

    def list_commands(self, Filters: Any) -> dict[str, Any]:
        self.asked.append(Filters)
        comments = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {"Commands": [{"CommandId": f"c-{n}", "Comment": text} for n, text in enumerate(comments)]}


def test_steps_of_the_environment_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Commands(["slipway arable migrate", "slipway arable-two stage", "by hand"], [])
    install(monkeypatch, ssm=fake)
    assert commands.check_quiet("arable", patience()) == {"status": "quiet", "detail": ""}
    assert len(fake.asked) == 2
    assert fake.asked[0] == [{"key": "ExecutionStage", "value": "Executing"}]


def test_a_step_that_goes_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ssm=Commands(["slipway arable migrate"]))
    answer = commands.check_quiet("arable", patience())
    assert answer == {"status": "running", "detail": "migrate (c-0)"}


def test_the_handler_passes_its_payload_on(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ssm=Commands([]))
    assert check_commands({"environment": "arable"}, None)["status"] == "quiet"
