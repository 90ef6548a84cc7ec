#!/usr/bin/env python3
"""Shows a release as it goes: states, tiers and servers, those of nested executions too.

    python tools/watch.py EXECUTION_ARN [--plain]

Uses the caller's own AWS credentials and reads only (states:GetExecutionHistory, DescribeExecution,
ListExecutions, ListStateMachines). Redraws on a terminal; writes a line per finished step elsewhere.
Ends with the plan, if the execution was asked for one. Exit code 0 when the execution succeeded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO

import boto3

STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
"""The key of an execution's input by which AWS's console links it to its parent."""

SILENT = ("Choice", "Wait", "Pass", "Succeed", "Fail")
"""Kinds of states that are bookkeeping: they get no line."""

Event = Mapping[str, Any]


# What happened: pure


@dataclass
class Step:
    """One state of one execution; a state that is entered again (a poll) stays one step."""

    name: str
    began: datetime
    ended: datetime | None = None
    entered: int = 1
    failed: str = ""
    note: str = ""

    def seconds(self, now: datetime) -> float:
        """How long the step has run, or ran."""
        return ((self.ended or now) - self.began).total_seconds()


@dataclass
class Lane:
    """One execution and what its history says so far."""

    arn: str
    title: str
    parent: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    status: str = "RUNNING"
    seen: int = 0
    transitions: int = 0
    waits: int = 0
    """How many Wait states are going on."""
    steps: dict[str, Step] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    note: str = ""

    def read(self, events: Iterable[Event]) -> None:
        """Take in the events that are new; `events` may begin anywhere."""
        for event in events:
            if event["id"] > self.seen:
                self.seen = event["id"]
                self._take(event)

    def _take(self, event: Event) -> None:
        kind: str = event["type"]
        if kind.endswith("StateEntered"):
            self._entered(event)
        elif kind.endswith("StateExited"):
            self._exited(event)
        elif kind.startswith("Execution"):
            self._execution(event)
        elif kind.startswith(("Task", "LambdaFunction")):
            self._task(event)

    def _entered(self, event: Event) -> None:
        self.transitions += 1
        name = event["stateEnteredEventDetails"]["name"]
        kind = event["type"].removesuffix("StateEntered")
        if kind in SILENT:
            self.waits += kind == "Wait"
            return
        known = self.steps.get(name)
        if known is None:
            self.steps[name] = Step(name, event["timestamp"])
        else:
            known.ended, known.entered = None, known.entered + 1

    def _exited(self, event: Event) -> None:
        self.waits -= event["type"] == "WaitStateExited"
        step = self.steps.get(event["stateExitedEventDetails"]["name"])
        if step is not None:
            step.ended = event["timestamp"]

    def _execution(self, event: Event) -> None:
        if event["type"] == "ExecutionStarted":
            self.began = event["timestamp"]
            return
        self.ended = event["timestamp"]
        self.status = event["type"].removeprefix("Execution").upper()
        for step in self.steps.values():
            if step.ended is None:
                step.ended = event["timestamp"]
                step.failed = step.failed or self.status.lower()

    def _task(self, event: Event) -> None:
        submitted = event.get("taskSubmittedEventDetails", {})
        child = decoded(submitted.get("output")).get("ExecutionArn")
        if child and child not in self.children:
            self.children.append(child)
        note = told(event)
        if note:
            self.note = note


def decoded(text: str | None) -> dict[str, Any]:
    """A JSON object, or an empty one for anything else."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def told(event: Event) -> str:
    """What a task's result or failure says for a reader: its `detail`, or its error's `what`."""
    failure = event.get("taskFailedEventDetails") or event.get("lambdaFunctionFailedEventDetails")
    if failure:
        return f"{failure.get('error', '')}: {reason(failure.get('cause', ''))}"
    details = event.get("taskSucceededEventDetails") or event.get("lambdaFunctionSucceededEventDetails") or {}
    result = decoded(details.get("output"))
    payload = result.get("Payload", result)
    return said(payload) if isinstance(payload, dict) else ""


def said(payload: Mapping[str, Any]) -> str:
    """The sentence in a function's answer: its detail, or its status."""
    detail = payload.get("detail")
    return str(detail or payload.get("status") or "")


def reason(cause: str) -> str:
    """The first useful sentence of an error's cause, which may be JSON within JSON."""
    value: Any = cause
    for _ in range(4):
        if isinstance(value, str):
            parsed = decoded(value)
            if not parsed:
                break
            value = parsed
        value = (
            value.get("what") or value.get("errorMessage") or value.get("Cause") or value.get("cause") or ""
        )
    return str(value).strip().split("\n", 1)[0][:300]


def title_of(name: str, given: Mapping[str, Any]) -> str:
    """What a nested execution is about, from its input: its tier, its step and servers, its waves."""
    if "tier" in given:
        return f"tier {given['tier']}"
    if "step" in given:
        servers = given.get("servers", [])
        return f"{given['step']} on {', '.join(servers) if len(servers) <= 3 else f'{len(servers)} servers'}"
    if "waves" in given:
        return f"roll out {given.get('release', '')} in {len(given['waves'])} waves"
    return name


# How it looks: pure


def clock(seconds: float) -> str:
    """Seconds as a reader likes them: 4.2 s, 3 min 05 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def finished(
    lanes: Mapping[str, Lane], told_before: set[tuple[str, str, int]], now: datetime
) -> Iterator[str]:
    """A line for each step and nested execution that ended and was not told before."""
    for lane in lanes.values():
        for step in list(lane.steps.values()):
            key = (lane.arn, step.name, 0)
            if step.ended is None or key in told_before or quiet(lane, step, now):
                continue
            told_before.add(key)
            mark = "FAILED " if step.failed else ""
            polls = f" ({step.entered} times)" if step.entered > 1 else ""
            yield f"{lane.title:<28} {mark}{step.name}{polls}  {clock(step.seconds(step.ended))}"
        key = (lane.arn, "", 1)
        if lane.parent and lane.ended and lane.began and key not in told_before:
            told_before.add(key)
            note = f"  {lane.note}" if lane.note else ""
            length = clock((lane.ended - lane.began).total_seconds())
            yield f"{lane.title:<28} {lane.status.lower()} after {length}{note}"


def quiet(lane: Lane, step: Step, now: datetime) -> bool:
    """Steps without a line of their own: those of nested executions, and polls that may go on."""
    if lane.parent or step.ended is None:
        return True
    polls = step.name.startswith("Check") and lane.status == "RUNNING"
    return polls and (lane.waits > 0 or (now - step.ended).total_seconds() < 1)


def picture(lanes: Mapping[str, Lane], root: str, now: datetime, spinner: str) -> list[str]:
    """The whole release as lines for a terminal."""
    top = lanes[root]
    lines = [f"{top.title}  {top.status.lower()}  {clock(length(top, now))}  {count(lanes)} transitions"]
    for step in top.steps.values():
        lines.append(
            f"  {mark_of(step.ended is not None, step.failed, spinner)} {step.name:<24}"
            f" {clock(step.seconds(now)):>12}"
        )
    for lane in lanes.values():
        if lane.parent and (lane.status == "RUNNING" or lane.parent == root):
            lines.append(lane_line(lane, depth(lanes, lane, root), now, spinner))
    return lines


def fitting(lines: list[str], columns: int, rows: int) -> list[str]:
    """The lines that a terminal has room for: the first, and the last ones; none wraps."""
    chosen = lines if len(lines) <= rows else [lines[0], *lines[len(lines) - rows + 1 :]]
    return [line.rstrip()[:columns] for line in chosen]


def lane_line(lane: Lane, level: int, now: datetime, spinner: str) -> str:
    """One nested execution as a line."""
    bad = "" if lane.status in ("RUNNING", "SUCCEEDED") else lane.status
    running = ", ".join(step.name for step in lane.steps.values() if step.ended is None)
    mark = mark_of(lane.status != "RUNNING", bad, spinner)
    title = f"{'  ' * level}{mark} {lane.title}"
    return f"  {title:<28} {clock(length(lane, now)):>10}  {running} {lane.note}"


def mark_of(ended: bool, failed: str, spinner: str) -> str:
    """The sign in front of a line."""
    return "✗" if failed else "✓" if ended else spinner


def length(lane: Lane, now: datetime) -> float:
    """Seconds that an execution has run, or ran."""
    return ((lane.ended or now) - lane.began).total_seconds() if lane.began else 0.0


def depth(lanes: Mapping[str, Lane], lane: Lane, root: str) -> int:
    """How many executions stand between this one and the root."""
    level = 0
    while lane.parent and lane.parent != root and lane.parent in lanes:
        lane, level = lanes[lane.parent], level + 1
    return level


def count(lanes: Mapping[str, Lane]) -> int:
    """State transitions of all executions together, as AWS bills them (one a state entered)."""
    return sum(lane.transitions for lane in lanes.values())


# Asking AWS: effects


class Watcher:
    """Follows one execution and the executions that it starts."""

    def __init__(self, states: Any, arn: str) -> None:
        self.states = states
        self.root = arn
        described = states.describe_execution(executionArn=arn)
        self.machine: str = described["stateMachineArn"]
        self.since: datetime = described["startDate"]
        name = str(described["name"])
        given = decoded(described.get("input"))
        kind = "plan of release" if given.get("plan") is True else "release"
        self.lanes = {arn: Lane(arn, f"{kind} {given.get('release', {}).get('id', name)}")}
        self.others = self._nested_machines()
        self.strangers: set[str] = set()

    def poll(self) -> Lane:
        """Read what is new, everywhere. Returns the root's lane."""
        self._find_children()
        for lane in list(self.lanes.values()):
            if lane.status == "RUNNING":
                lane.read(self._new_events(lane))
                for child in lane.children:
                    self._adopt(child, lane.arn)
        return self.lanes[self.root]

    def transitions(self) -> int:
        """State transitions so far, nested executions included."""
        return count(self.lanes)

    def _new_events(self, lane: Lane) -> list[Event]:
        found: list[Event] = []
        pages = self.states.get_paginator("get_execution_history").paginate(
            executionArn=lane.arn, reverseOrder=True, PaginationConfig={"PageSize": 200}
        )
        for page in pages:
            found += page["events"]
            if any(event["id"] <= lane.seen for event in page["events"]):
                break
        return sorted(found, key=lambda event: int(event["id"]))

    def _nested_machines(self) -> list[str]:
        """State machines of the same stack: same name up to the last part."""
        prefix = self.machine.rsplit("-", 1)[0]
        pages = self.states.get_paginator("list_state_machines").paginate()
        arns = [str(machine["stateMachineArn"]) for page in pages for machine in page["stateMachines"]]
        return [arn for arn in arns if arn != self.machine and arn.startswith(prefix)]

    def _find_children(self) -> None:
        for machine in self.others:
            page = self.states.list_executions(stateMachineArn=machine, maxResults=50)
            for execution in page["executions"]:
                arn = execution["executionArn"]
                if execution["startDate"] < self.since or arn in self.lanes or arn in self.strangers:
                    continue
                described = self.states.describe_execution(executionArn=arn)
                parent = decoded(described.get("input")).get(STARTED_BY)
                if parent in self.lanes:
                    self._adopt(arn, str(parent), described)
                elif parent is None:
                    self.strangers.add(arn)

    def _adopt(self, arn: str, parent: str, described: Mapping[str, Any] | None = None) -> None:
        if arn in self.lanes:
            return
        known = described or self.states.describe_execution(executionArn=arn)
        title = title_of(str(known["name"]), decoded(known.get("input")))
        self.lanes[arn] = Lane(arn, title, parent=parent, began=known["startDate"])


def watch(
    states: Any,
    arn: str,
    out: TextIO = sys.stdout,
    plain: bool | None = None,
    every: float = 0.5,
    clock_now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
) -> Watcher:
    """Show the execution until it ends. `every`: seconds between polls. Returns the watcher."""
    watcher = Watcher(states, arn)
    screen = Lines(out) if plain or (plain is None and not out.isatty()) else Screen(out)
    while True:
        top = watcher.poll()
        screen.show(watcher, clock_now())
        if top.status != "RUNNING":
            return watcher
        time.sleep(every)


class Lines:
    """A line for each thing that ended: for logs."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.told: set[tuple[str, str, int]] = set()

    def show(self, watcher: Watcher, now: datetime) -> None:
        """Write what is new."""
        top = watcher.lanes[watcher.root]
        for line in finished(watcher.lanes, self.told, now):
            self.out.write(f"[{clock(length(top, now)):>12}] {line}\n")
        if top.status != "RUNNING":
            self.out.write(
                f"[{clock(length(top, now)):>12}] {top.title} {top.status.lower()}, "
                f"{watcher.transitions()} transitions\n"
            )
        self.out.flush()


class Screen:
    """Redraws the whole picture in place."""

    SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.height = 0
        self.turn = 0

    def show(self, watcher: Watcher, now: datetime) -> None:
        """Draw over what was drawn before."""
        self.turn += 1
        columns, rows = shutil.get_terminal_size((120, 50))
        spinner = self.SPINNER[self.turn % len(self.SPINNER)]
        lines = fitting(picture(watcher.lanes, watcher.root, now, spinner), columns - 1, rows - 1)
        up = f"\x1b[{self.height}F" if self.height else ""
        self.out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        self.out.flush()
        self.height = len(lines)


def plan_of(output: str | None) -> str:
    """The text of a plan, if the execution was asked for one; of any other output nothing."""
    answer = decoded(output)
    return f"\n{answer.get('text', '')}" if answer.get("plan") is True else ""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Shows a release as it goes.")
    parser.add_argument("execution", help="ARN of the execution")
    parser.add_argument("--plain", action="store_true", default=None, help="lines instead of a picture")
    arguments = parser.parse_args()
    states = boto3.client("stepfunctions")
    watcher = watch(states, arguments.execution, plain=arguments.plain, every=2)
    print(plan_of(states.describe_execution(executionArn=arguments.execution).get("output")), end="")
    return 0 if watcher.lanes[watcher.root].status == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main())
