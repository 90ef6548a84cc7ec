"""The end of the DB instance: RDS deletes it only when its final snapshot is whole.

Why by RDS itself and before the stack, and not by the stack's DeletionPolicy: docs/decisions/009.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway import tiers
from slipway.aws import cloudformation, rds
from slipway.errors import DatabaseRefused
from slipway.patience import DEFAULT, Patience, linger
from slipway.restore_point import SUFFIXES

Json = Mapping[str, Any]

# Statuses that pass by themselves. https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
PASSING = frozenset(
    {
        *(
            "backing-up",
            "configuring-enhanced-monitoring",
            "configuring-log-exports",
            "creating",
            "maintenance",
        ),
        *("modifying", "moving-to-vpc", "rebooting", "renaming", "resetting-master-credentials", "starting"),
        *(
            "stopping",
            "storage-config-upgrade",
            "storage-initialization",
            "storage-optimization",
            "upgrading",
        ),
    }
)
AGAIN = "then start the tear-down again: it goes on from there. Its data is untouched"


def end(
    environment: str, so_far: Json | None, execution: Json, patience: Patience = DEFAULT
) -> dict[str, Any]:
    """{"status": "busy" | "ending" | "ended", "instance", "snapshot", "detail"}; raises DatabaseRefused.

    `so_far`: the last answer of this execution, None before the first. `busy`: RDS is at something else with
    the instance, nothing was begun. `ended`: the instance is gone, and the snapshot is available.
    """
    instance = str((so_far or {}).get("instance") or "") or _identifier(environment)
    if not instance:
        return _told("ended", "", None, "there is no DB instance")
    snapshot = (so_far or {}).get("snapshot")
    if snapshot is None:
        # What was begun is answered at once: a look that fails must not make anybody forget it.
        return _begin(environment, instance, execution)
    return _watch(instance, str(snapshot), patience)


def _identifier(environment: str) -> str:
    """The DB instance of the database's stack; empty if there is none."""
    name = tiers.stack_name(environment, "database")
    stack = cloudformation.describe(name)
    if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
        return ""
    found = [
        str(one.get("PhysicalResourceId") or "")
        for one in cloudformation.resources(name)
        if one["LogicalResourceId"] == "Instance" and one["ResourceStatus"] != "DELETE_COMPLETE"
    ]
    return found[0] if found else ""


def _begin(environment: str, instance: str, execution: Json) -> dict[str, Any]:
    found = rds.instance(instance)
    status = str(found["DBInstanceStatus"]) if found else "gone"
    if found is None or status == "deleting":
        # By an earlier tear-down, or by a call of this one whose answer was lost.
        made = _earlier(environment, instance)
        otherwise = "busy" if found else "ended"
        return _told("ending" if made else otherwise, instance, made, f"{instance} is {status} already")
    if status in PASSING:
        return _told("busy", instance, None, f"{instance} is {status}")
    if found.get("DeletionProtection"):
        rds.unprotect(instance)
    return _delete(environment, instance, status, execution)


def _delete(environment: str, instance: str, status: str, execution: Json) -> dict[str, Any]:
    wanted = name(environment, execution["startedAt"])
    for suffix in SUFFIXES:
        outcome = rds.delete_with_snapshot(instance, wanted + suffix)
        if outcome == "begun":
            return _told("ending", instance, wanted + suffix, f"{instance} is being deleted")
        if outcome == "busy":
            return _told("busy", instance, None, f"{instance} cannot be deleted while it is {status}")
    raise DatabaseRefused(
        f"no name is free for the final snapshot: {wanted} and eight others are taken",
        f"DB instance {instance}",
        f"delete snapshots that nobody needs; {AGAIN}",
    )


def _watch(instance: str, snapshot: str, patience: Patience) -> dict[str, Any]:
    found = linger(
        lambda: (rds.instance(instance), rds.snapshot(snapshot)), lambda seen: seen[0] is None, patience
    )
    there, made = found
    status = str(made["Status"]) if made else "not there yet"
    if there is None and status != "creating":
        if status != "available":
            raise DatabaseRefused(
                f"{instance} is gone, and its final snapshot is {status}",
                f"DB snapshot {snapshot}",
                "see the events of RDS (aws rds describe-events --source-type db-snapshot); automated "
                "backups of the instance can be restored while they are kept",
                needsAPerson=True,
            )
        return _told("ended", instance, snapshot, f"{snapshot} is available")
    now = str(there["DBInstanceStatus"]) if there else "gone"
    if now == "available" or status == "failed":
        raise DatabaseRefused(
            f"RDS gave the deletion up: {instance} is {now}, and its snapshot {snapshot} {status}",
            f"DB instance {instance}",
            "see its events (aws rds describe-events --source-type db-instance --source-identifier "
            f"{instance}); {AGAIN}",
            needsAPerson=True,
        )
    percent = f", {made.get('PercentProgress', 0)} %" if made else ""
    return _told(
        "ending",
        instance,
        snapshot,
        f"{instance} is {now}, its snapshot {snapshot} {status}{percent}",
    )


def _earlier(environment: str, instance: str) -> str | None:
    """The final snapshot that an earlier tear-down had made of the instance."""
    beginning = prefix(environment)
    made = [
        one for one in rds.snapshots_of(instance) if str(one["DBSnapshotIdentifier"]).startswith(beginning)
    ]
    return str(made[-1]["DBSnapshotIdentifier"]) if made else None


def prefix(environment: str) -> str:
    return f"slipway-{environment}-final-"


def name(environment: str, started_at: str) -> str:
    """
    >>> name("arable", "2026-11-22T10:11:12.345Z")
    'slipway-arable-final-20261122t101112z'
    """
    moment = re.sub(r"[^0-9TZ]", "", re.sub(r"\.[0-9]+", "", started_at)).lower()
    return prefix(environment) + moment


def _told(status: str, instance: str, snapshot: str | None, detail: str) -> dict[str, Any]:
    return {"status": status, "instance": instance, "snapshot": snapshot, "detail": detail}
