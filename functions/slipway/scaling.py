"""Auto Scaling holds still while servers get a release, and goes on afterwards.

What was suspended is written down before it is done: whoever resumes, whenever, however often, needs to know
the environment alone, and puts back exactly what was found. What somebody else had suspended stays so.
"""

from __future__ import annotations

from typing import Any

from slipway import records
from slipway.aws import autoscaling, dynamodb

# https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
# Launch: a server that came now would miss the release. ReplaceUnhealthy: a server that broke stays a member,
# so that it can be told from one that was scaled in, and is replaced when the release is over. AZRebalance,
# AlarmNotification, ScheduledActions: the fleet keeps its size and place. InstanceRefresh: nobody replaces
# servers between two waves. Terminate goes on: what a person ends is no failure. AddToLoadBalancer goes on:
# without Launch it does nothing, and a server that is added while it is suspended would never be registered.
PROCESSES = (
    "AZRebalance",
    "AlarmNotification",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
)


def suspend(environment: str, group: str) -> dict[str, Any]:
    """{"processes": those that are suspended by us}. Again, after an attempt that was cut off: the same."""
    ours = _ours(environment, group)
    wanted = sorted(ours | (set(PROCESSES) - _suspended(group)))
    _write(environment, group, wanted)
    if wanted:
        autoscaling.suspend(group, wanted)
    return {"processes": wanted}


def resume(environment: str) -> dict[str, Any]:
    """{"processes": those that were resumed}; none if nothing is suspended by us, or the group is gone."""
    item = dynamodb.get(records.key(environment), "SCALING")
    if not item or not item["processes"]:
        return {"processes": []}
    group, processes = str(item["group"]), str(item["processes"]).split(",")
    if autoscaling.group(group) is not None:
        autoscaling.resume(group, processes)
    _write(environment, group, [])
    return {"processes": processes}


def left_by_others(environment: str, group: str) -> set[str]:
    """The processes that are suspended, and not by us."""
    return _suspended(group) - _ours(environment, group)


def _ours(environment: str, group: str) -> set[str]:
    item = dynamodb.get(records.key(environment), "SCALING")
    if not item or item["group"] != group:
        return set()
    return {process for process in str(item["processes"]).split(",") if process}


def _suspended(group: str) -> set[str]:
    described = autoscaling.group(group) or {}
    return {process["ProcessName"] for process in described.get("SuspendedProcesses", [])}


def _write(environment: str, group: str, processes: list[str]) -> None:
    item = {"pk": records.key(environment), "sk": "SCALING", "group": group}
    dynamodb.put({**item, "processes": ",".join(processes)})
