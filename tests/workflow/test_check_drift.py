"""The check for drift, path by path: the shipped machine, with fake functions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.shipped import machines, template
from tests.workflow.engine import SHORT, Engine, Execution, Functions
from tests.workflow.fleet import NOTHING, always, fails, fleet, recorded, then, when

LOOKS = {
    *("DetectDrift", "CheckStacks", "StacksLooked?", "WaitForStacks", "Stacks", "StacksTimedOut"),
    *("AskServers", "CheckReports", "ReportsHeard?", "WaitForReports", "Reports", "ReportsTimedOut"),
    "CheckStanding",
}
BEGIN = ["BeginCheck", "Begun?", "LookEverywhere"]
QUIET = [*BEGIN, "RecordDrift", "News?", "Checked"]

both = pytest.mark.parametrize("as_on_aws", [True, False], ids=["as on AWS", "as emulated"])


def check(
    functions: Functions,
    given: Any = None,
    *,
    as_on_aws: bool = True,
    seconds: dict[str, str] | None = None,
) -> Execution:
    asked = {"environment": "arable"} if given is None else given
    with Engine(functions, as_on_aws=as_on_aws, seconds=seconds).running() as engine:
        return engine.run(asked, "CheckDrift")


def spine(execution: Execution, of: str = "CheckDrift") -> list[str]:
    """The states of an execution, but for those of the looks, which go on beside each other."""
    return [state for state in execution.of(of) if state not in LOOKS]


def test_a_check_that_finds_nothing_new_takes_15_transitions_and_tells_nobody() -> None:
    functions = fleet()
    execution = check(functions)
    assert execution.status == "SUCCEEDED"
    assert spine(execution) == QUIET
    assert len(execution.path) == 15
    assert execution.output == {
        "environment": "arable",
        "status": "clean",
        "counts": {"high": 0, "medium": 0, "low": 0},
        "report": "s3://artifacts/drift/arable/latest.json",
    }
    assert functions.payloads("Notify") == []


def test_what_the_looks_saw_is_recorded_with_what_the_check_began_with() -> None:
    functions = fleet(CheckStanding=always({**NOTHING, "certificateDays": 12}))
    check(functions)
    [payload] = functions.payloads("RecordDrift")
    assert payload["begun"]["fence"] == 1
    assert payload["infrastructure"] == {"status": "looked", **NOTHING, "stacks": [], "ignored": []}
    assert payload["servers"] == {"status": "heard", **NOTHING, "servers": []}
    assert payload["standing"] == {**NOTHING, "certificateDays": 12}
    assert payload["execution"]["arn"].endswith(":test")


@pytest.mark.parametrize(
    ("found", "gone", "told"),
    [
        (True, False, ["drift found"]),
        (False, True, ["drift gone"]),
        (True, True, ["drift found", "drift gone"]),
    ],
)
def test_news_is_told_in_one_message_each_and_that_is_remembered(
    found: bool, gone: bool, told: list[str]
) -> None:
    functions = fleet(RecordDrift=always(recorded(found, gone)))
    execution = check(functions)
    assert execution.status == "SUCCEEDED"
    assert execution.output["status"] == ("drift" if found else "clean")
    assert [payload["event"] for payload in functions.payloads("Notify")] == told
    assert spine(execution)[-3:] == ["RecordAnnounced", "Remedy?", "Checked"]
    [payload] = functions.payloads("RecordAnnounced")
    assert payload["environment"] == "arable"


def test_news_of_which_nobody_can_be_told_fails_the_check_and_is_not_noted_as_told() -> None:
    functions = fleet(RecordDrift=always(recorded(True)), Notify=fails("AwsRefused"))
    execution = check(functions)
    assert (execution.status, execution.error) == ("FAILED", "AwsRefused")
    assert functions.payloads("RecordAnnounced") == []


@pytest.mark.parametrize("status", ["postponed", "nothing"])
def test_a_check_that_cannot_be_made_now_looks_at_nothing(status: str) -> None:
    answer = {"status": status, "environment": "arable", "detail": "somebody changes it"}
    execution = check(fleet(BeginCheck=always(answer)))
    assert execution.status == "SUCCEEDED"
    assert execution.of("CheckDrift") == ["BeginCheck", "Begun?", "NotChecked"]
    assert execution.output == answer


def test_a_check_that_was_overtaken_by_a_release_says_so_and_tells_nobody() -> None:
    answer = {**recorded(), "status": "postponed", "counts": None, "report": None}
    functions = fleet(RecordDrift=always(answer))
    execution = check(functions)
    assert execution.output == {
        "environment": "arable",
        "status": "postponed",
        "counts": None,
        "report": None,
    }
    assert functions.payloads("Notify") == []


def test_what_has_not_ended_is_waited_for() -> None:
    waiting = {"status": "waiting", **NOTHING}
    functions = fleet(
        CheckStacks=then(
            always({**waiting, "stacks": [], "ignored": []}),
            always({"status": "looked", **NOTHING, "stacks": [], "ignored": []}),
        ),
        CheckReports=then(
            always({**waiting, "servers": []}),
            always({**waiting, "servers": []}),
            always({"status": "heard", **NOTHING, "servers": []}),
        ),
    )
    execution = check(functions)
    assert spine(execution) == QUIET
    assert execution.of("CheckDrift").count("WaitForStacks") == 1
    assert execution.of("CheckDrift").count("WaitForReports") == 2
    first, second = functions.payloads("DetectDrift")
    assert first["detections"] == []
    assert len(second["detections"]) == 6


@pytest.mark.parametrize(
    ("function", "rest", "seconds"),
    [
        ("CheckStacks", {"stacks": [], "ignored": []}, "DetectionSeconds"),
        ("CheckReports", {"servers": []}, "ReportSeconds"),
    ],
)
def test_what_never_ends_fails_the_check(function: str, rest: dict[str, Any], seconds: str) -> None:
    functions = fleet(**{function: always({"status": "waiting", **NOTHING, **rest})})
    execution = check(functions, seconds={seconds: SHORT[seconds]})
    assert (execution.status, execution.error) == ("FAILED", "DeadlinePassed")
    assert {"what", "where", "next"} <= execution.cause.keys()
    assert functions.payloads("RecordDrift") == []


@pytest.mark.parametrize(
    "function", ["DetectDrift", "CheckStacks", "AskServers", "CheckReports", "CheckStanding"]
)
def test_a_look_that_is_refused_fails_the_check_and_nothing_is_recorded(function: str) -> None:
    functions = fleet(**{function: fails("AwsRefused")})
    execution = check(functions)
    assert (execution.status, execution.error) == ("FAILED", "AwsRefused")
    assert functions.payloads("RecordDrift") == []


# --- many environments ------------------------------------------------------------------------------------


@both
def test_without_a_name_every_released_environment_has_a_check_of_its_own(as_on_aws: bool) -> None:
    execution = check(fleet(), {}, as_on_aws=as_on_aws)
    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.output == [
        {"environment": "arable", "status": "clean"},
        {"environment": "meadow", "status": "clean"},
    ]
    assert sorted(execution.machines()) == ["CheckDrift", "CheckDrift/arable", "CheckDrift/meadow"]
    assert spine(execution, "CheckDrift/arable") == QUIET


@both
def test_one_that_cannot_be_checked_keeps_no_other_from_it_and_is_named(as_on_aws: bool) -> None:
    broken = when(
        lambda payload: payload["begun"]["environment"] == "arable", fails("AwsRefused"), always(recorded())
    )
    functions = fleet(RecordDrift=broken)
    execution = check(functions, {}, as_on_aws=as_on_aws)
    assert (execution.status, execution.error) == ("FAILED", "CheckFailed")
    assert "arable" in execution.cause["what"]
    assert "meadow" not in execution.cause["what"]
    assert spine(execution, "CheckDrift/meadow") == QUIET


def test_nothing_released_is_nothing_to_check() -> None:
    execution = check(fleet(BeginCheck=always({"status": "many", "environments": []})), {})
    assert execution.status == "SUCCEEDED"
    assert execution.output == []


def test_one_environment_alone_is_checked_as_several_are() -> None:
    begin = when(
        lambda payload: "environment" in payload["input"],
        fleet().answers["BeginCheck"],
        always({"status": "many", "environments": ["arable"]}),
    )
    execution = check(fleet(BeginCheck=begin), {})
    assert execution.output == [{"environment": "arable", "status": "clean"}]


# --- what starts it ---------------------------------------------------------------------------------------


def test_it_is_started_on_a_schedule_and_by_the_end_of_every_release() -> None:
    events = machines()["CheckDrift"]["Events"]
    assert events["Scheduled"]["Type"] == "ScheduleV2"
    assert events["Scheduled"]["Properties"]["ScheduleExpression"] == {"Ref": "DriftSchedule"}
    assert json.loads(events["Scheduled"]["Properties"]["Input"]) == {}
    assert template()["Parameters"]["DriftSchedule"]["Default"] == "rate(1 day)"
    assert events["ReleaseEnded"]["Properties"]["Pattern"] == {
        "source": ["slipway"],
        "detail-type": ["succeeded", "failed clean", "failed dirty"],
    }


REMEDY = {"environment": "arable", "release": {"id": "current"}, "remedy": True}


@pytest.mark.parametrize("news", [True, False], ids=["told", "told before"])
@both
def test_a_remedy_is_one_release_that_nobody_waits_for(news: bool, as_on_aws: bool) -> None:
    functions = fleet(RecordDrift=always(recorded(found=news, remedy=True)))
    with Engine(functions, as_on_aws=as_on_aws).running() as engine:
        execution = engine.run({"environment": "arable", "remedy": True}, "CheckDrift")
        engine.settle()
        started = json.loads(engine.described(engine.arn("Release", "test-remedy"))["input"])
    told = ["NotifyFound", "Gone?", "RecordAnnounced", "Remedy?"] if news else []
    assert spine(execution) == [*BEGIN, "RecordDrift", "News?", *told, "StartRemedy", "Checked"]
    assert execution.status == "SUCCEEDED"
    assert execution.output["report"] == "s3://artifacts/drift/arable/latest.json"
    assert started == REMEDY
    [payload] = functions.payloads("RecordDrift")
    assert payload["begun"]["remedy"] == "asked"


def test_news_without_a_remedy_start_nothing() -> None:
    functions = fleet(RecordDrift=always(recorded(found=True)))
    execution = check(functions)
    assert spine(execution)[-3:] == ["RecordAnnounced", "Remedy?", "Checked"]
