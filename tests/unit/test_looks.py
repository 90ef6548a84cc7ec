"""What the checks of what must hold go by, looked up in moto's region and in one of fakes that refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from check_standing.app import handler
from slipway import remedy, tiers
from slipway.aws import ec2, elb, iam, rds, route53, s3
from slipway.drift import looks, openings, rules
from slipway.preflight import Unknown
from slipway.verification import Answer
from tests.unit.fakes import Members, Paging, install, refused
from tests.unit.test_standing import GROUPS, NETWORK, rule

STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})
BLOCK = dict.fromkeys(s3.PUBLIC_ACCESS, True)


@pytest.mark.usefixtures("aws")
def test_rules_of_groups_are_told_one_by_one_whoever_added_them() -> None:
    api = boto3.client("ec2")
    group = api.create_security_group(GroupName="web", Description="web")["GroupId"]
    peer = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    ranges = [{"CidrIp": "0.0.0.0/0"}, {"CidrIp": "192.0.2.0/24"}]
    api.authorize_security_group_ingress(GroupId=group, IpPermissions=[{**peer, "IpRanges": ranges}])
    found = {str(openings.in_force(one)) for one in ec2.security_group_rules([group])}
    assert found == {
        "tcp port 22 from 0.0.0.0/0",
        "tcp port 22 from 192.0.2.0/24",
        "everything to 0.0.0.0/0",
    }


@pytest.mark.usefixtures("aws")
def test_a_rule_is_revoked_and_no_other() -> None:
    api = boto3.client("ec2")
    group = api.create_security_group(GroupName="web", Description="web")["GroupId"]
    other = api.create_security_group(GroupName="other", Description="other")["GroupId"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    ranges = [{"CidrIp": "0.0.0.0/0"}, {"CidrIp": "192.0.2.0/24"}]
    pairs = [{"GroupId": other}]
    everything: Any = [{**ssh, "IpRanges": ranges, "UserIdGroupPairs": pairs}]
    api.authorize_security_group_ingress(GroupId=group, IpPermissions=everything)

    def told() -> set[str]:
        return {str(openings.in_force(one)) for one in ec2.security_group_rules([group])}

    for opening in (*("tcp port 22 from 0.0.0.0/0", f"tcp port 22 from {other}", "everything to 0.0.0.0/0"),):
        before = told()
        [one] = [
            each for each in ec2.security_group_rules([group]) if str(openings.in_force(each)) == opening
        ]
        ec2.revoke(one)
        assert told() == before - {opening}


@pytest.mark.usefixtures("aws")
def test_policies_of_a_role() -> None:
    api = boto3.client("iam")
    api.create_role(RoleName="web", AssumeRolePolicyDocument=POLICY)
    assert (iam.attached_policies("web"), iam.inline_policies("web")) == ([], [])
    own = api.create_policy(PolicyName="more", PolicyDocument=POLICY)["Policy"]["Arn"]
    api.attach_role_policy(RoleName="web", PolicyArn=own)
    api.put_role_policy(RoleName="web", PolicyName="own", PolicyDocument=POLICY)
    assert (iam.attached_policies("web"), iam.inline_policies("web")) == ([own], ["own"])


@pytest.mark.usefixtures("aws")
def test_whether_a_bucket_is_closed() -> None:
    api = boto3.client("s3")
    api.create_bucket(Bucket="images", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert s3.public_access_block("images") == {}
    api.put_public_access_block(Bucket="images", PublicAccessBlockConfiguration=BLOCK)  # type: ignore[arg-type]
    assert s3.public_access_block("images") == BLOCK


def test_a_bucket_without_a_policy_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    class S3:
        def get_bucket_policy_status(self, Bucket: str) -> dict[str, Any]:
            if Bucket == "plain":
                raise refused("NoSuchBucketPolicy")
            return {"PolicyStatus": {"IsPublic": Bucket == "open"}}

    install(monkeypatch, s3=S3())
    assert [s3.is_public(name) for name in ("plain", "open", "closed")] == [False, True, False]


@pytest.mark.usefixtures("aws")
def test_the_record_of_a_name() -> None:
    api = boto3.client("route53")
    zone = api.create_hosted_zone(Name="arable.example", CallerReference="1")["HostedZone"]["Id"]
    alias = {"HostedZoneId": "Z2", "DNSName": "lb.example.", "EvaluateTargetHealth": False}
    record = {"Name": "www.arable.example", "Type": "A", "AliasTarget": alias}
    change: Any = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    api.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=change)
    found = route53.record(zone, "www.arable.example", "A")
    assert found is not None
    assert found["AliasTarget"]["DNSName"] == "lb.example."
    assert route53.record(zone, "arable.example", "A") is None  # the next one answers in its place


@pytest.mark.usefixtures("aws")
def test_listeners_of_a_load_balancer() -> None:
    cloud = boto3.client("ec2")
    subnets = [one["SubnetId"] for one in cloud.describe_subnets()["Subnets"]][:2]
    api = boto3.client("elbv2")
    balancer = api.create_load_balancer(Name="lb", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    redirect: Any = {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "StatusCode": "HTTP_301"}}
    api.create_listener(LoadBalancerArn=balancer, Port=80, Protocol="HTTP", DefaultActions=[redirect])
    [found] = elb.listeners(balancer)
    assert found["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"


@pytest.mark.usefixtures("aws")
def test_snapshots_that_rds_has_taken_itself() -> None:
    api = boto3.client("rds")
    kind = {"DBInstanceClass": "db.t4g.micro", "Engine": "mysql", "AllocatedStorage": 20}
    api.create_db_instance(DBInstanceIdentifier="db", **kind)
    api.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="by-hand")
    assert "by-hand" not in {one["DBSnapshotIdentifier"] for one in rds.automated_snapshots("db")}


# --- a whole environment ------------------------------------------------------------------------------------

OUTPUTS = {
    "network": {f"{name}Id": group for name, group in GROUPS.items()} | {"BastionSecurityGroupId": ""},
    "certificate": {"CertificateArn": "arn:certificate", "HostedZoneId": "Z1"},
    "database": {"InstanceIdentifier": "slipway-db"},
    "storage": {"ImageBucketName": "images"},
    "web": {"AutoScalingGroupName": "group", "TargetGroupArn": "arn:group", "InstanceRoleName": "role"},
    "load_balancer": {"LoadBalancerArn": "arn:lb", "LoadBalancerDnsName": "lb-1.elb.amazonaws.com"},
}


class Region(Paging, Members):
    """All is well in it. `refuse`: operations that AWS refuses."""

    def __init__(self, *refuse: str) -> None:
        super().__init__()
        self.refuse = refuse
        self.called: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith(("describe", "get_", "list")) and name != "get_paginator":
            super().__getattribute__("called").append(name)
            if name in super().__getattribute__("refuse"):
                raise refused("AccessDenied", name)
        return found

    def describe_db_instances(self, DBInstanceIdentifier: str) -> dict[str, Any]:
        instance = {
            "PubliclyAccessible": False,
            "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-database"}],
            "BackupRetentionPeriod": 7,
            "InstanceCreateTime": datetime(2026, 11, 1, tzinfo=UTC),
        }
        return {"DBInstances": [instance]}

    def describe_db_snapshots(self, DBInstanceIdentifier: str, SnapshotType: str) -> dict[str, Any]:
        hour = timedelta(hours=1)
        return {"DBSnapshots": [{"SnapshotCreateTime": datetime.now(UTC) - hour * n} for n in (48, 2, 24)]}

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> dict[str, Any]:
        instances = [{"InstanceId": name, "LifecycleState": "InService"} for name in ("i-1", "i-2")]
        return {"AutoScalingGroups": [{"AutoScalingGroupName": "group", "Instances": instances}]}

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": {"group": {"S": "group"}, "processes": {"S": ""}}}

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        healthy = {"State": "healthy"}
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": name}, "TargetHealth": healthy} for name in ("i-1", "i-2")
            ]
        }

    def describe_instances(self, Filters: Any) -> dict[str, Any]:
        [asked] = Filters
        options = {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}
        instances = [
            {
                "InstanceId": name,
                "State": {"Name": "running"},
                "SecurityGroups": [{"GroupId": "sg-web"}],
                "MetadataOptions": options,
            }
            for name in asked["Values"]
        ]
        return {"Reservations": [{"Instances": instances}]}

    def describe_certificate(self, CertificateArn: str) -> dict[str, Any]:
        until = datetime.now(UTC) + timedelta(days=90, hours=1)
        return {"Certificate": {"NotAfter": until, "RenewalEligibility": "ELIGIBLE"}}

    def get_hosted_zone(self, Id: str) -> dict[str, Any]:
        return {"HostedZone": {"Name": "arable.example."}, "DelegationSet": {"NameServers": ["NS1.example."]}}

    def list_resource_record_sets(self, StartRecordName: str, **_: Any) -> dict[str, Any]:
        alias = {"DNSName": "dualstack.lb-1.elb.amazonaws.com."}
        return {"ResourceRecordSets": [{"Name": f"{StartRecordName}.", "Type": "A", "AliasTarget": alias}]}

    def describe_listeners(self, LoadBalancerArn: str) -> dict[str, Any]:
        actions = [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS"}}]
        return {"Listeners": [{"Port": 80, "ListenerArn": "arn:plain", "DefaultActions": actions}]}

    def get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:
        return {"TemplateBody": tiers.template("network")}

    def describe_security_group_rules(self, Filters: Any) -> dict[str, Any]:
        declared = openings.declared(NETWORK)
        rules = [rule(GROUPS[name], one, 1) for name, own in declared.items() for one in own]
        return {"SecurityGroupRules": rules}

    def get_public_access_block(self, Bucket: str) -> dict[str, Any]:
        return {"PublicAccessBlockConfiguration": BLOCK}

    def get_bucket_policy_status(self, Bucket: str) -> dict[str, Any]:
        return {"PolicyStatus": {"IsPublic": False}}

    def list_attached_role_policies(self, RoleName: str) -> dict[str, Any]:
        return {"AttachedPolicies": []}

    def list_role_policies(self, RoleName: str) -> dict[str, Any]:
        return {"PolicyNames": sorted(remedy.ROLE_POLICIES)}


SERVICES = (
    *("acm", "autoscaling", "cloudformation", "dynamodb", "ec2", "elbv2", "iam", "rds", "route53", "s3"),
)
LOOKS = sorted(name for name in vars(Region) if name.startswith(("describe", "get_", "list")))


def recorded(environment: dict[str, Any]) -> dict[str, Any]:
    artifact = "s3://artifacts/releases/r2.tar.gz"
    return {"environment": environment, "release": {"id": "r2", "artifact": artifact}, "outputs": OUTPUTS}


def fetch(url: str) -> Answer:
    if url.startswith("http://"):
        return Answer(301, location="https://arable.example:443/")
    return Answer(200, "r2")


def looked(current: dict[str, Any]) -> dict[str, Any]:
    facts = looks.look(current, current["outputs"], lambda *_: ["ns1.example"], fetch)
    return {**facts, "remedy": "the remedy"}


def test_an_environment_in_which_all_is_well(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    region = Region()
    install(monkeypatch, **dict.fromkeys(SERVICES, region))
    facts = looked(recorded(environment))
    assert (rules.judged(facts), rules.unchecked(facts)) == ([], [])
    assert rules.certificate_days(facts) == 90
    assert sorted(set(region.called)) == [name for name in LOOKS if name in region.called]
    assert set(LOOKS) - set(region.called) == set()


@pytest.mark.parametrize("operation", LOOKS)
def test_what_aws_refuses_is_told_and_no_finding(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any], operation: str
) -> None:
    install(monkeypatch, **dict.fromkeys(SERVICES, Region(operation)))
    facts = looked(recorded(environment))
    assert rules.judged(facts) == []
    assert {one["why"] for one in rules.unchecked(facts)} == {f"AWS answered AccessDenied to {operation}"}


def test_a_network_whose_template_differs_in_comments_alone_is_compared(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    """CloudFormation sees no change in them: the stack keeps the template that it has."""
    older = "# Of an earlier version\n" + tiers.template("network")
    monkeypatch.setattr(Region, "get_template", lambda *_, **__: {"TemplateBody": older})
    install(monkeypatch, **dict.fromkeys(SERVICES, Region()))
    assert not isinstance(looked(recorded(environment))["rules"], Unknown)


def test_a_network_of_another_template_is_not_compared(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    region = Region()
    monkeypatch.setattr(Region, "get_template", lambda *_, **__: {"TemplateBody": {"Resources": {}}})
    install(monkeypatch, **dict.fromkeys(SERVICES, region))
    facts = looked(recorded(environment))
    assert isinstance(facts["rules"], Unknown)
    assert {one["what"] for one in rules.unchecked(facts)} == {
        *("who reaches the database", "the rules of the security groups"),
        *("the rules of the database's group", "the security groups of the servers"),
    }


def test_the_endpoints_group_is_looked_at_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    class WithEndpoint(Region):
        def describe_stack_resources(self, StackName: str) -> dict[str, Any]:
            endpoint = {"LogicalResourceId": openings.ENDPOINT, "PhysicalResourceId": "sg-endpoint"}
            return {"StackResources": [endpoint]}

    install(monkeypatch, **dict.fromkeys(SERVICES, WithEndpoint()))
    environment["network"]["natGateways"] = "none"
    assert looked(recorded(environment))["groups"][openings.ENDPOINT] == "sg-endpoint"


def test_nobody_who_answers_for_the_zone_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    install(monkeypatch, **dict.fromkeys(SERVICES, Region()))
    facts = looks.look(
        recorded(environment), OUTPUTS, lambda *_: None, lambda _: Answer(error="no", kind="dns")
    )
    assert rules.judged({**facts, "remedy": ""}) == []
    assert {one["what"] for one in rules.unchecked(facts)} == {
        *("the delegation of the domain", "what the site answers on port 80"),
    }


def test_a_record_without_outputs_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    install(monkeypatch, **dict.fromkeys(SERVICES, Region()))
    facts = looked({**recorded(environment), "outputs": {}})
    assert rules.judged(facts) == []
    assert "the record of the release has no output 'web'" in {one["why"] for one in rules.unchecked(facts)}


def test_the_state(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    install(monkeypatch, **dict.fromkeys(SERVICES, Region()))
    look = looks.look
    monkeypatch.setattr(looks, "look", lambda *given: look(*given, lambda *_: ["ns1.example"], fetch))  # type: ignore[call-arg]
    execution = "arn:aws:states:eu-central-1:1:execution:slipway-check-drift:x"
    answer = handler({"current": recorded(environment), "execution": execution}, None)
    assert answer["findings"] == []
    assert answer["certificateDays"] == 90
    json.dumps(answer)
