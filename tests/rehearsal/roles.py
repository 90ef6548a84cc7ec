"""Roles of a region, for tests: what their policies say, one permission less, and acting as one of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import boto3

TELL = """
import os
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
def handler(event, context):
    return {name: os.environ[name] for name in NAMES}
"""
"""A function that tells the credentials that Lambda gave it for its role."""


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def documents(iam: Any, role: str) -> dict[str, dict[str, Any]]:
    """The role's inline policies by name."""
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def statements(iam: Any, role: str) -> list[dict[str, Any]]:
    """The statements of a role's inline policies."""
    return [one for document in documents(iam, role).values() for one in document["Statement"]]


def less(document: Mapping[str, Any], action: str) -> dict[str, Any]:
    """A policy with one action taken away."""
    kept = [
        {**one, "Action": [other for other in listed(one["Action"]) if other != action]}
        for one in document["Statement"]
    ]
    left = [one for one in kept if one["Action"]]
    nothing = {"Effect": "Deny", "Action": "none:None", "Resource": "*"}
    return {**document, "Statement": left or [nothing]}


@contextmanager
def without(iam: Any, role: str, action: str) -> Iterator[None]:
    """The role with one action taken out of its inline policies."""
    before = documents(iam, role)
    changed = {name: less(document, action) for name, document in before.items()}
    granted = {
        one for document in before.values() for s in document["Statement"] for one in listed(s["Action"])
    }
    assert action in granted, f"{role} does not grant {action}"
    for name, document in changed.items():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        for name, document in before.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def acting(functions: Any, role: str) -> boto3.Session:
    """A session with the credentials that Lambda gives a function of this role (an ARN)."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("app.py", TELL)
    name = f"probe-{uuid4().hex[:12]}"
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="app.handler",
        Role=role,
        Timeout=30,
        Code={"ZipFile": archive.getvalue()},
    )
    told = json.loads(functions.invoke(FunctionName=name)["Payload"].read())
    functions.delete_function(FunctionName=name)
    return boto3.Session(
        told["AWS_ACCESS_KEY_ID"],
        told["AWS_SECRET_ACCESS_KEY"],
        told["AWS_SESSION_TOKEN"],
        region_name="eu-central-1",
    )
