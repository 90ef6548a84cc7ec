"""What CloudFormation is asked for a plan, and that nothing of the question stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from slipway import outline, previews, stacks, tiers
from slipway.errors import TransientAwsError
from tests.contract.test_payloads import SETTINGS, before, completed
from tests.unit.fakes import install, patience, refused

ROLE = "arn:aws:iam::123456789012:role/slipway-cloudformation"
EMPTY = {"Status": "FAILED", "StatusReason": "No updates are to be performed."}
CHANGED = {
    "Status": "CREATE_COMPLETE",
    "Changes": [
        {
            "ResourceChange": {
                "Action": "Modify",
                "LogicalResourceId": "Instance",
                "ResourceType": "AWS::RDS::DBInstance",
                "Replacement": "True",
                "Details": [{"Target": {"Attribute": "Properties", "Name": "DBSubnetGroupName"}}],
            }
        }
    ],
}
NAMES = {tiers.stack_name("arable", tier): tier for tier in tiers.TIERS}


class CloudFormation:
    """The stacks of an environment: `statuses` by tier (all complete unless said otherwise), what becomes of
    the change sets that are made (nothing to do), and after how many looks."""

    def __init__(
        self,
        statuses: Mapping[str, str | None] | None = None,
        becomes: Mapping[str, dict[str, Any]] | None = None,
        looks: int = 1,
    ) -> None:
        self.statuses = {**dict.fromkeys(tiers.TIERS, "UPDATE_COMPLETE"), **(statuses or {})}
        self.becomes, self.looks = dict(becomes or {}), looks
        self.change_sets: dict[tuple[str, str], int] = {}
        self.made: list[dict[str, Any]] = []
        self.refuses: dict[str, Exception] = {}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        tier = NAMES[StackName]
        status = self.statuses[tier]
        if status is None:
            raise refused("ValidationError", "DescribeStacks", f"Stack with id {StackName} does not exist")
        known = {**before("load_balancer"), "load_balancer": {"Url": "https://arable.example"}}
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in known[tier].items()]
        parameters = [{"ParameterKey": "InstanceClass", "ParameterValue": "db.t4g.micro"}]
        return {
            "Stacks": [
                {"StackName": StackName, "StackStatus": status, "Outputs": outputs, "Parameters": parameters}
            ]
        }

    def create_change_set(self, **arguments: Any) -> None:
        tier = NAMES[arguments["StackName"]]
        if tier in self.refuses:
            raise self.refuses[tier]
        self.made.append(arguments)
        self.change_sets[arguments["StackName"], arguments["ChangeSetName"]] = self.looks

    def describe_change_set(self, StackName: str, ChangeSetName: str) -> dict[str, Any]:
        left = self.change_sets.get((StackName, ChangeSetName))
        if left is None:
            raise refused("ChangeSetNotFound", "DescribeChangeSet", f"ChangeSet [{ChangeSetName}]")
        if left:
            self.change_sets[StackName, ChangeSetName] = left - 1
            return {"Status": "CREATE_IN_PROGRESS"}
        [made] = [one for one in self.made if one["StackName"] == StackName][-1:]
        return {"Changes": [], "Parameters": made["Parameters"], **self.becomes.get(NAMES[StackName], EMPTY)}

    def delete_change_set(self, StackName: str, ChangeSetName: str) -> None:
        del self.change_sets[StackName, ChangeSetName]


def asked(allow: tuple[str, ...] = (), **changes: Any) -> previews.Asked:
    environment = completed(**changes)["environment"]
    return previews.Asked(
        "arable",
        allow,
        ROLE,
        "run-1",
        lambda tier, outputs: tiers.parameters(tier, environment, outputs, SETTINGS),
    )


def ask(fake: CloudFormation, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, dict[str, Any]]:
    install(monkeypatch, cloudformation=fake)
    answer = previews.ask(asked(**changes), patience())
    assert answer["status"] == "previewed"
    assert fake.change_sets == {}, "nothing stays"
    return {row["tier"]: row for row in answer["rows"]}


def test_an_environment_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation()
    rows = ask(fake, monkeypatch)
    assert list(rows) == list(tiers.TIERS)
    assert {row["status"] for row in rows.values()} == {"unchanged"}
    assert {made["ChangeSetType"] for made in fake.made} == {"UPDATE"}
    assert all(made["ChangeSetName"].startswith("slipway-plan-run-1-") for made in fake.made)


def test_every_tier_is_asked_with_the_outputs_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation()
    ask(fake, monkeypatch)
    [web] = [made for made in fake.made if made["StackName"] == "slipway-arable-web"]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in web["Parameters"]}
    assert given["VpcId"] == "network-VpcId"


def test_a_change_is_told_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation(becomes={"database": CHANGED})
    row = ask(fake, monkeypatch, database={"instanceClass": "db.t4g.small"})["database"]
    assert row["status"] == "changed"
    assert [one["allow"] for one in row["refused"]] == ["database/Instance"]
    assert {"name": "InstanceClass", "before": "db.t4g.micro", "after": "db.t4g.small"} in row["parameters"]


def test_a_change_that_is_allowed_is_not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ask(CloudFormation(becomes={"database": CHANGED}), monkeypatch, allow=("database/Instance",))
    assert row["database"]["refused"] == []


@pytest.mark.parametrize("status", [None, "DELETE_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"])
def test_an_environment_that_is_not_there_is_read_from_its_templates(
    status: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = CloudFormation(dict.fromkeys(tiers.TIERS, status))
    if status is None:
        rows = ask(fake, monkeypatch)
    else:
        monkeypatch.setattr(stacks, "outputs", lambda stack: {})
        rows = ask(fake, monkeypatch)
    assert {(row["status"], row["basis"]) for row in rows.values()} == {("new", "template")}
    assert fake.made == [], "no change set, and so no stack in REVIEW_IN_PROGRESS"
    assert "Vpc" in [change["resource"] for change in rows["network"]["changes"]]


def test_an_environment_that_is_half_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation({"web": None, "load_balancer": None, "certificate": "CREATE_IN_PROGRESS"})
    rows = ask(fake, monkeypatch)
    assert [rows[tier]["status"] for tier in tiers.TIERS] == [
        *("unchanged", "busy", "unchanged", "unchanged", "new", "new"),
    ]
    assert rows["certificate"]["detail"].startswith("slipway-arable-certificate is CREATE_IN_PROGRESS;")


def test_a_stack_that_is_stuck_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ask(CloudFormation({"web": "UPDATE_ROLLBACK_FAILED"}), monkeypatch)["web"]
    assert row["status"] == "stuck"
    assert "continue-update-rollback" in row["detail"]


def test_a_refusal_of_cloudformations_is_a_part_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation(becomes={"web": {"Status": "FAILED", "StatusReason": "Parameter ImageId is bad"}})
    fake.refuses["storage"] = refused("ValidationError", "CreateChangeSet", "Template error")
    rows = ask(fake, monkeypatch)
    assert (rows["web"]["status"], rows["storage"]["status"]) == ("unknown", "unknown")
    assert "Parameter ImageId is bad" in rows["web"]["detail"]
    assert "Template error" in rows["storage"]["detail"]


def test_throttling_is_tried_again_by_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation()
    fake.refuses["web"] = refused("Throttling", "CreateChangeSet", "Rate exceeded")
    install(monkeypatch, cloudformation=fake)
    with pytest.raises(TransientAwsError):
        previews.ask(asked(), patience())
    assert fake.change_sets
    fake.refuses.clear()
    assert previews.ask(asked(), patience())["status"] == "previewed"
    assert fake.change_sets == {}


def test_slow_change_sets_are_found_again_and_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation(looks=40)
    install(monkeypatch, cloudformation=fake)
    first = previews.ask(asked(), patience())
    assert first["status"] == "previewing"
    assert "web" in first["detail"]
    while previews.ask(asked(), patience())["status"] == "previewing":
        pass
    assert len(fake.made) == 6
    assert fake.change_sets == {}


def test_a_tier_whose_foundation_lacks_outputs_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cloudformation=CloudFormation())
    monkeypatch.setattr(stacks, "outputs", lambda stack: {})
    answer = previews.ask(asked(), patience())
    row = next(row for row in answer["rows"] if row["tier"] == "web")
    assert row["status"] == "unknown"
    assert "VpcId" in row["detail"]


def test_discarding_deletes_what_is_there_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation(looks=1000)
    install(monkeypatch, cloudformation=fake)
    previews.ask(asked(), patience())
    fake.change_sets["slipway-arable-web", "slipway-of-a-release"] = 0
    assert previews.discard(asked())["status"] == "discarded"
    assert list(fake.change_sets) == [("slipway-arable-web", "slipway-of-a-release")]


def test_a_change_set_that_a_release_overtook_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = CloudFormation()
    monkeypatch.setattr(fake, "create_change_set", lambda **_: None)
    row = ask(fake, monkeypatch)["web"]
    assert row["status"] == "unknown"
    assert "DELETE_COMPLETE" in row["detail"]


def test_unknown_values_are_known_as_such() -> None:
    assert outline.unknown(f"a,{outline.UNKNOWN}")
    assert not outline.unknown("a,b")
