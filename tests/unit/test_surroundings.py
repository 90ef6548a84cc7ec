"""What the preflight goes by, looked up in a region of fakes with parts that are absent, refused, silent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from preflight.app import handler
from slipway import preflight, surroundings, tiers
from slipway.aws import quotas
from slipway.errors import PreflightFailed
from slipway.preflight import Unknown
from slipway.tried import tried
from tests.unit.fakes import Members, Paging, install, patience, refused
from tests.unit.test_preflight import ARCHIVE, REPORT

EXECUTION = {"arn": "arn:x", "name": "r2-1", "startedAt": "2026-11-22T10:00:00.000Z"}
ORCHESTRATOR = surroundings.Orchestrator("slipway", "/slipway/commands")
OUTPUTS = {
    "network": {"VpcId": "vpc-1"},
    "certificate": {"CertificateArn": "arn:certificate", "HostedZoneId": "Z1"},
    "database": {"InstanceIdentifier": "slipway-db"},
    "storage": {"ImageBucketName": "images"},
    "web": {"AutoScalingGroupName": "group", "TargetGroupArn": "arn:group"},
    "load_balancer": {"Url": "https://arable.example"},
}


class Region(Paging, Members):
    """All services at once. `refuse`: operations that AWS refuses; `stacks`: tiers that are there."""

    def __init__(self, stacks: dict[str, dict[str, str]] | None = None, refuse: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.stacks = OUTPUTS if stacks is None else stacks
        self.refuse = refuse
        self.silent: set[str] = set()
        self.offline: set[str] = set()
        self.sent: list[dict[str, Any]] = []
        self.claimed = False
        self.called: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith(("describe", "get_", "list", "send", "head")):
            super().__getattribute__("called").append(name)
            if name in super().__getattribute__("refuse"):
                raise refused("AccessDenied", name)
        return found

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        known = {tiers.stack_name("arable", tier): outputs for tier, outputs in self.stacks.items()}
        if StackName not in known:
            raise refused("ValidationError", "DescribeStacks", f"Stack with id {StackName} does not exist")
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in known[StackName].items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": outputs}]}

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> dict[str, Any]:
        instances = [
            {"InstanceId": name, "AvailabilityZone": "a", "LifecycleState": "InService"}
            for name in ("i-1", "i-2")
        ]
        return {"AutoScalingGroups": [{"Instances": instances, "DesiredCapacity": 2}]}

    def describe_instance_information(self, Filters: Any) -> dict[str, Any]:
        agents = [
            {"InstanceId": name, "PingStatus": "ConnectionLost" if name in self.offline else "Online"}
            for name in ("i-1", "i-2")
        ]
        return {"InstanceInformationList": agents}

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": name}, "TargetHealth": {"State": "healthy"}} for name in ("i-1", "i-2")
            ]
        }

    def put_item(self, **_: Any) -> None:
        if self.claimed:
            raise refused("ConditionalCheckFailedException")
        self.claimed = True

    def send_command(self, **sent: Any) -> dict[str, Any]:
        self.sent.append(sent)
        return {"Command": {"CommandId": f"c-{len(self.sent)}"}}

    def list_commands(self, Filters: Any) -> dict[str, Any]:
        return {
            "Commands": [
                {"CommandId": f"c-{number}", "Comment": sent["Comment"]}
                for number, sent in enumerate(self.sent, 1)
            ]
        }

    def list_command_invocations(self, CommandId: str, Details: bool) -> dict[str, Any]:
        return {"CommandInvocations": [self._invocation(name) for name in self.sent[-1]["InstanceIds"]]}

    def _invocation(self, name: str) -> dict[str, Any]:
        output = '{"step":"report","ok":true,"changed":false,"reason":"","ruby":"3.4.1","staged":["r1"]}\n'
        silent = name in self.silent
        return {
            "InstanceId": name,
            "Status": "InProgress" if silent else "Success",
            "CommandPlugins": [] if silent else [{"Output": output}],
        }

    def describe_alarms(self, **_: Any) -> dict[str, Any]:
        return {"MetricAlarms": [{"AlarmName": "errors", "StateValue": "OK"}]}

    def describe_secret(self, SecretId: str) -> dict[str, Any]:
        if SecretId.endswith("/secret-key-base") and "storage" not in self.stacks:
            raise refused("ResourceNotFoundException")
        if SecretId == "absent":
            raise refused("ResourceNotFoundException")
        return {"DeletedDate": datetime.now(UTC)} if SecretId == "deleted" else {"Name": SecretId}

    def describe_db_instances(self, DBInstanceIdentifier: str) -> dict[str, Any]:
        return {"DBInstances": [{"DBInstanceStatus": "available", "DBInstanceArn": "arn:db"}]}

    def describe_pending_maintenance_actions(self, ResourceIdentifier: str) -> dict[str, Any]:
        actions = [{"Action": "system-update", "ForcedApplyDate": datetime(2027, 1, 1, tzinfo=UTC)}]
        return {"PendingMaintenanceActions": [{"PendingMaintenanceActionDetails": actions}]}

    def describe_db_snapshots(self, DBSnapshotIdentifier: str) -> dict[str, Any]:
        raise refused("DBSnapshotNotFound")

    def describe_account_attributes(self) -> dict[str, Any]:
        quotas = [("DBInstances", 3, 40), ("ManualSnapshots", 64, 100)]
        return {
            "AccountQuotas": [
                {"AccountQuotaName": name, "Used": used, "Max": most} for name, used, most in quotas
            ]
        }

    def describe_certificate(self, CertificateArn: str) -> dict[str, Any]:
        return {"Certificate": {"NotAfter": datetime(2027, 5, 1, tzinfo=UTC)}}

    def get_hosted_zone(self, Id: str) -> dict[str, Any]:
        return {"HostedZone": {"Name": "arable.example."}, "DelegationSet": {"NameServers": ["NS1.example."]}}

    def head_object(self, **_: Any) -> dict[str, Any]:
        raise refused("404")

    # What counts against quotas

    def describe_vpcs(self) -> dict[str, Any]:
        return {"Vpcs": [{}, {}]}

    def describe_addresses(self) -> dict[str, Any]:
        return {"Addresses": [{}]}

    def describe_load_balancers(self) -> dict[str, Any]:
        return {"LoadBalancers": [{"Type": "application"}, {"Type": "network"}]}

    def describe_instances(self, Filters: Any) -> dict[str, Any]:
        instances: list[dict[str, str]] = [
            {"InstanceType": "m6g.large"},
            {"InstanceType": "g5.xlarge"},  # another quota's
            {"InstanceType": "t3.micro", "InstanceLifecycle": "spot"},
        ]
        return {"Reservations": [{"Instances": instances}]}

    def describe_instance_types(self, InstanceTypes: list[str]) -> dict[str, Any]:
        return {
            "InstanceTypes": [
                {"InstanceType": name, "VCpuInfo": {"DefaultVCpus": 2}} for name in InstanceTypes
            ]
        }

    def get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        if ServiceCode == "vpc":
            raise refused("NoSuchResourceException")
        return {"Quota": {"Value": 64.0}}

    def get_aws_default_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return {"Quota": {"Value": 5.0}}


SERVICES = (
    *("autoscaling", "cloudformation", "cloudwatch", "ssm", "elbv2", "dynamodb", "secretsmanager", "rds"),
    *("acm", "route53", "s3", "ec2", "service-quotas"),
)


@pytest.fixture
def asked(environment: dict[str, Any]) -> dict[str, Any]:
    """A next release of the environment that we show."""
    environment["secrets"] = {"API_KEY": "there", "OTHER": "there"}
    return {
        "environment": environment,
        "release": {"id": "r2", "artifact": "s3://b/releases/r2.tar.gz", "migrate": True, "backup": True},
        "rollout": {"strategy": "drain", "canary": 1, "batch": "25%", "alarms": ["errors"]},
        "archive": ARCHIVE,
        "previous": {"id": "r1"},
    }


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def looked(region: Region, **changes: Any) -> dict[str, Any]:
        install(monkeypatch, **dict.fromkeys(SERVICES, region))
        return surroundings.look(
            {**asked, **changes}, EXECUTION, ORCHESTRATOR, patience(), patience(), lambda *_: ["ns1.example"]
        )

    return looked


def test_a_next_release(look: Callable[..., dict[str, Any]]) -> None:
    region = Region()
    facts = look(region)
    assert [one["agent"] for one in facts["fleet"]["instances"]] == ["Online", "Online"]
    assert [(one["server"], one["fine"], one["result"]["ruby"]) for one in facts["reports"]] == [
        ("i-1", True, "3.4.1"),
        ("i-2", True, "3.4.1"),
    ]
    assert facts["alarms"] == {"errors": "OK"}
    assert facts["secrets"] == {"there": "there"}
    assert facts["maintenance"] == [{"action": "system-update", "at": datetime(2027, 1, 1, tzinfo=UTC)}]
    assert facts["snapshot"] == {"name": "slipway-arable-before-r2-20261122t100000z", "status": None}
    assert facts["zone"]["delegated"] == facts["zone"]["servers"] == ["ns1.example"]
    [snapshots] = facts["quotas"]
    assert (snapshots["code"], snapshots["used"], snapshots["must"]) == ("L-272F1212", 64, False)
    assert preflight.judged(facts)["warnings"][-1]["where"] == "quota Manual DB instance snapshots"
    [sent] = region.sent
    assert (sent["DocumentName"], sent["InstanceIds"]) == ("slipway-report", ["i-1", "i-2"])
    assert preflight.judged(facts)["problems"] == []


def test_tried_again_it_asks_the_servers_no_second_time(look: Callable[..., dict[str, Any]]) -> None:
    region = Region()
    first, again = look(region), look(region)
    assert len(region.sent) == 1
    assert first["reports"] == again["reports"]


def test_only_servers_with_an_agent_are_asked(look: Callable[..., dict[str, Any]]) -> None:
    region = Region()
    region.offline, region.silent = {"i-2"}, {"i-1"}
    facts = look(region)
    assert region.sent[0]["InstanceIds"] == ["i-1"]
    found = {(one["check"], one["where"]) for one in preflight.judged(facts)["problems"]}
    assert found == {("agents", "server i-2"), ("servers", "server i-1")}


def test_a_first_release_counts_what_it_would_create(look: Callable[..., dict[str, Any]]) -> None:
    region = Region(stacks={})
    facts = look(region, previous=None)
    assert facts["fleet"] is facts["reports"] is facts["database"] is facts["zone"] is None
    assert region.sent == []
    numbers = {
        (one["code"], one["needed"]): (one["used"], one["quota"], one["must"]) for one in facts["quotas"]
    }
    assert numbers == {
        ("L-F678F1CE", 1): (2, 5.0, True),
        ("L-0263D0A3", 1): (1, 64.0, True),
        ("L-53DA6B97", 1): (1, 64.0, True),
        ("L-1216C47A", 4): (2, 64.0, True),
        ("L-1216C47A", 8): (2, 64.0, False),
    }


def test_a_stack_whose_creation_failed_is_not_counted_again(look: Callable[..., dict[str, Any]]) -> None:
    facts = look(Region(stacks={tier: {} for tier in tiers.TIERS}), previous=None)
    assert facts["quotas"] == []
    assert facts["fleet"] is facts["certificate"] is None


@pytest.mark.parametrize(
    "operation",
    sorted(
        name
        for name in vars(Region)
        if name.startswith(("describe", "get_", "list", "send")) and name != "get_paginator"
    ),
)
@pytest.mark.parametrize("first", [False, True], ids=["next", "first"])
def test_no_refused_look_up_fails_a_release(
    look: Callable[..., dict[str, Any]], operation: str, first: bool
) -> None:
    region = Region(stacks={} if first else None, refuse=(operation,))
    facts = look(region, **({"previous": None} if first else {}))
    judgement = preflight.judged(facts)
    assert judgement["problems"] == []
    if operation in region.called and operation != "list_commands":
        reasons = [one["what"] for one in judgement["warnings"] if "could not be checked" in one["what"]]
        assert [why for why in reasons if "AccessDenied" in why], judgement


def test_aws_that_is_not_reached_fails_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreached() -> None:
        raise EndpointConnectionError(endpoint_url="https://ec2")

    assert tried(unreached) == Unknown("AWS was not reached (EndpointConnectionError)")


@pytest.mark.parametrize(("secret", "state"), [("absent", "missing"), ("deleted", "deleted"), ("x", "there")])
def test_secrets(
    look: Callable[..., dict[str, Any]], environment: dict[str, Any], secret: str, state: str
) -> None:
    environment["secrets"] = {"API_KEY": secret}
    assert look(Region(), environment=environment)["secrets"] == {secret: state}


def test_the_artifact_of_a_release_that_is_brought_back(look: Callable[..., dict[str, Any]]) -> None:
    assert look(Region())["artifact"] is None
    assert look(Region(), archive=None)["artifact"] is False


def test_a_quota_without_a_value_of_its_own_is_awss_default(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, **{"service-quotas": Region()})
    assert quotas.quota("vpc", "L-F678F1CE") == 5
    assert quotas.quota("ec2", "L-0263D0A3") == 64


# --- the function -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("refuse", [True, False])
def test_it_refuses_only_if_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], refuse: bool
) -> None:
    install(monkeypatch, **dict.fromkeys(SERVICES, Region()))
    asked["environment"]["domain"]["dns"] = "elsewhere"  # asks no resolver
    asked["rollout"]["alarms"] = ["nobody-made-it"]
    payload = {"request": asked, "execution": EXECUTION, "refuse": refuse}
    if refuse:
        with pytest.raises(PreflightFailed, match="there is no alarm nobody-made-it"):
            handler(payload, None)
        return
    answer = handler(payload, None)
    assert [one["check"] for one in answer["problems"]] == ["alarms"]
    assert [one["server"] for one in answer["servers"]] == ["i-1", "i-2"]
    assert answer["servers"][0]["result"]["staged"] == REPORT["staged"]
