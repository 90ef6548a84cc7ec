"""The benchmark's large fleet: the shipped definitions with the functions that handle servers."""

from __future__ import annotations

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
