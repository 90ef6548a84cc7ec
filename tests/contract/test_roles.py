"""Least privilege, both ways: what a function can call is what its role grants, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract import reach
from tests.contract.shipped import (
    FUNCTIONS,
    Json,
    functions,
    kebab,
    machines,
    resources,
    setting,
    snake,
    template,
    tier,
)
from tests.contract.test_state_machines import INVOKE, NESTED, STARTED
from tests.workflow.engine import MACHINES, definition, states_of

each_function = pytest.mark.parametrize("function", sorted(functions()))

# Actions for which AWS knows no resource that could be named (Service Authorization Reference).
WITHOUT_RESOURCE = {
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeScalingActivities",
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html: composite ones
    "cloudformation:DescribeStackDriftDetectionStatus",
    "cloudtrail:LookupEvents",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "cloudwatch:PutMetricData",
    "ec2:DescribeAddresses",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeVpcs",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTargetGroupAttributes",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "rds:DescribeAccountAttributes",
    "servicequotas:GetAWSDefaultServiceQuota",
    "ssm:DescribeInstanceInformation",
    "ssm:ListCommandInvocations",
    "ssm:ListCommands",
}
# What AWS asks for besides the call itself. Publishing to a topic under a key of one's own:
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#permissions-to-publish-to-encrypted-topic
BESIDES = {"sns:Publish": {"kms:Decrypt", "kms:GenerateDataKey"}}
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
GIVEN_BY_LAMBDA = {"AWS_REGION"}
# What AWS may do in a function's name: CreateChangeSet looks up the parameters of Systems Manager that a
# template names (aws-cdk's bootstrap template grants that to the maker of its change sets, too).
IN_ITS_NAME = {"PlanTier": {"ssm:GetParameters"}, "PreviewTiers": {"ssm:GetParameters"}}
# For a region whose databases have certificates of an authority that is not Amazon's.
OPTIONAL = {"DATABASE_AUTHORITY"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(policies: Any) -> Iterator[Json]:
    """The statements of a function's or a machine's own Policies (a managed policy is only referred to)."""
    for policy in policies or []:
        yield from policy.get("Statement", [])


def granted(found: Iterator[Json]) -> set[str]:
    return {action for statement in found for action in listed(statement["Action"])}


@each_function
def test_a_role_grants_what_its_function_calls_and_nothing_else(function: str) -> None:
    needed = {action for call in reach.calls(reach.reached(snake(function))) for action in call.actions()}
    needed |= {other for action in needed for other in BESIDES.get(action, ())}
    given = granted(statements(functions()[function].get("Policies")))
    assert given == needed | IN_ITS_NAME.get(function, set())


@each_function
def test_a_function_gets_the_variables_that_it_reads_and_no_other(function: str) -> None:
    own = set(functions()[function].get("Environment", {}).get("Variables", {}))
    assert own == reach.environment(reach.reached(snake(function))) - GIVEN_BY_LAMBDA


def test_calls_have_the_form_that_can_be_read() -> None:
    assert reach.clients_not_used_at_once() == []


def test_reading_finds_a_call_through_other_modules() -> None:
    found = {(call.service, call.operation) for call in reach.calls(reach.reached("acquire_lock"))}
    assert {
        ("dynamodb", "get_item"),
        ("dynamodb", "put_item"),
        ("dynamodb", "query"),
        ("stepfunctions", "describe_execution"),
        ("stepfunctions", "get_execution_history"),
    } == found


@each_function
def test_a_star_stands_only_where_aws_knows_no_resource(function: str) -> None:
    for statement in statements(functions()[function].get("Policies")):
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= WITHOUT_RESOURCE


def test_only_the_functions_that_make_change_sets_or_delete_stacks_pass_cloudformations_role() -> None:
    for function, properties in functions().items():
        for statement in statements(properties.get("Policies")):
            if "iam:PassRole" in listed(statement["Action"]):
                assert function in ("PlanTier", "PreviewTiers", "RemoveTiers")
                assert statement["Resource"] == {"Fn::GetAtt": ["CloudFormationRole", "Arn"]}
                assert statement["Condition"] == {
                    "StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}
                }


def test_commands_reach_servers_of_environments_alone_and_run_our_documents_alone() -> None:
    [documents, servers] = [
        statement
        for statement in statements(functions()["StartCommand"]["Policies"])
        if statement["Action"] == "ssm:SendCommand"
    ]
    assert documents["Resource"]["Fn::Sub"].endswith(":document/${AWS::StackName}-*")
    assert "Condition" not in documents
    assert servers["Resource"]["Fn::Sub"].endswith(":instance/*")
    assert servers["Condition"] == {"StringLike": {"ssm:resourceTag/slipway:environment": "?*"}}


def test_events_are_slipways_own() -> None:
    [put] = [s for s in statements(functions()["Notify"]["Policies"]) if s["Action"] == "events:PutEvents"]
    assert put["Condition"] == {"StringEquals": {"events:source": "slipway"}}


def test_the_master_password_is_read_by_nobody_here() -> None:
    assert "secretsmanager:GetSecretValue" not in json.dumps(template())


def test_the_create_database_function_reads_two_secrets_and_nothing_else() -> None:
    """Its role is in the tier; the rest of it lets Lambda itself attach the function to the VPC, and log."""
    pieces = reach.reached("create_database")
    assert {action for call in reach.calls(pieces) for action in call.actions()} == {
        "secretsmanager:GetSecretValue"
    }
    given = set(tier("database")["Resources"]["CreateDatabase"]["Properties"]["Environment"]["Variables"])
    assert given == reach.environment(pieces) - OPTIONAL
    [policy] = tier("database")["Resources"]["CreateDatabaseRole"]["Properties"]["Policies"]
    reads = [
        s
        for s in policy["PolicyDocument"]["Statement"]
        if "secretsmanager:GetSecretValue" in listed(s["Action"])
    ]
    assert len(reads) == 1
    others = granted(s for s in policy["PolicyDocument"]["Statement"] if s not in reads)
    assert {action.split(":")[0] for action in others} == {"ec2", "logs"}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_may_call_its_functions_and_start_its_children(machine: str) -> None:
    states = [state for _, state in states_of(definition(machine))]
    called = {state["Arguments"]["FunctionName"] for state in states if state.get("Resource") == INVOKE}
    started = {
        state["Arguments"]["StateMachineArn"]
        for state in states
        if state.get("Resource") in (NESTED, STARTED)
    }
    may_call, may_start = set(), set()
    for statement in statements(machines()[machine]["Policies"]):
        for resource in listed(statement["Resource"]):
            if statement["Action"] == "lambda:InvokeFunction":
                may_call.add(resource_name(resource))
            elif statement["Action"] == "states:StartExecution":
                may_start.add(machine_name(machine, resource))
    environments_own = {name for name in called if name.startswith("{%")}
    assert may_call == (called - environments_own) | (
        {"slipway-*-create-database"} if environments_own else set()
    )
    assert may_start == started


def machine_name(machine: str, resource: Json) -> str:
    """As a definition names a machine that it starts: `${RollOutStateMachineArn}`, or itself."""
    if "Ref" in resource:
        return "${" + str(resource["Ref"]) + "Arn}"
    assert resource["Fn::Sub"].endswith(":stateMachine:${AWS::StackName}-" + kebab(machine))
    return "{% $states.context.StateMachine.Id %}"


def test_metrics_go_into_slipways_own_namespace() -> None:
    [put] = [
        statement
        for statement in statements(functions()["RecordDrift"]["Policies"])
        if statement["Action"] == "cloudwatch:PutMetricData"
    ]
    assert put["Condition"] == {"StringEquals": {"cloudwatch:namespace": {"Ref": "AWS::StackName"}}}


def resource_name(resource: Json) -> str:
    """`${CheckTierFunctionArn}` for a function of the template, the last part of the ARN for another."""
    if "Fn::GetAtt" in resource:
        return "${" + "".join(resource["Fn::GetAtt"]) + "}"
    return str(resource["Fn::Sub"]).rsplit(":", 1)[1]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_with_children_watches_and_stops_them(machine: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html#sync-async-iam-policies"""
    found = granted(statements(machines()[machine]["Policies"]))
    watching = {
        "states:DescribeExecution",
        "states:StopExecution",
        "events:PutTargets",
        "events:PutRule",
        "events:DescribeRule",
    }
    assert watching <= found or not watching & found
    assert ("states:StartExecution" in found) == (watching <= found)


def test_policies_fit_into_what_iam_takes() -> None:
    """Without white space: 6,144 characters a managed policy, 10,240 for the inline ones of a role.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    for name, policy in resources("AWS::IAM::ManagedPolicy").items():
        assert size(policy["PolicyDocument"]) <= 6144, name
    for name, function in functions().items():
        assert size(function.get("Policies", [])) <= 10240, name
    for name, machine in machines().items():
        assert size(machine["Policies"]) <= 10240, name


def size(policy: Any) -> int:
    """Characters of a policy with its names filled in: partition, a long region, account, the stack."""
    text = json.dumps(policy, separators=(",", ":"))
    for name, value in {
        '{"Fn::Sub":"': '"',
        '"}': '"',
        "${AWS::Partition}": "aws",
        "${AWS::Region}": "ap-southeast-1",
        "${AWS::AccountId}": "123456789012",
        "${AWS::StackName}": "slipway",
    }.items():
        text = text.replace(name, value)
    return len(text)


@each_function
def test_a_function_is_plain_python_traced_and_logs_where_logs_end(function: str) -> None:
    assert template()["Resources"][f"{function}Function"]["Metadata"] == {"SkipBuild": True}
    assert setting(function, "Tracing") == "Active"
    assert setting(function, "Runtime") == {"Ref": "FunctionRuntime"}
    assert functions()[function]["CodeUri"] == "functions/"
    assert functions()[function]["LoggingConfig"] == {"LogGroup": {"Ref": f"{function}LogGroup"}}


def test_every_log_group_forgets() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert len(groups) == len(functions()) + 2
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())


def test_what_must_outlive_the_stack_does() -> None:
    for name in ("Table", "Artifacts"):
        resource = template()["Resources"][name]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    table = resources("AWS::DynamoDB::Table")["Table"]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    bucket = resources("AWS::S3::Bucket")["Artifacts"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


def test_what_stays_behind_does_not_stand_in_the_way_of_a_new_stack() -> None:
    for name, resource in template()["Resources"].items():
        if resource.get("DeletionPolicy") == "Retain":
            assert not {"TableName", "BucketName", "LogGroupName"} & resource["Properties"].keys(), name


def test_no_folder_of_functions_is_left_over() -> None:
    folders = {path.parent.name for path in FUNCTIONS.glob("*/app.py")}
    assert folders == {snake(name) for name in functions()} | {"create_database"}
