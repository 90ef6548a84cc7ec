"""What CloudFormation may do for the tiers, and what nobody may do to everything.

The needs are the table that the rehearsal enforces (rehearsal/emulator/handler_permissions.py), which is
AWS's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest
from ministack.core import iam_evaluator

from rehearsal.emulator import handler_permissions
from rehearsal.emulator.handler_permissions import Need, Place, Resource
from tests.contract.shipped import TIERS, Json, functions, machines, resources, template, tier
from tests.contract.test_roles import listed, statements
from tests.workflow.engine import ROOT
from tools import registry_permissions

PLACE = Place("eu-central-1", "123456789012")
NAMES = {
    "AWS::Partition": "aws",
    "AWS::Region": PLACE.region,
    "AWS::AccountId": PLACE.account,
    "AWS::StackName": "slipway",
    "Artifacts.Arn": "arn:aws:s3:::slipway-artifacts",
}

# What no handler of a resource type lists, and why the role has it all the same.
BESIDES = {
    # {{resolve:ssm:…}}
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references-ssm.html
    "ssm:GetParameters",
    # EC2 asks it of whoever makes a group whose launch template tags what it launches.
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    "ec2:CreateTags",
}
# Calls that change something and know no resource that could be named, or none before they are made.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
NOTHING_NARROWER = {
    "acm:RequestCertificate",
    "cloudwatch:PutMetricData",  # its namespace is named
    "route53:CreateHostedZone",
    "logs:CreateLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:PutResourcePolicy",
}
# EC2 gives the ids, and half of the calls come before the tags: CloudFormation's statements say so.
BY_ID_ALONE = ("ec2:*",)
# The agent's own: https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html
AGENT = ("ssm:Put*", "ssm:Update*", "ssmmessages:*", "ec2messages:*")
LOOKS = re.compile(r"[\w-]+:(Get|List|Describe|BatchDescribe|Lookup)")


def filled(value: Any) -> Any:
    """A policy with the names of an account filled in."""
    if isinstance(value, dict):
        if set(value) == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
            return re.sub(r"\$\{([\w:.]+)\}", lambda found: NAMES[found.group(1)], value["Fn::Sub"])
        return {key: filled(item) for key, item in value.items()}
    return [filled(item) for item in value] if isinstance(value, list) else value


@cache
def policies() -> tuple[Json, ...]:
    """The statements of CloudFormation's role."""
    attached = template()["Resources"]["CloudFormationRole"]["Properties"]["ManagedPolicyArns"]
    managed = resources("AWS::IAM::ManagedPolicy")
    documents = [managed[policy["Ref"]]["PolicyDocument"] for policy in attached]
    return tuple(filled(statement) for document in documents for statement in document["Statement"])


@cache
def parsed() -> tuple[Any, ...]:
    """The same as IAM reads them."""
    document = json.dumps({"Version": "2012-10-17", "Statement": list(policies())})
    return tuple(iam_evaluator.parse_policy_document(document))


def without(action: str) -> list[Any]:
    """The statements, with one of the actions taken away."""
    kept = [
        replace(one, actions=[other for other in one.actions if other != action or one.effect == "Deny"])
        for one in parsed()
    ]
    return [one for one in kept if one.actions]


def allowed(need: Need, given: Sequence[Any] | None = None) -> bool:
    """As IAM decides."""
    request = iam_evaluator.EvalContext(
        principal_arn=PLACE.iam("role/slipway-CloudFormationRole"),
        principal_type="AssumedRole",
        principal_account=PLACE.account,
        action=need.action,
        resource_arn=need.on,
        region=PLACE.region,
        service_context={key.lower(): value for key, value in need.context.items()},
    )
    statements = list(parsed() if given is None else given)
    return bool(iam_evaluator.evaluate(request, [statements]).decision == "Allow")


def plain(value: Any) -> Any:
    """A property with the names that the tiers' stacks have in an environment "test"."""
    names = {"Environment": "test", **NAMES, "AWS::StackName": "slipway-test"}
    if isinstance(value, dict):
        if isinstance(text := value.get("Fn::Sub"), str):
            return re.sub(r"\$\{([\w:.]+)\}", lambda found: names.get(found.group(1), "x"), text)
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


KNOWN = {
    # What another resource or tier gives.
    ("database", "CreateDatabase"): {
        "Code": {"S3Bucket": "slipway-artifacts", "S3Key": "functions/x.zip"},
        "Layers": [PLACE.arn("lambda", "layer:slipway-dependencies:3")],
    },
    ("certificate", "Certificate"): {"DomainValidationOptions": [{"HostedZoneId": "Z0123"}]},
    ("load_balancer", "DomainRecord"): {"HostedZoneId": "Z0123"},
    ("load_balancer", "WwwRecord"): {"HostedZoneId": "Z0123"},
    ("database", "Instance"): {
        "DBParameterGroupName": "slipway-test-database-parametergroup-x",
        "DBSubnetGroupName": "slipway-test-database-subnetgroup-x",
    },
    ("storage", "ImageBucketPolicy"): {"Bucket": f"slipway-test-images-{PLACE.account}-{PLACE.region}"},
}
KEPT = ("Retain",)


def made(name: str, logical_id: str) -> Iterator[tuple[str, Resource]]:
    """(operation, resource) of what can happen to a resource of a tier."""
    declared = tier(name)["Resources"][logical_id]
    given = plain(declared.get("Properties") or {}) | KNOWN.get((name, logical_id), {})
    stack = f"slipway-test-{name.replace('_', '-')}"
    roles = [PLACE.iam(f"role/{stack}-Role-NEW0NEW0NEW0")]
    resource = Resource(declared["Type"], logical_id, stack, given, None, roles)
    yield "create", resource
    yield "update", resource
    if declared.get("DeletionPolicy") not in KEPT:
        yield "delete", resource


EVERY = [(name, logical_id) for name in TIERS for logical_id in tier(name)["Resources"]]


@cache
def all_needs() -> list[Need]:
    return [
        need
        for name, logical_id in EVERY
        for operation, resource in made(name, logical_id)
        for need in handler_permissions.needs(operation, resource, PLACE)
    ]


def test_the_table_is_what_awss_schemas_say() -> None:
    assert registry_permissions.FILE.read_text() == registry_permissions.written(), (
        "python -m tools.registry_permissions"
    )


def test_conditions_are_about_calls_and_properties_that_there_are() -> None:
    """A new schema must not leave a condition behind that matches nothing."""
    schemas = {schema["typeName"]: schema for schema in registry_permissions.schemas()}
    attributes = {"*", "DeliveryStatusLogging"}
    for kind, conditions in handler_permissions.WHEN.items():
        called = {action for some in handler_permissions.registry()[kind].values() for action in some}
        for pattern, names in conditions.items():
            assert any(fnmatchcase(action, pattern) for action in called), (kind, pattern)
            assert set(names) <= schemas[kind]["properties"].keys() | attributes, (kind, pattern)


@pytest.mark.parametrize(("name", "logical_id"), EVERY)
def test_cloudformation_may_do_what_a_resource_of_a_tier_needs(name: str, logical_id: str) -> None:
    for operation, resource in made(name, logical_id):
        for need in handler_permissions.needs(operation, resource, PLACE):
            assert allowed(need), f"{operation} {logical_id}: {need}"


def test_a_profile_is_asked_for_by_its_name_though_its_id_here_is_an_arn() -> None:
    name = "slipway-test-web-Profile-X"
    profile = PLACE.iam(f"instance-profile/{name}")
    given = Resource("AWS::IAM::InstanceProfile", "Profile", "slipway-test-web", {}, profile, [])
    needs = handler_permissions.needs("delete", given, PLACE)
    assert {need.on for need in needs} == {profile}
    assert all(allowed(need) for need in needs)


TAGGING = {action for actions in registry_permissions.tagging().values() for action in actions}
GRANTED = sorted(
    {action for one in policies() if one["Effect"] == "Allow" for action in listed(one["Action"])}
    - BESIDES
    - TAGGING
)


@pytest.mark.parametrize("action", GRANTED)
def test_every_permission_of_cloudformations_role_is_needed(action: str) -> None:
    """Taken away, something that a tier needs is refused."""
    left = without(action)
    asked = [need for need in all_needs() if fnmatchcase(need.action.lower(), action.lower())]
    assert any(not allowed(need, left) for need in asked), f"nothing in the tiers needs {action}"


def test_cloudformation_has_no_power_over_the_orchestrators_own_roles() -> None:
    for own in ("AcquireLockFunctionRole-X", "ReleaseStateMachineRole-X", "CloudFormationRole-X"):
        for action in ("iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRole", "iam:UpdateAssumeRolePolicy"):
            context = {"iam:PassedToService": "lambda.amazonaws.com"}
            assert not allowed(Need(action, PLACE.iam(f"role/slipway-{own}"), context))


@pytest.mark.parametrize(
    ("action", "on"),
    [
        ("secretsmanager:GetSecretValue", PLACE.arn("secretsmanager", "secret:slipway/test/database-x")),
        ("secretsmanager:GetSecretValue", PLACE.arn("secretsmanager", "secret:rds!db-x")),
        ("s3:GetObject", "arn:aws:s3:::slipway-artifacts/releases/a.tar.gz"),
        ("s3:PutObject", "arn:aws:s3:::slipway-artifacts/releases/a.tar.gz"),
        ("s3:DeleteBucket", "arn:aws:s3:::somebody-elses"),
        ("s3:PutBucketPolicy", "arn:aws:s3:::slipway-artifacts"),
        ("rds:DeleteDBInstance", PLACE.arn("rds", "db:somebody-elses")),
        ("lambda:UpdateFunctionCode", PLACE.arn("lambda", "function:slipway-acquire-lock")),
        ("lambda:InvokeFunction", PLACE.arn("lambda", "function:slipway-test-create-database")),
        ("route53:DeleteHostedZone", "arn:aws:route53:::hostedzone/Z0123"),
        ("ssm:SendCommand", PLACE.arn("ec2", "instance/i-1")),
        ("dynamodb:PutItem", PLACE.arn("dynamodb", "table/slipway-Table")),
        ("sts:AssumeRole", PLACE.iam("role/slipway-CloudFormationRole-X")),
    ],
)
def test_cloudformation_may_not(action: str, on: str) -> None:
    assert not allowed(Need(action, on))


# --- nobody may change everything ---


def every_statement() -> Iterator[tuple[str, Json]]:
    """(where, statement) of every policy for a role, in the template and in the tiers."""
    for name, function in functions().items():
        yield from ((name, one) for one in statements(function.get("Policies")))
    for name, machine in machines().items():
        yield from ((name, one) for one in statements(machine.get("Policies")))
    for name in ("template", *TIERS):
        declared = (template() if name == "template" else tier(name))["Resources"]
        for logical_id, resource in declared.items():
            properties = resource.get("Properties") or {}
            documents = [
                one["PolicyDocument"] for one in properties.get("Policies") or () if "PolicyName" in one
            ]
            if resource["Type"] == "AWS::IAM::ManagedPolicy":
                documents.append(properties["PolicyDocument"])
            for document in documents:
                for one in document["Statement"]:
                    yield from ((logical_id, chosen) for chosen in alternatives(one))


def alternatives(statement: Json) -> list[Json]:
    """The statements of an Fn::If, or the one that it is."""
    if "Fn::If" not in statement:
        return [statement]
    return [one for one in statement["Fn::If"][1:] if "Effect" in one]


def test_nothing_is_changed_everywhere_where_aws_offers_something_narrower() -> None:
    found = 0
    for where, statement in every_statement():
        found += 1
        if statement["Effect"] != "Allow" or "*" not in listed(statement["Resource"]):
            continue
        for action in listed(statement["Action"]):
            narrower = not (
                LOOKS.match(action)
                or action in NOTHING_NARROWER
                or (where == "CloudFormationNetworkPolicy" and fits(action, BY_ID_ALONE))
                or (where == "Role" and fits(action, AGENT))
                or (where == "CreateDatabaseRole" and fits(action, BY_ID_ALONE))
            )
            assert not narrower, f"{where}: {action} on *"
    assert found > 60


def fits(action: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in patterns)


def test_no_action_is_a_whole_service() -> None:
    for where, statement in every_statement():
        for action in listed(statement["Action"]):
            assert statement["Effect"] == "Deny" or not re.fullmatch(r"\*|[\w-]+:\*", action), (where, action)
            assert "NotAction" not in statement


@pytest.mark.parametrize("file", ["template.yaml", *(f"tiers/{name}.yaml" for name in TIERS)])
def test_every_star_is_explained_where_it_stands(file: str) -> None:
    """By a comment in its statement, or right above it."""
    lines = (ROOT / file).read_text().splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r'\s*Resource: "\*"', line):
            begin = next(at for at in range(number, 0, -1) if re.match(r"\s*- (Sid|Effect):", lines[at]))
            if any("Effect: Deny" in one for one in lines[begin:number]):
                continue
            above = begin - 1
            # A list of statements, or the policy that it is, may have its comment above its own first line.
            while re.match(r"\s*(- PolicyName|PolicyDocument|Version|Statement):", lines[above]):
                above -= 1
            told = lines[above].lstrip().startswith("#") or any("#" in one for one in lines[begin:number])
            assert told, f"{file}:{number + 1}"


# --- people: the published policies, under which the rehearsal deploys and releases ---


def test_who_deploys_may_do_what_the_stacks_types_and_sam_need_and_nothing_else() -> None:
    registry = handler_permissions.registry().values()
    asked = {action.lower() for some in registry for actions in some.values() for action in actions}
    asked |= {action.lower() for action in TAGGING} | {"s3:getobject", "s3:putobject"}
    for statement in published("deploy"):
        for action in listed(statement["Action"]):
            known = any(fnmatchcase(one, action.lower()) for one in asked)
            assert known or action.startswith("cloudformation:"), action
            narrow = "*" not in listed(statement["Resource"]) or LOOKS.match(action)
            assert narrow or action == "kms:CreateKey", action


def test_who_releases_may_start_and_watch_and_change_nothing_else() -> None:
    changing = {
        action: statement["Resource"]
        for statement in published("release")
        for action in listed(statement["Action"])
        if not LOOKS.match(action)
    }
    assert changing == {
        "s3:AbortMultipartUpload": "arn:aws:s3:::BUCKET/releases/*",
        "s3:PutObject": "arn:aws:s3:::BUCKET/releases/*",
        "states:StartExecution": [
            "arn:aws:states:REGION:ACCOUNT:stateMachine:slipway-release",
            "arn:aws:states:REGION:ACCOUNT:stateMachine:slipway-check-drift",
        ],
        "states:StopExecution": "arn:aws:states:REGION:ACCOUNT:execution:slipway-release:*",
    }


def test_who_takes_down_may_start_and_watch_that_and_change_nothing_else() -> None:
    changing = {
        action: statement["Resource"]
        for statement in published("tear-down")
        for action in listed(statement["Action"])
        if not LOOKS.match(action)
    }
    assert changing == {
        "states:StartExecution": "arn:aws:states:REGION:ACCOUNT:stateMachine:slipway-tear-down",
        "states:StopExecution": "arn:aws:states:REGION:ACCOUNT:execution:slipway-tear-down:*",
    }


def published(name: str) -> list[Json]:
    found: list[Json] = json.loads((ROOT / "docs" / "policies" / f"{name}.json").read_text())["Statement"]
    return found


def test_published_policies_fit_into_a_managed_policy() -> None:
    """6,144 characters without white space."""
    for name in ("deploy", "release", "tear-down"):
        text = json.dumps(published(name), separators=(",", ":"))
        assert len(text.replace("REGION", "ap-southeast-1").replace("ACCOUNT", "123456789012")) < 6100, name


# --- drift detection: CloudFormation reads in the name of whoever asks for it ---

# What the read handlers of our types list and our templates never come to, or that must not be read.
UNREAD = {
    "kms:Decrypt",  # of a function's variables under a key of one's own
    "managed-fleets:Get*",
    "secretsmanager:GetSecretValue",
    "vpc-lattice:DescribeServiceNetworkVpcEndpointAssociation",
}


def test_drift_detection_may_read_what_the_tiers_consist_of_and_changes_nothing() -> None:
    [document] = [
        policy["PolicyDocument"]
        for name, policy in resources("AWS::IAM::ManagedPolicy").items()
        if name == "DriftDetectionPolicy"
    ]
    given = [action for statement in document["Statement"] for action in listed(statement["Action"])]
    detects = (
        "cloudformation:DetectStackResourceDrift"  # which CloudFormation asks for beside DetectStackDrift
    )
    assert all(LOOKS.match(action) for action in given if action != detects)
    assert detects in given
    types = {resource["Type"] for name in TIERS for resource in tier(name)["Resources"].values()}
    registry = handler_permissions.registry()
    read = {action for kind in types for action in registry.get(kind, {}).get("read", [])}
    lacking = {
        one for one in read - UNREAD if not any(fnmatchcase(one.lower(), have.lower()) for have in given)
    }
    assert lacking == set()
    assert functions()["DetectDrift"]["Policies"][1] == {"Ref": "DriftDetectionPolicy"}
