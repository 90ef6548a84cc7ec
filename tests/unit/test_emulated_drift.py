"""What the emulated CloudFormation makes of drift, apart from any service."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal.emulator import (
    bucket_settings,
    drift,
    drift_network,
    drift_services,
    drift_shapes,
    revert_drift,
    trail,
)
from tests.contract import shipped

AS_SHIPPED = {"AWS::Logs::LogGroup", "AWS::SecretsManager::Secret"}
"""The emulator's own readers read what the tiers set of these."""


@pytest.mark.parametrize("tier", shipped.TIERS)
def test_every_type_of_a_tier_has_a_reader(tier: str) -> None:
    kinds = {one["Type"] for one in shipped.tier(tier)["Resources"].values()}
    assert kinds - {*drift_network.READERS, *drift_services.READERS} <= AS_SHIPPED


UNREAD = {
    "AWS::EC2::LaunchTemplate": {"LaunchTemplateData"},
    "AWS::CertificateManager::Certificate": {"DomainValidationOptions", "ValidationMethod"},
    "AWS::RDS::DBInstance": {"MasterUserPassword", "EngineLifecycleSupport", "EnableCloudwatchLogsExports"},
    "AWS::Lambda::Function": {"Code"},
    "AWS::EC2::Instance": {"NetworkInterfaces", "BlockDeviceMappings", "MetadataOptions"},
    "AWS::AutoScaling::AutoScalingGroup": {"Tags"},
}


@pytest.mark.parametrize("tier", shipped.TIERS)
def test_what_a_tier_sets_is_read_but_for_a_known_list(tier: str) -> None:
    readers = {**drift_network.READERS, **drift_services.READERS}
    for name, one in shipped.tier(tier)["Resources"].items():
        if one["Type"] in readers:
            unread = set(one.get("Properties", {})) - readers[one["Type"]][1]
            assert unread <= UNREAD.get(one["Type"], set()), name


def test_what_a_service_adds_is_no_difference() -> None:
    wanted = {"Rules": [{"Id": "one", "Status": "Enabled"}], "Flag": "true"}
    found = {"Rules": [{"Id": "one", "Status": "Enabled", "Filter": {}}], "Flag": True, "More": 1}
    assert drift_shapes.shaped(wanted, found) == {
        "Rules": [{"Id": "one", "Status": "Enabled"}],
        "Flag": True,
    }


def test_attributes_that_the_template_does_not_set_are_left_out() -> None:
    found: list[dict[str, Any]] = [{"Key": "a", "Value": 30}, {"Key": "b", "Value": "false"}]
    assert drift_shapes.attributes([{"Key": "a", "Value": 30}], found) == [{"Key": "a", "Value": "30"}]


def test_rules_authorized_together_are_single_rules() -> None:
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "198.51.100.0/24"}, {"CidrIp": "203.0.113.7/32", "Description": "mine"}],
        "UserIdGroupPairs": [{"GroupId": "sg-1"}],
    }
    assert list(drift_network.rules(permission, "Source")) == [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "198.51.100.0/24"},
        {
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "CidrIp": "203.0.113.7/32",
            "Description": "mine",
        },
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "SourceSecurityGroupId": "sg-1"},
    ]


def found(status: str, expected: Any = None, actual: Any = None, *paths: str) -> dict[str, Any]:
    return {
        "StackResourceDriftStatus": status,
        "PhysicalResourceId": "p-1",
        "ResourceType": "AWS::EC2::Subnet",
        "Timestamp": "2026-11-28T12:00:00Z",
        "ExpectedProperties": json.dumps(expected or {}),
        "ActualProperties": json.dumps(actual or {}),
        "PropertyDifferences": [{"PropertyPath": path} for path in paths],
    }


def test_only_what_differs_is_laid_over() -> None:
    drifted = found("MODIFIED", {"A": 1, "B": 2, "C": 3}, {"A": 9, "B": 2}, "/A", "/C/deep")
    assert revert_drift.laid_over({"A": 1, "B": {"Ref": "Other"}, "C": 3}, drifted) == {
        "A": 9,
        "B": {"Ref": "Other"},
    }


def test_what_was_deleted_is_not_on_the_old_side() -> None:
    template = {"Resources": {"Gone": {"Type": "x"}, "There": {"Type": "y", "Properties": {"A": 1}}}}
    drifts = {"Gone": found("DELETED"), "There": found("MODIFIED", {"A": 1}, {"A": 2}, "/A")}
    assert revert_drift.old_side(template, drifts)["Resources"] == {
        "There": {"Type": "y", "Properties": {"A": 2}}
    }
    recorded = {name: {"Properties": {"A": 1}} for name in ("Gone", "There", "Other")}
    assert revert_drift.as_it_is(recorded, drifts) == {
        "There": {"Properties": {"A": 2}},
        "Other": {"Properties": {"A": 1}},
    }


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["IN_SYNC"], "IN_SYNC"),
        (["IN_SYNC", "UNKNOWN"], "UNKNOWN"),
        (["UNKNOWN", "DELETED"], "DRIFTED"),
        ([], "IN_SYNC"),
    ],
)
def test_the_status_of_the_stack(statuses: list[str], status: str) -> None:
    drifts = {str(number): found(one) for number, one in enumerate(statuses)}
    assert revert_drift.stack_status(drifts) == status


def test_a_change_says_what_is_what_was_and_where_that_comes_from() -> None:
    xml = (
        "<DescribeChangeSetResult><member><ResourceChange><Action>Modify</Action>"
        "<LogicalResourceId>There</LogicalResourceId><Details><member><Target>"
        "<Attribute>Properties</Attribute><Name>A</Name></Target></member></Details></ResourceChange>"
        "</member></DescribeChangeSetResult>"
    )
    told = revert_drift.with_drift(xml, {"There": found("MODIFIED", {"A": 1}, {"A": 2}, "/A")}, str)
    assert "<ResourceDriftStatus>MODIFIED</ResourceDriftStatus>" in told
    assert re.search("<PreviousValue>1</PreviousValue><ActualValue>2</ActualValue>", told)
    assert "<StackDriftStatus>DRIFTED</StackDriftStatus>" in told


def test_a_detection_keeps_the_id_and_the_time_that_it_began_with() -> None:
    begun = {
        "StackDriftDetectionId": "one",
        "Timestamp": "t",
        "DetectionStatus": "DETECTION_IN_PROGRESS",
        "DetectionStatusReason": "User Initiated",
    }
    over = {"StackDriftDetectionId": "two", "Timestamp": "u", "DetectionStatus": "DETECTION_COMPLETE"}
    assert drift.ended(begun, over, None) == {
        "StackDriftDetectionId": "one",
        "Timestamp": "t",
        "DetectionStatus": "DETECTION_COMPLETE",
    }
    refused = drift.ended(begun, None, (400, {}, b"the stack is at work"))
    assert refused["DetectionStatus"] == "DETECTION_FAILED"
    assert refused["DetectionStatusReason"] == "the stack is at work"


def test_settings_of_a_bucket_as_s3_takes_them() -> None:
    rule = {
        "Id": "old",
        "Status": "Enabled",
        "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
    }
    assert bucket_settings.lifecycle({"Rules": [rule]}) == (
        "<LifecycleConfiguration><Rule><Filter><Prefix></Prefix></Filter><ID>old</ID><Status>Enabled</Status>"
        "<NoncurrentVersionExpiration><NoncurrentDays>90</NoncurrentDays></NoncurrentVersionExpiration>"
        "</Rule></LifecycleConfiguration>"
    )


# What the readers make of the records


class Services:
    """Stores of the emulator, as far as a reader looks into them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **stores: Any) -> None:
        self.known = SimpleNamespace(**stores)
        monkeypatch.setattr(drift_services, "ministack", lambda _module: self.known)


def differing(kind: str, physical_id: str, props: dict[str, Any]) -> set[str] | None:
    """The properties in which a resource differs, None if it has gone."""
    reader, read = drift_services.READERS[kind]
    found = reader(physical_id, props)
    if found is None:
        return None
    return {name for name in props if name in read and found.get(name) != props[name]}


INSTANCE = {
    "DBInstanceStatus": "available",
    "Engine": "mysql",
    "EngineVersion": "8.4.6",
    "DBInstanceClass": "db.t4g.micro",
    "BackupRetentionPeriod": 7,
    "PubliclyAccessible": False,
    "DBParameterGroups": [{"DBParameterGroupName": "group"}],
    "DBSubnetGroup": {"DBSubnetGroupName": "subnets"},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}],
    "MasterUserSecret": {"SecretArn": "arn:secret"},
    "TagList": [],
}
DATABASE: dict[str, Any] = {
    "Engine": "mysql",
    "EngineVersion": "8.4",
    "DBInstanceClass": "db.t4g.micro",
    "BackupRetentionPeriod": 7,
    "PubliclyAccessible": False,
    "DBParameterGroupName": "group",
    "DBSubnetGroupName": "subnets",
    "VPCSecurityGroups": ["sg-1"],
    "ManageMasterUserPassword": True,
}


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, set()),
        ({"DBInstanceClass": "db.t4g.large"}, {"DBInstanceClass"}),
        ({"EngineVersion": "8.0.40"}, {"EngineVersion"}),
        ({"PubliclyAccessible": True}, {"PubliclyAccessible"}),
        ({"BackupRetentionPeriod": 0}, {"BackupRetentionPeriod"}),
        ({"VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-2"}]}, {"VPCSecurityGroups"}),
        ({"DBInstanceStatus": "deleting"}, None),
    ],
)
def test_a_database(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], differs: set[str] | None
) -> None:
    Services(monkeypatch, _instances={"db": {**INSTANCE, **changes}})
    assert differing("AWS::RDS::DBInstance", "db", DATABASE) == differs


LISTENER: dict[str, Any] = {
    "LoadBalancerArn": "arn:lb",
    "Port": 80,
    "Protocol": "HTTP",
    "DefaultActions": [
        {
            "Type": "redirect",
            "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
        }
    ],
}


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, set()),
        ({"Port": 8080}, {"Port"}),
        ({"DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:tg"}]}, {"DefaultActions"}),
    ],
)
def test_a_listener_with_what_elbv2_adds(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], differs: set[str]
) -> None:
    config = {**LISTENER["DefaultActions"][0]["RedirectConfig"], "Host": "#{host}", "Path": "/#{path}"}
    record = {
        **LISTENER,
        "DefaultActions": [{"Type": "redirect", "Order": 1, "RedirectConfig": config}],
        **changes,
    }
    Services(monkeypatch, _listeners={"arn:listener": record}, _tags={})
    assert differing("AWS::ElasticLoadBalancingV2::Listener", "arn:listener", LISTENER) == differs
    assert differing("AWS::ElasticLoadBalancingV2::Listener", "arn:gone", LISTENER) is None


def test_a_group_whose_capacity_scaling_has_set_differs_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on AWS; the product leaves it out of its findings."""
    props = {"MinSize": 2, "MaxSize": 4, "DesiredCapacity": 2, "VPCZoneIdentifier": ["s-1", "s-2"]}
    group = {**props, "DesiredCapacity": 3, "VPCZoneIdentifier": "s-1,s-2", "Tags": []}
    Services(monkeypatch, _asgs={"group": group})
    assert differing("AWS::AutoScaling::AutoScalingGroup", "group", props) == {"DesiredCapacity"}


ALIAS = {"DNSName": "lb.example.aws", "HostedZoneId": "Z2", "EvaluateTargetHealth": False}
RECORD: dict[str, Any] = {
    "HostedZoneId": "Z1",
    "Name": "arable.example",
    "Type": "A",
    "AliasTarget": ALIAS,
}


@pytest.mark.parametrize(
    ("record", "differs"),
    [
        ({"AliasTarget": {**ALIAS, "DNSName": "dualstack.LB.example.aws."}}, set()),
        ({"AliasTarget": {**ALIAS, "DNSName": "other.example.aws."}}, {"AliasTarget"}),
        ({"TTL": "60", "ResourceRecords": ["203.0.113.80"]}, {"AliasTarget"}),
        (None, None),
    ],
)
def test_a_record(
    monkeypatch: pytest.MonkeyPatch, record: dict[str, Any] | None, differs: set[str] | None
) -> None:
    records = [] if record is None else [{"Name": "arable.example.", "Type": "A", **record}]
    Services(
        monkeypatch,
        _records={"Z1": records},
        _rs_key=lambda one: (one["Name"].rstrip("."), one["Type"]),
        _r53_record_set_build_rs=lambda props: props,
        _r53_resolve_hosted_zone_id=lambda props: props["HostedZoneId"],
    )
    assert differing("AWS::Route53::RecordSet", "arable.example", RECORD) == differs


# The trail


def test_only_changes_are_on_the_trail() -> None:
    assert trail.changes("ec2:AuthorizeSecurityGroupIngress")
    assert not trail.changes("ec2:DescribeSecurityGroups")
    assert not trail.changes("s3:PutObject")


def test_what_a_request_is_about() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b"Action=AuthorizeSecurityGroupIngress&GroupId=sg-1&IpPermissions.1.FromPort=22"
    request = trail.Request("ec2", "POST", "/", form, body, {})
    assert list(trail.named(request, trail.members(request))) == [
        {"ResourceType": "AWS::EC2::SecurityGroup", "ResourceName": "sg-1"}
    ]
    bucket = trail.Request("s3", "PUT", "/images", {}, b"", {"publicAccessBlock": ""})
    assert list(trail.named(bucket, {})) == [{"ResourceType": "AWS::S3::Bucket", "ResourceName": "images"}]


def test_who_signed_it() -> None:
    user = SimpleNamespace(arn="arn:aws:iam::0:user/anna", type="User", account="0")
    assert trail.identity(user)["userName"] == "anna"
    role = SimpleNamespace(
        arn="arn:aws:sts::0:assumed-role/slipway-plan-tier/run", type="AssumedRole", account="0"
    )
    assert trail.identity(role)["sessionContext"]["sessionIssuer"]["userName"] == "slipway-plan-tier"
