"""The benchmark's large fleet and its many environments: the shipped definitions with shipped functions."""

from __future__ import annotations

from bench import drift
from bench.scale import events, simulated


def test_a_fleet_of_more_than_a_command_takes() -> None:
    told = simulated(120)
    assert told["status"] == "SUCCEEDED"
    assert told["waves"] == 11
    assert told["instances"] == 50
    assert events(told) < 5000
    assert told["memory_of"]


def test_the_cause_of_a_failure_does_not_grow_with_the_servers_that_failed() -> None:
    few, many = simulated(50, "--failing"), simulated(250, "--failing")
    assert few["status"] == many["status"] == "FailedDirty"
    assert abs(many["cause"] - few["cause"]) < 50


def test_what_a_check_adds_to_detection_grows_with_the_environments_only() -> None:
    """Seven are more than are checked at a time. The floor makes three calls a stack: begin, look, ask."""
    one, seven = drift.simulated(1, 7, "--detection", "0")
    assert (one["floor"]["calls"], one["floor"]["looks"]) == (6 * 3, 6)
    assert (seven["floor"]["calls"], seven["floor"]["looks"]) == (7 * 6 * 3, 7 * 6)
    assert (one["check"]["looks"], seven["check"]["looks"]) == (6, 7 * 6)
    assert one["check"]["calls"] > one["floor"]["calls"]
    assert seven["check"]["calls"] <= 8 * one["check"]["calls"]
