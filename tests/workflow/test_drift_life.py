"""An environment lives on between releases, and is checked again and again: the shipped machine and handlers
in an account that is a few dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.workflow.engine import Engine, Execution, Functions
from tests.workflow.estate import Estate

GIVEN = {"environment": "arable"}


class Life:
    """An estate and its engine."""

    def __init__(self, estate: Estate, engine: Engine, functions: Functions) -> None:
        self.estate, self.engine, self.functions = estate, engine, functions
        self._checks = 0

    def check(self) -> Execution:
        self._checks += 1
        return self.engine.run(GIVEN, "CheckDrift", name=f"check-{self._checks}")

    def told(self) -> list[str]:
        return [kind for kind, _ in self.estate.announced if kind.startswith("drift")]


@contextmanager
def living(patch: pytest.MonkeyPatch) -> Iterator[Life]:
    estate = Estate(patch, "r1")
    functions = estate.functions()
    engine = Engine(functions, as_on_aws=True, pause=0)
    with engine.running():
        estate.on(engine)
        yield Life(estate, engine, functions)


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    with living(monkeypatch) as found:
        yield found


def server(release: str) -> dict[str, Any]:
    return {"release": release, "in": True, "staged": {release}}


def test_twenty_checks_of_an_untouched_environment_find_nothing_also_while_scaling_moves(life: Life) -> None:
    for number in range(20):
        if number % 3 == 1:
            life.estate.servers[f"i-{number}0"] = server("r1")
        if number % 3 == 2:
            life.estate.servers.popitem()
        execution = life.check()
        assert execution.output["status"] == "clean", (number, life.estate.findings())
        assert execution.output["counts"] == {"high": 0, "medium": 0, "low": 0}
    assert life.told() == []
    assert not life.estate.mails
    assert {command["step"] for command in life.estate.commands} == {"report"}


def test_another_release_on_a_server_is_found_told_once_and_told_to_be_gone(life: Life) -> None:
    life.estate.servers["i-2"] = server("r0")
    for _ in range(3):
        assert life.check().output["status"] == "drift"
    assert life.estate.findings() == {"server_release|i-2|"}
    assert life.told() == ["drift found"]
    [(_, detail)] = life.estate.announced
    [found] = detail["findings"]
    assert (found["where"], found["expected"], found["found"]) == ("i-2", "r1", "r0")
    assert '"remedy":true' in found["remedy"]

    life.estate.servers["i-2"] = server("r1")
    assert life.check().output["status"] == "clean"
    assert life.told() == ["drift found", "drift gone"]
    assert life.check().output["status"] == "clean"
    assert life.told() == ["drift found", "drift gone"]


def test_a_stack_that_somebody_deleted_is_found(life: Life) -> None:
    del life.estate.stacks["slipway-arable-storage"]
    assert life.check().output["counts"]["high"] == 1
    assert life.estate.findings() == {"stack_missing|slipway-arable-storage|"}


def test_a_check_that_begins_during_a_release_gives_way(life: Life) -> None:
    seen: list[Execution] = []

    def check(_payload: Any) -> dict[str, Any]:
        seen.append(life.check())
        return {"status": "baked"}

    life.functions.answers["CheckBake"] = check
    assert life.engine.run(GIVEN).status == "SUCCEEDED"
    assert {execution.output["status"] for execution in seen} == {"postponed"}
    assert life.estate.findings() == set()
    assert life.told() == []


def test_a_check_that_a_release_overtakes_records_nothing(life: Life) -> None:
    """Half-way the servers have different releases: the check saw that, and it was no drift."""
    life.estate.servers["i-2"] = server("r0")

    def release(_payload: Any) -> dict[str, Any]:
        life.engine.run(GIVEN, name="meanwhile")
        return {"findings": [], "more": 0, "certificateDays": 100}

    standing = life.functions.answers["CheckStanding"]
    life.functions.answers["CheckStanding"] = release
    assert life.check().output["status"] == "postponed"
    assert life.estate.findings() == set()
    assert life.told() == []
    assert not [key for key in life.estate.objects if key.startswith("drift/")]

    life.functions.answers["CheckStanding"] = standing
    assert life.check().output["status"] == "clean"
    assert life.estate.releases() == {"r2"}
