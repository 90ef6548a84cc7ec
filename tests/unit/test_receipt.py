"""The receipt: what an execution's history tells, what is written, and the command that undoes a release."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from record_release.app import handler as record_release
from slipway import history, plan, receipt, records, schema, validation
from slipway.aws import states
from slipway.errors import LockLost
from slipway.lock import acquire
from tests.unit.conftest import BUCKET, TABLE
from tests.unit.fakes import install

START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:slipway-release:run-1"
CHILD = "arn:aws:states:eu-central-1:123456789012:execution:slipway-await-command:run-1-stage"


def events(*told: tuple[float, str, dict[str, Any]]) -> list[dict[str, Any]]:
    """(seconds since the start, type, details)"""
    return [
        {"id": number, "type": kind, "timestamp": START + timedelta(seconds=at), **details}
        for number, (at, kind, details) in enumerate(told, 1)
    ]


def entered(at: float, name: str, kind: str = "Task") -> tuple[float, str, dict[str, Any]]:
    return at, f"{kind}StateEntered", {"stateEnteredEventDetails": {"name": name}}


def exited(at: float, name: str, kind: str = "Task") -> tuple[float, str, dict[str, Any]]:
    return at, f"{kind}StateExited", {"stateExitedEventDetails": {"name": name}}


def scheduled(at: float) -> tuple[float, str, dict[str, Any]]:
    return at, "TaskScheduled", {}


RELEASE = events(
    entered(0, "ValidateInput"),
    scheduled(0),
    exited(1, "ValidateInput"),
    entered(1, "Stage"),
    scheduled(1),
    (1.5, "TaskSubmitted", {"taskSubmittedEventDetails": {"output": json.dumps({"ExecutionArn": CHILD})}}),
    (
        9,
        "TaskSucceeded",
        {"taskSucceededEventDetails": {"output": json.dumps({"ExecutionArn": CHILD, "Output": {}})}},
    ),
    exited(9, "Stage"),
    entered(9, "CheckServers"),
    scheduled(9),
    (9.1, "TaskFailed", {"taskFailedEventDetails": {"error": "TransientAwsError", "cause": "{}"}}),
    scheduled(10),
    exited(12, "CheckServers"),
    entered(12, "WaitForServers", "Wait"),
    exited(17, "WaitForServers", "Wait"),
    entered(17, "CheckServers"),
    scheduled(17),
    exited(18, "CheckServers"),
    entered(18, "RecordRelease"),
    scheduled(18),
)
PREPARE = events(
    entered(2, "StartCommand"), scheduled(2), exited(8, "StartCommand"), entered(8, "Completed", "Succeed")
)


class StepFunctions:
    """Histories by execution, in pages of `size`."""

    def __init__(self, size: int = 1000, **histories: list[dict[str, Any]]) -> None:
        self.histories = histories or {EXECUTION: RELEASE, CHILD: PREPARE}
        self.size = size

    def get_execution_history(self, executionArn: str, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        told = self.histories[executionArn]
        start = int(nextToken)
        page: dict[str, Any] = {"events": told[start : start + self.size]}
        return page | ({"nextToken": str(start + self.size)} if start + self.size < len(told) else {})


# --- history --------------------------------------------------------------------------------------


def test_told() -> None:
    told = history.told(RELEASE, START + timedelta(seconds=20))
    assert told.states == {
        "ValidateInput": [1, 1.0],
        "Stage": [1, 8.0],
        "CheckServers": [2, 4.0],
        "WaitForServers": [1, 5.0],
        "RecordRelease": [1, 2.0],
    }
    assert told.children == [CHILD]
    assert told.transitions == 7, "six states entered, and a second attempt at one"


def test_a_child_that_failed_is_found_by_its_cause() -> None:
    cause = json.dumps({"ExecutionArn": CHILD, "Status": "FAILED"})
    assert history.children(events((0, "TaskFailed", {"taskFailedEventDetails": {"cause": cause}}))) == [
        CHILD
    ]


@pytest.mark.parametrize("output", [None, "", "text", "[]", '{"ExecutionArn": 1}', '{"Payload": {}}'])
def test_what_is_no_child(output: str | None) -> None:
    assert (
        history.children(events((0, "TaskSucceeded", {"taskSucceededEventDetails": {"output": output}})))
        == []
    )


def test_course(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, stepfunctions=StepFunctions(size=4))
    told = receipt.course(EXECUTION, START + timedelta(seconds=20))
    assert told["transitions"] == 9
    assert {"state": "stage/StartCommand", "times": 1, "seconds": 6.0} in told["states"]
    assert told["cost"]["usd"] == pytest.approx(9 * 0.000025)
    assert "step-functions/pricing" in told["cost"]["source"]
    assert told["complete"] is True


def test_a_history_without_end_is_cut_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, stepfunctions=StepFunctions(size=1))
    assert len(RELEASE) > states.PAGES
    assert receipt.course(EXECUTION, START)["complete"] is False


# --- undo -----------------------------------------------------------------------------------------

BEFORE = {
    "id": "1",
    "artifact": "s3://artifacts/releases/1.tar.gz",
    "sha256": "a" * 64,
    "migrate": True,
    "backup": True,
}


def undone(command: str) -> dict[str, Any]:
    words = shlex.split(command)
    given: dict[str, Any] = json.loads(words[words.index("--input") + 1])
    assert schema.problems(validation.input_schema(), given) == []
    assert words[words.index("--state-machine-arn") + 1] == (
        "arn:aws:states:eu-central-1:123456789012:stateMachine:slipway-release"
    )
    return given


def test_undo(environment: dict[str, Any]) -> None:
    command = receipt.undo(EXECUTION, {"environment": environment, "release": BEFORE}, environment)
    assert command is not None
    assert undone(command) == {"environment": "arable", "release": {"id": "1"}}


def test_undo_of_a_changed_environment_gives_it_as_it_was(environment: dict[str, Any]) -> None:
    was = {**environment, "variables": {"GREETING": "it's"}}
    command = receipt.undo(EXECUTION, {"environment": was, "release": BEFORE}, environment)
    assert command is not None
    assert undone(command)["environment"]["variables"] == {"GREETING": "it's"}


def test_nothing_to_undo(environment: dict[str, Any]) -> None:
    assert receipt.undo(EXECUTION, None, environment) is None


# --- all of it ------------------------------------------------------------------------------------


@pytest.fixture
def region(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "history", lambda arn: ({EXECUTION: RELEASE, CHILD: PREPARE}[arn], True))


def record(
    environment: dict[str, Any],
    ending: str = "Succeeded",
    number: str = "2",
    plan: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    release = {**BEFORE, "id": number}
    request = {"environment": environment, "release": release, "previous": {"id": "1"}, **more}
    return record_release(
        {
            "lock": {"environment": "arable", "fence": 1},
            "request": request,
            "ending": ending,
            "execution": {"arn": EXECUTION, "name": "run-1", "startedAt": "2026-11-22T10:00:00.000Z"},
            "outputs": {"load_balancer": {"Url": "https://arable.example"}},
            "servers": [{"server": "i-1", "seconds": {"drain": 1.0, "activate": 2.0, "healthy": 3.0}}],
            "migrations": {"found": None, "restorePoint": None, "ran": None},
            "failure": None if ending == "Succeeded" else {"ending": ending, "what": "boom"},
            **({"plan": plan} if plan else {}),
        },
        None,
    )


@pytest.mark.usefixtures("region")
def test_what_was_planned_stands_in_the_receipt_and_not_in_the_history(environment: dict[str, Any]) -> None:
    lock(environment)
    planned = {
        "tiers": [plan.row("web", "slipway-arable-web", "unchanged")],
        "waves": [{"servers": ["i-1"]}],
        "strategy": "drain",
    }
    told = record(environment, plan=planned, rollout={"bakeSeconds": 60})
    assert told["plan"]["tiers"] == planned["tiers"]
    assert "web            unchanged" in told["plan"]["text"]
    assert told["bakeSeconds"] == 60
    assert "plan" not in records.history("arable")[0]


def lock(environment: dict[str, Any]) -> None:
    acquire({"environment": environment, "release": {"id": "2"}}, EXECUTION)


def sort_keys() -> Sequence[str]:
    return sorted(item["sk"]["S"] for item in boto3.client("dynamodb").scan(TableName=TABLE)["Items"])


@pytest.mark.usefixtures("region")
def test_a_success(environment: dict[str, Any]) -> None:
    records.set_current(environment, BEFORE, 0)
    lock(environment)
    told = record(environment)
    assert (told["environment"], told["release"]["id"], told["before"]) == ("arable", "2", "1")
    assert (told["ending"], told["failure"]) == ("Succeeded", None)
    assert told["servers"][0]["seconds"]["activate"] == 2.0
    assert undone(told["undo"])["release"]["id"] == "1"
    assert told["links"]["receipt"] == f"s3://{BUCKET}/receipts/arable/run-1.json"
    assert EXECUTION in told["links"]["execution"]
    current = records.current("arable")
    assert current is not None
    assert current["release"]["id"] == "2"
    assert records.cidrs() == {"arable": "10.20.0.0/16"}
    assert sort_keys() == ["CURRENT", "LOCK", "RELEASE#2026-11-22T10:00:00.000Z#2#run-1", "arable"]
    kept = boto3.client("s3").get_object(Bucket=BUCKET, Key="receipts/arable/run-1.json")["Body"].read()
    assert json.loads(kept) == told


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(("before", "migrates"), [("2", True), ("1", False)])
def test_a_release_given_again_without_its_migrations_is_still_one_that_has_run_them(
    environment: dict[str, Any], before: str, migrates: bool
) -> None:
    records.set_current(environment, {**BEFORE, "id": before, "sha256": "0" * 64, "migrate": True}, 0)
    lock(environment)
    record(environment, release={"id": "2", "artifact": "", "sha256": "0" * 64, "migrate": False})
    current = records.current("arable")
    assert current is not None
    assert current["release"]["migrate"] is migrates


@pytest.mark.usefixtures("region")
def test_what_changed_nothing_has_a_receipt_and_is_no_history(environment: dict[str, Any]) -> None:
    records.set_current(environment, {**BEFORE, "id": "2"}, 0)
    lock(environment)
    told = record(environment, outcome="unchanged")
    assert (told["ending"], told["unchanged"], told["undo"]) == ("Succeeded", True, None)
    assert sort_keys() == ["CURRENT", "LOCK", "arable"]
    assert boto3.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize("ending", ["FailedClean", "FailedDirty"])
def test_a_failure_is_history_but_not_current(ending: str, environment: dict[str, Any]) -> None:
    lock(environment)
    told = record(environment, ending)
    assert (told["ending"], told["failure"]["what"], told["undo"]) == (ending, "boom", None)
    assert records.current("arable") is None
    assert "RELEASE#2026-11-22T10:00:00.000Z#2#run-1" in sort_keys()


@pytest.mark.usefixtures("region")
def test_a_success_without_the_lock_is_none(environment: dict[str, Any]) -> None:
    with pytest.raises(LockLost):
        record(environment)
    assert records.current("arable") is None


@pytest.mark.usefixtures("region")
def test_recorded_twice_is_recorded_once(environment: dict[str, Any]) -> None:
    records.set_current(environment, BEFORE, 0)
    lock(environment)
    once = record(environment)
    again = record(environment)
    assert again["release"]["id"] == "2"
    assert again["before"] == "1"
    assert undone(once["undo"]) == undone(again["undo"])
    assert undone(again["undo"])["release"]["id"] == "1"
    assert len(sort_keys()) == 4


@pytest.mark.usefixtures("region")
def test_a_first_success_recorded_twice_has_nothing_to_go_back_to(environment: dict[str, Any]) -> None:
    lock(environment)
    assert [record(environment)["undo"], record(environment)["undo"]] == [None, None]


@pytest.mark.parametrize(
    ("wanted", "went", "said"),
    [
        ("side_by_side", "side_by_side", None),
        ("drain", "drain", None),
        (
            "side_by_side",
            "drain",
            "not every server has the memory for a second release beside the one that serves",
        ),
    ],
)
def test_drained_for_lack_of_memory_it_says_so(wanted: str, went: str, said: str | None) -> None:
    servers = [{"server": "i-1", "strategy": went}]
    assert receipt.drained({"rollout": {"strategy": wanted}}, servers) == said
    assert receipt.drained({"rollout": {"strategy": wanted}}, []) is None
