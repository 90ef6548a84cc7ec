"""Waves: who gets a release together, on the way forth and on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway import waves


def rollout(**changed: Any) -> dict[str, Any]:
    return {"strategy": "drain", "canary": 1, "batch": "25%", **changed}


def fleet(number: int) -> list[dict[str, str]]:
    """Servers in two zones: i-1 in a, i-2 in b, …"""
    return [{"id": f"i-{n:03}", "zone": "ab"[n % 2]} for n in range(number)]


def sizes(number: int, **changed: Any) -> list[int]:
    return [len(wave["servers"]) for wave in waves.cut(fleet(number), rollout(**changed))]


@pytest.mark.parametrize(
    ("servers", "changed", "expected"),
    [
        (0, {}, []),
        (1, {}, [1]),
        (2, {}, [1, 1]),
        (2, {"batch": "100%"}, [1, 1]),
        (2, {"canary": 2}, [1, 1]),
        (2, {"canary": 0, "batch": 2, "strategy": "side_by_side"}, [2]),
        (2, {"batch": 2, "strategy": "side_by_side"}, [1, 1]),
        (3, {"canary": 0, "batch": "100%"}, [2, 1]),
        (8, {}, [1, 2, 2, 2, 1]),
        (8, {"canary": 0}, [2, 2, 2, 2]),
        (10, {"canary": 3, "batch": 4}, [3, 4, 3]),
        (1000, {"batch": "10%"}, [1, *[100] * 9, 99]),
        (3, {"batch": "1%"}, [1, 1, 1]),
    ],
)
def test_sizes(servers: int, changed: dict[str, Any], expected: list[int]) -> None:
    assert sizes(servers, **changed) == expected


def test_a_wave_is_spread_over_the_zones() -> None:
    servers = [{"id": f"i-{zone}{n}", "zone": zone} for zone in "ab" for n in (1, 2, 3)]
    cut = waves.cut(servers, rollout(canary=2, batch=2))
    assert [wave["servers"] for wave in cut] == [["i-a1", "i-b1"], ["i-a2", "i-b2"], ["i-a3", "i-b3"]]


def test_who_serves_nobody_comes_first() -> None:
    servers = [{"id": f"i-{zone}{n}", "zone": zone} for zone in "ab" for n in (1, 2, 3)]
    cut = waves.cut(servers, rollout(canary=1, batch=2), idle=["i-b3", "i-a2"])
    assert [wave["servers"] for wave in cut] == [["i-a2"], ["i-b3", "i-a1"], ["i-b1", "i-b2"], ["i-a3"]]


@given(
    number=st.integers(1, 200),
    canary=st.integers(0, 50),
    batch=st.one_of(st.integers(1, 1000), st.integers(1, 100).map(lambda share: f"{share}%")),
    strategy=st.sampled_from(["drain", "side_by_side"]),
)
def test_everybody_once_and_with_drain_never_all_at_once(
    number: int, canary: int, batch: int | str, strategy: str
) -> None:
    cut = waves.cut(fleet(number), rollout(canary=canary, batch=batch, strategy=strategy))
    servers = [server for wave in cut for server in wave["servers"]]
    assert sorted(servers) == sorted(server["id"] for server in fleet(number))
    if strategy == "drain" and number > 1:
        assert max(len(wave["servers"]) for wave in cut) < number


def test_back_is_the_last_first_and_only_what_was_begun() -> None:
    cut = [{"servers": ["a"]}, {"servers": ["b", "c"]}, {"servers": ["d", "e"]}]
    assert waves.back(cut) == list(reversed(cut))
    assert waves.back(cut, 2) == [{"servers": ["b", "c"]}, {"servers": ["a"]}]
    assert waves.back(cut, 0) == []


def test_how_far_a_roll_out_came_is_read_from_either_form_of_its_cause() -> None:
    own = json.dumps({"Error": "CommandFailed", "Cause": "…", "wavesBegun": 2})
    assert waves.begun(own) == 2
    assert waves.begun(json.dumps({"ExecutionArn": "arn", "Cause": own})) == 2


@pytest.mark.parametrize("cause", ["", "no JSON", "[]", "{}", '{"Cause": "no JSON"}', '{"Cause": 1}'])
def test_other_causes_do_not_say_how_far(cause: str) -> None:
    assert waves.begun(cause) is None


def test_too_many_waves_are_refused_with_what_would_do() -> None:
    environment = {"web": {"max": 1000}}
    (problem,) = waves.problems(environment, rollout(batch=10))
    assert (problem.path, problem.allowed) == ("rollout.batch", "at least 42: 25 waves are the most")
    assert list(waves.problems(environment, rollout(batch=42))) == []
    assert list(waves.problems(environment, rollout(batch="10%"))) == []
    assert list(waves.problems({"web": {"max": 24}}, rollout(batch=1))) == []
