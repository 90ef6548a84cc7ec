"""Every ending of a new server's joining: the shipped definition, fakes at the Lambda boundary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workflow.engine import Engine, Execution, Functions, Stop
from tests.workflow.fleet import (
    always,
    fails,
    fleet,
    join,
    launched,
    ready,
    reported,
    running,
    succeeded,
    then,
)

WHOLE = [
    *("PlanJoin", "Planned?", "CheckNewcomer", "Online?"),
    *(("StartJoinCommand", "StepEnded?") * 4),
    *("PlanAgain", "Planned?", "CompleteJoin", "Completed?", "Joined"),
]
ABANDONED = ["CompleteAfterFailure", "Completed?", "NotifyAbandoned", "Abandoned"]


def joined(functions: Functions, **seconds: str) -> Execution:
    engine = Engine(functions, as_on_aws=True, seconds=seconds)
    with engine.running():
        return engine.run(launched(), "JoinHost")


def abandoned(functions: Functions, **seconds: str) -> dict[str, Any]:
    """What was told of a server that was abandoned, as CompleteJoin was told it."""
    execution = joined(functions, **seconds)
    assert execution.status == "FAILED"
    assert execution.of("JoinHost")[-4:] == ABANDONED
    [told] = functions.payloads("Notify")
    assert (told["event"], told["environment"]) == ("server abandoned", "arable")
    [completed] = [one for one in functions.payloads("CompleteJoin") if one["failure"]]
    return dict(completed["failure"])


def test_a_new_server_takes_what_is_recorded() -> None:
    functions = fleet()
    execution = joined(functions)
    assert execution.status == "SUCCEEDED"
    assert execution.of("JoinHost") == WHOLE
    assert len(WHOLE) == 17
    sent = functions.payloads("StartJoinCommand")
    assert [one["step"] for one in sent] == ["stage", "configure", "activate", "report"]
    assert len({one["token"] for one in sent}) == 4
    assert [one["given"] for one in functions.payloads("PlanJoin")] == [None, join("ready")["of"]]
    assert functions.payloads("CompleteJoin") == [{"action": launched()["detail"], "failure": None}]
    assert functions.payloads("Notify") == []


@pytest.mark.parametrize("status", ["doubled", "gone", "unknown"])
def test_a_server_that_is_nobody_s_business_is_left_alone(status: str) -> None:
    functions = fleet(PlanJoin=always(join(status)))
    assert joined(functions).of("JoinHost") == ["PlanJoin", "Planned?", "NothingToDo"]
    assert functions.payloads("CompleteJoin") == []


def test_before_the_first_release_a_server_comes_into_service_as_it_is() -> None:
    functions = fleet(PlanJoin=always({"status": "unreleased", "release": None, "of": None, "steps": []}))
    assert joined(functions).of("JoinHost") == [
        "PlanJoin",
        "Planned?",
        "CompleteJoin",
        "Completed?",
        "Joined",
    ]


def test_during_a_release_it_waits_for_the_outcome() -> None:
    waits = always(join("waiting"))
    new = always(join("wanted", "r2"))
    functions = fleet(
        PlanJoin=then(waits, waits, new, always(join("ready", "r2"))),
        StartJoinCommand=lambda payload: reported(succeeded({**payload, "servers": ["i-3"]}), "r2"),
    )
    execution = joined(functions)
    assert execution.of("JoinHost")[:8] == [
        *("PlanJoin", "Planned?", "WaitForRelease", "PlanAgain", "Planned?", "WaitForRelease"),
        *("PlanAgain", "Planned?"),
    ]
    assert execution.status == "SUCCEEDED"
    staged = functions.payloads("StartJoinCommand")[1]["parameters"]
    assert staged["Release"] == "r2"


def test_when_another_release_has_won_meanwhile_it_takes_that_as_well() -> None:
    functions = fleet(
        PlanJoin=then(
            always(join("wanted")),
            always(join("waiting")),
            always(join("wanted", "r2")),
            always(join("ready", "r2")),
        ),
        StartJoinCommand=lambda payload: reported(
            succeeded({**payload, "servers": ["i-3"]}),
            "r2" if len(functions.payloads("StartJoinCommand")) > 4 else "r1",
        ),
    )
    assert joined(functions).status == "SUCCEEDED"
    sent = functions.payloads("StartJoinCommand")
    activated = [one["parameters"]["Release"] for one in sent if one["step"] == "activate"]
    assert activated == ["r1", "r2"]
    assert len({one["token"] for one in sent}) == 8
    [completed] = functions.payloads("CompleteJoin")
    assert completed["failure"] is None


def test_a_release_that_is_not_over_in_time() -> None:
    failure = abandoned(fleet(PlanJoin=always(join("waiting"))), ReleaseSeconds="0.3")
    assert failure["Error"] == "DeadlinePassed"


def test_an_agent_that_never_comes_online() -> None:
    silent = always({"status": "waiting", "detail": "nobody has heard of it"})
    failure = abandoned(fleet(CheckNewcomer=silent), AgentSeconds="0.3")
    assert failure["Error"] == "DeadlinePassed"
    assert "nobody has heard of it" in json.loads(failure["Cause"])["what"]


def test_an_agent_that_takes_a_while() -> None:
    waits, online = always({"status": "waiting", "detail": ""}), always({"status": "online", "detail": ""})
    execution = joined(fleet(CheckNewcomer=then(waits, online)))
    assert execution.status == "SUCCEEDED"
    assert "WaitForNewcomer" in execution.of("JoinHost")


def test_a_step_that_takes_a_while() -> None:
    functions = fleet(
        StartJoinCommand=running, CheckCommand=lambda payload: reported(succeeded(payload), "r1")
    )
    execution = joined(functions)
    assert execution.status == "SUCCEEDED"
    assert execution.of("JoinHost").count("WaitForStep") == 4
    assert functions.payloads("CheckCommand")[0]["servers"] == ["i-3"]


def test_a_step_that_never_ends() -> None:
    plan = join("wanted")
    plan["steps"] = [{**step, "seconds": 0} for step in plan["steps"]]
    functions = fleet(PlanJoin=always(plan), StartJoinCommand=running, CheckCommand=running)
    failure = abandoned(functions, DeliverySeconds="0.3")
    assert failure["Error"] == "DeadlinePassed"
    assert "step stage" in json.loads(failure["Cause"])["what"]


def test_a_step_that_fails() -> None:
    failure = abandoned(fleet(StartJoinCommand=fails("CommandFailed", "stage failed on i-3: no artifact")))
    assert failure["Error"] == "CommandFailed"
    assert "no artifact" in failure["Cause"]


def test_a_server_that_reports_another_release() -> None:
    other = fleet(StartJoinCommand=lambda payload: reported(succeeded({**payload, "servers": ["i-3"]}), "r0"))
    failure = abandoned(other)
    assert failure["Error"] == "VerificationFailed"
    assert json.loads(failure["Cause"])["what"] == "it reports release r0 instead of r1"


@pytest.mark.parametrize("function", ["PlanJoin", "CheckNewcomer", "StartJoinCommand"])
def test_a_call_that_aws_refuses(function: str) -> None:
    assert abandoned(fleet(**{function: fails("AwsRefused")}))["Error"] == "AwsRefused"


def test_a_completion_that_aws_refuses_is_told() -> None:
    """The hook's own time-out ends the server."""
    functions = fleet(CompleteJoin=fails("AwsRefused"))
    execution = joined(functions)
    assert (execution.status, execution.error) == ("FAILED", "AwsRefused")
    assert execution.of("JoinHost")[-4:] == [
        *("CompleteJoin", "CompleteAfterFailure", "NotifyAbandoned", "Abandoned")
    ]
    [told] = functions.payloads("Notify")
    assert told["detail"]["server"] == "i-3"
    assert "75 minutes after its last heartbeat" in told["detail"]["next"]


@pytest.mark.parametrize(
    ("status", "end"), [("left", "LeftToTheRelease"), ("gone", "NothingToDo")], ids=["left", "gone"]
)
def test_a_failure_that_is_nobody_s_concern(status: str, end: str) -> None:
    functions = fleet(
        CheckNewcomer=fails("AwsRefused"), CompleteJoin=always({"status": status, "error": "AwsRefused"})
    )
    execution = joined(functions)
    assert execution.status == "SUCCEEDED"
    assert execution.of("JoinHost")[-3:] == ["CompleteAfterFailure", "Completed?", end]
    assert functions.payloads("Notify") == []


def test_whoever_cannot_be_told_changes_nothing() -> None:
    functions = fleet(StartJoinCommand=fails("CommandFailed"), Notify=fails("RuntimeError"))
    execution = joined(functions)
    assert execution.of("JoinHost")[-1] == "Abandoned"
    assert execution.error is not None


def test_a_release_waits_for_a_server_that_joins_as_long_as_that_may_take() -> None:
    joining = {
        "status": "waiting",
        "servers": [],
        "waves": [],
        "drainWaves": [],
        "detail": "i-3 is Pending:Wait",
    }
    comes = always({**joining, "joining": True})
    for seconds, status in (({"JoinSeconds": "600"}, "SUCCEEDED"), ({"JoinSeconds": "-600"}, "FAILED")):
        functions = fleet(CheckServers=then(comes, comes, ready("i-1", "i-2", "i-3")))
        engine = Engine(functions, as_on_aws=True, seconds={"ServersSeconds": "-600", **seconds})
        with engine.running():
            execution = engine.run({})
        assert execution.status == status
        assert (len(functions.payloads("CheckServers")) == 3) == (status == "SUCCEEDED")


def test_a_stopped_execution_leaves_the_server_to_the_hook() -> None:
    functions = fleet()
    engine = Engine(functions, as_on_aws=True)
    with engine.running():
        engine.inject(Stop("JoinHost.StepEnded?"))
        execution = engine.run(launched(), "JoinHost")
    assert execution.status == "ABORTED"
    assert functions.payloads("CompleteJoin") == []
