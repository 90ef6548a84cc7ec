"""Auto Scaling holds still while servers get a release, and goes on afterwards.

What was suspended is written down before it is done: whoever resumes, whenever, however often, needs to know
the environment alone, and puts back exactly what was found. What somebody else had suspended stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway import announcement, records
from slipway.aws import autoscaling, dynamodb

# https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
# ReplaceUnhealthy: a server that broke stays a member, so that it can be told from one that was scaled in,
# and is replaced when the release is over. AZRebalance, AlarmNotification, ScheduledActions: the fleet keeps
# its size and place. InstanceRefresh: nobody replaces servers between two waves. Terminate goes on: what a
# person ends is no failure. Launch goes on: a server that comes now is held back by the group's lifecycle
# hook until the release is over, and takes what came of it (slipway.joining,
# docs/decisions/010-new-servers.md); suspended, servers that a person asks for meanwhile would only boot
# when the release is over.
# AddToLoadBalancer goes on: it does nothing for a server that is held back, and a server that comes into
# service while it is suspended would never be registered.
PROCESSES = (
    "AZRebalance",
    "AlarmNotification",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)
LAUNCH = "Launch"


# The event that says so; template.yaml starts a clean-up by it, which tries again.
STAYS = "scaling suspended"


def suspend(environment: str, group: str, fence: int) -> dict[str, Any]:
    """{"processes": those that are suspended by us}. Again, after an attempt that was cut off: the same.

    `fence`: of the release for which they are; from now on new servers wait for its outcome.
    """
    ours = _ours(environment, group)
    wanted = sorted(ours | (set(PROCESSES) - _suspended(group)))
    _write(environment, group, wanted, fence)
    if wanted:
        autoscaling.suspend(group, wanted)
    return {"processes": wanted}


def held(environment: str, fence: int) -> bool:
    """Whether the holder of the lock under that fence has its servers, and reaches no others."""
    item = dynamodb.get(records.key(environment), "SCALING")
    return bool(item) and (item or {}).get("fence") == fence


def stop_launching(environment: str, group: str) -> None:
    """No further server is launched, until `resume`; not written down as ours if somebody else did it."""
    item = dynamodb.get(records.key(environment), "LAUNCHING")
    if LAUNCH in _suspended(group) and (item or {}).get("group") != group:
        return
    dynamodb.put({"pk": records.key(environment), "sk": "LAUNCHING", "group": group})
    autoscaling.suspend(group, [LAUNCH])


def resume(environment: str) -> dict[str, Any]:
    """{"processes": those that were resumed}; none if nothing is suspended by us, or the group is gone.
    Launching goes on, too, if it was stopped."""
    return {"processes": [*_resume_release(environment), *_resume_launching(environment)]}


def _resume_release(environment: str) -> list[str]:
    item = dynamodb.get(records.key(environment), "SCALING")
    if not item or not (item["processes"] or "fence" in item):
        return []
    group, processes = str(item["group"]), _processes(item)
    if processes and autoscaling.group(group) is not None:
        autoscaling.resume(group, processes)
    _write(environment, group, [])
    return processes


def _resume_launching(environment: str) -> list[str]:
    group = _stopped(environment)
    if not group:
        return []
    if autoscaling.group(group) is not None:
        autoscaling.resume(group, [LAUNCH])
    dynamodb.put({"pk": records.key(environment), "sk": "LAUNCHING", "group": ""})
    return [LAUNCH]


def left_by_others(environment: str, group: str) -> set[str]:
    """The processes that are suspended, and not by us."""
    return _suspended(group) - _ours(environment, group)


def left(environment: str) -> dict[str, Any] | None:
    """{"group", "processes"} that we have suspended and not resumed, for a release or to stop launching; None
    if there are none."""
    item = dynamodb.get(records.key(environment), "SCALING") or {}
    group, processes = _stopped(environment), _processes(item)
    if not (group or processes):
        return None
    return {
        "group": str(item["group"]) if processes else group,
        "processes": [*processes, *([LAUNCH] if group else [])],
    }


def _stopped(environment: str) -> str:
    """The group in which launching was stopped by us, or nothing."""
    item = dynamodb.get(records.key(environment), "LAUNCHING")
    return str((item or {}).get("group", ""))


def _processes(item: Mapping[str, Any]) -> list[str]:
    return [process for process in str(item.get("processes", "")).split(",") if process]


def tell(environment: str, region: str, topic: str) -> dict[str, Any]:
    """{"warnings", "next"}: announces that Auto Scaling stays suspended, if it does; who tells of the release
    adds the same."""
    found = left(environment)
    if found is None:
        return {"warnings": [], "next": ""}
    warning = still(region, found["group"], found["processes"])
    announcement.announce(STAYS, environment, warning, topic)
    return {"warnings": [warning], "next": f"{warning['what']}; {warning['next']}"}


def still(region: str, group: str, processes: list[str]) -> dict[str, str]:
    """{"check", "where", "what", "next"}, as a warning of the preflight."""
    command = (
        f"aws autoscaling resume-processes --region {region} --auto-scaling-group-name {group} "
        f"--scaling-processes {' '.join(processes)}"
    )
    return {
        "check": "Auto Scaling",
        "where": group,
        "what": "Auto Scaling could not be let go on and stays suspended: what breaks is not replaced",
        "next": f"a clean-up tries again until AWS lets it; to do it now: {command}",
    }


def _ours(environment: str, group: str) -> set[str]:
    item = dynamodb.get(records.key(environment), "SCALING")
    if not item or item["group"] != group:
        return set()
    return set(_processes(item))


def _suspended(group: str) -> set[str]:
    described = autoscaling.group(group) or {}
    return {process["ProcessName"] for process in described.get("SuspendedProcesses", [])}


def _write(environment: str, group: str, processes: list[str], fence: int | None = None) -> None:
    item = {"pk": records.key(environment), "sk": "SCALING", "group": group}
    of = {} if fence is None else {"fence": fence}
    dynamodb.put({**item, "processes": ",".join(processes), **of})
