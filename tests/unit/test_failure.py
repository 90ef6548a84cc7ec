"""Failures explained, by golden cases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from explain_failure.app import handler
from slipway import errors
from slipway.failure import unwrap
from tests.unit.golden import Case, cases


@cases("failure")
def test_explain(case: Case) -> None:
    given = {"restorePoint": None, "migrated": None, "lost": [], **case["given"]}
    told = handler({**given, "execution": {"arn": ARN, "name": "n", "startedAt": "s"}}, None)
    assert {key: told[key] for key in case["expect"]} == case["expect"]
    assert {"ending", "error", "what", "where", "next"} <= set(told)
    json.dumps(told)


ARN = "arn:aws:states:eu-central-1:1:execution:slipway-release:2-101112"


def classes() -> list[type[errors.SlipwayError]]:
    return errors.SlipwayError.__subclasses__()


@pytest.mark.parametrize("of", classes())
def test_every_error_of_ours_comes_through(of: type[errors.SlipwayError]) -> None:
    error = of("what", "where", "next", fact=1)
    cause = json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)})
    named = unwrap(
        "States.TaskFailed", json.dumps({"ExecutionArn": "a", "Error": of.__name__, "Cause": cause})
    )
    assert (named.error, named.what, named.where, named.next) == (of.__name__, "what", "where", "next")
    assert named.details == {"fact": 1}


def test_the_tree_in_the_docstring_is_complete() -> None:
    for of in classes():
        assert f"── {of.__name__} " in str(errors.__doc__)


def test_a_cause_of_many_shells() -> None:
    cause: Any = json.dumps({"errorType": "TierFailed", "errorMessage": json.dumps({"what": "deep"})})
    for _ in range(5):
        cause = json.dumps(
            {"ExecutionArn": "a", "Status": "FAILED", "Error": "States.TaskFailed", "Cause": cause}
        )
    assert unwrap("States.TaskFailed", cause).what == "deep"
