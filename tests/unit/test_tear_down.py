"""Taking an environment down: what is refused, what goes in which order, what is in the way, what stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from slipway import lock, records, validation
from slipway.aws import cloudformation, ec2, rds, s3, states
from slipway.errors import DatabaseRefused, EnvironmentLocked, InvalidInput, PreflightFailed, TierFailed
from slipway.restore_point import SUFFIXES
from slipway.stacks import NEXT_STEP
from slipway.tear_down import database, hindrances, images, inventory, record, removal
from slipway.tear_down import request as asked
from tests.unit.conftest import ROOT, event
from tests.unit.fakes import patience, refused
from tools.draw_network import load

Json = dict[str, Any]

EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:slipway-tear-down:x"
BUCKET = "slipway-arable-images-123456789012-eu-central-1"
STARTED = {"arn": EXECUTION, "name": "x", "startedAt": "2026-11-22T10:11:12.345Z"}
REQUEST = {"environment": "arable", "remove": {"images": ""}, "plan": False, "bucket": BUCKET}


# --- the input --------------------------------------------------------------------------------------------


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "known", lambda name: name == "arable")
    monkeypatch.setattr(cloudformation, "describe", lambda _stack: None)


def problem(given: Any) -> tuple[str, str, str]:
    with pytest.raises(InvalidInput) as raised:
        asked.validate(given, EXECUTION)
    [first, *_] = raised.value.details["problems"]
    return first["path"], first["what"], first["allowed"]


def test_the_published_input_is_taken(known: None) -> None:
    assert asked.validate(event("tear-down"), EXECUTION) == REQUEST


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ({"environment": "arable"}, "confirm", "is missing"),
        (
            {"environment": "arable", "confirm": "arabel"},
            "confirm",
            "is arabel, and the environment is arable",
        ),
        ({"environment": "arabel", "confirm": "arabel"}, "environment", "was ever begun"),
        ({"environment": "arable", "confirm": "arable", "force": True}, "force", "is not known"),
        (
            {"environment": "arable", "confirm": "arable", "remove": {"images": "other"}},
            "remove.images",
            BUCKET,
        ),
        ({"environment": "arable", "confirm": "arable", "plan": "yes"}, "plan", "is a text"),
        ("arable", "input", "is a text"),
    ],
)
def test_what_is_refused_says_where_and_what_is_allowed(
    known: None, given: Any, path: str, says: str
) -> None:
    found = problem(given)
    assert found[0] == path
    assert says in found[1] + found[2]


def test_an_environment_of_which_only_stacks_are_left_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The orchestrator was deployed anew, with another table."""
    monkeypatch.setattr(records, "known", lambda _name: False)
    there = {"slipway-arable-network": {"StackStatus": "CREATE_COMPLETE"}}
    monkeypatch.setattr(cloudformation, "describe", there.get)
    assert asked.validate(event("tear-down"), EXECUTION)["environment"] == "arable"


# --- the stacks -------------------------------------------------------------------------------------------


class Stacks:
    """CloudFormation: a deletion takes a look; `stuck` stacks do not go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **statuses: str) -> None:
        self.statuses = {f"slipway-arable-{tier.replace('_', '-')}": one for tier, one in statuses.items()}
        self.protected = set(self.statuses)
        self.stuck: set[str] = set()
        self.begun: list[str] = []
        self.foreign: list[Json] = []
        monkeypatch.setattr(cloudformation, "describe", self._describe)
        monkeypatch.setattr(cloudformation, "protect", self._protect)
        monkeypatch.setattr(cloudformation, "delete", self._delete)
        monkeypatch.setattr(cloudformation, "events", self._events)
        monkeypatch.setattr(cloudformation, "resources", lambda _stack: [])
        monkeypatch.setattr(hindrances, "look", lambda _environment, _resources: self.foreign)

    def _describe(self, stack: str) -> Json | None:
        status = self.statuses.get(stack)
        if status == "DELETE_IN_PROGRESS":
            self.statuses[stack] = "DELETE_FAILED" if stack in self.stuck else "DELETE_COMPLETE"
        return None if status in (None, "DELETE_COMPLETE") else {"StackStatus": status}

    def _protect(self, stack: str, protected: bool) -> None:
        assert not protected
        self.protected.discard(stack)

    def _delete(self, stack: str, role: str) -> None:
        assert stack not in self.protected
        assert role == "arn:role"
        self.begun.append(stack.removeprefix("slipway-arable-"))
        self.statuses[stack] = "DELETE_IN_PROGRESS"

    def _events(self, stack: str) -> list[Json]:
        of_stack = {"PhysicalResourceId": "id", "StackId": "id", "LogicalResourceId": stack}
        return [
            {**of_stack, "ResourceStatus": "DELETE_FAILED"},
            {
                "PhysicalResourceId": "subnet-1",
                "StackId": "id",
                "LogicalResourceId": "Subnet",
                "ResourceStatus": "DELETE_FAILED",
                "ResourceStatusReason": "has dependencies",
            },
            {**of_stack, "ResourceStatus": "DELETE_IN_PROGRESS"},
            {**of_stack, "ResourceStatus": "CREATE_COMPLETE"},
        ]


ALL = dict.fromkeys(removal.ORDER, "CREATE_COMPLETE")
SERVING = ("load_balancer", "web", "certificate")
LAST = ("database", "storage", "network")


def advance(wanted: tuple[str, ...], begun: Mapping[str, int] | None = None) -> Json:
    return removal.advance("arable", wanted, begun or {}, "arn:role", patience())


def test_stacks_go_in_the_reverse_order_each_when_nothing_builds_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stacks = Stacks(monkeypatch, **ALL)
    found = advance(SERVING)
    assert (found["status"], found["left"]) == ("removed", [])
    assert stacks.begun == ["load-balancer", "web", "certificate"]
    assert {"slipway-arable-database", "slipway-arable-storage", "slipway-arable-network"} == stacks.protected
    assert advance(LAST, found["begun"])["status"] == "removed"
    assert stacks.begun[3:] == ["database", "storage", "network"]
    assert set(stacks.statuses.values()) == {"DELETE_COMPLETE"}


def test_tiers_that_are_gone_or_never_were_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Stacks(monkeypatch, network="CREATE_FAILED")
    assert advance(SERVING)["status"] == "removed"
    assert advance(LAST)["status"] == "removed"
    assert stacks.begun == ["network"]


def test_what_cloudformation_is_at_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Stacks(monkeypatch, load_balancer="UPDATE_IN_PROGRESS", web="CREATE_COMPLETE")
    found = advance(SERVING)
    assert (found["status"], stacks.begun) == ("removing", [])
    assert "slipway-arable-load-balancer is UPDATE_IN_PROGRESS" in found["detail"]


def test_every_status_of_a_stack_is_thought_of() -> None:
    waiting = {status for status, step in removal.STEP.items() if step == "wait"}
    at_work = {status for status, step in NEXT_STEP.items() if step == "wait"}
    # A creation may be cut short; AWS takes DeleteStack then, and during no other operation.
    assert waiting == at_work - {"CREATE_IN_PROGRESS"}


def test_a_deletion_that_failed_is_begun_again_by_the_next_tear_down(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Stacks(monkeypatch, network="DELETE_FAILED")
    stacks.foreign = [{"where": "eni-1", "what": "somebody's", "next": "remove it"}]
    assert advance(LAST)["status"] == "removed"


def test_what_fails_without_a_reason_of_others_is_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Stacks(monkeypatch, network="CREATE_COMPLETE")
    stacks.stuck = {"slipway-arable-network"}
    with pytest.raises(TierFailed) as raised:
        advance(LAST)
    assert stacks.begun == ["network"] * 3
    assert raised.value.details["resources"] == {"Subnet": "has dependencies"}
    assert raised.value.details["needsAPerson"]


def test_what_others_hinder_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Stacks(monkeypatch, network="CREATE_COMPLETE")
    stacks.stuck = {"slipway-arable-network"}
    stacks.foreign = [{"where": "eni-1 in subnet-1", "what": "an interface", "next": "aws ec2 delete-…"}]
    with pytest.raises(TierFailed, match="in the way: eni-1 in subnet-1") as raised:
        advance(LAST)
    assert stacks.begun == ["network"]
    assert raised.value.next.startswith("aws ec2 delete-…; then start the tear-down again")
    assert raised.value.details["hindrances"] == stacks.foreign


# --- what is in the way -----------------------------------------------------------------------------------


def interface(identifier: str, description: str = "", groups: tuple[str, ...] = (), server: str = "") -> Json:
    return {
        "NetworkInterfaceId": identifier,
        "SubnetId": "subnet-1",
        "Description": description,
        "Groups": [{"GroupId": group} for group in groups],
        **({"Attachment": {"InstanceId": server}} if server else {}),
    }


OWN = frozenset({"vpc-1", "subnet-1", "sg-web", "sg-database", "sg-balancer", "nat-1", "vpce-1", "i-web"})


def in_the_way(**network: Any) -> list[Json]:
    return hindrances.found(hindrances.Network("arable", "vpc-1", OWN, **network))


@pytest.mark.parametrize(
    "own",
    [
        interface("eni-1", server="i-web"),
        interface("eni-2", "Interface for NAT Gateway nat-1"),
        interface("eni-3", "VPC Endpoint Interface vpce-1", ("sg-endpoint",)),
        interface("eni-4", "ELB app/slipwa-LoadB-1/50dc6c495c0c9188", ("sg-balancer",)),
        interface("eni-5", "RDSNetworkInterface", ("sg-database",)),
        interface("eni-6", "AWS Lambda VPC ENI-slipway-arable-create-database-1234", ("sg-function",)),
    ],
    ids=lambda one: str(one["Description"]) or "server",
)
def test_interfaces_of_the_environment_are_not_in_the_way(own: Json) -> None:
    assert in_the_way(interfaces=[own]) == []


@pytest.mark.parametrize(
    ("foreign", "command"),
    [
        (interface("eni-1", server="i-other"), "aws ec2 terminate-instances --instance-ids i-other"),
        (interface("eni-2"), "aws ec2 delete-network-interface --network-interface-id eni-2"),
        (interface("eni-3", "Interface for NAT Gateway nat-9"), "eni-3"),
        (interface("eni-4", "ELB app/somebodys/1", ("sg-somebodys",)), "eni-4"),
        (interface("eni-5", "RDSNetworkInterface", ("sg-somebodys",)), "eni-5"),
        (interface("eni-6", "AWS Lambda VPC ENI-somebodys-1234", ("sg-web",)), "eni-6"),
        (interface("eni-7", "a note of somebody", ("sg-web",)), "eni-7"),
    ],
)
def test_interfaces_of_others_are_named_with_a_command(foreign: Json, command: str) -> None:
    [found] = in_the_way(interfaces=[foreign])
    assert found["check"] == "network interface"
    assert command in found["next"]
    assert foreign["NetworkInterfaceId"] in found["where"]


def test_rules_groups_and_subnets_of_others_are_named() -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": "sg-web"}]}
    elsewhere = {"GroupId": "sg-o", "GroupName": "others", "VpcId": "vpc-9", "IpPermissions": [rule]}
    inside = {"GroupId": "sg-i", "GroupName": "inside", "VpcId": "vpc-1", "IpPermissionsEgress": [rule]}
    ours = {"GroupId": "sg-database", "GroupName": "x", "VpcId": "vpc-1", "IpPermissions": [rule]}
    default = {"GroupId": "sg-d", "GroupName": "default", "VpcId": "vpc-1"}
    found = in_the_way(
        groups=[elsewhere, inside, ours, default],
        subnets=[{"SubnetId": "subnet-1"}, {"SubnetId": "subnet-9"}],
    )
    assert [(one["check"], one["where"].split()[-2 if "(" in one["where"] else -1]) for one in found] == [
        ("foreign rule", "sg-o"),
        ("foreign rule", "sg-i"),
        ("foreign security group", "sg-i"),
        ("foreign subnet", "subnet-9"),
    ]
    assert "revoke-security-group-ingress --group-id sg-o" in found[0]["next"]
    assert '"FromPort":22' in found[0]["next"]
    assert "revoke-security-group-egress --group-id sg-i" in found[1]["next"]


# --- what is told -----------------------------------------------------------------------------------------


def stack_resource(logical: str, kind: str, identifier: str, status: str = "CREATE_COMPLETE") -> Json:
    return {
        "LogicalResourceId": logical,
        "ResourceType": kind,
        "PhysicalResourceId": identifier,
        "ResourceStatus": status,
    }


@pytest.fixture
def estate(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Json]]:
    """Three of the six tiers are there."""
    there = {
        "slipway-arable-network": [stack_resource("Vpc", "AWS::EC2::VPC", "vpc-1")],
        "slipway-arable-database": [stack_resource("Instance", "AWS::RDS::DBInstance", "db-1")],
        "slipway-arable-storage": [
            stack_resource("ImageBucket", "AWS::S3::Bucket", BUCKET),
            stack_resource("SecretKeyBase", "AWS::SecretsManager::Secret", "arn:secret"),
        ],
    }
    monkeypatch.setattr(
        cloudformation, "describe", lambda name: {"StackStatus": "CREATE_COMPLETE"} if name in there else None
    )
    monkeypatch.setattr(cloudformation, "resources", lambda name: there[name])
    instance = {"DBInstanceStatus": "available", "AllocatedStorage": 20, "DBInstanceClass": "db.t4g.micro"}
    monkeypatch.setattr(rds, "instance", lambda _identifier: instance)
    monkeypatch.setattr(s3, "count", lambda _bucket: "12 versions of objects")
    for name in ("interfaces", "subnets", "of_environment"):
        monkeypatch.setattr(ec2, name, lambda _vpc: [])
    monkeypatch.setattr(ec2, "security_groups", list)
    return there


def test_what_goes_and_what_stays_is_told(estate: dict[str, list[Json]]) -> None:
    told = inventory.show(REQUEST)
    assert [row["tier"] for row in told["goes"]] == ["database", "storage", "network"]
    assert told["goes"][1]["resources"] == []
    assert "20 GiB" in told["goes"][0]["detail"]
    assert [one["what"].split(" (")[0] for one in told["stays"]] == [
        "final snapshot of the database",
        "the database's logs",
        "image bucket",
        "SECRET_KEY_BASE",
        "restore points",
        "receipts and history",
    ]
    assert "12 versions" in told["text"]
    assert "slipway-arable-final-" in told["text"]
    assert told["hindrances"] == []


def test_images_that_are_named_do_not_stay(estate: dict[str, list[Json]]) -> None:
    told = inventory.show({**REQUEST, "remove": {"images": BUCKET}})
    assert "image bucket" not in {one["what"].split(" (")[0] for one in told["stays"]}
    assert f"image bucket {BUCKET}, with all images" in told["text"]


def test_what_is_in_the_way_is_shown_by_a_plan_and_refused_otherwise(
    estate: dict[str, list[Json]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2, "interfaces", lambda _vpc: [interface("eni-9")])
    assert "what is in the way" in inventory.show({**REQUEST, "plan": True})["text"]
    with pytest.raises(PreflightFailed, match="eni-9") as raised:
        inventory.show(REQUEST)
    assert "Nothing was removed" in raised.value.next
    assert len(raised.value.details["problems"]) == 1


def test_the_resources_that_stay_are_those_that_the_templates_keep() -> None:
    found = {
        (tier, name)
        for tier in removal.ORDER
        for name, resource in load(ROOT / "tiers" / f"{tier}.yaml")["Resources"].items()
        if str(resource.get("DeletionPolicy", "")).startswith("Retain")
    }
    assert found == set(inventory.KEPT)


# --- the database -----------------------------------------------------------------------------------------


class Rds:
    """RDS: one instance, and its snapshots; `refuses` is what a deletion is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: str | None = "available") -> None:
        self.status, self.protected = status, True
        self.snapshots: dict[str, str] = {}
        self.calls: list[str] = []
        monkeypatch.setattr(cloudformation, "describe", lambda _stack: {"StackStatus": "CREATE_COMPLETE"})
        monkeypatch.setattr(
            cloudformation,
            "resources",
            lambda _stack: [stack_resource("Instance", "AWS::RDS::DBInstance", "db-1")],
        )
        monkeypatch.setattr(rds, "instance", self._instance)
        monkeypatch.setattr(rds, "unprotect", self._unprotect)
        monkeypatch.setattr(rds, "delete_with_snapshot", self._delete)
        monkeypatch.setattr(rds, "snapshot", self._snapshot)
        monkeypatch.setattr(
            rds, "snapshots_of", lambda _: [{"DBSnapshotIdentifier": name} for name in self.snapshots]
        )

    def _instance(self, _identifier: str) -> Json | None:
        return (
            {"DBInstanceStatus": self.status, "DeletionProtection": self.protected} if self.status else None
        )

    def _unprotect(self, _identifier: str) -> None:
        self.protected = False

    def _delete(self, _identifier: str, name: str) -> str:
        assert not self.protected
        self.calls.append(name)
        if name in self.snapshots:
            return "taken"
        self.snapshots[name], self.status = "creating", "deleting"
        return "begun"

    def _snapshot(self, name: str) -> Json | None:
        return {"Status": self.snapshots[name]} if name in self.snapshots else None

    def done(self) -> None:
        self.status = None
        self.snapshots = dict.fromkeys(self.snapshots, "available")


NAME = "slipway-arable-final-20261122t101112z"


def end(so_far: Json | None = None) -> Json:
    return database.end("arable", so_far, STARTED, patience())


def test_the_database_leaves_one_snapshot_with_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Rds(monkeypatch)
    begun = end()
    assert (begun["status"], begun["snapshot"]) == ("ending", NAME)
    assert end(begun)["status"] == "ending"
    cloud.done()
    assert (end(begun)["status"], end(begun)["snapshot"]) == ("ended", NAME)
    assert cloud.calls == [NAME]


def test_a_name_that_is_taken_is_left_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Rds(monkeypatch)
    cloud.snapshots[NAME] = "available"
    assert end()["snapshot"] == f"{NAME}-2"


def test_no_name_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Rds(monkeypatch)
    cloud.snapshots = {NAME + suffix: "available" for suffix in SUFFIXES}
    with pytest.raises(DatabaseRefused, match="no name is free"):
        end()


@pytest.mark.parametrize("status", ["backing-up", "modifying"])
def test_an_instance_that_rds_is_at_is_waited_for(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    cloud = Rds(monkeypatch, status)
    assert end()["status"] == "busy"
    assert cloud.protected
    assert cloud.calls == []


def test_a_deletion_whose_answer_was_lost_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Rds(monkeypatch)
    end()
    assert end() == {
        "status": "ending",
        "instance": "db-1",
        "snapshot": NAME,
        "detail": "db-1 is deleting already",
    }
    cloud.done()
    found = end()
    assert (found["status"], found["snapshot"]) == ("ending", NAME)
    assert end(found)["status"] == "ended"
    assert cloud.calls == [NAME]


def test_a_snapshot_that_is_not_whole_ends_in_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Rds(monkeypatch)
    begun = end()
    cloud.status = None
    assert end(begun)["status"] == "ending"
    cloud.snapshots[NAME] = "failed"
    with pytest.raises(DatabaseRefused, match="its final snapshot is failed") as raised:
        end(begun)
    assert raised.value.details["needsAPerson"]


def test_a_deletion_that_rds_gave_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Rds(monkeypatch)
    begun = end()
    cloud.status = "available"
    with pytest.raises(DatabaseRefused, match="gave the deletion up"):
        end(begun)


def test_no_database_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudformation, "describe", lambda _stack: None)
    assert end()["status"] == "ended"


# --- the images -------------------------------------------------------------------------------------------


class Bucket:
    """S3: a bucket with so many versions, of which a page has 1,000."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.number, self.there, self.now = number, True, 0.0
        monkeypatch.setattr(s3, "versions", self._versions)
        monkeypatch.setattr(s3, "delete_versions", self._delete)
        monkeypatch.setattr(s3, "abort_uploads", lambda _bucket: None)
        monkeypatch.setattr(s3, "delete_bucket", self._gone)

    def _versions(self, _bucket: str) -> list[Json] | None:
        return [{}] * min(self.number, 1000) if self.there else None

    def _delete(self, _bucket: str, which: list[Json]) -> None:
        self.now += 10
        self.number -= len(which)

    def _gone(self, _bucket: str) -> None:
        assert self.number == 0
        self.there = False

    def clock(self) -> float:
        return self.now


def test_a_bucket_is_emptied_in_bounded_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, 5500)
    found = images.empty("b", 0, bucket.clock)
    assert (found["status"], found["removed"]) == ("emptying", 4000)
    found = images.empty("b", found["removed"], bucket.clock)
    assert (found["status"], found["removed"], bucket.there) == ("removed", 5500, False)
    assert images.empty("b", found["removed"], bucket.clock)["status"] == "removed"


def test_versions_and_marks_of_deletion_go_for_good(aws: None) -> None:
    there: Any = boto3.client("s3")
    there.create_bucket(Bucket="images", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    there.put_bucket_versioning(Bucket="images", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        there.put_object(Bucket="images", Key="a.png", Body=body)
    there.delete_object(Bucket="images", Key="a.png")
    there.create_multipart_upload(Bucket="images", Key="half.png")
    assert s3.count("images") == "3 versions of objects"
    assert images.empty("images", 0) == {"status": "removed", "removed": 3, "detail": "images is gone"}
    assert s3.versions("images") is None


def test_an_object_that_s3_does_not_delete_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def delete_objects(self, **_: Any) -> Json:
            return {"Errors": [{"Key": "a.png", "Code": "AccessDenied"}]}

    monkeypatch.setattr(s3, "client", lambda _service: Refusing())
    with pytest.raises(RuntimeError, match=r"a\.png: AccessDenied"):
        s3.delete_versions("images", [{"Key": "a.png", "VersionId": "1"}])


# --- the calls --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "answer"),
    [("DBSnapshotAlreadyExists", "taken"), ("InvalidDBInstanceState", "busy")],
)
def test_what_rds_answers_to_a_deletion(monkeypatch: pytest.MonkeyPatch, code: str, answer: str) -> None:
    class Refusing:
        def delete_db_instance(self, **given: Any) -> Json:
            assert given["SkipFinalSnapshot"] is False
            raise refused(code)

    monkeypatch.setattr(rds, "client", lambda _service: Refusing())
    assert rds.delete_with_snapshot("db-1", "s") == answer


# --- the lock ---------------------------------------------------------------------------------------------


def test_who_waits_for_a_tear_down_is_told_that_it_is_one(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "status", lambda _arn: "RUNNING")
    monkeypatch.setattr(states, "current_state", lambda _arn: "EndDatabase")
    assert lock.acquire_to_tear_down(REQUEST, EXECUTION) == {"fence": 1}
    assert lock.acquire_to_tear_down(REQUEST, EXECUTION) == {"fence": 1}
    with pytest.raises(EnvironmentLocked, match="a tear-down has been running in this environment since"):
        lock.acquire_to_tear_down(REQUEST, "arn:other")


def test_one_that_is_taken_over_is_still_known_as_a_tear_down(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "status", lambda _arn: "ABORTED")
    lock.acquire_to_tear_down(REQUEST, EXECUTION)
    taken = lock.take_over("arable", "arn:clean-up")
    assert taken is not None
    assert (taken["doing"], taken["of"], taken["fence"]) == (lock.TEAR_DOWN, EXECUTION, 2)


# --- what is remembered -----------------------------------------------------------------------------------


@pytest.fixture
def released(aws: None, environment: Json, monkeypatch: pytest.MonkeyPatch) -> Json:
    """A release of it has succeeded, and the tear-down holds the lock."""
    monkeypatch.setattr(states, "status", lambda _arn: "RUNNING")
    monkeypatch.setattr(states, "history", lambda _arn: ([], True))
    monkeypatch.setattr(cloudformation, "describe", lambda _stack: None)
    records.register(environment)
    records.set_current(environment, {"id": "r1"}, 0)
    lock.acquire_to_tear_down(REQUEST, EXECUTION)
    return environment


HELD = {"environment": "arable", "fence": 1}
SHOWN = {"goes": [{"tier": "network", "stack": "slipway-arable-network"}], "stays": [{"where": BUCKET}]}


def recorded(ending: str, failed: Json | None = None) -> Json:
    return record.record(HELD, REQUEST, ending, STARTED, SHOWN, {"snapshot": NAME}, None, failed, "artifacts")


def test_after_a_tear_down_no_release_is_current_and_its_addresses_are_free(released: Json) -> None:
    told = recorded("Succeeded")
    assert records.current("arable") is None
    assert records.retired("arable") == {"at": told["recordedAt"], "execution": EXECUTION}
    assert records.cidrs() == {}
    assert told["snapshot"] == NAME
    assert [row["tier"] for row in told["removed"]] == ["network"]
    body = boto3.client("s3").get_object(Bucket="artifacts", Key="receipts/arable/x.json")["Body"].read()
    assert json.loads(body)["tearDown"] is True


def test_a_release_by_name_is_told_that_it_was_taken_down(released: Json) -> None:
    told = recorded("Succeeded")
    with pytest.raises(InvalidInput, match=f"which was taken down at {told['recordedAt']}"):
        validation.validate({"environment": "arable", "release": {"id": "previous"}}, "artifacts")


def test_what_is_gone_in_part_has_no_current_release_but_keeps_its_addresses(released: Json) -> None:
    recorded("FailedDirty", {"left": [{"tier": "network"}]})
    assert records.current("arable") is None
    assert set(records.cidrs()) == {"arable"}


def test_nothing_is_forgotten_when_nothing_was_removed(released: Json) -> None:
    told = recorded("FailedClean", {"left": []})
    assert records.current("arable") is not None
    assert told["removed"] == []


def test_a_later_release_is_current_again(released: Json) -> None:
    recorded("Succeeded")
    assert records.set_current(released, {"id": "r2"}, 2)
    assert records.retired("arable") is None
    assert not records.retire("arable", 1, "late", EXECUTION)
    current = records.current("arable")
    assert current is not None
    assert current["release"]["id"] == "r2"


@pytest.mark.parametrize(
    ("there", "shown", "ending", "says"),
    [
        ({"slipway-arable-network": "CREATE_COMPLETE"}, SHOWN, "FailedClean", "Nothing was removed"),
        (
            {"slipway-arable-network": "DELETE_FAILED"},
            SHOWN,
            "FailedDirty",
            "slipway-arable-network (DELETE_",
        ),
        ({}, SHOWN, "FailedDirty", "none of its stacks"),
        ({}, None, "FailedClean", "Nothing was removed"),
    ],
)
def test_a_failure_is_explained_by_what_is_still_there(
    monkeypatch: pytest.MonkeyPatch, there: Mapping[str, str], shown: Json | None, ending: str, says: str
) -> None:
    monkeypatch.setattr(
        cloudformation, "describe", lambda name: {"StackStatus": there[name]} if name in there else None
    )
    cause = json.dumps(
        {"errorType": "TierFailed", "errorMessage": json.dumps({"what": "stuck", "where": "w"})}
    )
    told = record.explain(REQUEST, "TierFailed", cause, "remove who serves", shown, None, EXECUTION)
    assert (told["ending"], told["error"], told["what"]) == (ending, "TierFailed", "stuck")
    assert says in told["next"]
    assert "stateMachine:slipway-tear-down" in told["command"]


def test_the_seconds_are_those_since_its_start() -> None:
    told = record.facts(
        REQUEST, "Succeeded", STARTED, None, None, None, None, datetime(2026, 11, 22, 10, 12, 12, 345000, UTC)
    )
    assert told["seconds"] == 60
