"""Taking an environment down: its ways, and every fault at every state of it.

The shipped machine and functions in an estate. Whatever befalls it, nothing is lost that was to be kept, and
the same again ends it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from slipway import records
from tests.contract.shipped import machine_file
from tests.workflow.engine import Engine, Execution, Stop, definition, states_of
from tests.workflow.estate import Estate, Json
from tests.workflow.sweep.cases import plain
from tests.workflow.sweep.faults import (
    ALONE,
    FOR_GOOD,
    LATE,
    LATE_DONE,
    REFUSED,
    STOPPED,
    STOPPED_DONE,
    STOPPED_LATE,
    trouble,
    troubles,
)
from tests.workflow.sweep.life import _clean_up as clean_up
from tests.workflow.sweep.scenarios import OVER, SECONDS

BUCKET = "slipway-arable-images-000000000000-us-east-1"
KEEPING: Json = {"environment": "arable", "confirm": "arable"}
TAKING: Json = {**KEEPING, "remove": {"images": BUCKET}}
TIERS = {"load-balancer", "web", "certificate", "database", "storage", "network"}


@dataclass(frozen=True)
class Way:
    """A way that a tear-down can take. `interrupted`: a release whose end nobody was told of holds the lock;
    `stop`: where the tear-down itself is stopped; `over`: waits that have no time."""

    says: str
    given: Json
    looks: int = 0
    arrange: Callable[[Estate], None] = lambda estate: None
    interrupted: bool = False
    stop: Stop | None = None
    over: tuple[str, ...] = ()


def _without(*names: str) -> Callable[[Estate], None]:
    def arrange(estate: Estate) -> None:
        estate.never.update(names)

    return arrange


def _foreign(estate: Estate) -> None:
    estate.foreign.append({"NetworkInterfaceId": "eni-1", "SubnetId": "subnet-1", "Description": "a note"})


def _empty(estate: Estate) -> None:
    estate.stacks.clear()
    estate.instance = None


WAYS: Mapping[str, Way] = {
    "all of it": Way("everything goes, the images too, and has to be waited for", TAKING, looks=1),
    "keeping": Way("everything goes but the images", KEEPING),
    "plan": Way("it is only shown", {**KEEPING, "plan": True}),
    "heir": Way("a release that was stopped half-way holds the lock", KEEPING, interrupted=True),
    "again": Way("nothing is there any more", KEEPING, arrange=_empty),
    "refused": Way("it is not confirmed", {**KEEPING, "confirm": "another"}),
    "hindered": Way("something of others is in the network", KEEPING, arrange=_foreign),
    "untold": Way("nobody can be told", KEEPING, arrange=_without("messages")),
    "no end of serving": Way(
        "a stack never goes", KEEPING, arrange=_without("tier"), over=("ServingSeconds",)
    ),
    "no end of the database": Way(
        "the database never goes", KEEPING, arrange=_without("database"), over=("EndSeconds",)
    ),
    "no end of the last": Way("no time for the last", TAKING, looks=2, over=("LastSeconds",)),
    "no end of the images": Way("no time for the images", TAKING, over=("ImagesSeconds",)),
    "stopped": Way("it is stopped half-way", KEEPING, looks=1, stop=Stop("TearDown.EndDatabase", nth=2)),
    "stopped at the end": Way("it is stopped when it is done", KEEPING, stop=Stop("TearDown.ReleaseLock")),
}


@contextmanager
def world(way: Way) -> Iterator[tuple[Estate, Engine]]:
    logging.disable(logging.ERROR)
    try:
        with pytest.MonkeyPatch.context() as patch:
            estate = Estate(patch, "r1", way.looks)
            records.register(estate.environment())
            way.arrange(estate)
            seconds = {**SECONDS, **dict.fromkeys(way.over, OVER)}
            engine = Engine(estate.functions(), as_on_aws=True, seconds=seconds, pause=0)
            with engine.running():
                estate.on(engine)
                yield estate, engine
    finally:
        logging.disable(logging.NOTSET)


def begin(way: Way, engine: Engine, befalls: Any = None) -> Execution:
    if way.interrupted:
        engine.inject(Stop("RollOut/before-roll-out.RestoreServers"))
        engine.run({"environment": "arable"}, name="before", within=600)
        engine.settle()
        engine.events.clear()
    if way.stop is not None:
        engine.inject(way.stop)
        execution = engine.run(way.given, "TearDown", within=600)
        engine.settle()
        if befalls is not None:
            engine.inject(befalls)
        return execution
    if befalls is not None:
        engine.inject(befalls)
    return engine.run(way.given, "TearDown", within=600)


def whole(estate: Estate) -> bool:
    """Whether nothing has gone, nor is about to."""
    going = any(stack["status"].startswith("DELETE_") for stack in estate.stacks.values())
    return not going and len(estate.stacks) == 6 and estate.instance == "available" and estate.images == 3


def gone(estate: Estate) -> bool:
    return not estate.stacks and estate.instance is None


# --- the ways ---------------------------------------------------------------------------------------------


def taken(name: str) -> tuple[Estate, Execution, list[Execution]]:
    with world(WAYS[name]) as (estate, engine):
        execution = begin(WAYS[name], engine)
        cleaned = clean_up(engine)
        return estate, execution, cleaned


def test_everything_goes_and_its_receipt_says_what_is_kept() -> None:
    estate, execution, _ = taken("keeping")
    assert execution.status == "SUCCEEDED", execution.cause
    assert gone(estate)
    assert (estate.images, len(estate.final)) == (3, 1)
    assert execution.output["snapshot"] == estate.final[0]
    assert [row["tier"] for row in execution.output["removed"]] == [
        *("load_balancer", "web", "certificate", "database", "storage", "network")
    ]
    assert [kind for kind, _ in estate.announced] == ["tear down started", "torn down"]
    assert "slipway-arable-database" in estate.announced[0][1]["detail"]
    assert records_of(estate)["retired"] == execution.output["recordedAt"]
    assert "document" not in records_of(estate)
    assert ("ENVIRONMENTS", "arable") not in estate.items
    assert estate.holder() is None


def test_images_that_are_named_go_and_everything_is_waited_for() -> None:
    estate, execution, _ = taken("all of it")
    assert execution.status == "SUCCEEDED", execution.cause
    assert gone(estate)
    assert estate.images is None
    assert execution.output["images"] == {"bucket": BUCKET, "kept": False, "removed": 3}
    assert execution.of("TearDown").index("EndDatabase") > max(
        number for number, name in enumerate(execution.of("TearDown")) if name == "RemoveTiers"
    )


def test_when_nothing_is_left_to_do_it_takes_14_transitions() -> None:
    _, execution, _ = taken("again")
    assert (execution.status, execution.output["removed"], execution.output["snapshot"]) == (
        *("SUCCEEDED", []),
        None,
    )
    assert len(execution.path) == 14
    assert "nothing left to do: 14" in machine_file("TearDown").read_text()


def test_a_plan_changes_nothing() -> None:
    estate, execution, cleaned = taken("plan")
    assert execution.status == "SUCCEEDED", execution.cause
    assert "what stays" in execution.output["text"]
    assert whole(estate)
    assert (estate.items.get(("ENVIRONMENT#arable", "LOCK")), estate.announced, cleaned) == (None, [], [])


def test_an_interrupted_release_is_cleaned_up_after_first() -> None:
    estate, execution, _ = taken("heir")
    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.of("TearDown")[:5] == [
        *("ValidateTearDown", "PlanWanted?", "LockForTearDown", "CleanUp", "LockFreed")
    ]
    assert (estate.receipt("before") or {})["ending"] == "FailedClean"


@pytest.mark.parametrize(("name", "error"), [("refused", "InvalidInput"), ("hindered", "PreflightFailed")])
def test_what_should_not_go_does_not(name: str, error: str) -> None:
    estate, execution, cleaned = taken(name)
    assert (execution.error, execution.cause["error"]) == ("FailedClean", error)
    assert whole(estate)
    assert estate.holder() is None
    current = records_of(estate)
    assert "retired" not in current
    assert all(one.path[-1].endswith("NothingToDo") for one in cleaned)


def records_of(estate: Estate) -> Json:
    return estate.items["ENVIRONMENT#arable", "CURRENT"]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("no end of serving", TIERS),
        ("no end of the database", TIERS - {"load-balancer", "web", "certificate"}),
        ("no end of the last", {"database", "storage", "network"}),
        ("no end of the images", set()),
    ],
)
def test_what_does_not_go_is_told_with_the_command(name: str, left: set[str]) -> None:
    estate, execution, cleaned = taken(name)
    assert (execution.error, execution.cause["error"]) == ("FailedDirty", "DeadlinePassed")
    assert {one["stack"].removeprefix("slipway-arable-") for one in execution.cause["left"]} <= left
    assert "stateMachine:slipway-tear-down" in execution.cause["command"]
    assert estate.announced[-1][0] == "tear down failed"
    assert "retired" in records_of(estate)
    assert cleaned[0].path[-1].endswith("NothingToDo")


def test_one_that_is_stopped_is_written_down_and_nothing_is_put_back() -> None:
    estate, execution, cleaned = taken("stopped")
    assert execution.status == "ABORTED"
    assert cleaned[0].error == "FailedDirty"
    assert estate.holder() is None
    receipt = estate.receipt("test") or {}
    assert (receipt["ending"], receipt["failure"]["error"]) == ("FailedDirty", "States.Aborted")
    assert receipt["snapshot"] == estate.final[0]
    assert "was stopped at EndDatabase" in receipt["failure"]["what"]
    assert estate.announced[-1][0] == "tear down failed"
    assert not any("RollOut" in state for state in cleaned[0].path)


def test_a_release_during_a_tear_down_is_told_of_it() -> None:
    refused: list[Execution] = []
    with world(WAYS["keeping"]) as (estate, engine):
        functions = engine._functions
        ending = functions.answers["EndDatabase"]

        def meanwhile(payload: Json) -> Any:
            if not refused:
                refused.append(engine.run({"environment": "arable"}, name="second"))
            return ending(payload)

        functions.answers["EndDatabase"] = meanwhile
        execution = engine.run(KEEPING, "TearDown", within=600)
        assert execution.status == "SUCCEEDED", execution.cause
    assert refused[0].cause["error"] == "EnvironmentLocked"
    assert refused[0].cause["what"].startswith("a tear-down has been running in this environment since")


# --- every fault at every state ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    way: str
    mark: str
    fault: str


def all_states() -> dict[str, Json]:
    """The states of the machine, and those of the clean-up that only it comes to."""
    found = {f"TearDown.{name}": state for name, state in states_of(definition("TearDown"))}
    of_clean_up = dict(states_of(definition("CleanUp")))
    return found | {f"CleanUp.{name}": of_clean_up[name] for name in ("ExplainTearDown", "RecordTearDown")}


def walk(name: str) -> list[str]:
    with world(WAYS[name]) as (_, engine):
        begin(WAYS[name], engine)
        clean_up(engine)
        return engine.path()


def cases(walked: Mapping[str, list[str]]) -> list[Case]:
    """Each state in the first way that enters it, and in `all of it`'s shorter brother too."""
    found: dict[Case, None] = {}
    for state, shipped in all_states().items():
        entering = [
            (name, mark)
            for name, path in walked.items()
            for mark in dict.fromkeys(path)
            if plain(mark) == state
        ]
        for name, mark in entering[:1] + [one for one in entering if one[0] == "keeping"]:
            for fault in troubles(shipped["Type"], shipped.get("Resource", ""), "Release"):
                if fault != ALONE:
                    found[Case(name, mark, fault)] = None
    return list(found)


LASTING = (FOR_GOOD, REFUSED)
STOPS = (STOPPED, STOPPED_DONE, STOPPED_LATE)


def run(case: Case) -> list[str]:
    """What is wrong with how the case ended, and with what the next tear-down left."""
    way = WAYS[case.way]
    resource = all_states()[plain(case.mark)].get("Resource", "")
    with world(way) as (estate, engine):
        before = begin(way, engine, trouble(case.fault, case.mark, 1, resource))
        cleaned = clean_up(engine)
        wrong = [] if engine.hit() else ["the fault did not happen"]
        engine.heal()
        engine.settle()
        estate.heal()
        wrong += judged(case, way, estate, before, cleaned)
        if way.over:  # nor has the next one any time
            return [f"{case}: {what}" for what in wrong]
        estate.foreign.clear()
        asked = {**way.given, "confirm": "arable", "plan": False}
        again = engine.run(asked, "TearDown", within=600, name="next")
        wrong += afterwards(way, estate, again)
    return [f"{case}: {what}" for what in wrong]


def judged(
    case: Case, way: Way, estate: Estate, execution: Execution, cleaned: list[Execution]
) -> Iterator[str]:
    yield from kept(way, estate)
    ending = execution.error if execution.status == "FAILED" else execution.status
    if ending == "SUCCEEDED" and way.given.get("plan") is not True and not gone(estate):
        yield "succeeded, and not all of it is gone"
    if ending == "FailedClean" and not whole(estate) and case.way != "again":
        yield "FailedClean, and something is gone"
    if ending == "FailedDirty" and case.fault not in LASTING and "no end" not in case.way:
        late = case.fault in (LATE, LATE_DONE) and plain(case.mark).endswith("CleanUp")
        if not late:
            yield f"a person is called for {case.fault}: {execution.cause}"
    if execution.status == "ABORTED" and whole(estate) and records.current("arable") is None:
        yield "nothing is gone, and no release is current"
    if execution.status == "FAILED" and not all(
        execution.cause.get(part) for part in ("what", "where", "next")
    ):
        yield f"not explained: {execution.cause}"
    freed = estate.holder() is None
    excused = case.fault in LASTING and re.search(r"\.(ReleaseLock|FreeLock)$", case.mark)
    late_lock = case.fault == STOPPED_LATE and re.search(r"\.(LockForTearDown|LockFreed)$", case.mark)
    if not freed and not excused and not late_lock and not case.mark.startswith("CleanUp"):
        yield f"the lock is held by {estate.holder()}"


def kept(way: Way, estate: Estate) -> Iterator[str]:
    """Nothing is lost that was to be kept."""
    if not way.given.get("remove") and estate.images != 3:
        yield "images are lost"
    if len(estate.final) > 1:
        yield f"more than one final snapshot: {estate.final}"
    if estate.instance is None and way is not WAYS["again"] and not estate.final:
        yield "the database is gone, and there is no snapshot"


def afterwards(way: Way, estate: Estate, again: Execution) -> Iterator[str]:
    if again.status != "SUCCEEDED":
        yield f"the next one ended {again.status}: {again.cause}"
    yield from kept(way, estate)
    if not gone(estate) or estate.holder() is not None:
        yield f"the next one left {sorted(estate.stacks)}, {estate.instance}, {estate.holder()}"
    if records.current("arable") is not None or ("ENVIRONMENTS", "arable") in estate.items:
        yield "the environment is remembered as if it were there"
    if way.given.get("remove") and estate.images is not None:
        yield "the images are still there"


@pytest.mark.timeout(1800)
def test_nothing_is_lost_whatever_befalls_it_and_the_same_again_ends_it() -> None:
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=multiprocessing.get_context("spawn")) as pool:
        walked = dict(zip(WAYS, pool.map(walk, WAYS), strict=True))
        entered = {plain(mark) for path in walked.values() for mark in path}
        assert sorted(all_states().keys() - entered) == []
        every = cases(walked)
        wrong = [what for found in pool.map(run, every, chunksize=4) for what in found]
    print(f"{len(every)} cases")
    assert wrong == []
