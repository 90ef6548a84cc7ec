"""The lock: exclusive, re-entrant, self-healing, with a fence that only grows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest

from acquire_lock.app import handler as acquire
from release_lock.app import handler as release
from slipway import lock, records
from slipway.aws import dynamodb
from slipway.errors import EnvironmentLocked, HolderEnded, LockLost

ONE, TWO, THREE = "one", "two", "three"


@pytest.fixture
def executions(aws: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """ARNs of three executions that run (moto has no histories of them)."""
    monkeypatch.setattr("slipway.aws.states.current_state", lambda _: "DeployNetwork")
    monkeypatch.setattr("slipway.validation.again", lambda request, _given: request)
    states: Any = boto3.client("stepfunctions")
    machine = states.create_state_machine(
        name="slipway-release",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn="arn:aws:iam::123456789012:role/r",
    )["stateMachineArn"]
    return {
        name: states.start_execution(stateMachineArn=machine, name=name)["executionArn"]
        for name in (ONE, TWO, THREE)
    }


def wanted(environment: str = "arable") -> dict[str, Any]:
    return {"environment": {"name": environment}, "release": {"id": "1"}, "previous": None}


def take(execution: str) -> int:
    return int(acquire({"request": wanted(), "input": {}, "execution": execution}, None)["fence"])


def stop(execution: str) -> None:
    boto3.client("stepfunctions").stop_execution(executionArn=execution)


def assured(fence: int) -> bool:
    try:
        lock.assure({"environment": "arable", "fence": fence})
    except LockLost:
        return False
    return True


def free(execution: str) -> dict[str, Any]:
    return release({"environment": "arable", "execution": execution}, None)


def test_free(executions: dict[str, str]) -> None:
    assert take(executions[ONE]) == 1
    assert assured(1)


def test_asked_again_by_the_same(executions: dict[str, str]) -> None:
    assert [take(executions[ONE]), take(executions[ONE])] == [1, 1]


def test_held(executions: dict[str, str]) -> None:
    take(executions[ONE])
    with pytest.raises(EnvironmentLocked) as raised:
        take(executions[TWO])
    assert raised.value.details["holder"] == executions[ONE]
    assert raised.value.details["since"] in raised.value.what
    assert raised.value.details["state"] == "DeployNetwork"
    assert "now at DeployNetwork" in raised.value.what
    assert assured(1)


def test_another_environment_is_another_lock(executions: dict[str, str]) -> None:
    take(executions[ONE])
    answer = acquire({"request": wanted("shop"), "input": {}, "execution": executions[TWO]}, None)
    assert answer == {"fence": 1, "request": wanted("shop")}


def test_the_request_is_as_it_is_under_the_lock(
    executions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is read what the release follows, another one comes, releases, and goes."""
    current = ["r1"]

    def again(request: Mapping[str, Any]) -> Mapping[str, Any]:
        seen = current[-1]
        if seen == "r1":
            lock.acquire(wanted(), executions[TWO])
            current.append("r2")
            free(executions[TWO])
        return {**request, "previous": {"id": seen}}

    answer = lock.acquire(wanted(), executions[ONE], again)
    assert answer == {"fence": 2, "request": {**wanted(), "previous": {"id": "r2"}}}
    kept = dynamodb.get(records.key("arable"), "LOCK")
    assert kept is not None
    assert json.loads(kept["request"]) == answer["request"]
    assert lock.acquire(wanted(), executions[ONE], lambda _: {}) == answer


def test_freed(executions: dict[str, str]) -> None:
    take(executions[ONE])
    assert free(executions[ONE]) == {}
    assert take(executions[TWO]) == 2


def test_a_dead_holder_is_cleaned_up_after_before_anybody_else_takes_the_lock(
    executions: dict[str, str],
) -> None:
    take(executions[ONE])
    stop(executions[ONE])
    with pytest.raises(HolderEnded) as raised:
        take(executions[TWO])
    assert raised.value.details["holder"] == executions[ONE]
    assert assured(1)


def test_the_clean_up_takes_over_and_knows_whose_release_it_was(executions: dict[str, str]) -> None:
    take(executions[ONE])
    stop(executions[ONE])
    item = lock.take_over("arable", executions[TWO])
    assert item is not None
    assert (item["fence"], item["holder"], item["of"]) == (2, executions[TWO], executions[ONE])
    assert json.loads(item["request"]) == wanted()
    assert not assured(1)
    assert assured(2)
    again = lock.take_over("arable", executions[TWO])
    assert again is not None
    assert again["fence"] == 2


def test_a_clean_up_that_died_is_cleaned_up_after_too(executions: dict[str, str]) -> None:
    take(executions[ONE])
    stop(executions[ONE])
    lock.take_over("arable", executions[TWO])
    stop(executions[TWO])
    item = lock.take_over("arable", executions[THREE])
    assert item is not None
    assert (item["fence"], item["of"]) == (3, executions[ONE])


def test_nothing_to_take_over(executions: dict[str, str]) -> None:
    assert lock.take_over("arable", executions[TWO]) is None
    take(executions[ONE])
    assert lock.take_over("arable", executions[TWO]) is None, "its holder runs"
    free(executions[ONE])
    assert lock.take_over("arable", executions[TWO]) is None, "it is free"


def test_who_finds_a_clean_up_is_told_so(executions: dict[str, str]) -> None:
    take(executions[ONE])
    stop(executions[ONE])
    lock.take_over("arable", executions[TWO])
    with pytest.raises(EnvironmentLocked) as raised:
        take(executions[THREE])
    assert "release 1 was interrupted and has been cleaned up after since" in raised.value.what
    assert raised.value.details["holder"] == executions[TWO]


def test_nobody_holds_a_lock_that_nobody_took(aws: None) -> None:
    assert not assured(1)
    with pytest.raises(LockLost):
        lock.assure(None)


def test_a_holder_that_aws_has_forgotten_is_taken_over(executions: dict[str, str]) -> None:
    take(executions[ONE] + "-of-last-year")
    assert take(executions[TWO]) == 2


def test_only_the_holder_frees(executions: dict[str, str]) -> None:
    take(executions[ONE])
    free(executions[TWO])
    assert assured(1)


def test_nothing_to_free(aws: None) -> None:
    assert free("arn:aws:states:eu-central-1:1:execution:m:x") == {}


def test_two_that_see_it_free_do_not_both_get_it(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looked before the first wrote."""
    monkeypatch.setattr("slipway.validation.again", lambda request, _given: request)
    take("arn:aws:states:eu-central-1:123456789012:execution:m:first")
    looks = iter([None])
    look = dynamodb.get
    monkeypatch.setattr(dynamodb, "get", lambda pk, sk: next(looks, look(pk, sk)))
    monkeypatch.setattr("slipway.aws.states.status", lambda execution: "RUNNING")
    monkeypatch.setattr("slipway.aws.states.current_state", lambda execution: None)
    with pytest.raises(EnvironmentLocked):
        take("arn:aws:states:eu-central-1:123456789012:execution:m:second")
    assert assured(1)


def test_two_that_see_a_dead_holder_do_not_both_take_over(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looked while the dead one's name was still there."""
    monkeypatch.setattr("slipway.validation.again", lambda request, _given: request)
    prefix = "arn:aws:states:eu-central-1:123456789012:execution:m:"
    statuses = {prefix + "dead": "FAILED", prefix + "first": "RUNNING"}
    monkeypatch.setattr("slipway.aws.states.status", statuses.get)
    monkeypatch.setattr("slipway.aws.states.current_state", lambda execution: None)
    take(prefix + "dead")
    seen = dynamodb.get(records.key("arable"), "LOCK")
    assert lock.take_over("arable", prefix + "first") is not None
    looks = iter([seen, seen])
    look = dynamodb.get
    monkeypatch.setattr(dynamodb, "get", lambda pk, sk: next(looks, look(pk, sk)))
    assert lock.take_over("arable", prefix + "second") is None
    item = look(records.key("arable"), "LOCK")
    assert item is not None
    assert (item["holder"], item["fence"]) == (prefix + "first", 2)


@pytest.mark.parametrize(
    ("holder", "status", "expected"),
    [
        (None, None, "free"),
        ("me", None, "ours"),
        ("other", "RUNNING", "held"),
        ("other", "PENDING_REDRIVE", "held"),
        ("other", "SUCCEEDED", "dead"),
        ("other", "FAILED", "dead"),
        ("other", "TIMED_OUT", "dead"),
        ("other", "ABORTED", "dead"),
        ("other", None, "dead"),
    ],
)
def test_judge(holder: str | None, status: str | None, expected: str) -> None:
    item = {"fence": 3, **({"holder": holder} if holder else {})}
    assert lock.judge(item, "me", lambda _: status) == expected


def test_what_a_stale_holder_writes_does_not_become_current(aws: None, environment: dict[str, Any]) -> None:
    assert records.set_current(environment, {"id": "2"}, 2)
    assert not records.set_current(environment, {"id": "1"}, 1)
    current = records.current("arable")
    assert current is not None
    assert current["release"] == {"id": "2"}


def test_held_for_a_moment(executions: dict[str, str]) -> None:
    take(executions[ONE])
    assert lock.hold("arable", executions[TWO]) is None
    free(executions[ONE])
    held = lock.hold("arable", executions[TWO])
    assert held is not None
    assert held == lock.hold("arable", executions[TWO])
    assert (held["fence"], held["release"]) == (2, "1")
    free(executions[TWO])
    assert take(executions[THREE]) == 3


def test_who_held_it_for_a_moment_and_ended_leaves_nothing_behind(executions: dict[str, str]) -> None:
    assert lock.hold("arable", executions[ONE]) is not None
    stop(executions[ONE])
    assert lock.take_over("arable", executions[TWO]) is None
    assert lock.hold("arable", executions[TWO]) is not None
    stop(executions[TWO])
    assert take(executions[THREE]) == 3


def test_what_is_to_be_cleaned_up_is_not_held_for_a_moment(executions: dict[str, str]) -> None:
    take(executions[ONE])
    stop(executions[ONE])
    assert lock.hold("arable", executions[TWO]) is None
    assert lock.take_over("arable", executions[TWO]) is not None
