"""How a tear-down ended: the explanation of a failure, the receipt, and what the table remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway import failure, lock, receipt, records
from slipway.aws import cloudformation, s3
from slipway.errors import LockLost

Json = Mapping[str, Any]

SUCCEEDED = "Succeeded"
AGAIN = "the tear-down can be started again, and goes on from there"


def explain(
    request: Json | None,
    error: str,
    cause: str,
    phase: str,
    shown: Json | None,
    database: Json | None,
    execution: str,
) -> dict[str, Any]:
    """{"ending", "error", "what", "where", "next", "command", "phase", "details", "left"}. FailedClean:
    nothing was removed. FailedDirty: a part is gone, and a person has to see that the rest goes, too.

    `left`: stacks that are still there, [{"tier", "stack", "status"}].
    """
    named = failure.unwrap(error, cause)
    left = still_there(shown)
    touched = _touched(shown, left, database)
    return {
        "ending": failure.DIRTY if touched else failure.CLEAN,
        "error": named.error,
        "what": named.what,
        "where": named.where or phase,
        "next": " ".join(filter(None, [situation(phase, touched, left, database), named.next or AGAIN])),
        "command": failure.command(request, named.error, failure.CLEAN, execution),
        "phase": phase,
        "details": dict(named.details or {}),
        "left": left,
    }


def still_there(shown: Json | None) -> list[dict[str, str]]:
    """Of the stacks that were there those that are, with their statuses now."""
    left = []
    for row in (shown or {}).get("goes", []):
        stack = cloudformation.describe(row["stack"])
        if stack is not None and stack["StackStatus"] != "DELETE_COMPLETE":
            left.append({"tier": row["tier"], "stack": row["stack"], "status": str(stack["StackStatus"])})
    return left


def _touched(shown: Json | None, left: Sequence[Json], database: Json | None) -> bool:
    """Whether anything was removed, or is about to be."""
    if shown is None:
        return False
    deleted = any(one["status"].startswith("DELETE_") for one in left)
    return deleted or len(left) < len(shown["goes"]) or bool((database or {}).get("snapshot"))


def situation(phase: str, touched: bool, left: Sequence[Json], database: Json | None) -> str:
    """What state the environment is in."""
    if phase in ("validate input", "acquire lock"):
        return ""
    if not touched:
        return "Nothing was removed; the environment is as it was."
    there = ", ".join(f"{one['stack']} ({one['status']})" for one in left) or "none of its stacks"
    said = f"It is taken down in part; still there: {there}. What is to stay is kept."
    snapshot = (database or {}).get("snapshot")
    return said + (f" The database's data is in the snapshot {snapshot}." if snapshot else "")


def record(
    held: Json | None,
    request: Json,
    ending: str,
    execution: Json,
    shown: Json | None,
    database: Json | None,
    images: Json | None,
    failed: Json | None,
    bucket: str,
) -> dict[str, Any]:
    """Writes what is remembered of the tear-down, and answers its receipt.

    Raises LockLost if the lock was lost before a success could be recorded.
    """
    environment, now = request["environment"], datetime.now(UTC)
    if ending == SUCCEEDED:
        lock.assure(held)
    told = {
        **facts(request, ending, execution, shown, database, images, failed, now),
        **receipt.course(execution["arn"], now),
    }
    _remember(held, environment, ending, told)
    short = {name: value for name, value in told.items() if name != "states"}
    records.add_tear_down(environment, execution["startedAt"], execution["name"], short)
    key = f"receipts/{environment}/{execution['name']}.json"
    s3.put(bucket, key, json.dumps(told, indent=2).encode(), "application/json")
    return told


def facts(
    request: Json,
    ending: str,
    execution: Json,
    shown: Json | None,
    database: Json | None,
    images: Json | None,
    failed: Json | None,
    now: datetime,
) -> dict[str, Any]:
    """What is known without asking anybody."""
    started = datetime.fromisoformat(execution["startedAt"])
    left = {one["tier"] for one in (failed or {}).get("left", [])}
    rows = (shown or {}).get("goes", []) if ending != failure.CLEAN else []
    return {
        "environment": request["environment"],
        "tearDown": True,
        "ending": ending,
        "failure": dict(failed) if failed else None,
        "removed": [row for row in rows if row["tier"] not in left],
        "snapshot": (database or {}).get("snapshot"),
        "images": {
            "bucket": request["bucket"],
            "kept": not request["remove"]["images"],
            "removed": (images or {}).get("removed", 0),
        },
        "stays": list((shown or {}).get("stays", [])),
        "execution": execution["arn"],
        "startedAt": execution["startedAt"],
        "recordedAt": _text(now),
        "seconds": round((now - started).total_seconds(), 3),
    }


def _remember(held: Json | None, environment: str, ending: str, told: Json) -> None:
    """No release is current any more, once a part of the environment is gone; its block of addresses is free
    when all of it is."""
    if ending == failure.CLEAN:
        return
    fence = int(held["fence"]) if held else 0
    if not records.retire(environment, fence, told["recordedAt"], told["execution"]):
        raise LockLost(
            "a later holder of the lock has recorded its release already",
            f"environment {environment}",
            "see what the other execution leaves behind",
        )
    if ending == SUCCEEDED:
        records.forget(environment)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
