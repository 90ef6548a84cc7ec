"""Releases of an environment whose tiers stand, or do not: compared, planned and changed by the shipped code,
in an estate whose stacks have templates, parameters and tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway import tiers
from slipway.aws import cloudformation
from slipway.errors import AwsRefused
from tests.workflow.engine import Engine, Execution
from tests.workflow.estate import Estate
from tests.workflow.fleet import OUTPUTS, request

DEPENDENT = {"network", "database", "web", "load_balancer"}


@pytest.fixture
def estate(monkeypatch: pytest.MonkeyPatch) -> Estate:
    return Estate(monkeypatch)


def released(estate: Estate) -> Execution:
    engine = Engine(estate.functions(), as_on_aws=True, pause=0)
    with engine.running():
        estate.on(engine)
        execution = engine.run({"environment": "arable"})
    assert execution.status == "SUCCEEDED", execution.cause
    assert estate.releases() == {"r2"}
    assert not estate.dark
    return execution


def planned(execution: Execution) -> set[str]:
    """The tiers for which there was an execution of deploy_tier."""
    children = [machine.partition("/")[2] for machine in execution.machines() if "DeployTier/" in machine]
    return {name.replace("-", "_") for name in children}


def applied(execution: Execution) -> set[str]:
    return {tier for tier in planned(execution) if "ApplyTier" in execution.of(_child(tier))}


def _child(tier: str) -> str:
    return f"DeployTier/{tier.replace('_', '-')}"


def rows(estate: Estate) -> dict[str, str]:
    """The receipt's tiers, and what it says of each."""
    receipt: Any = estate.receipt("test")
    return {row["tier"]: row["status"] for row in receipt["plan"]["tiers"]}


def test_with_unchanged_infrastructure_no_tier_is_planned(estate: Estate) -> None:
    execution = released(estate)
    assert planned(execution) == set()
    assert estate.change_sets == {}
    assert rows(estate) == dict.fromkeys(OUTPUTS, "unchanged")


@pytest.mark.parametrize("tier", ["certificate", "database", "storage", "load_balancer"])
def test_a_tier_of_which_something_else_is_asked_is_deployed_alone(estate: Estate, tier: str) -> None:
    estate.sizes[tier] = "2"
    execution = released(estate)
    expected = {tier, "load_balancer"} if tier == "certificate" else {tier}
    assert planned(execution) == expected
    assert applied(execution) == {tier}
    assert rows(estate) == {**dict.fromkeys(OUTPUTS, "unchanged"), tier: "changed"}


@pytest.mark.parametrize(("tier", "more"), [("network", DEPENDENT), ("web", {"web", "load_balancer"})])
def test_what_builds_on_a_tier_that_is_changed_is_planned_and_not_changed_for_nothing(
    estate: Estate, tier: str, more: set[str]
) -> None:
    estate.sizes[tier] = "2"
    execution = released(estate)
    assert planned(execution) == more
    assert applied(execution) == {tier}


@pytest.mark.parametrize("part", ["version", "given", "tags"])
def test_a_stack_that_somebody_changed_is_put_back(estate: Estate, part: str) -> None:
    """Its template, a parameter, a tag."""
    by_hand = {
        "version": "by hand",
        "given": {**estate.parameters("storage", {}), "Size": "9"},
        "tags": {**tiers.tags("arable", "storage"), "team": "b"},
    }
    estate.by_hand("storage", **{part: by_hand[part]})
    execution = released(estate)
    assert planned(execution) == applied(execution) == {"storage"}
    stack = estate.stacks["slipway-arable-storage"]
    assert (stack["version"], stack["given"], stack["tags"]) == (
        *("1", estate.parameters("storage", {})),
        tiers.tags("arable", "storage"),
    )


def test_a_stack_that_cloudformation_is_at_is_waited_for(estate: Estate) -> None:
    estate.looks = 1
    estate.by_hand("storage", status="UPDATE_IN_PROGRESS", at="1")
    execution = released(estate)
    assert planned(execution) == {"storage"}
    assert "WaitForTier" in execution.of(_child("storage"))
    assert execution.of(_child("storage"))[-1] == "Unchanged"


def test_what_is_left_of_a_change_that_was_rolled_back_is_planned(estate: Estate) -> None:
    estate.by_hand("storage", status="UPDATE_ROLLBACK_COMPLETE")
    assert planned(released(estate)) == {"storage"}


def test_a_remedy_plans_every_tier(estate: Estate) -> None:
    estate.wanted = request(remedy=True)
    assert planned(released(estate)) == set(OUTPUTS)


def test_templates_that_may_not_be_read_keep_no_release_from_its_end(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_stack: str) -> str:
        raise AwsRefused("AccessDenied: is not authorized to perform that", "GetTemplate", "see why")

    monkeypatch.setattr(cloudformation, "template", refuses)
    execution = released(estate)
    assert planned(execution) == set(OUTPUTS)
    assert applied(execution) == set()
    assert rows(estate) == dict.fromkeys(OUTPUTS, "unchanged")


def test_the_answer_is_plain_data_of_a_small_size(estate: Estate) -> None:
    """It travels as a variable through the whole release; a state has 256 KiB for all of them."""
    functions = estate.functions()
    answer = functions("CompareTiers", {"environment": estate.environment(), "remedy": False})
    assert set(answer["standing"]) == set(OUTPUTS)
    assert len(json.dumps(answer)) < 16 * 1024
