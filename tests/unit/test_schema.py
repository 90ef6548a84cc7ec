"""The input's schema, and the validator: the golden cases say what is refused and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from slipway import schema, validation
from tests.unit.conftest import event
from tests.unit.golden import Case, cases


@cases("input")
def test_problems(case: Case) -> None:
    found = schema.problems(validation.input_schema(), case["input"])
    assert [problem.as_dict() for problem in found] == case["refused"]


@cases("input")
def test_a_full_validator_agrees(case: Case) -> None:
    # In JavaScript, and so in JSON Schema, $ matches at the very end alone; in Python also before a newline.
    at_the_end = json.loads(json.dumps(validation.input_schema()).replace('$"', '\\\\Z"'))
    complete = jsonschema.Draft202012Validator(at_the_end)
    assert complete.is_valid(case["input"]) == (case["refused"] == [])


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(validation.input_schema())


def test_every_keyword_is_known() -> None:
    unknown = {keyword for part in _parts(validation.input_schema()) for keyword in part} - schema.KNOWN
    assert unknown == set()


def test_what_is_optional_has_a_default() -> None:
    for part in _parts(validation.input_schema()):
        for name, property_schema in part.get("properties", {}).items():
            assert name in part.get("required", []) or "default" in property_schema, name


def test_everything_is_described() -> None:
    for part in _parts(validation.input_schema()):
        for name, property_schema in part.get("properties", {}).items():
            assert property_schema.get("description", "").endswith("."), name


def _parts(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and all schemas in it."""
    yield part
    for inner in part.get("properties", {}).values():
        yield from _parts(inner)
    for keyword in ("items", "propertyNames", "additionalProperties"):
        if isinstance(part.get(keyword), dict):
            yield from _parts(part[keyword])


def test_completes_with_every_default() -> None:
    given = event("next-release") | {"environment": event("first-release")["environment"]}
    del given["rollout"]
    completed = schema.complete(validation.input_schema(), given)
    assert completed["rollout"] == {
        "strategy": "side_by_side",
        "canary": 1,
        "batch": "25%",
        "bakeSeconds": 0,
        "drainSeconds": 30,
        "alarms": [],
        "onFailure": "rollback",
    }
    assert completed["allow"] == []
    assert completed["environment"]["network"]["bastion"] == {"allowedCidrs": []}
    assert completed["environment"]["domain"]["hostedZoneId"] == ""
    assert completed["environment"]["variables"] == {}
    assert "rollout" not in given, "what was given is left as it was"


def test_completing_twice_changes_nothing_more() -> None:
    once = schema.complete(validation.input_schema(), event("first-release"))
    assert schema.complete(validation.input_schema(), once) == once
    assert schema.problems(validation.input_schema(), once) == []


@pytest.mark.parametrize("name", ["first-release", "next-release"])
def test_events_are_valid(name: str) -> None:
    assert schema.problems(validation.input_schema(), event(name)) == []
