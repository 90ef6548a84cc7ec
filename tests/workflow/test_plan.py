"""What a plan asks, and that it changes nothing: state by state, as the shipped definitions walk it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from slipway import plan as plans
from tests.workflow.engine import SHORT, Answer, Execution, Functions
from tests.workflow.fleet import OUTPUTS, always, fails, fleet, plan, previewed, request, then
from tests.workflow.test_release import release

PLANNED = ["ValidateInput", "PlanWanted?", "PreviewTiers", "Previewed?"]
REFUSED = ["ExplainFailure", "Begun?", "Clean?", "FailedClean"]
READS = {"ValidateInput", "PreviewTiers", "CheckServers", "Preflight", "WritePlan", "ExplainFailure"}
WRITTEN = ["PreflightPlan", "WritePlan"]


def planned(seconds: Mapping[str, str] | None = None, **overrides: Answer) -> tuple[Functions, Execution]:
    functions = fleet(**{"ValidateInput": always(request(plan=True)), **overrides})
    execution = release(functions, seconds=seconds)
    assert {name for name, _ in functions.calls} <= READS, "a plan changes nothing"
    return functions, execution


def test_a_plan_walks_exactly_these_states_and_its_answer_is_the_output() -> None:
    functions, execution = planned()
    assert execution.status == "SUCCEEDED"
    assert execution.path == [f"Release.{name}" for name in [*PLANNED, "CheckPlannedServers", *WRITTEN]]
    [given] = functions.payloads("WritePlan")
    assert [row["tier"] for row in given["previews"]["rows"]] == list(OUTPUTS)
    assert [wave["servers"] for wave in given["servers"]["waves"]] == [["i-1"], ["i-2"]]
    assert execution.output["plan"] is True


def test_a_plan_of_a_first_release_asks_no_servers() -> None:
    functions, execution = planned(PreviewTiers=lambda payload: {**previewed(payload), "outputs": {}})
    assert execution.of("Release") == [*PLANNED, *WRITTEN]
    assert functions.payloads("WritePlan")[0]["servers"] is None


def test_a_plan_without_its_servers_is_still_one() -> None:
    functions, execution = planned(CheckServers=fails("AwsRefused"))
    assert execution.status == "SUCCEEDED"
    assert functions.payloads("WritePlan")[0]["servers"] is None


def test_what_preflight_finds_stands_in_the_plan_and_ends_nothing() -> None:
    problem = {"check": "disk", "where": "i-1", "what": "is full", "next": "make room"}
    found = {"problems": [problem], "warnings": [], "servers": [{"server": "i-1", "result": None}]}
    functions, execution = planned(Preflight=always(found))
    assert execution.status == "SUCCEEDED"
    assert [call["refuse"] for call in functions.payloads("Preflight")] == [False]
    assert functions.payloads("WritePlan")[0]["preflight"] == {**found, "servers": []}


def test_a_plan_without_preflight_is_still_one() -> None:
    functions, execution = planned(Preflight=fails("AwsRefused"))
    assert execution.status == "SUCCEEDED"
    assert functions.payloads("WritePlan")[0]["preflight"] is None


def test_change_sets_are_waited_for() -> None:
    still = always({"status": "previewing", "rows": [], "outputs": {}, "detail": "computes web"})
    functions, execution = planned(PreviewTiers=then(still, previewed))
    again = ["WaitForPreviews", "PreviewTiers", "Previewed?"]
    assert execution.of("Release") == [*PLANNED, *again, "CheckPlannedServers", *WRITTEN]
    assert [call["discard"] for call in functions.payloads("PreviewTiers")] == [False, False]


def test_change_sets_that_never_end_are_given_up_and_deleted() -> None:
    still = {"status": "previewing", "rows": [], "outputs": {}, "detail": "CloudFormation still computes web"}
    functions, execution = planned(SHORT, PreviewTiers=always(still))
    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.of("Release")[-5:] == ["DiscardPreviews", *REFUSED]
    assert functions.payloads("PreviewTiers")[-1]["discard"] is True
    assert "still computes web" in functions.payloads("ExplainFailure")[0]["cause"]


@pytest.mark.parametrize("error", ["AwsRefused", "KeyError", "Sandbox.Timedout"])
def test_a_preview_that_fails_is_cleared_away_and_explained(error: str) -> None:
    discards: list[Any] = []

    def answer(payload: dict[str, Any]) -> Any:
        if payload["discard"]:
            discards.append(payload["execution"])
            return previewed(payload)
        return fails(error)(payload)

    functions, execution = planned(PreviewTiers=answer)
    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.of("Release") == [*PLANNED[:-1], "DiscardPreviews", *REFUSED]
    assert len(discards) == 1
    [explained] = functions.payloads("ExplainFailure")
    assert (explained["phase"], explained["error"]) == ("plan", error)


def test_what_cannot_be_cleared_away_does_not_hide_the_failure() -> None:
    functions, execution = planned(PreviewTiers=fails("AwsRefused"))
    assert execution.error == "FailedClean"
    assert functions.payloads("ExplainFailure")[0]["error"] == "AwsRefused"


def test_a_plan_that_cannot_be_written_is_explained() -> None:
    functions, execution = planned(WritePlan=fails("KeyError"))
    assert execution.error == "FailedClean"
    assert execution.of("Release")[-4:] == REFUSED


def test_a_release_hands_what_it_planned_to_its_receipt() -> None:
    def row(payload: dict[str, Any]) -> dict[str, Any]:
        change: dict[str, Any] = {
            "action": "Modify",
            "resource": "Thing",
            "type": "T",
            "replacement": "False",
        }
        change |= {"properties": ["Name"], "policy": "", "why": []}
        changed = plans.row(payload["tier"], f"slipway-arable-{payload['tier']}", "changed", [change])
        return {**plan(payload, "planned"), "row": changed}

    functions = fleet(PlanTier=row)
    execution = release(functions)
    assert execution.status == "SUCCEEDED", execution.cause
    [given] = [call["plan"] for call in functions.payloads("RecordRelease")]
    assert sorted(one["tier"] for one in given["tiers"]) == sorted(OUTPUTS)
    assert all(one["changes"][0]["resource"] == "Thing" for one in given["tiers"])
    assert given["waves"] == [{"servers": ["i-1"]}, {"servers": ["i-2"]}]
    assert given["strategy"] == "drain"


def test_a_release_that_failed_early_hands_on_what_it_knows() -> None:
    functions = fleet(CheckServers=fails("AwsRefused"))
    execution = release(functions)
    assert execution.error == "FailedClean"
    [given] = [call["plan"] for call in functions.payloads("RecordRelease")]
    assert [one["tier"] for one in given["tiers"]] == ["network"]
    assert (given["waves"], given["strategy"]) == ([], None)
