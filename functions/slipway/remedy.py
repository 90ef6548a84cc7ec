"""What somebody did to an environment that no template sets, so that CloudFormation neither sees it nor puts
it back: it is undone here. Whatever is found undone already is fine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway import scaling
from slipway.aws import autoscaling, iam

Outputs = Mapping[str, Mapping[str, str]]

# The policies that tiers/web.yaml writes into the servers' role; it attaches none.
ROLE_POLICIES = frozenset({"systems-manager-agent", "release-and-application"})


def put_right(environment: str, outputs: Outputs) -> dict[str, Any]:
    """{"policies": those that were taken from the servers' role, "processes": those of Auto Scaling that were
    resumed}. What the release itself has suspended stays so until its end."""
    web = outputs["web"]
    return {
        "policies": sorted(_policies(web["InstanceRoleName"])),
        "processes": _processes(environment, web["AutoScalingGroupName"]),
    }


def _policies(role: str) -> Iterator[str]:
    for arn in iam.attached_policies(role):
        iam.detach(role, arn)
        yield arn
    for name in set(iam.inline_policies(role)) - ROLE_POLICIES:
        iam.delete_inline(role, name)
        yield name


def _processes(environment: str, group: str) -> list[str]:
    left = sorted(scaling.left_by_others(environment, group))
    if left:
        autoscaling.resume(group, left)
    return left
