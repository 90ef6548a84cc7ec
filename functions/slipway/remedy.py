"""What somebody did to an environment that no template sets, so that CloudFormation neither sees it nor puts
it back: it is undone here. Whatever is found undone already is fine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway import scaling
from slipway.aws import autoscaling, cloudformation, ec2, iam
from slipway.drift import openings
from slipway.tiers import stack_name

Outputs = Mapping[str, Mapping[str, str]]

# The policies that tiers/web.yaml writes into the servers' role; it attaches none.
ROLE_POLICIES = frozenset({"systems-manager-agent", "release-and-application"})


def put_right(environment: Mapping[str, Any], outputs: Outputs) -> dict[str, Any]:
    """{"policies": those that were taken from the servers' role, "rules": what was opened in security groups
    and is closed again, "processes": those of Auto Scaling that were resumed}. What the release itself has
    suspended stays so until its end."""
    web = outputs["web"]
    return {
        "policies": sorted(_policies(web["InstanceRoleName"])),
        "rules": sorted(_rules(environment, outputs["network"])),
        "processes": _processes(environment["name"], web["AutoScalingGroupName"]),
    }


def _rules(environment: Mapping[str, Any], network: Mapping[str, str]) -> Iterator[str]:
    """Those that let through more than the tier network declares, which was just brought to its template."""
    stack = stack_name(environment["name"], "network")
    groups = openings.groups(environment["network"], network, lambda: cloudformation.resources(stack))
    found = ec2.security_group_rules(list(groups.values()))
    for name, rule, opening in openings.wider(environment["network"], groups, found):
        ec2.revoke(rule)
        yield f"{name}: {opening}"


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
