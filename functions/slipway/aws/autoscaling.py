"""Auto Scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def heartbeat(action: Mapping[str, str]) -> bool:
    """Puts off the end of a lifecycle action. Whether it is still waited for."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client("autoscaling").record_lifecycle_action_heartbeat(
            AutoScalingGroupName=action["AutoScalingGroupName"],
            LifecycleHookName=action["LifecycleHookName"],
            LifecycleActionToken=action["LifecycleActionToken"],
            InstanceId=action["EC2InstanceId"],
        )
    except ClientError as error:
        return _over(error)
    return True


def complete(action: Mapping[str, str], result: str) -> bool:
    """Ends a lifecycle action: CONTINUE or ABANDON. Whether it was still waited for."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client("autoscaling").complete_lifecycle_action(
            AutoScalingGroupName=action["AutoScalingGroupName"],
            LifecycleHookName=action["LifecycleHookName"],
            LifecycleActionToken=action["LifecycleActionToken"],
            InstanceId=action["EC2InstanceId"],
            LifecycleActionResult=result,
        )
    except ClientError as error:
        return _over(error)
    return True


def _over(error: Any) -> bool:
    """False if the error says that nobody waits any more: the server or its group is gone, or the action has
    been completed. Raises any other error.

    AWS's code for that is the one for anything invalid; its words are `No active Lifecycle Action found with
    token …`, and `Group … not found` for a group that is gone.
    """
    said = error.response["Error"]
    if said["Code"] == "ValidationError" and any(
        mark in said.get("Message", "") for mark in ("No active Lifecycle Action", "not found")
    ):
        return False
    raise error
