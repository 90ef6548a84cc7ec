"""Auto Scaling."""

from __future__ import annotations

from typing import Any

from slipway.aws import client


def group(name: str) -> dict[str, Any] | None:
    found = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
        "AutoScalingGroups"
    ]
    return dict(found[0]) if found else None


def activities(name: str) -> list[dict[str, Any]]:
    """What the group did last, the newest first."""
    answer = client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=10)
    return list(answer["Activities"])
