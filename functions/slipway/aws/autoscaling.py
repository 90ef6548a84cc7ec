"""Auto Scaling."""

from __future__ import annotations

from collections.abc import Sequence
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


def members(servers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What Auto Scaling knows of each server that belongs to a group, by server."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(servers), 50):  # as many as a call takes
        answer = client("autoscaling").describe_auto_scaling_instances(
            InstanceIds=list(servers[start : start + 50])
        )
        found |= {instance["InstanceId"]: instance for instance in answer["AutoScalingInstances"]}
    return found


def suspend(name: str, processes: Sequence[str]) -> None:
    client("autoscaling").suspend_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))


def resume(name: str, processes: Sequence[str]) -> None:
    client("autoscaling").resume_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))
