"""Every role as it is deployed: what its policies say can be done with it; with one permission less, exactly
that is refused by name.

The roles and their permissions are read from the deployed stack, so a new function has its cases by itself;
only a call that names a resource needs a line in `CALLS`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.contract.shipped import functions, kebab, machines, template
from tests.contract.test_roles import listed
from tests.rehearsal import roles
from tests.workflow.control_plane import ControlPlane, deployed
from tests.workflow.engine import ROOT

Arguments = Callable[[str], Mapping[str, Any]]


def last(arn: str, separator: str = "/") -> str:
    return arn.rpartition(separator)[2]


def an_object(arn: str) -> Mapping[str, Any]:
    bucket, _, key = arn.removeprefix("arn:aws:s3:::").partition("/")
    return {"Bucket": bucket, "Key": key}


def a_bucket(arn: str) -> Mapping[str, Any]:
    return {"Bucket": last(arn, ":")}


def an_item(arn: str) -> Mapping[str, Any]:
    return {"TableName": last(arn), "Key": {"pk": {"S": "x"}, "sk": {"S": "x"}}}


def a_stack(arn: str) -> Mapping[str, Any]:
    return {"StackName": arn.split("/")[1]}


def a_change_set(arn: str) -> Mapping[str, Any]:
    return {**a_stack(arn), "ChangeSetName": "x"}


def a_new_change_set(arn: str) -> Mapping[str, Any]:
    body = json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    return {**a_change_set(arn), "TemplateBody": body, "ChangeSetType": "CREATE"}


def targets(arn: str) -> Mapping[str, Any]:
    return {"TargetGroupArn": arn, "Targets": [{"Id": "i-0123456789abcdef0"}]}


def a_group(arn: str) -> Mapping[str, Any]:
    return {"AutoScalingGroupName": last(arn), "ScalingProcesses": ["Launch"]}


def some_metrics(_arn: str) -> Mapping[str, Any]:
    return {"Namespace": "slipway", "MetricData": [{"MetricName": "x", "Value": 1}]}


def a_lifecycle_action(arn: str) -> Mapping[str, Any]:
    return {"AutoScalingGroupName": last(arn), "LifecycleHookName": "x", "InstanceId": "i-0123456789abcdef0"}


def a_role(arn: str) -> Mapping[str, Any]:
    return {"RoleName": last(arn)}


def some_snapshots(arn: str) -> Mapping[str, Any]:
    """Those of an instance, or one by its name (those that RDS takes have a colon in theirs)."""
    if ":db:" in arn:
        return {"DBInstanceIdentifier": last(arn, ":")}
    return {"DBSnapshotIdentifier": arn.partition(":snapshot:")[2]}


def a_snapshot(arn: str) -> Mapping[str, Any]:
    return {"DBSnapshotIdentifier": last(arn, ":"), "DBInstanceIdentifier": last(arn, ":")}


# Action → client, operation, and its arguments for a resource (an ARN of the policy, every * an x).
# An action that AWS knows no resource for needs no line: it is asked with any arguments.
CALLS: dict[str, tuple[str, str, Arguments]] = {
    "acm:DescribeCertificate": ("acm", "describe_certificate", lambda arn: {"CertificateArn": arn}),
    "autoscaling:CompleteLifecycleAction": (
        "autoscaling",
        "complete_lifecycle_action",
        lambda arn: {**a_lifecycle_action(arn), "LifecycleActionResult": "ABANDON"},
    ),
    "autoscaling:RecordLifecycleActionHeartbeat": (
        "autoscaling",
        "record_lifecycle_action_heartbeat",
        a_lifecycle_action,
    ),
    "autoscaling:ResumeProcesses": ("autoscaling", "resume_processes", a_group),
    "autoscaling:SuspendProcesses": ("autoscaling", "suspend_processes", a_group),
    "cloudformation:CreateChangeSet": ("cloudformation", "create_change_set", a_new_change_set),
    "cloudformation:DeleteChangeSet": ("cloudformation", "delete_change_set", a_change_set),
    "cloudformation:DescribeStackResourceDrifts": (
        "cloudformation",
        "describe_stack_resource_drifts",
        a_stack,
    ),
    "cloudformation:DetectStackDrift": ("cloudformation", "detect_stack_drift", a_stack),
    "cloudformation:GetTemplate": ("cloudformation", "get_template", a_stack),
    "cloudwatch:PutMetricData": ("cloudwatch", "put_metric_data", some_metrics),
    "cloudformation:DeleteStack": ("cloudformation", "delete_stack", a_stack),
    "cloudformation:DescribeChangeSet": ("cloudformation", "describe_change_set", a_change_set),
    "cloudformation:DescribeStackEvents": ("cloudformation", "describe_stack_events", a_stack),
    "cloudformation:DescribeStackResources": ("cloudformation", "describe_stack_resources", a_stack),
    "cloudformation:DescribeStacks": ("cloudformation", "describe_stacks", a_stack),
    "cloudformation:ExecuteChangeSet": ("cloudformation", "execute_change_set", a_change_set),
    "cloudformation:UpdateTerminationProtection": (
        "cloudformation",
        "update_termination_protection",
        lambda arn: {**a_stack(arn), "EnableTerminationProtection": True},
    ),
    "dynamodb:DeleteItem": ("dynamodb", "delete_item", an_item),
    "dynamodb:GetItem": ("dynamodb", "get_item", an_item),
    "dynamodb:PutItem": (
        "dynamodb",
        "put_item",
        lambda arn: {"TableName": last(arn), "Item": {"pk": {"S": "PROBE"}, "sk": {"S": "x"}}},
    ),
    "dynamodb:Query": (
        "dynamodb",
        "query",
        lambda arn: {
            "TableName": last(arn),
            "KeyConditionExpression": "pk = :p",
            "ExpressionAttributeValues": {":p": {"S": "x"}},
        },
    ),
    "elasticloadbalancing:DeregisterTargets": ("elbv2", "deregister_targets", targets),
    "elasticloadbalancing:RegisterTargets": ("elbv2", "register_targets", targets),
    "elasticloadbalancing:ModifyTargetGroupAttributes": (
        "elbv2",
        "modify_target_group_attributes",
        lambda arn: {"TargetGroupArn": arn, "Attributes": [{"Key": "stickiness.enabled", "Value": "false"}]},
    ),
    "events:PutEvents": (
        "events",
        "put_events",
        lambda _arn: {"Entries": [{"Source": "slipway", "DetailType": "x", "Detail": "{}"}]},
    ),
    "iam:DeleteRolePolicy": (
        "iam",
        "delete_role_policy",
        lambda arn: {**a_role(arn), "PolicyName": "x"},
    ),
    "iam:DetachRolePolicy": (
        "iam",
        "detach_role_policy",
        lambda arn: {**a_role(arn), "PolicyArn": "arn:aws:iam::aws:policy/x" + "y" * 20},
    ),
    "iam:ListAttachedRolePolicies": ("iam", "list_attached_role_policies", a_role),
    "iam:ListRolePolicies": ("iam", "list_role_policies", a_role),
    "iam:PassRole": (
        "cloudformation",
        "create_change_set",
        lambda arn: {**a_new_change_set("stack/slipway-x/x"), "RoleARN": arn},
    ),
    "kms:Decrypt": ("kms", "decrypt", lambda arn: {"KeyId": arn, "CiphertextBlob": b"x" * 64}),
    "kms:GenerateDataKey": ("kms", "generate_data_key", lambda arn: {"KeyId": arn, "KeySpec": "AES_256"}),
    "rds:AddTagsToResource": ("rds", "add_tags_to_resource", lambda arn: {"ResourceName": arn, "Tags": []}),
    "rds:CreateDBSnapshot": ("rds", "create_db_snapshot", a_snapshot),
    "rds:DeleteDBInstance": (
        "rds",
        "delete_db_instance",
        lambda arn: {"DBInstanceIdentifier": last(arn, ":"), "FinalDBSnapshotIdentifier": "slipway-x"},
    ),
    "rds:ModifyDBInstance": (
        "rds",
        "modify_db_instance",
        lambda arn: {"DBInstanceIdentifier": last(arn, ":"), "DeletionProtection": False},
    ),
    "rds:DescribeDBInstances": (
        "rds",
        "describe_db_instances",
        lambda arn: {"DBInstanceIdentifier": last(arn, ":")},
    ),
    "rds:DescribeDBSnapshots": ("rds", "describe_db_snapshots", some_snapshots),
    "rds:DescribePendingMaintenanceActions": (
        "rds",
        "describe_pending_maintenance_actions",
        lambda arn: {"ResourceIdentifier": arn},
    ),
    "route53:ListResourceRecordSets": (
        "route53",
        "list_resource_record_sets",
        lambda arn: {"HostedZoneId": last(arn)},
    ),
    "route53:GetHostedZone": ("route53", "get_hosted_zone", lambda arn: {"Id": last(arn)}),
    "s3:AbortMultipartUpload": (
        "s3",
        "abort_multipart_upload",
        lambda arn: {**an_object(arn), "UploadId": "x"},
    ),
    "s3:DeleteBucket": ("s3", "delete_bucket", a_bucket),
    "s3:DeleteObject": ("s3", "delete_object", an_object),
    "s3:DeleteObjectVersion": (
        "s3",
        "delete_object",
        lambda arn: {**an_object(arn), "VersionId": "x"},
    ),
    "s3:ListBucketMultipartUploads": ("s3", "list_multipart_uploads", a_bucket),
    "s3:ListBucketVersions": ("s3", "list_object_versions", a_bucket),
    "s3:GetBucketPolicyStatus": ("s3", "get_bucket_policy_status", a_bucket),
    "s3:GetBucketPublicAccessBlock": ("s3", "get_public_access_block", a_bucket),
    "s3:GetObject": ("s3", "get_object", an_object),
    "s3:PutObject": ("s3", "put_object", lambda arn: {**an_object(arn), "Body": b"probe"}),
    "secretsmanager:DescribeSecret": ("secretsmanager", "describe_secret", lambda arn: {"SecretId": arn}),
    "servicequotas:GetServiceQuota": (
        "service-quotas",
        "get_service_quota",
        lambda arn: {"ServiceCode": last(arn, ":").split("/")[0], "QuotaCode": last(arn)},
    ),
    "sns:Publish": ("sns", "publish", lambda arn: {"TopicArn": arn, "Message": "probe"}),
    "ssm:GetParameters": (
        "ssm",
        "get_parameters",
        lambda arn: {"Names": ["/" + arn.partition(":parameter/")[2]]},
    ),
    "ssm:SendCommand": (
        "ssm",
        "send_command",
        lambda arn: {
            "DocumentName": last(arn) if ":document/" in arn else "slipway-report",
            "Targets": [{"Key": "tag:slipway:environment", "Values": ["x"]}],
        },
    ),
    "states:DescribeExecution": ("stepfunctions", "describe_execution", lambda arn: {"executionArn": arn}),
    "states:GetExecutionHistory": (
        "stepfunctions",
        "get_execution_history",
        lambda arn: {"executionArn": arn},
    ),
}

FOR_ONE = {
    "RemoveTiers": {
        "iam:PassRole": (
            "cloudformation",
            "delete_stack",
            lambda arn: {"StackName": "slipway-x", "RoleARN": arn},
        )
    }
}
"""Calls of a function that needs an action for something else than the others do."""

BY_TAG = {
    "ssm:SendCommand": ":instance/",
    "ec2:RevokeSecurityGroupEgress": ":security-group/",
    "ec2:RevokeSecurityGroupIngress": ":security-group/",
}
"""Resources that are known by their tags. Servers: tests/rehearsal asks for them; groups: see below."""

# What refusals are called: EC2 has a word of its own, SNS another.
REFUSED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")

CLIENTS = {
    "elasticloadbalancing": "elbv2",
    "servicequotas": "service-quotas",
    "states": "stepfunctions",
    "monitoring": "cloudwatch",
}


@cache
def any_arguments(service: str, operation: str) -> dict[str, Any]:
    """Something for every argument that the operation must have."""
    model = botocore.session.get_session().get_service_model(service)
    return {name: something(model, name, operation) for name in required(model, operation)}


def required(model: Any, operation: str) -> list[str]:
    shape = model.operation_model(operation).input_shape
    return list(shape.required_members) if shape else []


def something(model: Any, name: str, operation: str) -> Any:
    return anything(model.operation_model(operation).input_shape.members[name])


def anything(shape: Any) -> Any:
    if shape.type_name == "structure":
        return {name: anything(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [anything(shape.member)]
    if shape.type_name == "timestamp":
        return "2026-11-22T00:00:00Z"
    return {"integer": 1, "boolean": False}.get(shape.type_name, "x" * 12)


def call(action: str, resource: str, role: str = "") -> tuple[str, str, Mapping[str, Any]]:
    """(client, operation, arguments) that need the action on the resource."""
    own = next((calls for name, calls in FOR_ONE.items() if f"-{name}FunctionRole" in role), {})
    if action in CALLS:
        service, operation, arguments = own.get(action) or CALLS[action]
        return service, operation, arguments(resource.replace("*", "x"))
    assert resource == "*", f"{action} names a resource: CALLS needs a line for it"
    prefix, _, name = action.partition(":")
    service = CLIENTS.get(prefix, prefix)
    return service, xform_name(name), any_arguments(service, name)


# --- the deployed orchestrator ---


class World:
    """The deployed orchestrator, and what its roles can do in it."""

    def __init__(self, plane: ControlPlane, log: Path) -> None:
        self.plane = plane
        self.log = log
        self._sessions: dict[str, boto3.Session] = {}

    def client(self, service: str) -> Any:
        return self.plane.client(service)

    def statements(self, role: str) -> list[dict[str, Any]]:
        return roles.statements(self.client("iam"), role)

    def without(self, role: str, action: str) -> AbstractContextManager[None]:
        return roles.without(self.client("iam"), role, action)

    def acting(self, role: str) -> boto3.Session:
        if role not in self._sessions:
            arn = self.client("iam").get_role(RoleName=role)["Role"]["Arn"]
            self._sessions[role] = roles.acting(self.client("lambda"), arn)
        return self._sessions[role]

    def refusal(self, role: str, action: str, resource: str) -> str:
        """What IAM says when the role tries; "" when it may (whatever else is wrong with the call)."""
        service, operation, arguments = call(action, resource, role)
        make: Any = self.acting(role).client
        client = make(service, endpoint_url=self.plane.endpoint)
        try:
            getattr(client, operation)(**arguments)
        except ClientError as error:
            told = error.response["Error"]
            denied = told["Code"] in REFUSED
            return f"{told['Code']}: {told['Message']}" if denied else ""
        return ""

    def own_bucket(self, arn: str) -> None:
        """Makes the bucket of an ARN, if it is one's: S3 says of an object in none that there is no bucket,
        before it asks what the caller may."""
        if arn.startswith("arn:aws:s3:") and "/" in arn:
            place = {"LocationConstraint": str(self.client("s3").meta.region_name)}
            with contextlib.suppress(self.client("s3").exceptions.BucketAlreadyOwnedByYou):
                bucket = an_object(arn.replace("*", "x"))["Bucket"]
                self.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)

    def role_of_function(self, name: str) -> str:
        found = self.client("lambda").get_function_configuration(FunctionName=f"slipway-{kebab(name)}")
        return last(found["Role"])

    def machine(self, name: str) -> dict[str, Any]:
        arn = self.plane.outputs["ReleaseStateMachineArn"].replace("-release", f"-{kebab(name)}")
        return dict(self.client("stepfunctions").describe_state_machine(stateMachineArn=arn))

    def run(self, role: str, resource: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A machine of one task, with a role; its execution once it has ended."""
        states = self.client("stepfunctions")
        task = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}
        machine = states.create_state_machine(
            name=f"probe-{uuid4().hex[:12]}",
            roleArn=role,
            definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "Try", "States": {"Try": task}}),
        )["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
        return self.plane.ended(execution)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("least-privilege")
    with deployed(folder) as plane:
        yield World(plane, folder / "region" / "log")


# --- functions ---


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_function_may_what_its_role_says_and_is_refused_what_is_taken_from_it(
    world: World, function: str
) -> None:
    role = world.role_of_function(function)
    granted = [
        (action, resource)
        for statement in world.statements(role)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if BY_TAG.get(action, "-") not in resource
    ]
    for action, resource in granted:
        assert world.refusal(role, action, resource) == "", (action, resource)
    for action, resource in dict(granted).items():
        with world.without(role, action):
            refused = world.refusal(role, action, resource)
        assert action in refused, f"{action} was taken away, and it was answered {refused!r}"


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_function_may_nothing_with_what_is_not_slipways(world: World, function: str) -> None:
    role = world.role_of_function(function)
    for statement in world.statements(role):
        for resource in listed(statement["Resource"]):
            foreign = somebody_elses(resource)
            if foreign is None:
                continue
            world.own_bucket(foreign)
            for action in listed(statement["Action"]):
                assert action in world.refusal(role, action, foreign), (action, foreign)


def somebody_elses(arn: str) -> str | None:
    """The ARN of its like that is not Slipway's, or of another part of the bucket; None without a name."""
    name = arn.split(":", 5)[-1]
    if arn.startswith("arn:aws:s3:") and "-images-" in name:
        return arn.replace(":::slipway-", ":::somebody-")
    if arn.startswith("arn:aws:s3:") and "/" not in name:
        return "arn:aws:s3:::somebodys-bucket"
    if arn.startswith("arn:aws:s3:"):
        return f"{arn.rpartition('/')[0].rpartition('/')[0]}/somebody/*"
    return arn[: -len(name)] + name.replace("slipway", "somebody") if "slipway" in name else None


def test_a_remedy_closes_the_groups_of_environments_and_no_others(world: World) -> None:
    ec2, role = world.client("ec2"), world.role_of_function("RemedyStanding")
    everything: Any = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    groups = {}
    for name, tags in {"ours": [{"Key": "slipway:environment", "Value": "x"}], "foreign": []}.items():
        made = {"GroupName": name, "Description": name, "VpcId": vpc}
        groups[name] = ec2.create_security_group(**made)["GroupId"]
        if tags:
            ec2.create_tags(Resources=[groups[name]], Tags=tags)
        ec2.authorize_security_group_ingress(GroupId=groups[name], IpPermissions=everything)
    make: Any = world.acting(role).client
    acting = make("ec2", endpoint_url=world.plane.endpoint)

    def close(name: str) -> None:
        acting.revoke_security_group_ingress(GroupId=groups[name], IpPermissions=everything)
        acting.revoke_security_group_egress(GroupId=groups[name], IpPermissions=everything)

    with pytest.raises(ClientError, match="ec2:RevokeSecurityGroupIngress"):
        close("foreign")
    for action in ("ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"):
        with world.without(role, action), pytest.raises(ClientError, match=action):
            close("ours")
        if action.endswith("Egress"):  # what comes in was closed on the way
            ec2.authorize_security_group_ingress(GroupId=groups["ours"], IpPermissions=everything)
    close("ours")


def test_a_function_writes_its_log_with_its_role(world: World) -> None:
    function, role = "slipway-explain-failure", world.role_of_function("ExplainFailure")
    policy = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    logs, group = world.client("logs"), f"/aws/lambda/{function}"

    def lines() -> int:
        return len(logs.filter_log_events(logGroupName=group)["events"])

    world.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    written = lines()
    assert written > 0
    world.client("iam").detach_role_policy(RoleName=role, PolicyArn=policy)
    try:
        world.client("lambda").invoke(FunctionName=function, Payload=b"{}")
        assert lines() == written
    finally:
        world.client("iam").attach_role_policy(RoleName=role, PolicyArn=policy)
    assert f"the log of {function} is lost" in world.log.read_text()


# --- state machines ---

INVOKE = "arn:aws:states:::lambda:invoke"
START = "arn:aws:states:::states:startExecution.sync:2"
each_machine = pytest.mark.parametrize("machine", sorted(machines()))


def granted_on(world: World, role: str, action: str) -> list[str]:
    return [
        resource
        for statement in world.statements(role)
        if action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


@each_machine
def test_a_machine_calls_its_functions_with_its_role(world: World, machine: str) -> None:
    arn = world.machine(machine)["roleArn"]
    function = granted_on(world, last(arn), "lambda:InvokeFunction")[0]
    asked = {"FunctionName": function, "Payload": {}}
    # (Without an input that is one the function fails, but it was called.)
    assert world.run(arn, INVOKE, asked).get("error") != "States.Permissions"
    with world.without(last(arn), "lambda:InvokeFunction"):
        ended = world.run(arn, INVOKE, asked)
    assert ended["error"] == "States.Permissions"
    assert f"lambda:InvokeFunction on resource: {function}" in ended["cause"]


@each_machine
def test_a_machine_starts_its_children_and_no_others(world: World, machine: str) -> None:
    arn = world.machine(machine)["roleArn"]
    children = granted_on(world, last(arn), "states:StartExecution")
    known = {world.machine(name)["stateMachineArn"] for name in machines()}
    assert set(children) <= known
    for other in sorted(known - set(children)):
        if not children:
            break  # Without any it may not even wait for one: the next test.
        ended = world.run(arn, START, {"StateMachineArn": other, "Input": {}})
        assert ended["error"] == "States.Permissions"
        assert f"states:StartExecution on resource: {other}" in ended["cause"]
    # One that is started and not waited for may not even be watched.
    watched = {one.split(":")[6] for one in granted_on(world, last(arn), "states:DescribeExecution")}
    waited_for = [child for child in children if last(child, ":") in watched]
    assert bool(waited_for) == bool(children)
    if children:
        ended = world.run(arn, START, {"StateMachineArn": waited_for[0], "Input": {}})
        assert ended.get("error") != "States.Permissions"
    for action in ("states:StartExecution", "states:DescribeExecution") if children else ():
        with world.without(last(arn), action):
            ended = world.run(arn, START, {"StateMachineArn": waited_for[0], "Input": {}})
        assert ended["error"] == "States.Permissions"
        assert action in ended["cause"]


@each_machine
def test_step_functions_takes_a_machines_role_only_whole(world: World, machine: str) -> None:
    described = world.machine(machine)
    role = described["roleArn"]
    update = world.client("stepfunctions").update_state_machine
    asked = {"stateMachineArn": described["stateMachineArn"], "roleArn": role}
    update(**asked)
    needed = {"logs:CreateLogDelivery": "Log Destination"}
    if granted_on(world, last(role), "states:StartExecution"):
        needed |= {"events:PutRule": "managed-rule", "events:PutTargets": "managed-rule"}
    for action, told in needed.items():
        with world.without(last(role), action), pytest.raises(ClientError, match=told) as refused:
            update(**asked)
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    update(**asked)


def test_the_clean_ups_rule_starts_it_with_a_role_that_may(world: World) -> None:
    events = world.client("events")
    rules = [rule for rule in events.list_rules()["Rules"] if "CleanUp" in rule["Name"]]
    targets = {
        rule["Name"]: one
        for rule in rules
        for one in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    }
    for one in targets.values():
        of_role = granted_on(world, last(one["RoleArn"]), "states:StartExecution")
        assert of_role == [world.machine("CleanUp")["stateMachineArn"]]
    # Of the rules (a release, a clean-up, Auto Scaling that stays suspended) the one of a release's end.
    [name] = [
        rule["Name"] for rule in rules if world.machine("Release")["stateMachineArn"] in rule["EventPattern"]
    ]
    target = targets[name]
    role = last(target["RoleArn"])

    failed = world.plane.start({}, f"refused-{uuid4().hex[:8]}")
    world.plane.ended(failed)
    world.plane.clean_ups(1, failed, within=60)

    with world.without(role, "states:StartExecution"):
        failed = world.plane.start({}, f"refused-{uuid4().hex[:8]}")
        world.plane.ended(failed)
        told = f"{target['RoleArn']} is not authorized to perform: states:StartExecution"
        give_up = time.monotonic() + 60
        while told not in world.log.read_text():
            assert time.monotonic() < give_up
            time.sleep(0.2)
        with pytest.raises(TimeoutError):
            world.plane.clean_ups(1, failed, within=1)


def test_the_join_s_rule_has_a_role_that_may_start_it_and_nothing_else(world: World) -> None:
    events = world.client("events")
    rules = [rule["Name"] for rule in events.list_rules()["Rules"] if "JoinHost" in rule["Name"]]
    [target] = [one for name in rules for one in events.list_targets_by_rule(Rule=name)["Targets"]]
    machine = world.machine("JoinHost")["stateMachineArn"]
    assert target["Arn"] == machine
    [statement] = world.statements(last(target["RoleArn"]))
    assert (listed(statement["Action"]), listed(statement["Resource"])) == (
        ["states:StartExecution"],
        [machine],
    )


# --- CloudFormation ---


def cloudformation_role(world: World) -> str:
    found = world.client("cloudformation").describe_stack_resource(
        StackName="slipway", LogicalResourceId="CloudFormationRole"
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


@contextmanager
def managed_without(world: World, role: str, action: str) -> Iterator[None]:
    """The role with one action taken out of the policies that are attached to it."""
    iam = world.client("iam")
    changed = []
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        taken = roles.less(document, action)
        if taken != roles.less(document, "none:None"):
            made = iam.create_policy_version(
                PolicyArn=arn, PolicyDocument=json.dumps(taken), SetAsDefault=True
            )["PolicyVersion"]["VersionId"]
            changed.append((arn, document, [version, made]))
    assert changed, f"{role} does not grant {action}"
    try:
        yield
    finally:
        for arn, document, versions in changed:
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)
            for version in versions:  # A policy keeps five.
                iam.delete_policy_version(PolicyArn=arn, VersionId=version)


def storage(world: World, name: str) -> tuple[str, str]:
    """Deploy the tier storage as CloudFormation's role: (status of its stack, the first reason to fail)."""
    cloudformation = world.client("cloudformation")
    role = world.client("iam").get_role(RoleName=cloudformation_role(world))["Role"]["Arn"]
    stack = f"slipway-{name}-storage"
    identifier = cloudformation.create_stack(
        StackName=stack,
        TemplateBody=(ROOT / "tiers" / "storage.yaml").read_text(),
        Parameters=[{"ParameterKey": "Environment", "ParameterValue": name}],
        RoleARN=role,
    )["StackId"]
    give_up = time.monotonic() + 60
    while True:
        [described] = cloudformation.describe_stacks(StackName=identifier)["Stacks"]
        if not described["StackStatus"].endswith("IN_PROGRESS"):
            break
        assert time.monotonic() < give_up
        time.sleep(0.1)
    events = cloudformation.describe_stack_events(StackName=identifier)["StackEvents"][::-1]
    reasons = [one["ResourceStatusReason"] for one in events if one["ResourceStatus"] == "CREATE_FAILED"]
    return described["StackStatus"], next(iter(reasons), "")


def test_cloudformation_builds_a_tier_with_its_role(world: World) -> None:
    assert storage(world, "whole") == ("CREATE_COMPLETE", "")


@pytest.mark.parametrize(
    "action", ["s3:PutBucketPolicy", "s3:PutEncryptionConfiguration", "secretsmanager:GetRandomPassword"]
)
def test_cloudformation_is_refused_what_is_taken_from_its_role(world: World, action: str) -> None:
    role = cloudformation_role(world)
    with managed_without(world, role, action):
        status, reason = storage(world, action.partition(":")[2].lower()[:18])
    assert status == "ROLLBACK_COMPLETE"
    assert f"assumed-role/{role}/AWSCloudFormation is not authorized to perform: {action} on" in reason


def test_no_role_of_the_orchestrator_is_without_a_case() -> None:
    """Functions and machines have theirs by themselves, and some rules have a role that SAM makes."""
    explicit = {
        name for name, resource in template()["Resources"].items() if resource["Type"] == "AWS::IAM::Role"
    }
    assert explicit == {"CloudFormationRole"}
    events = [
        (name, event["Type"])
        for name, machine in machines().items()
        for event in machine.get("Events", {}).values()
    ]
    assert set(events) == {
        ("CheckDrift", "EventBridgeRule"),
        ("CheckDrift", "ScheduleV2"),
        ("CleanUp", "EventBridgeRule"),
        ("JoinHost", "EventBridgeRule"),
    }
