"""Drift of the tiers' stacks and its way back, in the control plane alone: of what needs no server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.test_emulator_control_plane import ACCOUNT, Plane, plane, refusal

__all__ = ["plane"]

TIERS = Path(__file__).resolve().parents[2] / "tiers"
BUCKET = f"slipway-arable-images-{ACCOUNT}-eu-central-1"


class Stacks:
    """The tiers that need no server, deployed as stacks."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.cloudformation = plane.client("cloudformation")

    def deploy(self, tier: str, parameters: Mapping[str, str]) -> None:
        given = {"Environment": "arable", **parameters}
        self.cloudformation.create_stack(
            StackName=f"slipway-arable-{tier}",
            TemplateBody=(TIERS / f"{tier}.yaml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": "slipway:environment", "Value": "arable"}, {"Key": "slipway:tier", "Value": tier}],
        )
        self.settled(tier, "CREATE_COMPLETE")

    def settled(self, tier: str, status: str) -> None:
        give_up = time.monotonic() + 120
        while self.stack(tier)["StackStatus"].endswith("_IN_PROGRESS"):
            assert time.monotonic() < give_up
            time.sleep(0.1)
        found = self.stack(tier)
        assert found["StackStatus"] == status, found.get("StackStatusReason")

    def stack(self, tier: str) -> dict[str, Any]:
        return dict(self.cloudformation.describe_stacks(StackName=f"slipway-arable-{tier}")["Stacks"][0])

    def outputs(self, tier: str) -> dict[str, str]:
        return {one["OutputKey"]: one["OutputValue"] for one in self.stack(tier).get("Outputs", [])}

    def physical(self, tier: str, name: str) -> str:
        found = self.cloudformation.describe_stack_resource(
            StackName=f"slipway-arable-{tier}", LogicalResourceId=name
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def detect(self, tier: str, client: Any = None) -> dict[str, Any]:
        """A detection from its start to its end."""
        client = client or self.cloudformation
        started = client.detect_stack_drift(StackName=f"slipway-arable-{tier}")["StackDriftDetectionId"]
        give_up = time.monotonic() + 60
        first = self.cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=started)
        assert first["DetectionStatus"] == "DETECTION_IN_PROGRESS"
        while True:
            found = self.cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=started)
            if found["DetectionStatus"] != "DETECTION_IN_PROGRESS":
                return dict(found)
            assert time.monotonic() < give_up
            time.sleep(0.1)

    def differences(self, tier: str) -> dict[str, list[str] | str]:
        """Resource → the paths that differ, or DELETED."""
        self.detect(tier)
        found = self.cloudformation.describe_stack_resource_drifts(
            StackName=f"slipway-arable-{tier}",
            StackResourceDriftStatusFilters=["MODIFIED", "DELETED", "UNKNOWN"],
        )
        return {
            one["LogicalResourceId"]: sorted(d["PropertyPath"] for d in one["PropertyDifferences"])
            if one["StackResourceDriftStatus"] == "MODIFIED"
            else str(one["StackResourceDriftStatus"])
            for one in found["StackResourceDrifts"]
        }

    def revert(self, tier: str) -> dict[str, Any]:
        """A drift-aware change set, executed; as it was described before."""
        name, change_set = f"slipway-arable-{tier}", f"revert-{time.monotonic_ns()}"
        self.cloudformation.create_change_set(
            StackName=name,
            ChangeSetName=change_set,
            UsePreviousTemplate=True,
            Parameters=[
                {"ParameterKey": one["ParameterKey"], "UsePreviousValue": True}
                for one in self.stack(tier).get("Parameters", [])
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            DeploymentMode="REVERT_DRIFT",
        )
        described = self.cloudformation.describe_change_set(StackName=name, ChangeSetName=change_set)
        self.cloudformation.execute_change_set(StackName=name, ChangeSetName=change_set)
        self.settled(tier, "UPDATE_COMPLETE")
        return dict(described)


@pytest.fixture(scope="module")
def stacks(plane: Plane) -> Stacks:
    found = Stacks(plane)
    found.deploy("network", {})
    found.deploy("storage", {})
    found.deploy("certificate", {"DomainName": "arable.example"})
    network = found.outputs("network")
    found.deploy(
        "web",
        {
            "VpcId": network["VpcId"],
            "SubnetIds": network["WebSubnetIds"],
            "SecurityGroupId": network["WebSecurityGroupId"],
            "MinSize": "0",
            "DesiredCapacity": "0",
            "OperatingSystem": "debian-12",
            "ImageBucketName": found.outputs("storage")["ImageBucketName"],
            "ArtifactBucket": "artifacts",
            "ArtifactPrefix": "releases/",
        },
    )
    return found


TIERS_HERE = ("network", "storage", "certificate", "web")


@pytest.mark.parametrize("tier", TIERS_HERE)
def test_an_untouched_tier_is_in_sync(stacks: Stacks, tier: str) -> None:
    assert stacks.differences(tier) == {}
    assert stacks.detect(tier)["StackDriftStatus"] == "IN_SYNC"
    drifts = stacks.cloudformation.describe_stack_resource_drifts(StackName=f"slipway-arable-{tier}")
    checked = {one["LogicalResourceId"] for one in drifts["StackResourceDrifts"]}
    resources = stacks.cloudformation.describe_stack_resources(StackName=f"slipway-arable-{tier}")
    assert checked == {one["LogicalResourceId"] for one in resources["StackResources"]}


Tampering = Callable[[Stacks], None]


def _rule(port: int) -> list[dict[str, Any]]:
    ranges = [{"CidrIp": "198.51.100.0/24"}, {"CidrIp": "203.0.113.7/32", "Description": "just for a moment"}]
    return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}]


def _rules_added(stacks: Stacks) -> None:
    group = stacks.outputs("network")["LoadBalancerSecurityGroupId"]
    stacks.plane.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=_rule(22))


def _rule_of_its_own_revoked(stacks: Stacks) -> None:
    network = stacks.outputs("network")
    pair = {"GroupId": network["WebSecurityGroupId"]}
    permission = {"IpProtocol": "tcp", "FromPort": 3306, "ToPort": 3306, "UserIdGroupPairs": [pair]}
    stacks.plane.client("ec2").revoke_security_group_ingress(
        GroupId=network["DatabaseSecurityGroupId"], IpPermissions=[permission]
    )


def _egress_replaced(stacks: Stacks) -> None:
    ec2, group = stacks.plane.client("ec2"), stacks.outputs("network")["DatabaseSecurityGroupId"]
    nothing = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "127.0.0.1/32"}]}]
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=nothing)
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everything)


def _route_elsewhere(stacks: Stacks) -> None:
    stacks.plane.client("ec2").replace_route(
        RouteTableId=stacks.physical("network", "WebRouteTable1"),
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=stacks.physical("network", "InternetGateway"),
    )


def _route_deleted(stacks: Stacks) -> None:
    stacks.plane.client("ec2").delete_route(
        RouteTableId=stacks.physical("network", "WebRouteTable2"), DestinationCidrBlock="0.0.0.0/0"
    )


def _names_off(stacks: Stacks) -> None:
    stacks.plane.client("ec2").modify_vpc_attribute(
        VpcId=stacks.physical("network", "Vpc"), EnableDnsHostnames={"Value": False}
    )


def _tagged(stacks: Stacks) -> None:
    ec2, subnet = stacks.plane.client("ec2"), stacks.physical("network", "WebSubnet1")
    ec2.create_tags(Resources=[subnet], Tags=[{"Key": "owner", "Value": "somebody"}])


def _opened(stacks: Stacks) -> None:
    s3 = stacks.plane.client("s3")
    open_to_all = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False
    )
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=open_to_all)


def _versions_suspended(stacks: Stacks) -> None:
    s3 = stacks.plane.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def _kept_for_ever(stacks: Stacks) -> None:
    stacks.plane.client("s3").delete_bucket_lifecycle(Bucket=BUCKET)


def _policy_deleted(stacks: Stacks) -> None:
    stacks.plane.client("s3").delete_bucket_policy(Bucket=BUCKET)


def _policy_widened(stacks: Stacks) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    stacks.plane.client("s3").put_bucket_policy(Bucket=BUCKET, Policy=policy)


def _secret_described(stacks: Stacks) -> None:
    stacks.plane.client("secretsmanager").update_secret(
        SecretId="slipway/arable/secret-key-base", Description="changed by hand"
    )


def _zone_comment(stacks: Stacks) -> None:
    zone = stacks.physical("certificate", "HostedZone")
    stacks.plane.client("route53").update_hosted_zone_comment(Id=zone, Comment="mine")


def _certificate_tagged(stacks: Stacks) -> None:
    stacks.plane.client("acm").add_tags_to_certificate(
        CertificateArn=stacks.physical("certificate", "Certificate"), Tags=[{"Key": "owner", "Value": "me"}]
    )


def _inline_policy(stacks: Stacks) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    stacks.plane.client("iam").put_role_policy(
        RoleName=stacks.physical("web", "Role"), PolicyName="more", PolicyDocument=json.dumps(document)
    )


def _larger(stacks: Stacks) -> None:
    stacks.plane.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=stacks.physical("web", "Group"), MaxSize=9
    )


def _lets_anybody_in(stacks: Stacks) -> None:
    group, scaling = stacks.physical("web", "Group"), stacks.plane.client("autoscaling")
    [hook] = scaling.describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]
    scaling.put_lifecycle_hook(**{**hook, "DefaultResult": "CONTINUE"})


def _hook_deleted(stacks: Stacks) -> None:
    stacks.plane.client("autoscaling").delete_lifecycle_hook(
        AutoScalingGroupName=stacks.physical("web", "Group"),
        LifecycleHookName=stacks.physical("web", "JoinHook"),
    )


def _drains_long(stacks: Stacks) -> None:
    stacks.plane.client("elbv2").modify_target_group_attributes(
        TargetGroupArn=stacks.physical("web", "TargetGroup"),
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "300"}],
    )


def _another_path(stacks: Stacks) -> None:
    stacks.plane.client("elbv2").modify_target_group(
        TargetGroupArn=stacks.physical("web", "TargetGroup"), HealthCheckPath="/anything"
    )


TAMPERINGS: dict[str, tuple[str, Tampering, dict[str, list[str] | str]]] = {
    "rules added": ("network", _rules_added, {
        "LoadBalancerSecurityGroup": ["/SecurityGroupIngress/2", "/SecurityGroupIngress/3"]
    }),
    "a rule of its own revoked": ("network", _rule_of_its_own_revoked, {"DatabaseFromWeb": "DELETED"}),
    "egress replaced": ("network", _egress_replaced, {
        "DatabaseSecurityGroup": ["/SecurityGroupEgress/0/CidrIp", "/SecurityGroupEgress/0/Description"]
    }),
    "a route elsewhere": ("network", _route_elsewhere, {"WebRouteToInternet1": ["/NatGatewayId"]}),
    "a route deleted": ("network", _route_deleted, {"WebRouteToInternet2": "DELETED"}),
    "names off": ("network", _names_off, {"Vpc": ["/EnableDnsHostnames"]}),
    "tagged": ("network", _tagged, {"WebSubnet1": ["/Tags/3"]}),
    "opened": ("storage", _opened, {"ImageBucket": [
        f"/PublicAccessBlockConfiguration/{name}"
        for name in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    ]}),
    "versions suspended": ("storage", _versions_suspended, {
        "ImageBucket": ["/VersioningConfiguration/Status"]
    }),
    "kept for ever": ("storage", _kept_for_ever, {"ImageBucket": ["/LifecycleConfiguration"]}),
    "policy deleted": ("storage", _policy_deleted, {"ImageBucketPolicy": "DELETED"}),
    "policy widened": ("storage", _policy_widened, {"ImageBucketPolicy": ["/PolicyDocument/Statement/0"]}),
    "secret described": ("storage", _secret_described, {"SecretKeyBase": ["/Description"]}),
    "zone comment": ("certificate", _zone_comment, {"HostedZone": ["/HostedZoneConfig/Comment"]}),
    "certificate tagged": ("certificate", _certificate_tagged, {"Certificate": ["/Tags/3"]}),
    "inline policy": ("web", _inline_policy, {"Role": ["/Policies/2"]}),
    "larger": ("web", _larger, {"Group": ["/MaxSize"]}),
    "lets anybody in": ("web", _lets_anybody_in, {"JoinHook": ["/DefaultResult"]}),
    "hook deleted": ("web", _hook_deleted, {"JoinHook": "DELETED"}),
    "drains long": ("web", _drains_long, {"TargetGroup": ["/TargetGroupAttributes/0/Value"]}),
    "another path": ("web", _another_path, {"TargetGroup": ["/HealthCheckPath"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_seen_exactly_and_reverted(stacks: Stacks, name: str) -> None:
    tier, tamper, expected = TAMPERINGS[name]
    tamper(stacks)
    found = stacks.differences(tier)
    assert found.keys() == expected.keys()
    for resource, paths in expected.items():
        if isinstance(paths, str):
            assert found[resource] == paths
        else:
            assert [path for path in paths if not any(f.startswith(path) for f in found[resource])] == []
            assert [f for f in found[resource] if not any(f.startswith(path) for path in paths)] == []

    described = stacks.revert(tier)
    assert described["DeploymentMode"] == "REVERT_DRIFT"
    assert described["StackDriftStatus"] == "DRIFTED"
    changes = {
        one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"]
        for one in described["Changes"]
        if one["ResourceChange"]["ResourceDriftStatus"] != "IN_SYNC"
    }
    assert changes.keys() == expected.keys()
    for resource, paths in expected.items():
        gone = paths == "DELETED"
        assert changes[resource]["ResourceDriftStatus"] == ("DELETED" if gone else "MODIFIED")
        assert changes[resource]["Action"] == ("Add" if gone else "Modify")
        assert changes[resource].get("Replacement", "False") == "False"
    assert stacks.differences(tier) == {}


def test_a_change_set_of_a_stack_in_sync_is_empty(stacks: Stacks) -> None:
    stacks.cloudformation.create_change_set(
        StackName="slipway-arable-network",
        ChangeSetName="nothing",
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Environment", "UsePreviousValue": True}],
        DeploymentMode="REVERT_DRIFT",
    )
    found = stacks.cloudformation.describe_change_set(
        StackName="slipway-arable-network", ChangeSetName="nothing"
    )
    assert (found["Status"], found["Changes"]) == ("FAILED", [])
    assert found["StackDriftStatus"] == "IN_SYNC"


def test_an_ordinary_change_set_does_not_see_drift(stacks: Stacks) -> None:
    _names_off(stacks)
    stacks.cloudformation.create_change_set(
        StackName="slipway-arable-network",
        ChangeSetName="plain",
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Environment", "UsePreviousValue": True}],
    )
    found = stacks.cloudformation.describe_change_set(
        StackName="slipway-arable-network", ChangeSetName="plain"
    )
    assert (found["Status"], found["Changes"]) == ("FAILED", [])
    assert "StackDriftStatus" not in found
    stacks.revert("network")


# What AWS cannot see


@pytest.fixture
def unseen(stacks: Stacks) -> Iterator[Stacks]:
    yield stacks
    assert all(stacks.differences(tier) == {} for tier in TIERS_HERE)


def test_a_new_version_of_a_launch_template_is_not_seen(unseen: Stacks) -> None:
    unseen.plane.client("ec2").create_launch_template_version(
        LaunchTemplateId=unseen.physical("web", "LaunchTemplate"),
        LaunchTemplateData={"InstanceType": "t3.large"},
    )


def test_rules_of_a_direction_that_the_template_does_not_set_are_not_seen(unseen: Stacks) -> None:
    group = unseen.outputs("network")["DatabaseSecurityGroupId"]
    unseen.plane.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=_rule(3306))


def test_a_managed_policy_is_not_seen_where_the_template_names_none(unseen: Stacks) -> None:
    iam = unseen.plane.client("iam")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policy = iam.create_policy(PolicyName="everything", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=unseen.physical("web", "Role"), PolicyArn=policy)


# Who may


def _somebody(plane: Plane, name: str, *actions: str) -> Any:
    iam = plane.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return plane.client(
        "cloudformation",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


def test_a_detection_reads_with_the_rights_of_whoever_asks(stacks: Stacks) -> None:
    actions = ("cloudformation:DetectStackDrift", "cloudformation:DetectStackResourceDrift", "s3:Get*")
    client = _somebody(stacks.plane, "reads-buckets", *actions)
    found = stacks.detect("storage", client)
    assert found["DetectionStatus"] == "DETECTION_FAILED"
    assert found["StackDriftStatus"] == "UNKNOWN"
    assert "SecretKeyBase" in found["DetectionStatusReason"]
    assert stacks.differences("storage") == {}


def test_a_detection_needs_the_right_for_single_resources(stacks: Stacks) -> None:
    client = _somebody(stacks.plane, "starts-only", "cloudformation:DetectStackDrift")
    assert refusal(lambda: client.detect_stack_drift(StackName="slipway-arable-storage")) == "AccessDenied"


# Who did it


def test_who_changed_what_is_on_the_trail(stacks: Stacks) -> None:
    plane, group = stacks.plane, stacks.outputs("network")["WebSecurityGroupId"]
    key = {"AttributeKey": "ResourceName", "AttributeValue": group}
    plane.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=_rule(2222))
    plane.client("ec2").describe_security_groups(GroupIds=[group])
    [newest, *_] = plane.client("cloudtrail").lookup_events(LookupAttributes=[key])["Events"]
    assert (newest["EventName"], newest["Username"]) == ("AuthorizeSecurityGroupIngress", "operator")
    assert newest["EventSource"] == "ec2.amazonaws.com"
    whole = json.loads(newest["CloudTrailEvent"])
    assert whole["userIdentity"]["arn"] == f"arn:aws:iam::{ACCOUNT}:user/operator"
    plane.client("ec2").revoke_security_group_ingress(GroupId=group, IpPermissions=_rule(2222))


@pytest.mark.parametrize(
    ("change", "resource", "name"),
    [
        (_opened, lambda _: BUCKET, "PutBucketPublicAccessBlock"),
        (
            _zone_comment,
            lambda stacks: stacks.physical("certificate", "HostedZone"),
            "UpdateHostedZoneComment",
        ),
        (_inline_policy, lambda stacks: stacks.physical("web", "Role"), "PutRolePolicy"),
        (_larger, lambda stacks: stacks.physical("web", "Group"), "UpdateAutoScalingGroup"),
        (_another_path, lambda stacks: stacks.physical("web", "TargetGroup"), "ModifyTargetGroup"),
    ],
)
def test_every_service_leaves_its_events(
    stacks: Stacks, change: Tampering, resource: Callable[[Stacks], str], name: str
) -> None:
    change(stacks)
    key = {"AttributeKey": "ResourceName", "AttributeValue": resource(stacks)}
    found = stacks.plane.client("cloudtrail").lookup_events(LookupAttributes=[key])["Events"]
    assert (found[0]["EventName"], found[0]["Username"]) == (name, "operator")
    for tier in TIERS_HERE:
        if stacks.differences(tier):
            stacks.revert(tier)


def test_the_trail_is_not_for_everybody(stacks: Stacks) -> None:
    iam = stacks.plane.client("iam")
    iam.create_user(UserName="curious")
    key = iam.create_access_key(UserName="curious")["AccessKey"]
    client = stacks.plane.client(
        "cloudtrail",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    assert refusal(client.lookup_events) == "AccessDeniedException"
