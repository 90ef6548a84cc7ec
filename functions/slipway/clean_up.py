"""What an execution that ended without freeing its environment was doing, and what puts that right.

It was stopped, ran into its time-out, or could not even fail as it should. The lock says whose release it
was, or that it was a tear-down; its history says how far it came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway import history, lock, records, roll_back, scaling, stacks, tiers
from slipway.aws import cloudformation, states

# States of the release: the one in which a server lists pending migrations, the one that runs them, and the
# first after it has been recorded as the current one. The name of its roll-out's execution ends so; the state
# of a roll-out with which a wave begins.
PENDING, MIGRATE, RECORDED = "Configure", "Migrate", "ReleaseLock"
# A step that takes long is waited for in the state of that name behind this.
AWAITS = "Await"
ROLL_OUT = "-roll-out"
# The name of the clean-up's own machine ends so.
CLEAN_UP = "-clean-up"
WAVE = {"drain": "DrainServers", "side_by_side": "Activate"}

NAMES = {"ABORTED": "States.Aborted", "TIMED_OUT": "States.Timeout"}
DID = {"ABORTED": "was stopped", "TIMED_OUT": "ran into its time-out"}

Json = Mapping[str, Any]


def take_over(given: Json, execution: str) -> dict[str, Any]:
    """{"status", "environment", "lock", "request", "execution", "error", "cause", "phase", "strategy",
    "waves", "lost", "migrations", "outputs"}.

    `given`: {"environment": name}, or an event of EventBridge: about an execution of the release or of the
    clean-up, or that Auto Scaling stays suspended.
    `status`: nothing (nobody is to be cleaned up after; there is nothing else in the answer) · recorded (the
    release had succeeded, only its lock is left) · taken · tear down and torn down (see `_of_a_tear_down`);
    and when Auto Scaling alone is to be let go on: suspended (the environment and the lock alone are in the
    answer) · waiting (somebody else holds the environment; nothing else is in the answer).
    `execution`: the one that ended, {"arn", "name",
    "startedAt"}; `error`, `cause`, `phase`: how and where; `waves`: [{"servers"}] that may be on its
    release, the last first, without those that are `lost`: they run no more.
    """
    environment, scaling_alone = told(given)
    if scaling_alone:
        return _suspended(environment, execution)
    item = lock.take_over(environment, execution) if environment else None
    if item is None:
        return {"status": "nothing"}
    if item.get("doing") == lock.TEAR_DOWN:
        return _of_a_tear_down(str(environment), item)
    request, ended = json.loads(item["request"]), states.described(item["of"])
    events, _ = states.history(item["of"])
    children, entered = history.children(events), names(events)
    begun = _begun(children)
    done = recorded(request, records.current(request["environment"]["name"]), entered)
    return {
        "status": "recorded" if done else "taken",
        "environment": environment,
        "lock": {"environment": environment, "fence": item["fence"]},
        "request": request,
        "execution": {"arn": item["of"], "name": ended["name"], "startedAt": _text(ended["startDate"])},
        **how(ended, entered, bool(begun["waves"] or begun["lost"]), _innermost(children)),
        **begun,
        "migrations": migrations(events),
        "outputs": {tier: _outputs(str(environment), tier) for tier in ("web", "load_balancer")},
    }


def _of_a_tear_down(environment: str, item: Json) -> dict[str, Any]:
    """{"status", "environment", "lock", "request", "execution", "error", "cause", "phase", "shown",
    "database"}.

    `status`: torn down (that was recorded, only the lock is left) · tear down. `shown`, `database`: what it
    had found, and how far it was with the database; None if it did not come so far.
    """
    ended = states.described(item["of"])
    events, _ = states.history(item["of"])
    entered, left = names(events), outputs(events)
    return {
        "status": "torn down" if RECORDED in entered else "tear down",
        "environment": environment,
        "lock": {"environment": environment, "fence": item["fence"]},
        "request": json.loads(item["request"]),
        "execution": {"arn": item["of"], "name": ended["name"], "startedAt": _text(ended["startDate"])},
        **how(ended, entered, False, ""),
        "shown": (left.get("ShowTearDown") or {}).get("Payload"),
        "database": (left.get("EndDatabase") or {}).get("Payload"),
    }


def told(given: Json) -> tuple[str | None, bool]:
    """(the environment, whether Auto Scaling alone is to be let go on). Of a clean-up that has ended: what it
    was told itself."""
    if "detail" not in given:
        return given.get("environment"), False
    detail = given["detail"]
    if given.get("detail-type") == scaling.STAYS:
        return detail["environment"], True
    text = _input(detail)
    if str(detail.get("stateMachineArn", "")).endswith(CLEAN_UP):
        return told(json.loads(text))
    return environment_of(text), False


def _suspended(environment: str | None, execution: str) -> dict[str, Any]:
    """A release that holds the environment resumes at its own end what is suspended; until then it is not to
    be disturbed, and if it cannot either, it is waited for in vain no longer than for AWS."""
    if environment is None or scaling.left(environment) is None:
        return {"status": "nothing"}
    item = lock.hold(environment, execution)
    if item is None:
        return {"status": "waiting"}
    return {
        "status": "suspended",
        "environment": environment,
        "lock": {"environment": environment, "fence": item["fence"]},
    }


def names(events: Sequence[Json]) -> list[str]:
    """The states that were entered, in order."""
    return [
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    ]


def migrations(events: Sequence[Json]) -> dict[str, Any]:
    """{"found", "restorePoint", "ran"} as the release itself would have recorded them; None if it did not
    come so far, or was stopped while a migration ran."""
    left = outputs(events)
    point = left.get("CheckRestorePoint") or left.get("CreateRestorePoint")
    said = [one["result"] for one in _results(left, PENDING)]
    return {
        "found": next((one for one in said if one and "pending" in one), None),
        "restorePoint": point.get("Payload") if point else None,
        "ran": _ran(left),
    }


def outputs(events: Sequence[Json]) -> dict[str, Any]:
    """What each state that was left gave on last."""
    left: dict[str, Any] = {}
    for event in events:
        if "stateExitedEventDetails" in event:
            details = event["stateExitedEventDetails"]
            left[details["name"]] = json.loads(details.get("output") or "null")
    return left


def _results(left: Json, step: str) -> list[dict[str, Any]]:
    """[{"server", "result"}] of a step; none as long as its servers have not answered."""
    told: Json = left.get(AWAITS + step) or left.get(step) or {}
    return list(told.get("results", []))


def _ran(left: Json) -> dict[str, Any] | None:
    """What the server said that migrated, and which command and server that was."""
    results = _results(left, MIGRATE)
    if not results or not results[0]["result"]:
        return None
    command = (left.get(AWAITS + MIGRATE) or left[MIGRATE])["commandId"]
    return {**results[0]["result"], "command": command, "server": results[0]["server"]}


def _begun(children: Sequence[str]) -> dict[str, Any]:
    """{"strategy", "waves", "lost"}: how the roll-out went, the waves that it had begun, the last first, and
    the servers that run no more."""
    roll_out = next((child for child in children if child.endswith(ROLL_OUT)), None)
    if roll_out is None:
        return {"strategy": "drain", "waves": [], "lost": []}
    events, _ = states.history(roll_out)
    given = json.loads(states.described(roll_out)["input"])
    number = names(events).count(WAVE[given["strategy"]])
    return {"strategy": given["strategy"], **roll_back.plan(given["waves"], number)}


def _input(detail: Json) -> str:
    """What the execution was given; an event leaves out what is long."""
    return detail.get("input") or str(states.described(detail["executionArn"])["input"])


def environment_of(text: str) -> str | None:
    """The environment's name in the input of a release; None if it has none (such a release was refused)."""
    try:
        environment = json.loads(text)["environment"]
        name = environment["name"] if isinstance(environment, dict) else environment
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name else None


def recorded(request: Json, current: Json | None, entered: Sequence[str]) -> bool:
    """Whether the release had become the current one before its execution ended."""
    if RECORDED in entered:
        return True
    number, previous = request["release"]["id"], (request.get("previous") or {}).get("id")
    return current is not None and current["release"]["id"] == number != previous


def how(ended: Json, entered: Sequence[str], begun: bool, innermost: str) -> dict[str, str]:
    """{"error", "cause", "phase"} as a state that catches a failure would know them."""
    last = entered[-1] if entered else "its start"
    phase = "roll out" if begun else "migrate" if MIGRATE in entered else last
    status = str(ended["status"])
    if status not in DID:
        return {
            "error": str(ended.get("error") or status),
            "cause": str(ended.get("cause") or ""),
            "phase": phase,
        }
    reason = f": {ended['cause']}" if ended.get("cause") else ""
    cause = {
        "what": f"the execution {DID[status]} at {last}{reason}",
        "where": innermost or f"state {last}",
        "next": "the release can be started again",
    }
    return {"error": NAMES[status], "cause": json.dumps(cause), "phase": phase}


def _innermost(children: Sequence[str]) -> str:
    """The execution that was started last, and how far it came."""
    if not children:
        return ""
    state = states.current_state(children[-1])
    return f"{children[-1].rsplit(':', 1)[-1]}, state {state}" if state else ""


def _outputs(environment: str, tier: str) -> dict[str, str]:
    stack = cloudformation.describe(tiers.stack_name(environment, tier))
    return stacks.outputs(stack) if stack else {}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
