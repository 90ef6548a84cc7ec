"""One case from its beginning to its end: a release (or a new server's joining), what befalls it, the
clean-ups, the next release."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ministack.services import eventbridge

from tests.contract.shipped import template
from tests.workflow.engine import Engine, Execution, Fault, Stop
from tests.workflow.estate import Estate, Json
from tests.workflow.fleet import launched
from tests.workflow.sweep.cases import Case, Result, all_states
from tests.workflow.sweep.faults import trouble
from tests.workflow.sweep.judge import Checked, Found, Newcomer, afterwards
from tests.workflow.sweep.scenarios import SCENARIOS, Scenario

GIVEN = {"environment": "arable"}


def walk(name: str) -> list[str]:
    """The states that the scenario enters by itself, those of its clean-up too."""
    scenario = SCENARIOS[name]
    with _world(scenario) as (estate, engine):
        if scenario.join:
            engine.run(launched(), "JoinHost", within=600)
        else:
            _begin(scenario, estate, engine, None)
            _clean_up(engine)
        return [mark for mark in engine.path() if "before" not in mark.split(".")[0]]


def run(case: Case) -> Result:
    """One case; never raises."""
    try:
        return _join(case) if SCENARIOS[case.scenario].join else _run(case)
    except Exception:
        return Result(case, "none", "none", (), (traceback.format_exc(),))


def _run(case: Case) -> Result:
    scenario = SCENARIOS[case.scenario]
    resource = all_states()[case.state].get("Resource", "")
    with _world(scenario) as (estate, engine):
        execution = _begin(scenario, estate, engine, trouble(case.fault, case.mark, case.nth, resource))
        clean_ups = _clean_up(engine)
        hit = engine.hit()
        engine.heal()
        engine.settle()
        estate.pass_by()
        estate.heal()
        found: Found | Checked = Found(estate, estate.serves, scenario.plan, execution, clean_ups)
        if scenario.check is not None:
            found = Checked(estate, estate.serves, execution, "remedy" in scenario.check)
        ending, fleet, notes = found.ending(), found.fleet(), tuple(found.notes())
        wrong = [] if hit else ["the fault did not happen"]
        wrong += found.wrong()
        path = engine.path()
        again = engine.run(GIVEN, _machine(scenario), name="next", within=600)
        engine.rest(600)
        wrong += found.wrong_afterwards(again)
        return Result(case, ending, fleet, notes, tuple(wrong), tuple(path))


def _join(case: Case) -> Result:
    """A new server, what befalls its joining, the hook's time-out, the next release."""
    scenario = SCENARIOS[case.scenario]
    resource = all_states()[case.state].get("Resource", "")
    with _world(scenario) as (estate, engine):
        engine.inject(trouble(case.fault, case.mark, case.nth, resource))
        execution = engine.run(launched(), "JoinHost", within=600)
        engine.settle()
        hit = engine.hit()
        engine.heal()
        engine.settle()
        estate.pass_by()
        found = Newcomer(estate, case.scenario, execution)
        ending, notes = found.ending(), tuple(found.notes())
        wrong = [] if hit else ["the fault did not happen"]
        wrong += found.wrong()
        estate.time_out()
        estate.heal()
        path = engine.path()
        again = engine.run(GIVEN, name="next", within=600)
        wrong += afterwards(estate, again)
        return Result(case, ending, "old", notes, tuple(wrong), tuple(path))


@contextmanager
def _world(scenario: Scenario) -> Iterator[tuple[Estate, Engine]]:
    logging.disable(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        estate = Estate(patch, scenario.previous, scenario.looks)
        scenario.arrange(estate)
        engine = Engine(estate.functions(), as_on_aws=True, seconds=scenario.seconds(), pause=0)
        with engine.running():
            estate.on(engine)
            yield estate, engine
    logging.disable(logging.NOTSET)


def _begin(scenario: Scenario, estate: Estate, engine: Engine, befalls: Fault | Stop | None) -> Execution:
    """The release, until it ended by itself or was stopped; what befalls it has been asked for."""
    stop = scenario.stop
    if stop is None:
        _ask(engine, befalls)
        given = GIVEN if scenario.check is None else scenario.check
        execution = engine.run(given, _machine(scenario), within=600)
        if scenario.check is not None:
            engine.rest(600)
        return execution
    if scenario.lost:
        mark = stop.mark.replace("/", "/before-")
        engine.inject(Stop(mark, nth=stop.nth))
        engine.run(GIVEN, name="before", within=600)
        engine.settle()
        engine.events.clear()
        _ask(engine, befalls)
        return engine.run(GIVEN, within=600)
    engine.inject(stop)
    execution = engine.run(GIVEN, within=600)
    engine.settle()
    estate.slow_down()
    _ask(engine, befalls)
    return execution


def _machine(scenario: Scenario) -> str:
    return "Release" if scenario.check is None else "CheckDrift"


def _ask(engine: Engine, befalls: Fault | Stop | None) -> None:
    if befalls is not None:
        engine.inject(befalls)


def _clean_up(engine: Engine) -> list[Execution]:
    """What the rules of template.yaml start, now that executions have ended, and what their ends start."""
    started: list[Execution] = []
    patterns = [json.dumps(pattern) for pattern in _patterns(engine)]
    engine.settle()
    while engine.events:
        entry = engine.events.pop(0)
        if any(eventbridge._matches_pattern(pattern, entry) for pattern in patterns):
            event = {"detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"])}
            assert len(started) < 7, "clean-ups start one another"
            started.append(engine.run(event, "CleanUp", within=600, name=f"ended-{len(started) + 1}"))
            engine.settle()
    return started


def _patterns(engine: Engine) -> Iterator[Json]:
    """Of the rules that start the clean-up, with the machines' ARNs in them."""
    for rule in template()["Resources"]["CleanUpStateMachine"]["Properties"]["Events"].values():
        yield _resolved(rule["Properties"]["Pattern"], engine)


def _resolved(value: Any, engine: Engine) -> Any:
    if isinstance(value, dict):
        if "Ref" in value:
            return engine.machine_arn(value["Ref"].removesuffix("StateMachine"))
        if "Fn::Sub" in value:
            return value["Fn::Sub"].replace("${AWS::StackName}", "slipway")
        return {key: _resolved(item, engine) for key, item in value.items()}
    return [_resolved(item, engine) for item in value] if isinstance(value, list) else value
