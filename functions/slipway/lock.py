"""The lock of an environment: one execution at a time, and an execution that has ended holds nothing.

Its item carries what somebody needs who has to put right what the holder left: the completed request, and
the release it stands for. The item stays when the lock is freed, so that the fence only ever grows: every
task that changes something says under which fence it acts, and is refused once another one has taken the
environment over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from slipway import records
from slipway.aws import dynamodb, states
from slipway.errors import EnvironmentLocked, HolderEnded, LockLost

ATTEMPTS = 5  # how often somebody else may be quicker before we call it locked

ALIVE = frozenset({"RUNNING", "PENDING_REDRIVE"})
# An execution that ended so may have left servers out of the load balancer, or on two releases. (Of one that
# AWS has forgotten, after 90 days, nothing can be read any more: its lock is simply taken.)
INTERRUPTED = frozenset({"FAILED", "TIMED_OUT", "ABORTED"})

# What an item is about that is no release.
TEAR_DOWN = "tear down"

Json = Mapping[str, Any]


def acquire(
    request: Json, execution: str, again: Callable[[Json], Json] = lambda request: request
) -> dict[str, Any]:
    """{"fence": n, "request"}; raises EnvironmentLocked or HolderEnded, and what `again` raises. Asking again
    for the same execution changes nothing.

    `again` brings the request up to date with what is remembered of the environment. Nobody has changed that
    when the lock is ours: who does has to take it first, and the fence is then another one than we saw.
    """
    environment = request["environment"]["name"]
    taken = _acquire(
        environment, execution, lambda: _of_release(again(request), execution), _refuse_interrupted
    )
    return {"fence": taken["fence"], "request": json.loads(taken["request"])}


def acquire_to_tear_down(request: Json, execution: str) -> dict[str, Any]:
    """{"fence": n} for a tear-down of the environment; raises EnvironmentLocked or HolderEnded."""
    about: dict[str, Any] = {
        "release": "",
        "doing": TEAR_DOWN,
        "request": json.dumps(request),
        "of": execution,
    }
    taken = _acquire(request["environment"], execution, lambda: about, _refuse_interrupted)
    return {"fence": taken["fence"]}


def take_over(environment: str, execution: str) -> dict[str, Any] | None:
    """The lock's item, now held by `execution`, if its holder has ended; None if there is nothing to take.

    The item goes on saying whose release it is about: `release`, `request`, `of` (the release's execution);
    or that it is a tear-down (`doing`).
    """
    item = dynamodb.get(records.key(environment), "LOCK")
    if not item or not item.get("holder") or "request" not in item:
        return None
    if judge(item, execution, states.status) == "held":
        return None
    kept: dict[str, Any] = {
        name: item[name] for name in ("release", "doing", "request", "of") if name in item
    }
    try:
        return _acquire(environment, execution, lambda: kept)
    except EnvironmentLocked:
        return None  # somebody else was quicker, and does what there is to do


def hold(environment: str, execution: str) -> dict[str, Any] | None:
    """The lock's item, now held by `execution`; None if somebody holds it, or has left something behind that
    is to be put right first. Who holds it so has begun no release: whoever finds it after its end simply
    takes it."""
    item = dynamodb.get(records.key(environment), "LOCK") or {}
    standing = judge(item, execution, states.status)
    if standing == "ours":
        return item
    if standing == "held" or (standing == "dead" and _interrupted(item)):
        return None
    return _take(environment, execution, {"release": item.get("release", "")}, item.get("fence", 0) + 1)


def _acquire(
    environment: str,
    execution: str,
    about: Callable[[], Json],
    examine: Callable[[Json], None] = lambda item: None,
) -> dict[str, Any]:
    """The item under which `execution` holds the lock. `examine` may refuse to take it from an ended
    holder; `about` is read after the lock was seen to be free, and before it is taken."""
    item: dict[str, Any] | None = None
    for _ in range(ATTEMPTS):
        item = dynamodb.get(records.key(environment), "LOCK")
        standing = judge(item, execution, states.status)
        if standing == "ours" and item is not None:
            return item
        if standing == "held":
            break
        if standing == "dead" and item is not None:
            examine(item)
        if taken := _take(environment, execution, about(), (item["fence"] if item else 0) + 1):
            return taken
    raise _locked(environment, item or {})


def _refuse_interrupted(item: Json) -> None:
    if status := _interrupted(item):
        raise HolderEnded(
            f"the execution that holds the environment ended {status}: what it left is to be put right first",
            f"environment {str(item['pk']).removeprefix('ENVIRONMENT#')}",
            "nothing: the clean-up does that by itself",
            holder=item["holder"],
        )


def _interrupted(item: Json) -> str | None:
    """How its holder, which does not run any more, ended, if it left a release that nobody has cleaned up
    after."""
    status = states.status(item["holder"]) if "request" in item else None
    return status if status in INTERRUPTED else None


def judge(item: Json | None, execution: str, status: Callable[[str], str | None]) -> str:
    """free · ours · dead (its holder does not run any more) · held."""
    holder = item.get("holder") if item else None
    if not holder:
        return "free"
    if holder == execution:
        return "ours"
    return "held" if status(holder) in ALIVE else "dead"


def _of_release(request: Json, execution: str) -> dict[str, Any]:
    return {"release": request["release"]["id"], "request": json.dumps(request), "of": execution}


def _take(environment: str, execution: str, about: Json, fence: int) -> dict[str, Any] | None:
    """Takes the lock, unless it has changed hands since we looked."""
    item = {
        **about,
        "pk": records.key(environment),
        "sk": "LOCK",
        "holder": execution,
        "fence": fence,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if fence == 1:
        done = dynamodb.put(item, "attribute_not_exists(pk)")
    else:
        done = dynamodb.put(item, "fence = :seen", {":seen": fence - 1})
    return item if done else None


def assure(held: Json | None) -> None:
    """Raises LockLost unless the lock is held under the fence that the caller was given."""
    if held is None:
        raise LockLost("nobody has taken the lock of the environment", "", "start a release")
    item = dynamodb.get(records.key(held["environment"]), "LOCK") or {}
    if item.get("holder") and item["fence"] == int(held["fence"]):
        return
    holder = str(item.get("holder", ""))
    raise LockLost(
        "the lock of the environment was lost"
        + (f" to {holder}, since {item.get('since')}" if holder else ": nobody holds it"),
        f"environment {held['environment']}",
        "what the other execution leaves behind counts: wait for its end, then start a release again",
        holder=holder,
    )


def release(environment: str, execution: str) -> dict[str, Any]:
    """Frees what this execution holds; if it holds nothing, that is fine."""
    item = dynamodb.get(records.key(environment), "LOCK")
    if item and item.get("holder") == execution:
        freed = {name: value for name, value in item.items() if name != "holder"}
        dynamodb.put(freed, "fence = :seen", {":seen": item["fence"]})
    return {}


def seen(environment: str) -> dict[str, Any]:
    """{"fence", "holder"}: the fence as it is now, and the living execution that holds the environment; empty
    if none does. Who sees the same twice knows that nobody has changed the environment in between."""
    item = dynamodb.get(records.key(environment), "LOCK")
    held = judge(item, "", states.status) == "held"
    return {"fence": item["fence"] if item else 0, "holder": str(item["holder"]) if item and held else ""}


def held_by_release(environment: str) -> dict[str, Any] | None:
    """The lock's item if a living execution holds it that brings a release: not one that cleans up, after
    which what was recorded before holds, and none that takes the environment down."""
    item = dynamodb.get(records.key(environment), "LOCK")
    if item is None or item.get("doing") == TEAR_DOWN or judge(item, "", states.status) != "held":
        return None
    return item if item.get("of", item["holder"]) == item["holder"] else None


def known(environment: str) -> bool:
    """Whether a release was ever begun in the environment."""
    return dynamodb.get(records.key(environment), "LOCK") is not None


def in_the_way(environment: str) -> str:
    """Whose living execution holds the environment, as a sentence; nothing if a release could begin."""
    item = dynamodb.get(records.key(environment), "LOCK")
    if item is None or judge(item, "", states.status) != "held":
        return ""
    error = _locked(environment, item)
    return f"EnvironmentLocked: {error.what} ({item['holder']}); {error.next}"


def _locked(environment: str, item: Json) -> EnvironmentLocked:
    holder, since = str(item.get("holder", "")), item.get("since")
    cleans_up = bool(holder) and item.get("of", holder) != holder
    doing = (
        "was interrupted and has been cleaned up after"
        if cleans_up
        else "has been running in this environment"
    )
    state = states.current_state(holder) if holder else None
    who = "a tear-down" if item.get("doing") == TEAR_DOWN else f"release {item.get('release')}"
    return EnvironmentLocked(
        f"{who} {doing} since {since}" + (f", now at {state}" if state else ""),
        f"environment {environment}",
        "wait for the clean-up to end; it frees the lock"
        if cleans_up
        else "wait for it to end, or stop it; what a stopped execution leaves is put right by itself",
        holder=holder,
        since=since,
        state=state,
    )
