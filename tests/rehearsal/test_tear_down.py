"""An environment of real servers goes, and leaves nothing but what was to stay.

It is one beside the others' of the region, which must not notice.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal import host, release
from tests.rehearsal.rehearsed import Rehearsed, as_object, eventually

NAME = "passing"
STACKS = ("load-balancer", "web", "certificate", "database", "storage", "network")


@dataclass(frozen=True)
class Taken:
    """A tear-down that has ended."""

    status: str
    error: str
    told: dict[str, Any]
    """Its output, or the explanation of its failure."""
    name: str
    seconds: float


def given(
    region: Rehearsed, overlay: str | None = None, name: str = NAME, cidr: str = "10.60.0.0/16"
) -> dict[str, Any]:
    """The input of a first release of an environment with one server."""
    made = region.given(overlay, min=1, desired=1, max=2)
    made["environment"] |= {"name": name, "domain": {"name": f"{name}.example", "dns": "route53"}}
    made["environment"]["network"] |= {"cidr": cidr}
    return made


def take_down(region: Rehearsed, name: str, environment: str = NAME, **asked: Any) -> Taken:
    began = time.monotonic()
    ended = release.tear_down(
        region.outputs, {"environment": environment, "confirm": environment, **asked}, name
    )
    told = as_object(ended["output"] if ended["status"] == "SUCCEEDED" else ended.get("cause"))
    return Taken(ended["status"], ended.get("error", ""), told, name, time.monotonic() - began)


def stacks(region: Rehearsed, environment: str = NAME) -> dict[str, str]:
    """Statuses of the environment's stacks that are there."""
    pages = region.client("cloudformation").get_paginator("describe_stacks").paginate()
    found = {one["StackName"]: one["StackStatus"] for page in pages for one in page["Stacks"]}
    return {
        name: status
        for name, status in found.items()
        if name.startswith(f"slipway-{environment}-") and status != "DELETE_COMPLETE"
    }


def left(region: Rehearsed, environment: str = NAME) -> dict[str, list[str]]:
    """All that could be left of the environment and was not to stay, as AWS and the machine say."""
    ec2, prefix = region.client("ec2"), f"slipway-{environment}-"
    instances = ec2.describe_instances(
        Filters=[
            {"Name": "tag:slipway:environment", "Values": [environment]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
        ]
    )["Reservations"]
    vpcs = [
        one["VpcId"]
        for one in ec2.describe_vpcs()["Vpcs"]
        if {"Key": "slipway:environment", "Value": environment} in one.get("Tags", [])
    ]
    roles = region.client("iam").get_paginator("list_roles").paginate()
    groups = region.client("logs").get_paginator("describe_log_groups").paginate()
    functions = region.client("lambda").get_paginator("list_functions").paginate()
    databases = region.client("rds").describe_db_instances()["DBInstances"]
    balancers = region.client("elbv2").describe_load_balancers()["LoadBalancers"]
    targets = region.client("elbv2").describe_target_groups()["TargetGroups"]
    certificates = region.client("acm").list_certificates()["CertificateSummaryList"]
    secrets = region.client("secretsmanager").list_secrets()["SecretList"]
    scaling = region.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return {
        "stacks": sorted(stacks(region, environment)),
        "instances": [one["InstanceId"] for group in instances for one in group["Instances"]],
        "networks": vpcs,
        "subnets": [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"] if s["VpcId"] in vpcs],
        "addresses": [
            one["PublicIp"]
            for one in ec2.describe_addresses()["Addresses"]
            if {"Key": "slipway:environment", "Value": environment} in one.get("Tags", [])
        ],
        "interfaces": [
            one["NetworkInterfaceId"]
            for one in ec2.describe_network_interfaces()["NetworkInterfaces"]
            if one["VpcId"] in vpcs
        ],
        "groups of servers": [
            one["AutoScalingGroupName"] for one in scaling if one["AutoScalingGroupName"].startswith(prefix)
        ],
        "databases": [
            one["DBInstanceIdentifier"] for one in databases if one["DBInstanceIdentifier"].startswith(prefix)
        ],
        "balancers": [one["LoadBalancerArn"] for one in balancers if one["VpcId"] in vpcs],
        "target groups": [one["TargetGroupArn"] for one in targets if one.get("VpcId") in vpcs],
        "certificates": [one["DomainName"] for one in certificates if environment in one["DomainName"]],
        "secrets": [
            one["Name"]
            for one in secrets
            if environment in one["Name"] and not one["Name"].endswith("key-base")
        ],
        "roles": [one["RoleName"] for page in roles for one in page["Roles"] if prefix in one["RoleName"]],
        "functions": [
            one["FunctionName"]
            for page in functions
            for one in page["Functions"]
            if one["FunctionName"].startswith(prefix)
        ],
        "log groups": [
            one["logGroupName"]
            for page in groups
            for one in page["logGroups"]
            if prefix in one["logGroupName"]
        ],
        "servers of the machine": [server for server in host.servers(region.paths) if prefix in server],
    }


def items(region: Rehearsed, beginning: str) -> list[dict[str, Any]]:
    """Items of the environment in the table, plain."""
    found = region.client("dynamodb").query(
        TableName=region.outputs["TableName"],
        KeyConditionExpression="pk = :pk AND begins_with(sk, :beginning)",
        ExpressionAttributeValues={
            ":pk": {"S": f"ENVIRONMENT#{NAME}"},
            ":beginning": {"S": beginning},
        },
    )["Items"]
    return [{name: next(iter(value.values())) for name, value in item.items()} for item in found]


def all_gone(region: Rehearsed, environment: str = NAME) -> None:
    before = left(region, environment)
    empty: dict[str, list[str]] = {kind: [] for kind in before}
    eventually(lambda: left(region, environment) == empty, 120, f"nothing is left: {before}")


def images(region: Rehearsed) -> list[str]:
    """Keys in the environment's image bucket; raises ClientError if it is gone."""
    name = f"slipway-{NAME}-images-000000000000-{region.client('s3').meta.region_name}"
    return [one["Key"] for one in region.client("s3").list_objects_v2(Bucket=name).get("Contents", [])]


@pytest.fixture(scope="module")
def released(region: Rehearsed) -> str:
    """The environment, released and with an image that somebody uploaded; the name of its network."""
    region.succeed(given(region))
    region.client("s3").put_object(
        Bucket=region.tier("storage", NAME)["ImageBucketName"], Key="somebody's.png", Body=b"image"
    )
    return region.tier("network", NAME)["VpcId"]


def test_a_plan_shows_and_changes_nothing(region: Rehearsed, released: str) -> None:
    before = region.standing()
    plan = take_down(region, "down-plan", plan=True)
    assert plan.status == "SUCCEEDED", plan.told
    assert [row["stack"] for row in plan.told["goes"]] == [f"slipway-{NAME}-{tier}" for tier in STACKS]
    stays = {one["what"].split(" (")[0] for one in plan.told["stays"]}
    assert {"final snapshot of the database", "image bucket", "SECRET_KEY_BASE", "hosted zone"} <= stays
    assert plan.told["hindrances"] == [], plan.told["hindrances"]
    assert "20 GiB" in plan.told["text"]
    after = region.standing()
    assert (after["stacks"], after["items"], after["servers"]) == (
        before["stacks"],
        before["items"],
        before["servers"],
    )


def test_another_name_is_refused_by_the_field(region: Rehearsed, released: str) -> None:
    refused = take_down(region, "down-wrong", confirm="arable")
    assert (refused.error, refused.told["error"]) == ("FailedClean", "InvalidInput")
    assert refused.told["what"].startswith(
        f"confirm is arable, and the environment is {NAME}; allowed: {NAME}"
    )
    assert len(stacks(region)) == 6


def test_who_releases_cannot_take_down(region: Rehearsed, released: str) -> None:
    with pytest.raises(ClientError, match="not authorized"):
        release.client("stepfunctions").start_execution(
            stateMachineArn=region.outputs["TearDownStateMachineArn"], input="{}"
        )


def test_what_others_have_put_there_is_named_before_anything_goes(region: Rehearsed, released: str) -> None:
    ec2 = region.client("ec2")
    subnet = region.tier("network", NAME)["WebSubnetIds"].split(",")[0]
    foreign = ec2.create_network_interface(SubnetId=subnet, Description="somebody's")["NetworkInterface"]
    identifier = foreign["NetworkInterfaceId"]
    try:
        refused = take_down(region, "down-hindered")
        assert (refused.error, refused.told["error"]) == ("FailedClean", "PreflightFailed"), refused.told
        [problem] = refused.told["details"]["problems"]
        assert identifier in problem["where"]
        assert f"delete-network-interface --network-interface-id {identifier}" in problem["next"]
        assert "Nothing was removed" in refused.told["next"]
        assert set(stacks(region).values()) == {"CREATE_COMPLETE"}
        assert "holder" not in items(region, "LOCK")[0]
    finally:
        ec2.delete_network_interface(NetworkInterfaceId=identifier)
    assert region.site(f"{NAME}.example").get("/up").status == 200


def test_it_goes_and_leaves_what_was_to_stay(region: Rehearsed, released: str) -> None:
    rows = region.client("rds").describe_db_instances()["DBInstances"]
    taken = take_down(region, "down-1")
    print(f"tear-down: {taken.seconds:.0f} s, {taken.told.get('transitions')} transitions")
    assert taken.status == "SUCCEEDED", taken.told
    all_gone(region)
    # What stays.
    snapshot = taken.told["snapshot"]
    assert snapshot.startswith(f"slipway-{NAME}-final-")
    made = region.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    of_it = [one for one in made if NAME in one["DBInstanceIdentifier"]]
    assert [(one["DBSnapshotIdentifier"], one["Status"]) for one in of_it] == [(snapshot, "available")]
    assert len(region.client("rds").describe_db_instances()["DBInstances"]) == len(rows) - 1
    assert images(region) == ["somebody's.png"]
    zones = region.client("route53").list_hosted_zones()["HostedZones"]
    assert f"{NAME}.example." in {one["Name"] for one in zones}
    assert region.client("secretsmanager").describe_secret(SecretId=f"slipway/{NAME}/secret-key-base")
    # What is remembered.
    assert len(items(region, "RELEASE#")) == 1
    assert "holder" not in items(region, "LOCK")[0]
    assert items(region, "CURRENT")[0]["by"] == taken.told["execution"]
    told = json.loads(
        region.client("s3")
        .get_object(Bucket=region.outputs["ArtifactBucket"], Key=f"receipts/{NAME}/{taken.name}.json")["Body"]
        .read()
    )
    assert (told["ending"], told["snapshot"]) == ("Succeeded", snapshot)


def test_a_first_release_that_failed_leaves_nothing_either(region: Rehearsed) -> None:
    """No release of it ever succeeded; and images that are named go, too."""
    broken = given(region, "crashing", name="failing", cidr="10.61.0.0/16")
    ended = region.fail(broken)
    assert ended.error == "FailedClean"
    assert len(stacks(region, "failing")) == 6
    bucket = region.tier("storage", "failing")["ImageBucketName"]
    for body in (b"1", b"2"):
        region.client("s3").put_object(Bucket=bucket, Key="image.png", Body=body)
    region.client("s3").delete_object(Bucket=bucket, Key="image.png")
    taken = take_down(region, "down-failed", "failing", remove={"images": bucket})
    print(f"tear-down after a failure: {taken.seconds:.0f} s")
    assert taken.status == "SUCCEEDED", taken.told
    all_gone(region, "failing")
    assert taken.told["images"] == {"bucket": bucket, "kept": False, "removed": 3}
    assert bucket not in {one["Name"] for one in region.client("s3").list_buckets()["Buckets"]}
    assert taken.told["snapshot"].startswith("slipway-failing-final-")


def test_a_release_by_its_name_is_told_so(region: Rehearsed, released: str) -> None:
    asked = {"environment": NAME, "release": {"id": "previous"}}
    ended = region.fail(asked)
    assert ended.error == "FailedClean"
    assert "which was taken down at 20" in ended.explanation["what"]


def test_a_second_time_there_is_nothing_left_to_do(region: Rehearsed, released: str) -> None:
    again = take_down(region, "down-2")
    assert (again.status, again.told["removed"]) == ("SUCCEEDED", []), again.told
    assert images(region) == ["somebody's.png"]
