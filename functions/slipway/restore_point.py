"""The point to which a database can be restored: a snapshot of RDS, made before its schema is migrated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway.aws import rds
from slipway.errors import DatabaseRefused
from slipway.patience import DEFAULT, Patience, linger

# Names are tried in this order when one is taken by somebody else.
SUFFIXES = ("", *(f"-{number}" for number in range(2, 10)))

EXECUTION_TAG = "slipway:execution"

Snapshot = Mapping[str, Any]


def create(
    instance: str,
    environment: str,
    release: str,
    execution: Mapping[str, str],
    patience: Patience = DEFAULT,
) -> dict[str, Any]:
    """{"status": "available" | "creating" | "busy", "snapshot", "detail"}.

    Asked again for the same execution, it finds the snapshot that it began. `busy`: RDS is at something
    else with the instance, nothing was begun; ask again.
    """
    wanted = name(environment, release, execution["startedAt"])
    tags = {
        "slipway:environment": environment,
        "slipway:release": release,
        EXECUTION_TAG: execution["arn"],
    }
    for suffix in SUFFIXES:
        snapshot = wanted + suffix
        outcome = rds.create_snapshot(instance, snapshot, tags)
        if outcome == "busy":
            return {
                "status": "busy",
                "snapshot": None,
                "detail": f"{instance} cannot be copied at the moment",
            }
        if outcome == "begun" or _is_ours(rds.snapshot(snapshot), execution["arn"]):
            return check(snapshot, patience)
    raise DatabaseRefused(
        f"no name is free for a snapshot: {wanted} and eight others are taken",
        f"DB instance {instance}",
        "nothing was migrated; delete snapshots that nobody needs, then start the release again",
    )


def check(snapshot: str, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "available" | "creating", "snapshot", "detail"}; raises DatabaseRefused if it will never
    be complete."""
    found = linger(
        lambda: rds.snapshot(snapshot), lambda seen: seen is None or seen["Status"] != "creating", patience
    )
    if found is None or found["Status"] not in ("available", "creating"):
        raise DatabaseRefused(
            f"the restore point is {found['Status'] if found else 'not there'}",
            f"DB snapshot {snapshot}",
            "nothing was migrated; see the events of the instance, then start the release again",
        )
    percent = found.get("PercentProgress", 0)
    return {
        "status": found["Status"],
        "snapshot": snapshot,
        "detail": f"{snapshot} is {found['Status']} ({percent} %)",
    }


def name(environment: str, release: str, started_at: str) -> str:
    """A name that RDS takes: letters, digits and single hyphens, a letter first (CreateDBSnapshot).

    >>> name("arable", "2026-11-22.1", "2026-11-22T10:11:12.345Z")
    'slipway-arable-before-2026-11-22-1-20261122t101112z'
    """
    moment = re.sub(r"[^0-9TZ]", "", re.sub(r"\.[0-9]+", "", started_at)).lower()
    readable = re.sub(r"[^a-z0-9]+", "-", release.lower()).strip("-")
    return f"slipway-{environment}-before-{readable}-{moment}"


def _is_ours(found: Snapshot | None, execution: str) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in (found or {}).get("TagList", [])}
    return tags.get(EXECUTION_TAG) == execution


# --- what is told of it -----------------------------------------------------------------------------------


def told(
    release: Mapping[str, Any], migrations: Mapping[str, Any] | None, made: Mapping[str, Any] | None
) -> dict[str, Any]:
    """{"snapshot", "why"}: what the receipt says, above all when there is none."""
    if made and made.get("status") == "available":
        return {"snapshot": made["snapshot"], "why": "migrations were pending"}
    return {"snapshot": None, "why": _why_none(release, migrations, made)}


def _why_none(
    release: Mapping[str, Any], migrations: Mapping[str, Any] | None, made: Mapping[str, Any] | None
) -> str:
    if not release["migrate"]:
        return "not needed: this release migrates nothing"
    if migrations is None:
        return "not reached"
    if not migrations["pending"]:
        return "not needed: no migration was pending"
    if migrations["empty"]:
        return "not needed: the database was empty"
    if not release["backup"]:
        return "skipped: release.backup is false"
    return f"not complete: {made['detail']}" if made else "not reached"
