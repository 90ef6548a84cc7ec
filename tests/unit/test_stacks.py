"""A tier's stack: what its status means, and plan, apply, check against a CloudFormation that remembers."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
import pytest

from slipway import stacks, tiers
from slipway.aws import cloudformation
from slipway.errors import DestructiveChange, TierFailed
from tests.unit.fakes import Paging, install, patience, refused

STACK = "slipway-arable-storage"
ROLE = "arn:aws:iam::123456789012:role/slipway-cloudformation"
ARN = f"arn:aws:cloudformation:eu-central-1:1:stack/{STACK}/1"
NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
BUCKET_REPLACED = {
    "ResourceChange": {
        "Action": "Modify",
        "LogicalResourceId": "Images",
        "ResourceType": "AWS::S3::Bucket",
        "Replacement": "True",
        "Details": [{"Target": {"Attribute": "Properties", "Name": "BucketName"}}],
    }
}
BUCKET_ADDED = {
    "ResourceChange": {
        "Action": "Add",
        "LogicalResourceId": "Images",
        "ResourceType": "AWS::S3::Bucket",
        "Details": [],
    }
}


class CloudFormation(Paging):
    """One stack. A change set that is made becomes `becomes` after `looks` more looks."""

    def __init__(
        self, status: str | None = None, becomes: dict[str, Any] | None = None, looks: int = 1
    ) -> None:
        self.status = status
        self.becomes = becomes or {
            "Status": "CREATE_COMPLETE",
            "ExecutionStatus": "AVAILABLE",
            "Changes": [BUCKET_ADDED],
        }
        self.looks = looks
        self.change_sets: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.made: list[dict[str, Any]] = []
        self.reason = ""

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if self.status is None:
            raise refused("ValidationError", "DescribeStacks", f"Stack with id {StackName} does not exist")
        outputs = [{"OutputKey": "ImageBucketName", "OutputValue": "images"}]
        return {
            "Stacks": [
                {
                    "StackName": StackName,
                    "StackStatus": self.status,
                    "Outputs": outputs,
                    "StackStatusReason": self.reason,
                }
            ]
        }

    def create_change_set(self, **arguments: Any) -> None:
        self.calls.append("create_change_set")
        self.made.append(arguments)
        name = arguments["ChangeSetName"]
        self.change_sets[name] = {"ChangeSetId": f"arn:{name}", "left": self.looks}
        if arguments["ChangeSetType"] == "CREATE":
            self.status = "REVIEW_IN_PROGRESS"

    def describe_change_set(self, StackName: str, ChangeSetName: str) -> dict[str, Any]:
        change_set = self.change_sets.get(ChangeSetName.removeprefix("arn:"))
        if change_set is None:
            raise refused(
                "ChangeSetNotFound", "DescribeChangeSet", f"ChangeSet [{ChangeSetName}] does not exist"
            )
        if change_set["left"] > 0:
            change_set["left"] -= 1
            return {**change_set, "Status": "CREATE_IN_PROGRESS"}
        return {**self.becomes, **change_set}

    def delete_change_set(self, StackName: str, ChangeSetName: str) -> None:
        self.calls.append("delete_change_set")
        del self.change_sets[ChangeSetName]

    def execute_change_set(self, StackName: str, ChangeSetName: str) -> None:
        self.calls.append("execute_change_set")
        self.change_sets[ChangeSetName.removeprefix("arn:")]["ExecutionStatus"] = "EXECUTE_IN_PROGRESS"

    def update_termination_protection(self, StackName: str, EnableTerminationProtection: bool) -> None:
        self.calls.append("protect" if EnableTerminationProtection else "unprotect")

    def delete_stack(self, StackName: str, RoleARN: str) -> None:
        self.calls.append("delete_stack")
        self.status = "DELETE_IN_PROGRESS"

    def describe_stack_events(self, StackName: str) -> dict[str, Any]:
        return {"StackEvents": self.events}


def wanted(execution: str = "run-1", allow: tuple[str, ...] = (), remedy: bool = False) -> stacks.Wanted:
    return stacks.Wanted(
        "arable", "storage", lambda: {"Environment": "arable"}, allow, ROLE, execution, remedy
    )


def use(monkeypatch: pytest.MonkeyPatch, fake: CloudFormation) -> CloudFormation:
    install(monkeypatch, cloudformation=fake)
    return fake


# --- the table ------------------------------------------------------------------------------------


def test_every_status_of_a_stack_has_a_next_step() -> None:
    model: Any = botocore.session.get_session().get_service_model("cloudformation")
    assert set(model.shape_for("StackStatus").enum) == {status for status in stacks.NEXT_STEP if status}


def test_whoever_is_stuck_or_failed_is_told_what_is_safe() -> None:
    ends_badly = {
        status
        for status in stacks.NEXT_STEP
        if status and not status.endswith("_IN_PROGRESS") and status not in stacks.SUCCEEDED
    }
    assert ends_badly - {"DELETE_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"} == set(stacks.ADVICE)


# --- plan -----------------------------------------------------------------------------------------


def test_plan_a_first_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation())
    plan = stacks.plan(wanted(), patience())
    assert plan["status"] == "planned"
    assert plan["row"]["status"] == "new"
    assert [(change["action"], change["resource"]) for change in plan["row"]["changes"]] == [
        ("Add", "Images")
    ]
    (made,) = fake.made
    assert made["ChangeSetType"] == "CREATE"
    assert made["OnStackFailure"] == "DO_NOTHING"
    assert made["RoleARN"] == ROLE
    assert {"Key": "slipway:environment", "Value": "arable"} in made["Tags"]
    assert plan["changeSet"] == f"arn:{made['ChangeSetName']}"


def test_plan_asked_again_finds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("CREATE_COMPLETE"))
    assert stacks.plan(wanted(), patience()) == stacks.plan(wanted(), patience())
    assert len(fake.made) == 1
    assert (
        stacks.plan(wanted("run-2"), patience())["changeSet"]
        != stacks.plan(wanted(), patience())["changeSet"]
    )


def test_plan_of_a_slow_change_set_asks_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("CREATE_COMPLETE", looks=75))
    assert stacks.plan(wanted(), patience())["status"] == "planning"
    assert stacks.plan(wanted(), patience())["status"] == "planning"
    assert stacks.plan(wanted(), patience())["status"] == "planned"
    assert len(fake.made) == 1


@pytest.mark.parametrize("status", ["CREATE_FAILED", "UPDATE_FAILED"])
def test_plan_goes_on_where_a_creation_failed(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation(status))
    assert stacks.plan(wanted(), patience())["status"] == "planned"
    assert (fake.made[0]["ChangeSetType"], fake.made[0]["OnStackFailure"]) == ("UPDATE", "DO_NOTHING")


def test_plan_of_an_update_rolls_back_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("UPDATE_ROLLBACK_COMPLETE"))
    stacks.plan(wanted(), patience())
    assert fake.made[0]["ChangeSetType"] == "UPDATE"
    assert "OnStackFailure" not in fake.made[0]


@pytest.mark.parametrize("reason", [NO_CHANGES, "No updates are to be performed."])
def test_plan_without_changes(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {"Status": "FAILED", "StatusReason": reason, "ExecutionStatus": "UNAVAILABLE", "Changes": []}
    fake = use(monkeypatch, CloudFormation("UPDATE_COMPLETE", empty))
    plan = stacks.plan(wanted(), patience())
    assert plan["status"] == "unchanged"
    assert plan["outputs"] == {"ImageBucketName": "images"}
    assert fake.change_sets == {}, "the empty change set is gone"


def test_plan_without_changes_for_a_failed_stack_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {"Status": "FAILED", "StatusReason": NO_CHANGES, "ExecutionStatus": "UNAVAILABLE", "Changes": []}
    use(monkeypatch, CloudFormation("CREATE_FAILED", empty))
    with pytest.raises(TierFailed) as raised:
        stacks.plan(wanted(), patience())
    assert raised.value.details["needsAPerson"] is True


def test_plan_that_cloudformation_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {
        "Status": "FAILED",
        "StatusReason": "Parameter Cidr is bad",
        "ExecutionStatus": "UNAVAILABLE",
        "Changes": [],
    }
    use(monkeypatch, CloudFormation("CREATE_COMPLETE", bad))
    with pytest.raises(TierFailed, match="Parameter Cidr is bad"):
        stacks.plan(wanted(), patience())


def test_plan_is_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = {"Status": "CREATE_COMPLETE", "ExecutionStatus": "AVAILABLE", "Changes": [BUCKET_REPLACED]}
    use(monkeypatch, CloudFormation("CREATE_COMPLETE", replaced))
    with pytest.raises(DestructiveChange):
        stacks.plan(wanted(), patience())
    assert stacks.plan(wanted(allow=("storage/Images",)), patience())["status"] == "planned"


@pytest.mark.parametrize("status", [status for status, step in stacks.NEXT_STEP.items() if step == "wait"])
def test_plan_while_cloudformation_is_at_it(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation(status))
    plan = stacks.plan(wanted(), patience())
    assert plan["status"] == "busy"
    assert status in plan["detail"]
    assert fake.calls == []


@pytest.mark.parametrize("status", [status for status, step in stacks.NEXT_STEP.items() if step == "stuck"])
def test_plan_of_a_stuck_stack(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation(status))
    with pytest.raises(TierFailed) as raised:
        stacks.plan(wanted(), patience())
    assert raised.value.details["needsAPerson"] is True
    assert raised.value.next == stacks.ADVICE[str(status)]
    assert fake.calls == []


def test_plan_clears_away_what_was_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("ROLLBACK_COMPLETE"))
    assert stacks.plan(wanted(), patience())["status"] == "busy"
    assert fake.calls == ["unprotect", "delete_stack"]
    fake.status = None
    assert stacks.plan(wanted(), patience())["status"] == "planned"
    assert fake.made[0]["ChangeSetType"] == "CREATE"


@pytest.mark.parametrize("spent", ["EXECUTE_FAILED", "OBSOLETE"])
def test_plan_replaces_its_own_spent_change_set(spent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("UPDATE_ROLLBACK_COMPLETE", looks=0))
    stacks.plan(wanted(), patience())
    fake.change_sets[wanted().change_set]["ExecutionStatus"] = spent
    fake.change_sets[wanted().change_set]["Status"] = "CREATE_COMPLETE"
    stacks.plan(wanted(), patience())
    assert fake.calls == ["create_change_set", "delete_change_set", "create_change_set"]


def test_plan_after_it_was_applied_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("UPDATE_COMPLETE", looks=0))
    stacks.plan(wanted(), patience())
    fake.change_sets[wanted().change_set].update(Status="CREATE_COMPLETE", ExecutionStatus="EXECUTE_COMPLETE")
    assert stacks.plan(wanted(), patience())["status"] == "unchanged"


@pytest.mark.parametrize("execution", ["2026-11-22.1_b", "x" * 80, "ünïcode", "a.b", "a-b"])
def test_names_of_change_sets_are_allowed_and_differ(execution: str) -> None:
    name = wanted(execution).change_set
    assert len(name) <= 128
    assert all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in name)
    assert name != wanted(execution + "c").change_set


# --- apply ----------------------------------------------------------------------------------------


def test_apply_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation())
    arn = stacks.plan(wanted(), patience())["changeSet"]
    fake.calls.clear()
    assert stacks.apply(STACK, arn) == {}
    assert stacks.apply(STACK, arn) == {}
    assert fake.calls == ["protect", "execute_change_set"]


def test_apply_what_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, CloudFormation("CREATE_COMPLETE"))
    with pytest.raises(TierFailed, match="gone"):
        stacks.apply(STACK, "arn:x")


# --- check ----------------------------------------------------------------------------------------


def stack_event(resource: str, status: str, reason: str = "", of_stack: bool = False) -> dict[str, Any]:
    return {
        "StackId": ARN,
        "LogicalResourceId": resource,
        "PhysicalResourceId": ARN if of_stack else f"id-{resource}",
        "ResourceType": "AWS::S3::Bucket",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


FAILED_UPDATE = [  # the newest first, as CloudFormation answers
    stack_event(STACK, "UPDATE_ROLLBACK_COMPLETE", of_stack=True),
    stack_event("Later", "UPDATE_FAILED", "the bucket is not there"),
    stack_event("Policy", "UPDATE_FAILED", "Resource update cancelled"),
    stack_event("Images", "UPDATE_FAILED", "Bucket name is taken"),
    stack_event("Key", "UPDATE_IN_PROGRESS"),
    stack_event(STACK, "UPDATE_IN_PROGRESS", "User Initiated", of_stack=True),
    stack_event("Old", "CREATE_FAILED", "of an operation before"),
    stack_event(STACK, "CREATE_IN_PROGRESS", of_stack=True),
]


def test_check_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, CloudFormation("UPDATE_COMPLETE"))
    answer = stacks.check(STACK, patience())
    assert (answer["status"], answer["outputs"]) == ("complete", {"ImageBucketName": "images"})


def test_check_in_progress_names_what_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"))
    fake.events = FAILED_UPDATE[3:]
    answer = stacks.check(STACK, patience())
    assert answer["status"] == "in_progress"
    assert answer["detail"].endswith(": Key")


@pytest.mark.parametrize(
    ("status", "person"),
    [("UPDATE_ROLLBACK_COMPLETE", False), ("CREATE_FAILED", False), ("UPDATE_ROLLBACK_FAILED", True)],
)
def test_check_failed_names_the_first_failure(
    status: str, person: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = use(monkeypatch, CloudFormation(status))
    fake.events = FAILED_UPDATE
    with pytest.raises(TierFailed) as raised:
        stacks.check(STACK, patience())
    assert raised.value.what.startswith("Images (AWS::S3::Bucket): Bucket name is taken")
    assert raised.value.details["needsAPerson"] is person
    assert raised.value.details["resource"] == "Images"


def test_check_failed_without_a_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("ROLLBACK_COMPLETE"))
    fake.reason = "Template validation failed"
    with pytest.raises(TierFailed, match="Template validation failed"):
        stacks.check(STACK, patience())


def test_check_of_a_stack_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, CloudFormation(None))
    with pytest.raises(TierFailed, match="has gone"):
        stacks.check(STACK, patience())


# --- against moto ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("aws")
def test_plan_apply_check_against_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls are ones that a CloudFormation takes; moto has no termination protection."""
    protected: list[tuple[str, bool]] = []
    monkeypatch.setattr(cloudformation, "protect", lambda *of: protected.append(of))
    monkeypatch.setattr(tiers, "template", lambda tier: BUCKET_TEMPLATE)
    plan = stacks.plan(wanted(), patience())
    assert plan["status"] == "planned"
    assert [change["type"] for change in plan["row"]["changes"]] == ["AWS::S3::Bucket"]
    stacks.apply(plan["stack"], plan["changeSet"])
    answer = stacks.check(STACK, patience())
    assert answer["status"] == "complete"
    boto3.client("s3").head_bucket(Bucket="images-of-arable")
    assert protected == [(STACK, True)]


BUCKET_TEMPLATE = """
Parameters: {Environment: {Type: String}}
Resources:
  Images:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !Sub "images-of-${Environment}"}
"""


# --- remedy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "remedy", "mode"),
    [
        ("UPDATE_COMPLETE", True, "REVERT_DRIFT"),
        ("UPDATE_COMPLETE", False, None),
        (None, True, None),  # what is not there yet has nothing to be put back
        ("CREATE_FAILED", True, None),
    ],
)
def test_a_remedy_asks_for_what_there_is(
    monkeypatch: pytest.MonkeyPatch, status: str | None, remedy: bool, mode: str | None
) -> None:
    fake = use(monkeypatch, CloudFormation(status))
    stacks.plan(wanted(remedy=remedy))
    assert fake.made[0].get("DeploymentMode") == mode


def moved(*properties: str, kind: str = "AWS::AutoScaling::AutoScalingGroup") -> dict[str, Any]:
    details = [{"Target": {"Attribute": "Properties", "Name": name}} for name in properties]
    return {
        "Status": "CREATE_COMPLETE",
        "ExecutionStatus": "AVAILABLE",
        "Changes": [
            {
                "ResourceChange": {
                    "Action": "Modify",
                    "LogicalResourceId": "Group",
                    "ResourceType": kind,
                    "Replacement": "False",
                    "ResourceDriftStatus": "MODIFIED",
                    "Details": details,
                }
            }
        ],
    }


def test_servers_that_scaling_has_added_are_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, CloudFormation("UPDATE_COMPLETE", becomes=moved("DesiredCapacity")))
    plan = stacks.plan(wanted(remedy=True))
    assert plan["status"] == "unchanged"
    assert fake.calls[-1] == "delete_change_set"


def test_a_change_of_the_capacity_that_was_asked_for_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, CloudFormation("UPDATE_COMPLETE", becomes=moved("DesiredCapacity")))
    assert stacks.plan(wanted())["status"] == "planned"


def test_what_was_changed_by_hand_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, CloudFormation("UPDATE_COMPLETE", becomes=moved("DesiredCapacity", "MaxSize")))
    plan = stacks.plan(wanted(remedy=True))
    assert plan["status"] == "planned"
    assert plan["row"]["changes"][0]["drift"] == "MODIFIED"
