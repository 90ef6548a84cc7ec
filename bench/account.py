"""An AWS account that is made up, below boto3: environments in which nothing has drifted.

Functions, or whoever else makes calls in this process, meet it through boto3's own clients. Every call that
these would send is counted, takes `CALL_SECONDS`, and is answered from here. A drift detection of a stack
takes as long as is said, however many there are at a time; a command on servers `COMMAND_SECONDS`.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3

from bench.scale import ENVIRONMENT as SURROUNDINGS
from slipway import aws, records, schema, tiers
from slipway.aws import s3
from slipway.remedy import ROLE_POLICIES
from slipway.verification import Answer
from tests.contract.test_state_machines import input_schema
from tests.workflow.engine import ROOT

Json = dict[str, Any]

CALL_SECONDS = 0.05
COMMAND_SECONDS = 2.0

ACCOUNT = "000000000000"
REGION = SURROUNDINGS["AWS_REGION"]
SERVICES = ("acm", "autoscaling", "cloudformation", "cloudwatch", "dynamodb", "ec2", "elbv2", "iam", "rds",
            "route53", "s3", "ssm")  # fmt: skip
SERVERS = ("i-1", "i-2")
RELEASE = "2026-11-22.1"
NAME_SERVER, BALANCER = "ns1.example", "lb-1.elb.amazonaws.com"
OUTPUTS: dict[str, dict[str, str]] = {
    "network": {
        **dict.fromkeys(
            ("DatabaseSubnetIds", "FunctionSubnetIds", "WebSubnetIds", "PublicSubnetIds"), "subnet-1"
        ),
        "LoadBalancerSecurityGroupId": "sg-load-balancer",
        "WebSecurityGroupId": "sg-web",
        "DatabaseSecurityGroupId": "sg-database",
        "FunctionSecurityGroupId": "sg-function",
        "VpcId": "vpc-1",
        "WebPublicAddresses": "false",
    },
    "certificate": {"CertificateArn": "arn:certificate", "HostedZoneId": "Z1"},
    "database": {"InstanceIdentifier": "slipway-db"},
    "storage": {"ImageBucketName": "images"},
    "web": {"AutoScalingGroupName": "group", "TargetGroupArn": "arn:targets", "InstanceRoleName": "role"},
    "load_balancer": {"LoadBalancerArn": "arn:lb", "LoadBalancerDnsName": BALANCER},
}


def described(name: str) -> Json:
    """An environment's complete description."""
    given = json.loads((ROOT / "events" / "first-release.json").read_text())
    found: Json = schema.complete(input_schema(), given)["environment"] | {"name": name}
    return found


class Account:
    """`calls`: how many were made, by operation. `detection`: seconds that one takes."""

    def __init__(self, environments: Sequence[str], detection: float) -> None:
        self._detection = detection
        self.calls: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._items: dict[tuple[str, str], Json] = {}
        self._detections: dict[str, float] = {}
        self._commands: dict[str, tuple[float, Sequence[str]]] = {}
        self._environments = {name: described(name) for name in environments}
        for name, environment in self._environments.items():
            self._release(name, environment)

    def open(self) -> None:
        """From now on every client of this process is one of this account."""
        aws.client.cache_clear()
        boto3.setup_default_session(
            aws_access_key_id="none", aws_secret_access_key="none", region_name=REGION
        )
        assert boto3.DEFAULT_SESSION is not None
        events: Any = boto3.DEFAULT_SESSION.events  # the stubs know only handlers that answer nothing
        events.register("provide-client-params", _remember)
        events.register("before-call", self._called)
        for service in SERVICES:  # making clients is no work of a check's, and not safe in several threads
            aws.client(service)

    def _release(self, name: str, environment: Json) -> None:
        """What the table has of an environment that was released."""
        document = {
            "environment": environment,
            "release": {"id": RELEASE, "artifact": "s3://artifacts/releases/r.tar.gz", "sha256": "0" * 64},
            "outputs": OUTPUTS,
            "templates": tiers.digest(),
        }
        self._put({"pk": records.key(name), "sk": "CURRENT", "document": json.dumps(document)})
        self._put({"pk": "ENVIRONMENTS", "sk": name, "cidr": environment["network"]["cidr"]})

    def _put(self, item: Mapping[str, str]) -> None:
        self._items[item["pk"], item["sk"]] = {key: {"S": value} for key, value in item.items()}

    def _called(self, model: Any, context: Mapping[str, Any], **_: Any) -> tuple[Any, Json]:
        """botocore's before-call: who answers it keeps the call from being sent."""
        operation = model.name
        time.sleep(CALL_SECONDS)
        with self._guard:
            self.calls[operation] += 1
            found = self._answer(operation, context["asked"])
        return SimpleNamespace(status_code=200), found

    def _answer(self, operation: str, asked: Json) -> Json:
        own: Callable[[Json], Json] | None = getattr(self, f"_{operation}", None)
        return own(asked) if own else ALL_IS_WELL[operation](asked)

    # CloudFormation

    def _DescribeStacks(self, asked: Json) -> Json:  # noqa: N802
        name, tier = self._stack(asked)
        settings = tiers.Settings(
            account=ACCOUNT,
            region=REGION,
            partition="aws",
            artifact_bucket=SURROUNDINGS["ARTIFACT_BUCKET"],
            command_log_group=SURROUNDINGS["COMMAND_LOG_GROUP"],
        )
        parameters = tiers.parameters(tier, self._environments[name], OUTPUTS, settings)
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        return {"Stacks": [{**asked, "StackStatus": "CREATE_COMPLETE", "Parameters": given}]}

    def _GetTemplate(self, asked: Json) -> Json:  # noqa: N802
        return {"TemplateBody": tiers.template(self._stack(asked)[1])}

    def _DetectStackDrift(self, _asked: Json) -> Json:  # noqa: N802
        detection = str(uuid.uuid4())
        self._detections[detection] = time.monotonic()
        return {"StackDriftDetectionId": detection}

    def _DescribeStackDriftDetectionStatus(self, asked: Json) -> Json:  # noqa: N802
        since = self._detections[asked["StackDriftDetectionId"]]
        if time.monotonic() - since < self._detection:
            return {"DetectionStatus": "DETECTION_IN_PROGRESS"}
        return {"DetectionStatus": "DETECTION_COMPLETE", "StackDriftStatus": "IN_SYNC"}

    def _stack(self, asked: Json) -> tuple[str, str]:
        """(environment, tier)"""
        return next(
            (name, tier)
            for name in self._environments
            for tier in tiers.TIERS
            if tiers.stack_name(name, tier) == asked["StackName"]
        )

    # DynamoDB

    def _GetItem(self, asked: Json) -> Json:  # noqa: N802
        found = self._items.get((asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"]))
        return {"Item": found} if found else {}

    def _PutItem(self, asked: Json) -> Json:  # noqa: N802
        item = asked["Item"]
        self._items[item["pk"]["S"], item["sk"]["S"]] = item
        return {}

    def _Query(self, asked: Json) -> Json:  # noqa: N802
        [wanted] = asked["ExpressionAttributeValues"].values()
        return {"Items": [item for item in self._items.values() if item["pk"] == wanted]}

    # Systems Manager

    def _SendCommand(self, asked: Json) -> Json:  # noqa: N802
        command = str(uuid.uuid4())
        self._commands[command] = time.monotonic(), asked["InstanceIds"]
        return {"Command": {"CommandId": command}}

    def _ListCommandInvocations(self, asked: Json) -> Json:  # noqa: N802
        since, servers = self._commands[asked["CommandId"]]
        ended = time.monotonic() - since >= COMMAND_SECONDS
        report = {"step": "report", "ok": True, "changed": False, "release": RELEASE, "sha256": "0" * 64}
        told: Json = {
            "Status": "Success" if ended else "InProgress",
            "CommandPlugins": [{"Output": json.dumps(report) if ended else ""}],
        }
        return {"CommandInvocations": [{"InstanceId": server, **told} for server in servers]}


def _remember(params: Json, context: Json, **_: Any) -> None:
    """botocore's provide-client-params: what was asked, for `Account._called`."""
    context["asked"] = params


def _instances(asked: Json) -> list[Json]:
    options = {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}
    return [
        {
            "InstanceId": server,
            "State": {"Name": "running"},
            "SecurityGroups": [{"GroupId": "sg-web"}],
            "MetadataOptions": options,
        }
        for server in asked["Filters"][0]["Values"]
    ]


def _database(_asked: Json) -> Json:
    return {
        "PubliclyAccessible": False,
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-database"}],
        "BackupRetentionPeriod": 7,
        "InstanceCreateTime": datetime(2026, 1, 1, tzinfo=UTC),
        "LatestRestorableTime": datetime.now(UTC) - timedelta(minutes=5),
    }


def _record(asked: Json) -> Json:
    alias = {"DNSName": f"dualstack.{BALANCER}."}
    return {"Name": f"{asked['StartRecordName']}.", "Type": "A", "AliasTarget": alias}


def _group(asked: Json) -> Json:
    instances = [{"InstanceId": server, "LifecycleState": "InService"} for server in SERVERS]
    return {"AutoScalingGroupName": asked["AutoScalingGroupNames"][0], "Instances": instances}


REDIRECTING = {
    "Port": 80,
    "ListenerArn": "arn:plain",
    "DefaultActions": [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS"}}],
}
IN_SYNC = {"LogicalResourceId": "Some", "DriftInformation": {"StackResourceDriftStatus": "IN_SYNC"}}

ALL_IS_WELL: Mapping[str, Callable[[Json], Json]] = {
    "DescribeStackResources": lambda _: {"StackResources": [IN_SYNC]},
    "DescribeStackResourceDrifts": lambda _: {"StackResourceDrifts": []},
    "DescribeAutoScalingGroups": lambda asked: {"AutoScalingGroups": [_group(asked)]},
    "DescribeInstances": lambda asked: {"Reservations": [{"Instances": _instances(asked)}]},
    "DescribeSecurityGroupRules": lambda _: {"SecurityGroupRules": []},
    "DescribeInstanceInformation": lambda _: {
        "InstanceInformationList": [{"InstanceId": server, "PingStatus": "Online"} for server in SERVERS]
    },
    "DescribeDBInstances": lambda asked: {"DBInstances": [_database(asked)]},
    "DescribeTargetHealth": lambda _: {
        "TargetHealthDescriptions": [
            {"Target": {"Id": server}, "TargetHealth": {"State": "healthy"}} for server in SERVERS
        ]
    },
    "DescribeListeners": lambda _: {"Listeners": [REDIRECTING]},
    "DescribeCertificate": lambda _: {
        "Certificate": {"NotAfter": datetime.now(UTC) + timedelta(days=90), "RenewalEligibility": "ELIGIBLE"}
    },
    "GetHostedZone": lambda _: {
        "HostedZone": {"Name": "arable.example."},
        "DelegationSet": {"NameServers": [NAME_SERVER]},
    },
    "ListResourceRecordSets": lambda asked: {"ResourceRecordSets": [_record(asked)]},
    "GetPublicAccessBlock": lambda _: {
        "PublicAccessBlockConfiguration": dict.fromkeys(s3.PUBLIC_ACCESS, True)
    },
    "GetBucketPolicyStatus": lambda _: {"PolicyStatus": {"IsPublic": False}},
    "ListAttachedRolePolicies": lambda _: {"AttachedPolicies": []},
    "ListRolePolicies": lambda _: {"PolicyNames": sorted(ROLE_POLICIES)},
    "PutObject": lambda _: {},
    "PutMetricData": lambda _: {},
}
"""Operations that are answered the same whatever happened before."""


def look_up(*_: object) -> list[str]:
    """The domain's name servers, as the public DNS says them."""
    return [NAME_SERVER]


def fetch(url: str) -> Answer:
    """What the site answers."""
    secure = url.startswith("https:")
    return Answer(200, RELEASE) if secure else Answer(301, location="https://arable.example:443/")
