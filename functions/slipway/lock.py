"""The lock of an environment: one execution at a time, and an execution that has ended holds nothing.

The item stays when the lock is freed, so that the fence only ever grows: a holder that was taken for dead
can be told from its successor by the smaller number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from slipway import records
from slipway.aws import dynamodb, states
from slipway.errors import EnvironmentLocked

ATTEMPTS = 5  # how often somebody else may be quicker before we call it locked


def acquire(environment: str, execution: str, release: str) -> dict[str, Any]:
    """{"fence": n}; raises EnvironmentLocked. Asking again for the same execution changes nothing."""
    item: Mapping[str, Any] | None = None
    for _ in range(ATTEMPTS):
        item = dynamodb.get(records.key(environment), "LOCK")
        standing = judge(item, execution, states.status)
        if standing == "ours" and item is not None:
            return {"fence": item["fence"]}
        if standing == "held":
            break
        fence = (item["fence"] if item else 0) + 1
        if _take(environment, execution, release, fence):
            return {"fence": fence}
    raise _locked(environment, item or {})


def judge(item: Mapping[str, Any] | None, execution: str, status: Callable[[str], str | None]) -> str:
    """free · ours · dead (its holder does not run any more) · held."""
    holder = item.get("holder") if item else None
    if not holder:
        return "free"
    if holder == execution:
        return "ours"
    return "held" if status(holder) in ("RUNNING", "PENDING_REDRIVE") else "dead"


def _take(environment: str, execution: str, release: str, fence: int) -> bool:
    """Takes the lock, unless it has changed hands since we looked."""
    item = {
        "pk": records.key(environment),
        "sk": "LOCK",
        "holder": execution,
        "release": release,
        "fence": fence,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if fence == 1:
        return dynamodb.put(item, "attribute_not_exists(pk)")
    return dynamodb.put(item, "fence = :seen", {":seen": fence - 1})


def release(environment: str, execution: str) -> dict[str, Any]:
    """Frees what this execution holds; if it holds nothing, that is fine."""
    item = dynamodb.get(records.key(environment), "LOCK")
    if item and item.get("holder") == execution:
        freed = {name: value for name, value in item.items() if name != "holder"}
        dynamodb.put(freed, "fence = :seen", {":seen": item["fence"]})
    return {}


def fence_of(environment: str, execution: str) -> int | None:
    """The fence under which the execution holds the lock; None if it does not."""
    item = dynamodb.get(records.key(environment), "LOCK")
    return int(item["fence"]) if item and item.get("holder") == execution else None


def _locked(environment: str, item: Mapping[str, Any]) -> EnvironmentLocked:
    holder = str(item.get("holder", ""))
    return EnvironmentLocked(
        f"release {item.get('release')} has been running in this environment since {item.get('since')}",
        f"environment {environment}",
        "wait for it to end, or stop it; a lock whose execution has ended is taken over by itself",
        holder=holder,
    )
