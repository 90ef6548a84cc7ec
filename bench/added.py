"""Whose time a release's is: what the servers needed, and what the state machine added, state by state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import yaml

from rehearsal.host import ROOT
from tools.watch import decoded

DEFINITION = ROOT / "statemachine" / "release.asl.yaml"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """A state on the way from start to end. `hosts`: seconds of it in which servers worked on a command."""

    state: str
    seconds: float
    hosts: float

    @property
    def added(self) -> float:
        """Seconds that were not the servers'."""
        return self.seconds - self.hosts

    def line(self) -> str:
        """A row of a table."""
        whose = f"servers {self.hosts:>6.2f}, added {self.added:>6.2f}"
        return f"   {self.state:<22} {self.seconds:>6.2f} s: {whose}"


def shares(execution: str, states: Sequence[Json]) -> list[Share]:
    """The states on the critical path of a release that has ended, by its receipt's `states`: of branches
    that ran beside each other, the longest one."""
    took = {row["state"]: float(row["seconds"]) for row in states if "/" not in row["state"]}
    definition = yaml.safe_load(DEFINITION.read_text())["States"]
    hosts = answered(history(execution))
    for name, child in children(execution, definition).items():
        hosts[name] = hosts.get(name, 0.0) + working(history(child))
    return [Share(name, took[name], hosts.get(name, 0.0)) for name in critical(took, definition)]


def critical(took: Mapping[str, float], definition: Json) -> Iterator[str]:
    """The names of the states on the critical path."""
    for name, state in definition.items():
        if name in took and state["Type"] == "Parallel":
            branches = [
                [inner for inner in branch["States"] if inner in took] for branch in state["Branches"]
            ]
            yield from max(branches, key=lambda inner: sum(took[one] for one in inner))
        elif name in took:
            yield name


def children(execution: str, definition: Json) -> dict[str, str]:
    """State → execution that it started; each is named after the release's own."""
    name = execution.rsplit(":", 1)[-1][:60]
    states = boto3.client("stepfunctions")
    running = {one["name"]: one["stateMachineArn"] for one in states.list_state_machines()["stateMachines"]}
    existing = {
        one["name"]: one["executionArn"]
        for machine in running.values()
        for one in states.list_executions(stateMachineArn=machine)["executions"]
    }
    suffixes = {state: suffix for state, suffix in _named(definition) if name + suffix in existing}
    return {state: existing[name + suffix] for state, suffix in suffixes.items()}


def _named(definition: Json) -> Iterator[tuple[str, str]]:
    """State, and what it adds to the name of the execution that it starts."""
    for name, state in definition.items():
        found = re.search(r'"(-[a-z-]+)" %}$', str(state.get("Arguments", {}).get("Name", "")))
        if found:
            yield name, found.group(1)
        for branch in state.get("Branches", ()):
            yield from _named(branch["States"])


def history(execution: str) -> Iterator[Json]:
    """All events of an execution."""
    pages = boto3.client("stepfunctions").get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=execution):
        yield from page["events"]


def answered(events: Iterable[Json]) -> dict[str, float]:
    """State → seconds in which servers worked on the command that it had them told of: the slowest."""
    seconds = {}
    for event in events:
        details = event.get("stateExitedEventDetails", {})
        told = decoded(details.get("output")) if event["type"] == "TaskStateExited" else {}
        if told.get("status") == "succeeded" and told.get("results"):
            seconds[details["name"]] = max(float(one["seconds"] or 0) for one in told["results"])
    return seconds


def working(events: Iterable[Json]) -> float:
    """Seconds in which servers worked: of each command the slowest server."""
    commands: dict[str, float] = {}
    for event in events:
        told = decoded(event.get("taskSucceededEventDetails", {}).get("output")).get("Payload")
        if isinstance(told, dict) and told.get("status") == "succeeded" and told.get("results"):
            seconds = [float(one["seconds"] or 0) for one in told["results"]]
            commands[told["commandId"]] = max(seconds)
    return sum(commands.values())
