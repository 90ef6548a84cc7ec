"""A failure explained: the innermost error with a name, what it means for the site, and what is safe to do
next. Pure.

An error comes out of a state machine in three shells: a Lambda's ({"errorType", "errorMessage"}), a child
execution's (on AWS States.TaskFailed, with the child's description in the cause; on others the child's own
error), and a Fail state's, whose cause is already {"what", "where", "next"}.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway import foreign

CLEAN, DIRTY = "FailedClean", "FailedDirty"

# Phases in which servers that serve may have been changed.
TOUCHES_SERVERS = frozenset({"roll out", "report", "verify", "record"})

# Characters of a cause that are told when it is no JSON: what is told is put into shells itself.
LONGEST = 2000

AGAIN = "the release can be started again"

# What is safe after errors that are not our own.
ADVICE: Mapping[str, str] = {
    "States.Timeout": f"see the history of the execution for what did not end; {AGAIN}",
    "States.DataLimitExceeded": "see the history of the execution; this is a defect of Slipway",
    "Sandbox.Timedout": f"a function ran into its time-out; {AGAIN}",
    "Function.Timedout": f"a function ran into its time-out; {AGAIN}",
    "Lambda.TooManyRequestsException": f"the account's functions were throttled for long; {AGAIN}",
    "TransientAwsError": f"AWS did not answer for a while; {AGAIN}",
}


@dataclass(frozen=True)
class Named:
    """The innermost error."""

    error: str
    what: str
    where: str = ""
    next: str = ""
    details: Mapping[str, Any] | None = None


def explain(
    request: Mapping[str, Any] | None,
    error: str,
    cause: str,
    phase: str,
    rollback: Mapping[str, Any] | None,
    restore_point: Mapping[str, Any] | None = None,
    migrated: bool = False,
    lost: Sequence[str] = (),
    execution: str = "",
) -> dict[str, Any]:
    """{"ending", "error", "what", "where", "next", "command", "phase", "details", "rollback", "lost"}.

    `migrated`: whether migrations ran; `lost`: servers that do not run any more; `execution`: ARN of the
    release. `command`: what to run next, None if something else has to be done first.
    """
    named = unwrap(error, cause)
    undone = rolled_back(rollback)
    end = ending(named, phase, rollback, bool(request and request.get("previous")))
    return {
        "ending": end,
        "error": named.error,
        "what": named.what,
        "where": named.where or phase,
        "next": " ".join(
            filter(
                None,
                [
                    situation(request, phase, rollback, end, migrated, lost),
                    _restorable(phase, restore_point),
                    named.next or _advice(named.error),
                ],
            )
        ),
        "command": command(request, named.error, end, execution),
        "phase": phase,
        "details": dict(named.details or {}),
        "rollback": undone,
        "lost": list(lost),
    }


def unwrap(error: str, cause: str) -> Named:
    """Goes inwards as long as a cause contains another error."""
    value = _json(cause)
    if value is None:
        return _torn(error, str(cause or ""))
    if "errorMessage" in value:
        return unwrap(str(value.get("errorType") or error), str(value["errorMessage"]))
    child = _child(value)
    if child is not None:
        return unwrap(*child)
    if "what" in value:
        details = {key: item for key, item in value.items() if key not in ("what", "where", "next")}
        return Named(
            error, str(value["what"]), str(value.get("where", "")), str(value.get("next", "")), details
        )
    return Named(error, foreign.passable(cause, LONGEST))


def _torn(error: str, text: str) -> Named:
    """What can be read in a cause that is no JSON: a sentence, or JSON that was cut off, because a cause has
    room for 32,768 characters. Its quotation marks have more backslashes in every shell."""
    flat = re.sub(r'\\+"', '"', text)
    what = re.search(r'"what": ?"([^"]+)', flat)
    if not what:
        return Named(error, foreign.passable(text, LONGEST) or "no reason given")
    names = re.findall(r'"(?:errorType|Error|error)": ?"([A-Za-z][A-Za-z0-9.]{0,80})"', flat)
    outer = {"States.TaskFailed", "FailedClean", "FailedDirty"}
    inner = next((name for name in names if name not in outer), error)
    return Named(inner, foreign.passable(what[1], LONGEST))


def _child(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Error and cause of a child execution's description (DescribeExecution, in either spelling)."""
    if "ExecutionArn" not in value and "executionArn" not in value:
        return None
    error = value.get("Error") or value.get("error")
    cause = str(value.get("Cause") or value.get("cause") or "")
    status = value.get("Status") or value.get("status") or ""
    if error is None:
        name = {"TIMED_OUT": "States.Timeout", "ABORTED": "States.Aborted"}.get(
            str(status), "States.TaskFailed"
        )
        where = str(value.get("ExecutionArn") or value.get("executionArn"))
        return name, cause or json.dumps({"what": f"an execution ended {status}", "where": where, "next": ""})
    return str(error), str(cause)


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = foreign.read(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def ending(named: Named, phase: str, rollback: Mapping[str, Any] | None, has_previous: bool) -> str:
    """FailedClean: what served before serves still, or nothing did. FailedDirty: a person is needed."""
    if (named.details or {}).get("needsAPerson"):
        return DIRTY
    if not has_previous:
        return CLEAN
    if rollback:
        return CLEAN if rollback.get("status") == "succeeded" else DIRTY
    return DIRTY if phase in TOUCHES_SERVERS else CLEAN


def rolled_back(rollback: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How the way back went, with its own failure unwrapped."""
    if rollback is None:
        return None
    if rollback.get("status") == "succeeded":
        return {"status": "succeeded"}
    named = unwrap(str(rollback.get("error", "")), str(rollback.get("cause", "")))
    return {"status": "failed", "error": named.error, "what": named.what, "where": named.where}


def command(request: Mapping[str, Any] | None, error: str, end: str, execution: str) -> str | None:
    """What to run next: after a clean failure the same release again, once its cause is removed; after a
    dirty one the release before."""
    if request is None or not execution or error == "InvalidInput":
        return None
    region = execution.split(":")[3]
    machine = ":".join(execution.replace(":execution:", ":stateMachine:").split(":")[:7])
    begin = f"aws stepfunctions start-execution --region {region} --state-machine-arn {machine} --input "
    previous = (request.get("previous") or {}).get("id")
    if end == DIRTY and previous and error != "TierFailed":
        back = {"environment": request["environment"]["name"], "release": {"id": previous}}
        return begin + shlex.quote(json.dumps(back, separators=(",", ":")))
    given = f"aws stepfunctions describe-execution --region {region} --execution-arn {execution}"
    return f'{begin}"$({given} --query input --output text)"'


def situation(
    request: Mapping[str, Any] | None,
    phase: str,
    rollback: Mapping[str, Any] | None,
    end: str,
    migrated: bool = False,
    lost: Sequence[str] = (),
) -> str:
    """What state the fleet is in."""
    if phase in ("validate input", "acquire lock") or request is None:
        return ""
    previous = (request.get("previous") or {}).get("id")
    said = _serving(request, phase, rollback, previous)
    if lost:
        said += (
            f" Lost meanwhile, whatever the cause: {', '.join(lost)}. Auto Scaling replaces what is lost; a"
            " replacement takes the recorded release by itself."
        )
    if migrated or phase == "migrate":
        said += " Migrations are not undone: see that the schema fits."
    return said + (" A person is needed." if end == DIRTY else "")


def _restorable(phase: str, restore_point: Mapping[str, Any] | None) -> str:
    """Where the database as it was before the migrations can be had."""
    if phase not in TOUCHES_SERVERS | {"migrate"} or (restore_point or {}).get("status") != "available":
        return ""
    return f"The database as it was before is in the snapshot {(restore_point or {})['snapshot']}."


def _serving(
    request: Mapping[str, Any], phase: str, rollback: Mapping[str, Any] | None, previous: str | None
) -> str:
    if previous is None:
        return "No release serves yet; what was built is kept, and the next execution goes on from there."
    if rollback and rollback.get("status") == "succeeded":
        return f"Release {previous} was put back and serves."
    if phase not in TOUCHES_SERVERS:
        if rollback:
            return f"No server was given another release than {previous}, but not all of them serve it."
        return f"Release {previous} serves as before."
    if rollback is None and (request.get("rollout") or {}).get("onFailure") == "stop":
        return (
            f"rollout.onFailure is stop: servers of the waves begun may have {request['release']['id']}, "
            f"all others serve {previous}; to go back, release {previous} again."
        )
    why = (rolled_back(rollback) or {}).get("what", "")
    return (
        f"Release {previous} could not be put back everywhere{': ' if why else ''}{why}. It and "
        f"{request['release']['id']} may be mixed: the step report tells each server's release."
    )


def _advice(error: str) -> str:
    return ADVICE.get(error, f"see the history of the execution; {AGAIN}")
