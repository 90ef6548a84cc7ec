"""CloudFormation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.aws import client


def describe(stack: str) -> dict[str, Any] | None:
    """The stack, or None if there is none of that name."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        stacks = client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    return dict(stacks[0]) if stacks else None


def create_change_set(
    stack: str,
    name: str,
    kind: str,
    body: str,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    role: str,
    on_failure: str | None,
    mode: str | None,
) -> None:
    """Begins a change set; `kind` is CREATE or UPDATE, `on_failure` DO_NOTHING or None for CloudFormation's
    own, `mode` REVERT_DRIFT or None for one that does not look at what there is."""
    failure = {} if on_failure is None else {"OnStackFailure": on_failure}
    deployment = {} if mode is None else {"DeploymentMode": mode}
    client("cloudformation").create_change_set(
        StackName=stack,
        ChangeSetName=name,
        ChangeSetType=kind,
        TemplateBody=body,
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())
        ],
        Tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
        Capabilities=["CAPABILITY_IAM"],
        RoleARN=role,
        **failure,
        **deployment,
    )


def change_set(stack: str, name: str) -> dict[str, Any] | None:
    """The change set with the changes of all its pages, or None if there is none; `name` may be its ARN."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    changes: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        try:
            page = client("cloudformation").describe_change_set(StackName=stack, ChangeSetName=name, **token)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("ChangeSetNotFound", "ChangeSetNotFoundException") or _no_such_stack(error):
                return None
            raise
        changes += page.get("Changes", [])
        if not page.get("NextToken"):
            return {**page, "Changes": changes}
        token = {"NextToken": page["NextToken"]}


def _no_such_stack(error: Exception) -> bool:
    return "ValidationError" in str(error) and "does not exist" in str(error)


def delete_change_set(stack: str, name: str) -> None:
    client("cloudformation").delete_change_set(StackName=stack, ChangeSetName=name)


def execute_change_set(stack: str, arn: str) -> None:
    client("cloudformation").execute_change_set(StackName=stack, ChangeSetName=arn)


def protect(stack: str, protected: bool) -> None:
    """Switches the stack's termination protection."""
    client("cloudformation").update_termination_protection(
        StackName=stack, EnableTerminationProtection=protected
    )


def delete(stack: str, role: str) -> None:
    client("cloudformation").delete_stack(StackName=stack, RoleARN=role)


def events(stack: str) -> Iterator[dict[str, Any]]:
    """The stack's events, the newest first, page by page as they are asked for."""
    pages = client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
    for page in pages:
        yield from page["StackEvents"]


def resources(stack: str) -> Sequence[dict[str, Any]]:
    """What the stack consists of (CloudFormation answers at most 100)."""
    found = client("cloudformation").describe_stack_resources(StackName=stack)
    return list(found["StackResources"])


def template(stack: str) -> str:
    """The template that the stack was made from last, as it was given."""
    body = client("cloudformation").get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    return body if isinstance(body, str) else json.dumps(body)


def detect_drift(stack: str) -> str | None:
    """Begins a drift detection; its id, or None if one of that stack is under way already."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return str(client("cloudformation").detect_stack_drift(StackName=stack)["StackDriftDetectionId"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError" and "in progress" in str(error).lower():
            return None
        raise


def drift_detection(detection: str) -> dict[str, Any]:
    """How far a drift detection is: {"DetectionStatus", "StackDriftStatus", "DetectionStatusReason", …}."""
    return dict(
        client("cloudformation").describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    )


def drifted(stack: str) -> list[dict[str, Any]]:
    """The stack's resources that are not as its template says, with the properties that differ."""
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = client("cloudformation").describe_stack_resource_drifts(
            StackName=stack, StackResourceDriftStatusFilters=["MODIFIED", "DELETED"], **token
        )
        found += page["StackResourceDrifts"]
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}
