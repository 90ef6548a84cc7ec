"""The stacks against CloudFormation's drift detection and the recorded release."""

from __future__ import annotations

import re
from typing import Any

import pytest

from slipway import tiers
from slipway.aws import cloudformation
from slipway.drift import infrastructure, noise
from slipway.patience import Patience
from tests.unit.golden import Case, cases

EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:slipway-check-drift:one"
REMEDY = (
    "aws stepfunctions start-execution --region eu-central-1 --state-machine-arn "
    "arn:aws:states:eu-central-1:123456789012:stateMachine:slipway-check-drift "
    """--input '{"environment":"arable","remedy":true}'"""
)
ONCE = Patience(seconds=0)
PARAMETERS = {"Environment": "arable", "InstanceClass": "db.t4g.micro", "FunctionCodeKey": ""}


def asked(templates: str | None = None, **parameters: str) -> infrastructure.Asked:
    return infrastructure.Asked(
        environment="arable",
        current={"templates": tiers.digest() if templates is None else templates},
        execution=EXECUTION,
        parameters=lambda _tier: {**PARAMETERS, **parameters},
    )


@cases("drift_stacks")
def test_drift_of_resources(case: Case) -> None:
    findings, ignored = infrastructure.of_resources(asked(), case["tier"], case["drifts"])
    assert len(findings) == len(case["findings"])
    for found, expected in zip(findings, case["findings"], strict=True):
        assert expected.items() <= found.items()
        assert (found["remedy"], found["remediable"]) == (REMEDY, True)
    assert ignored == case["ignored"]


def test_every_entry_of_the_noise_list_has_a_reason_of_its_own() -> None:
    assert all(quiet.why for quiet in noise.NOISE)
    assert len({quiet.why for quiet in noise.NOISE}) == len(noise.NOISE)


def test_what_nobody_lists_counts() -> None:
    assert noise.reason("AWS::EC2::VPC", "/EnableDnsSupport", "true", "false") == ""


class Stacks:
    """CloudFormation with the six stacks of an environment, all as they were made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stacks: dict[str, dict[str, Any]] = {
            tiers.stack_name("arable", tier): {
                "StackStatus": "UPDATE_COMPLETE",
                "template": tiers.template(tier),
            }
            for tier in tiers.TIERS
        }
        self.running: set[str] = set()
        self.failed: dict[str, str] = {}
        self.drifts: dict[str, list[dict[str, Any]]] = {}
        self.began: list[str] = []
        self.parameters = dict(PARAMETERS)
        patch.setattr(cloudformation, "describe", self._describe)
        patch.setattr(cloudformation, "detect_drift", self._detect)
        patch.setattr(cloudformation, "drift_detection", self._detection)
        patch.setattr(cloudformation, "drifted", lambda stack: self.drifts.get(stack, []))
        patch.setattr(cloudformation, "resources", self._resources)
        patch.setattr(cloudformation, "template", lambda stack: self.stacks[stack]["template"])

    def _describe(self, stack: str) -> Any:
        found = self.stacks.get(stack)
        parameters = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()
        ]
        return {**found, "StackId": f"arn:{stack}", "Parameters": parameters} if found else None

    def _detect(self, stack: str) -> str | None:
        if stack in self.running:
            return None
        self.began.append(stack)
        return f"of {stack}"

    def _detection(self, detection: str) -> Any:
        stack = detection.removeprefix("of ")
        if stack in self.failed:
            return {"DetectionStatus": "DETECTION_FAILED", "DetectionStatusReason": self.failed[stack]}
        return {"DetectionStatus": "DETECTION_COMPLETE", "StackDriftStatus": "IN_SYNC"}

    def _resources(self, stack: str) -> Any:
        drifted = {
            one["LogicalResourceId"]: one["StackResourceDriftStatus"] for one in self.drifts.get(stack, [])
        }
        known = {"Known": "IN_SYNC", "Unknown": "NOT_CHECKED", **drifted}
        return [
            {"LogicalResourceId": name, "DriftInformation": {"StackResourceDriftStatus": status}}
            for name, status in known.items()
        ]

    def check(self, given: infrastructure.Asked | None = None) -> Any:
        detections = infrastructure.detect("arable", [])
        return infrastructure.check(given or asked(), detections, ONCE)


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Stacks:
    return Stacks(monkeypatch)


def kinds(looked: Any) -> list[tuple[str, str]]:
    return [(one["kind"], one["where"]) for one in looked["findings"]]


def test_an_untouched_environment_has_no_finding(stacks: Stacks) -> None:
    looked = stacks.check()
    assert (looked["status"], looked["findings"], looked["ignored"]) == ("looked", [], [])
    assert [one["tier"] for one in looked["stacks"]] == list(tiers.TIERS)
    assert looked["stacks"][0] == {"tier": "network", "status": "UPDATE_COMPLETE", "notChecked": ["Unknown"]}


def test_a_detection_that_is_under_way_is_waited_for_and_begun_again(stacks: Stacks) -> None:
    stacks.running = {"slipway-arable-web"}
    detections = infrastructure.detect("arable", [])
    assert infrastructure.check(asked(), detections, ONCE)["status"] == "waiting"
    stacks.running, stacks.began = set(), []
    again = infrastructure.detect("arable", detections)
    assert stacks.began == ["slipway-arable-web"]
    assert infrastructure.check(asked(), again, ONCE)["status"] == "looked"


def test_a_stack_that_is_gone_is_found_and_no_remedy_makes_it_anew_by_itself(stacks: Stacks) -> None:
    del stacks.stacks["slipway-arable-database"]
    looked = stacks.check()
    assert kinds(looked) == [("stack_missing", "slipway-arable-database")]
    assert not looked["findings"][0]["remediable"]
    assert {"tier": "database", "status": "absent", "notChecked": []} in looked["stacks"]


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_FAILED", "ROLLBACK_COMPLETE"])
def test_a_stack_that_cannot_be_asked_says_so(stacks: Stacks, status: str) -> None:
    stacks.stacks["slipway-arable-web"]["StackStatus"] = status
    [found] = stacks.check()["findings"]
    assert (found["kind"], found["tier"]) == ("stack_unknown", "web")
    assert status in found["what"]


def test_a_detection_that_fails_says_why_and_the_rest_is_looked_at(stacks: Stacks) -> None:
    stacks.failed["slipway-arable-web"] = "Failed to detect drift on resource [Group]"
    stacks.parameters["InstanceClass"] = "db.r6g.large"
    looked = stacks.check()
    assert ("stack_unknown", "slipway-arable-web") in kinds(looked)
    assert ("stack_differs", "slipway-arable-web") in kinds(looked)


def test_what_drifted_is_asked_for(stacks: Stacks) -> None:
    stacks.drifts["slipway-arable-load-balancer"] = [
        {
            "LogicalResourceId": "HttpListener",
            "PhysicalResourceId": "arn:listener",
            "ResourceType": "AWS::ElasticLoadBalancingV2::Listener",
            "StackResourceDriftStatus": "DELETED",
        }
    ]
    assert kinds(stacks.check()) == [("stack_resource_deleted", "load_balancer/HttpListener")]


def test_parameters_other_than_the_recorded_release_asked_for_are_found_one_by_one(stacks: Stacks) -> None:
    stacks.parameters |= {"InstanceClass": "db.r6g.large", "Extra": "x"}
    found = [one for one in stacks.check()["findings"] if one["tier"] == "database"]
    assert [(one["key"], one["expected"], one["found"]) for one in found] == [
        ("stack_differs|slipway-arable-database|Extra", "nothing", "x"),
        ("stack_differs|slipway-arable-database|InstanceClass", "db.t4g.micro", "db.r6g.large"),
    ]


def test_a_later_slipway_does_not_miss_parameters_that_it_alone_knows(
    stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those that it has given up; a release brings both."""
    recorded = tiers.digest()
    monkeypatch.setattr(tiers, "digest", lambda: "of the next version")
    stacks.parameters |= {"GivenUp": "x"}
    assert stacks.check(asked(recorded, New="1"))["findings"] == []
    stacks.parameters |= {"InstanceClass": "db.r6g.large"}
    assert len(stacks.check(asked(recorded, New="1"))["findings"]) == len(tiers.TIERS)


def test_parameters_that_follow_slipways_own_version_do_not_count(stacks: Stacks) -> None:
    stacks.parameters["FunctionCodeKey"] = "functions/of-an-earlier-version.zip"
    assert stacks.check()["findings"] == []


def rewritten(template: str) -> str:
    """Another one, in which CloudFormation sees a change."""
    return template.replace("\nResources:\n", "\nResources:\n  Extra:\n    Type: AWS::SNS::Topic\n")


def test_another_template_is_found_in_its_tier(stacks: Stacks) -> None:
    storage = stacks.stacks["slipway-arable-storage"]
    storage["template"] = rewritten(storage["template"])
    assert kinds(stacks.check()) == [("stack_differs", "slipway-arable-storage")]


def test_where_cloudformation_sees_no_change_the_stack_keeps_an_older_template(stacks: Stacks) -> None:
    """It answers "didn't contain changes" to new comments, blank lines, a new description. (The first line of
    a script is none of them.)"""
    for stack in stacks.stacks.values():
        older = re.sub(r"(?m)^ *#(?!!).*\n|^Description:.*\n(?:  .*\n)*", "", stack["template"])
        assert older != stack["template"]
        stack["template"] = ("# Of old\n\nDescription: >-\n  Of old,\n  too.\n" + older).rstrip()
    assert stacks.check()["findings"] == []


def test_a_slipway_with_other_templates_holds_all_of_them_against_what_was_recorded(
    stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = tiers.digest()
    monkeypatch.setattr(tiers, "digest", lambda: "of the next version")
    assert stacks.check(asked(recorded))["findings"] == []
    storage = stacks.stacks["slipway-arable-storage"]
    storage["template"] = rewritten(storage["template"])
    assert kinds(stacks.check(asked(recorded))) == [("stack_differs", "arable")]
