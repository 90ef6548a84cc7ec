"""The lock: exclusive, re-entrant, self-healing, with a fence that only grows."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from acquire_lock.app import handler as acquire
from release_lock.app import handler as release
from slipway import lock, records
from slipway.aws import dynamodb
from slipway.errors import EnvironmentLocked

ONE, TWO = "one", "two"


@pytest.fixture
def executions(aws: None) -> dict[str, str]:
    """ARNs of two executions that run."""
    states: Any = boto3.client("stepfunctions")
    machine = states.create_state_machine(
        name="slipway-release",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn="arn:aws:iam::123456789012:role/r",
    )["stateMachineArn"]
    return {
        name: states.start_execution(stateMachineArn=machine, name=name)["executionArn"]
        for name in (ONE, TWO)
    }


def take(execution: str) -> int:
    return int(acquire({"environment": "arable", "execution": execution, "release": "1"}, None)["fence"])


def free(execution: str) -> dict[str, Any]:
    return release({"environment": "arable", "execution": execution}, None)


def test_free(executions: dict[str, str]) -> None:
    assert take(executions[ONE]) == 1
    assert lock.fence_of("arable", executions[ONE]) == 1


def test_asked_again_by_the_same(executions: dict[str, str]) -> None:
    assert [take(executions[ONE]), take(executions[ONE])] == [1, 1]


def test_held(executions: dict[str, str]) -> None:
    take(executions[ONE])
    with pytest.raises(EnvironmentLocked) as raised:
        take(executions[TWO])
    assert raised.value.details["holder"] == executions[ONE]
    assert lock.fence_of("arable", executions[ONE]) == 1


def test_another_environment_is_another_lock(executions: dict[str, str]) -> None:
    take(executions[ONE])
    answer = acquire({"environment": "shop", "execution": executions[TWO], "release": "1"}, None)
    assert answer == {"fence": 1}


def test_freed(executions: dict[str, str]) -> None:
    take(executions[ONE])
    assert free(executions[ONE]) == {}
    assert take(executions[TWO]) == 2


def test_a_dead_holder_is_taken_over(executions: dict[str, str]) -> None:
    take(executions[ONE])
    boto3.client("stepfunctions").stop_execution(executionArn=executions[ONE])
    assert take(executions[TWO]) == 2
    assert lock.fence_of("arable", executions[ONE]) is None


def test_a_holder_that_aws_has_forgotten_is_taken_over(executions: dict[str, str]) -> None:
    take(executions[ONE] + "-of-last-year")
    assert take(executions[TWO]) == 2


def test_only_the_holder_frees(executions: dict[str, str]) -> None:
    take(executions[ONE])
    free(executions[TWO])
    assert lock.fence_of("arable", executions[ONE]) == 1


def test_nothing_to_free(aws: None) -> None:
    assert free("arn:aws:states:eu-central-1:1:execution:m:x") == {}


def test_two_that_see_it_free_do_not_both_get_it(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looked before the first wrote."""
    take("arn:aws:states:eu-central-1:123456789012:execution:m:first")
    looks = iter([None])
    look = dynamodb.get
    monkeypatch.setattr(dynamodb, "get", lambda pk, sk: next(looks, look(pk, sk)))
    monkeypatch.setattr("slipway.aws.states.status", lambda execution: "RUNNING")
    with pytest.raises(EnvironmentLocked):
        take("arn:aws:states:eu-central-1:123456789012:execution:m:second")
    assert lock.fence_of("arable", "arn:aws:states:eu-central-1:123456789012:execution:m:first") == 1


def test_two_that_see_a_dead_holder_do_not_both_take_over(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looked while the dead one's name was still there."""
    prefix = "arn:aws:states:eu-central-1:123456789012:execution:m:"
    statuses = {prefix + "dead": "FAILED", prefix + "first": "RUNNING"}
    monkeypatch.setattr("slipway.aws.states.status", statuses.get)
    take(prefix + "dead")
    seen = dynamodb.get(records.key("arable"), "LOCK")
    take(prefix + "first")
    looks = iter([seen])
    look = dynamodb.get
    monkeypatch.setattr(dynamodb, "get", lambda pk, sk: next(looks, look(pk, sk)))
    with pytest.raises(EnvironmentLocked):
        take(prefix + "second")
    assert lock.fence_of("arable", prefix + "first") == 2


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
