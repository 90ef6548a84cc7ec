"""Elastic Load Balancing: the targets of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.aws import client

DELAY = "deregistration_delay.timeout_seconds"


def health(group: str) -> list[dict[str, Any]]:
    """[{"Target": {"Id", "Port"}, "TargetHealth": {"State", "Reason", "Description"}}] of all targets."""
    answer = client("elbv2").describe_target_health(TargetGroupArn=group)
    return list(answer["TargetHealthDescriptions"])


def deregister(group: str, servers: Sequence[str]) -> None:
    client("elbv2").deregister_targets(TargetGroupArn=group, Targets=[{"Id": server} for server in servers])


def register(group: str, servers: Sequence[str]) -> None:
    client("elbv2").register_targets(TargetGroupArn=group, Targets=[{"Id": server} for server in servers])


def drain_seconds(group: str) -> int | None:
    """How long the group lets connections to a target that leaves it go on."""
    answer = client("elbv2").describe_target_group_attributes(TargetGroupArn=group)
    values = [attribute["Value"] for attribute in answer["Attributes"] if attribute["Key"] == DELAY]
    return int(values[0]) if values else None


def set_drain_seconds(group: str, seconds: int) -> None:
    client("elbv2").modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": DELAY, "Value": str(seconds)}]
    )


def balancer(group: str) -> str | None:
    """ARN of the load balancer that sends to the group; None if none does."""
    answer = client("elbv2").describe_target_groups(TargetGroupArns=[group])
    arns = answer["TargetGroups"][0]["LoadBalancerArns"]
    return str(arns[0]) if arns else None


def balancers() -> int:
    """How many Application Load Balancers the region has."""
    pages = client("elbv2").get_paginator("describe_load_balancers").paginate()
    return sum(one["Type"] == "application" for page in pages for one in page["LoadBalancers"])


def listeners(load_balancer: str) -> list[dict[str, Any]]:
    """The load balancer's listeners."""
    pages = client("elbv2").get_paginator("describe_listeners").paginate(LoadBalancerArn=load_balancer)
    return [dict(listener) for page in pages for listener in page["Listeners"]]
