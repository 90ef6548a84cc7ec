"""What the live view of an execution makes of its history."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.watch import (
    Lane,
    Lines,
    Screen,
    Watcher,
    clock,
    finished,
    fitting,
    picture,
    plan_of,
    reason,
    title_of,
    told,
)

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def event(number: int, seconds: float, kind: str, **details: Any) -> dict[str, Any]:
    return {"id": number, "timestamp": at(seconds), "type": kind, **details}


def entered(number: int, seconds: float, name: str, kind: str = "Task") -> dict[str, Any]:
    return event(number, seconds, f"{kind}StateEntered", stateEnteredEventDetails={"name": name})


def exited(number: int, seconds: float, name: str, kind: str = "Task") -> dict[str, Any]:
    return event(number, seconds, f"{kind}StateExited", stateExitedEventDetails={"name": name})


def succeeded(number: int, seconds: float, payload: Any) -> dict[str, Any]:
    output = json.dumps({"StatusCode": 200, "Payload": payload})
    return event(number, seconds, "TaskSucceeded", taskSucceededEventDetails={"output": output})


def failed(number: int, seconds: float, error: str, cause: str) -> dict[str, Any]:
    return event(number, seconds, "TaskFailed", taskFailedEventDetails={"error": error, "cause": cause})


POLLING = [
    event(1, 0, "ExecutionStarted"),
    entered(2, 0, "CheckTier"),
    succeeded(3, 1, {"status": "in_progress", "detail": "3 of 9 resources"}),
    exited(4, 1, "CheckTier"),
    entered(5, 1, "Wait", "Wait"),
    exited(6, 6, "Wait", "Wait"),
    entered(7, 6, "CheckTier"),
    succeeded(8, 8, {"status": "complete"}),
    exited(9, 8, "CheckTier"),
    event(10, 8, "ExecutionSucceeded"),
]


def lane_of(events: list[dict[str, Any]], **more: Any) -> Lane:
    lane = Lane("arn:root", "release 1", **more)
    lane.read(events)
    return lane


def test_a_poll_stays_one_step_and_waits_get_no_line() -> None:
    lane = lane_of(POLLING)
    assert list(lane.steps) == ["CheckTier"]
    assert lane.steps["CheckTier"].entered == 2
    assert lane.steps["CheckTier"].seconds(at(99)) == 8
    assert lane.status == "SUCCEEDED"


def test_every_state_entered_is_a_transition() -> None:
    assert lane_of(POLLING).transitions == 3


def test_events_are_taken_in_once_however_often_they_are_read() -> None:
    lane = lane_of(POLLING[:5])
    lane.read(POLLING)
    lane.read(POLLING)
    assert lane.transitions == 3


def test_what_is_open_when_an_execution_fails_has_failed() -> None:
    lane = lane_of(
        [
            event(1, 0, "ExecutionStarted"),
            entered(2, 0, "Stage"),
            entered(3, 0, "DeployDatabase"),
            event(4, 9, "ExecutionFailed"),
        ]
    )
    assert {step.failed for step in lane.steps.values()} == {"failed"}
    assert all(step.ended == at(9) for step in lane.steps.values())


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        (succeeded(1, 0, {"status": "waiting", "detail": "0 of 2 servers"}), "0 of 2 servers"),
        (succeeded(1, 0, {"status": "drained"}), "drained"),
        (succeeded(1, 0, {"status": "planned", "detail": "2 changes"}), "2 changes"),
        (succeeded(1, 0, None), ""),
        (failed(1, 0, "TierFailed", "no JSON at all"), "TierFailed: no JSON at all"),
        (
            failed(
                1, 0, "TierFailed", json.dumps({"errorMessage": json.dumps({"what": "No subnet.\nMore"})})
            ),
            "TierFailed: No subnet.",
        ),
        (event(1, 0, "TaskScheduled"), ""),
    ],
)
def test_what_a_task_tells(happened: dict[str, Any], said: str) -> None:
    assert told(happened) == said


def test_a_cause_that_nests_for_ever_is_cut() -> None:
    cause = json.dumps({"Cause": json.dumps({"Cause": json.dumps({"what": "The last word"})})})
    assert reason(cause) == "The last word"
    assert reason("x" * 1000) == "x" * 300


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"tier": "load_balancer", "environment": {}}, "tier load_balancer"),
        ({"step": "stage", "servers": ["i-1", "i-2"]}, "stage on i-1, i-2"),
        ({"step": "stage", "servers": ["i-1"] * 200}, "stage on 200 servers"),
        ({"waves": [["i-1"], ["i-2"]], "release": "7"}, "roll out 7 in 2 waves"),
        ({}, "some-name"),
    ],
)
def test_a_nested_execution_is_named_by_what_it_is_about(given: dict[str, Any], title: str) -> None:
    assert title_of("some-name", given) == title


@pytest.mark.parametrize(("seconds", "text"), [(4.25, "4.2 s"), (59.9, "59.9 s"), (185, "3 min 05 s")])
def test_lengths_are_readable(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_line_for_each_thing_that_ended_and_never_twice() -> None:
    root = lane_of(POLLING)
    nested = Lane("arn:tier", "tier network", parent="arn:root", began=BEGAN)
    nested.read([entered(1, 0, "PlanTier"), exited(2, 3, "PlanTier"), event(3, 4, "ExecutionSucceeded")])
    before: set[tuple[str, str, int]] = set()
    lines = list(finished({"arn:root": root, "arn:tier": nested}, before, at(9)))
    assert [line.split() for line in lines] == [
        ["release", "1", "CheckTier", "(2", "times)", "8.0", "s"],
        ["tier", "network", "succeeded", "after", "4.0", "s"],
    ]
    assert list(finished({"arn:root": root, "arn:tier": nested}, before, at(9))) == []


def test_a_poll_is_told_once_it_does_not_go_on() -> None:
    def lines(events: list[dict[str, Any]], now: float) -> list[str]:
        return list(finished({"arn:root": lane_of(events)}, set(), at(now)))

    assert lines(POLLING[:4], 1.5) == []
    assert lines(POLLING[:5], 5) == []
    assert lines(POLLING[:9], 8.5) == []
    assert len(lines(POLLING[:9], 9.5)) == 1


def test_the_picture_shows_what_runs_and_how_long() -> None:
    root = lane_of(POLLING[:2])
    nested = Lane("arn:tier", "tier network", parent="arn:root", began=BEGAN)
    nested.read([entered(1, 0, "PlanTier")])
    lines = picture({"arn:root": root, "arn:tier": nested}, "arn:root", at(5), "*")
    assert lines[0] == "release 1  running  5.0 s  2 transitions"
    assert lines[1].split() == ["*", "CheckTier", "5.0", "s"]
    assert lines[2].split() == ["*", "tier", "network", "5.0", "s", "PlanTier"]


class States:
    """Step Functions with two executions in it: a release and the tier that it deploys."""

    ROOT = "arn:aws:states:eu-central-1:0:execution:slipway-release:r"
    CHILD = "arn:aws:states:eu-central-1:0:execution:slipway-deploy-tier:r-network"
    OTHER = "arn:aws:states:eu-central-1:0:execution:slipway-deploy-tier:of-somebody-else"
    MACHINE = "arn:aws:states:eu-central-1:0:stateMachine:slipway-"

    def __init__(self) -> None:
        self.histories = {
            self.ROOT: [event(1, 0, "ExecutionStarted"), entered(2, 0, "DeployNetwork")],
            self.CHILD: [event(1, 1, "ExecutionStarted"), entered(2, 1, "PlanTier")],
        }

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        parent = {self.CHILD: self.ROOT, self.OTHER: "arn:another"}.get(executionArn)
        given = (
            {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": parent, "tier": "network"}
            if parent
            else {"release": {"id": "7"}}
        )
        return {
            "stateMachineArn": f"{self.MACHINE}release",
            "startDate": BEGAN,
            "name": "r",
            "input": json.dumps(given),
        }

    def list_executions(self, stateMachineArn: str, maxResults: int) -> dict[str, Any]:
        arns = [self.CHILD, self.OTHER] if stateMachineArn.endswith("deploy-tier") else []
        return {"executions": [{"executionArn": arn, "startDate": at(1)} for arn in arns]}

    def get_paginator(self, operation: str) -> Any:
        return Pages(self, operation)


class Pages:
    def __init__(self, states: States, operation: str) -> None:
        self.states, self.operation = states, operation

    def paginate(self, executionArn: str = "", **_more: Any) -> list[dict[str, Any]]:
        if self.operation == "list_state_machines":
            names = ("release", "deploy-tier")
            return [{"stateMachines": [{"stateMachineArn": self.states.MACHINE + name} for name in names]}]
        return [{"events": list(reversed(self.states.histories[executionArn]))}]


def test_nested_executions_are_found_and_others_left_alone() -> None:
    states = States()
    watcher = Watcher(states, states.ROOT)
    top = watcher.poll()
    assert top.title == "release 7"
    assert set(watcher.lanes) == {states.ROOT, states.CHILD}
    assert watcher.lanes[states.CHILD].title == "tier network"
    assert watcher.transitions() == 2


def test_a_terminal_is_redrawn_in_place_and_a_log_is_not() -> None:
    states = States()
    watcher = Watcher(states, states.ROOT)
    watcher.poll()
    drawn, written = io.StringIO(), io.StringIO()
    screen, lines = Screen(drawn), Lines(written)
    for _ in range(2):
        screen.show(watcher, at(3))
        lines.show(watcher, at(3))
    assert drawn.getvalue().count("\x1b[3F") == 1
    assert written.getvalue() == ""
    states.histories[states.ROOT] += [exited(3, 4, "DeployNetwork"), event(4, 4, "ExecutionSucceeded")]
    watcher.poll()
    lines.show(watcher, at(4))
    assert written.getvalue().splitlines()[-1].endswith("release 7 succeeded, 2 transitions")


def test_no_line_wraps_and_the_first_stays_when_there_are_too_many() -> None:
    lines = ["head", *[f"line {number}" for number in range(9)]]
    assert fitting(lines, 4, 3) == ["head", "line", "line"]
    assert fitting(lines, 6, 3) == ["head", "line 7", "line 8"]
    assert fitting(lines, 80, 10) == lines


def test_a_plan_is_shown_as_its_text_and_a_receipt_is_not() -> None:
    assert plan_of(json.dumps({"plan": True, "text": "arable: release 7\n"})) == "\narable: release 7\n"
    assert plan_of(json.dumps({"plan": {"text": "what was done"}, "ending": "Succeeded"})) == ""
    assert plan_of(None) == ""
