"""A remedy in an estate: what was changed by hand is as it was released."""

from __future__ import annotations

import pytest

from tests.workflow.engine import Engine
from tests.workflow.estate import Estate
from tests.workflow.sweep.scenarios import SCENARIOS


def test_everything_is_as_it_was_released(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = SCENARIOS["remedy"]
    estate = Estate(monkeypatch, scenario.previous, scenario.looks)
    scenario.arrange(estate)
    estate.servers["i-2"] |= {"release": "r1"}
    estate.suspended.add("HealthCheck")
    assert estate.policies == ["arn:everything"]
    engine = Engine(estate.functions(), as_on_aws=True, seconds=scenario.seconds(), pause=0)
    with engine.running():
        estate.on(engine)
        execution = engine.run({"environment": "arable", "release": {"id": "current"}, "remedy": True})

    assert execution.status == "SUCCEEDED", execution.cause
    assert "RemedyStanding" in execution.of("Release")
    assert estate.releases() == {"r2"}
    assert (estate.policies, estate.rules, estate.suspended) == ([], [], set())
    assert not estate.dark
