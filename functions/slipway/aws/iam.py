"""IAM."""

from __future__ import annotations

from slipway.aws import client


def attached_policies(role: str) -> list[str]:
    """ARNs of the managed policies that are attached to the role."""
    pages = client("iam").get_paginator("list_attached_role_policies").paginate(RoleName=role)
    return [one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]]


def inline_policies(role: str) -> list[str]:
    """Names of the policies that are written into the role."""
    pages = client("iam").get_paginator("list_role_policies").paginate(RoleName=role)
    return [name for page in pages for name in page["PolicyNames"]]


def detach(role: str, policy: str) -> None:
    """Takes a managed policy from the role."""
    client("iam").detach_role_policy(RoleName=role, PolicyArn=policy)


def delete_inline(role: str, name: str) -> None:
    """Takes a policy that is written into the role out of it."""
    client("iam").delete_role_policy(RoleName=role, PolicyName=name)
