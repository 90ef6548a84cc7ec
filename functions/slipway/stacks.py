"""A tier's stack from plan to outputs: what its status means, and the steps plan, apply, check."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway import gate, tiers
from slipway import plan as plans
from slipway.aws import cloudformation
from slipway.errors import TierFailed
from slipway.patience import DEFAULT, Patience, linger

Plan = dict[str, Any]
Stack = Mapping[str, Any]

# What PlanTier does by the stack's status; None: there is no stack.
#   create    make it, with a change set of type CREATE
#   update    change it, with a change set of type UPDATE
#   continue  its creation failed half-way and was left so, to go on from there: UPDATE, and leave it so again
#   renew     a creation was rolled back; nothing is in it: delete it, then create
#   wait      CloudFormation is at it
#   stuck     only a person can go on
NEXT_STEP: Mapping[str | None, str] = {
    None: "create",
    "DELETE_COMPLETE": "create",
    "REVIEW_IN_PROGRESS": "create",
    "CREATE_IN_PROGRESS": "wait",
    "CREATE_COMPLETE": "update",
    "CREATE_FAILED": "continue",
    "ROLLBACK_IN_PROGRESS": "wait",
    "ROLLBACK_COMPLETE": "renew",
    "ROLLBACK_FAILED": "stuck",
    "DELETE_IN_PROGRESS": "wait",
    "DELETE_FAILED": "stuck",
    "UPDATE_IN_PROGRESS": "wait",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "wait",
    "UPDATE_COMPLETE": "update",
    "UPDATE_FAILED": "continue",
    "UPDATE_ROLLBACK_IN_PROGRESS": "wait",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "wait",
    "UPDATE_ROLLBACK_COMPLETE": "update",
    "UPDATE_ROLLBACK_FAILED": "stuck",
    "IMPORT_IN_PROGRESS": "wait",
    "IMPORT_COMPLETE": "update",
    "IMPORT_ROLLBACK_IN_PROGRESS": "wait",
    "IMPORT_ROLLBACK_COMPLETE": "update",
    "IMPORT_ROLLBACK_FAILED": "stuck",
}

# What is safe for a stack that is stuck, or that failed.
_BY_HAND = "delete the stack by hand, keeping what cannot be deleted; then start the release again"
_KEPT = "what was created is kept: remove the cause and start the release again, it goes on from there"
ADVICE: Mapping[str, str] = {
    "ROLLBACK_FAILED": _BY_HAND,
    "DELETE_FAILED": _BY_HAND,
    "UPDATE_ROLLBACK_FAILED": "repair what the stack's events name, continue its rollback (aws "
    "cloudformation continue-update-rollback), then start the release again",
    "IMPORT_ROLLBACK_FAILED": "repair what the stack's events name; then start the release again",
    "CREATE_FAILED": _KEPT,
    "UPDATE_FAILED": _KEPT,
    "ROLLBACK_COMPLETE": "nothing is left of the attempt: remove the cause and start the release again",
    "UPDATE_ROLLBACK_COMPLETE": "the tier is as it was before: remove the cause and start the release again",
}

SUCCEEDED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})

# How CloudFormation says that a change set is empty.
EMPTY = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class Wanted:
    """What a tier's stack should be."""

    environment: str
    tier: str
    parameters: Callable[[], Mapping[str, str]]
    allow: Sequence[str]
    role: str
    execution: str
    remedy: bool = False
    """Whether what was changed without Slipway is put back, too."""

    @property
    def stack(self) -> str:
        return tiers.stack_name(self.environment, self.tier)

    @property
    def change_set(self) -> str:
        """The same for each call of an execution, so that a call that is repeated finds what it made
        before."""
        readable = re.sub(r"[^A-Za-z0-9-]", "-", self.execution)[:80]
        digest = hashlib.sha256(self.execution.encode()).hexdigest()[:8]
        return f"slipway-{readable}-{digest}"


# Plan


def plan(wanted: Wanted, patience: Patience = DEFAULT) -> Plan:
    """{"status", "stack", "changeSet", "row", "outputs", "detail"}.

    `status`: unchanged · planned (a change set has passed the gate) · planning (ask again) · busy (ask
    again). `row`: what is told of it, as slipway.plan says. Raises DestructiveChange or TierFailed.
    """
    stack = cloudformation.describe(wanted.stack)
    status = stack["StackStatus"] if stack else None
    step = NEXT_STEP.get(status, "stuck")
    if step == "stuck":
        raise stuck(wanted.stack, str(status))
    if step == "wait":
        return _plan("busy", wanted, detail=f"{wanted.stack} is {status}")
    if step == "renew":
        cloudformation.protect(wanted.stack, False)
        cloudformation.delete(wanted.stack, wanted.role)
        return _plan(
            "busy", wanted, detail=f"{wanted.stack} was rolled back when it was created and is deleted"
        )
    change_set = _change_set(wanted, step, patience)
    return _judged(wanted, step, stack, change_set)


def _change_set(wanted: Wanted, step: str, patience: Patience) -> Mapping[str, Any]:
    """This execution's change set; made, if there is none that can be used, and waited for a little."""
    present = cloudformation.change_set(wanted.stack, wanted.change_set)
    if present is not None and _spent(present):
        cloudformation.delete_change_set(wanted.stack, wanted.change_set)
        present = None
    if present is None:
        begin(wanted, step)
    return linger(
        lambda: cloudformation.change_set(wanted.stack, wanted.change_set) or {"Status": "CREATE_PENDING"},
        lambda seen: seen["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"),
        patience,
    )


def begin(wanted: Wanted, step: str) -> None:
    """Has CloudFormation begin the change set. `step`: create, update or continue."""
    cloudformation.create_change_set(
        wanted.stack,
        wanted.change_set,
        "CREATE" if step == "create" else "UPDATE",
        tiers.template(wanted.tier),
        wanted.parameters(),
        tiers.tags(wanted.environment, wanted.tier),
        wanted.role,
        # A database that was created is protected and could not be rolled back: what was created stays.
        None if step == "update" else "DO_NOTHING",
        # What has not been created to its end yet has nothing to be put back.
        "REVERT_DRIFT" if wanted.remedy and step == "update" else None,
    )


def _spent(change_set: Mapping[str, Any]) -> bool:
    """Executed in vain, or overtaken by a later change of the stack."""
    return change_set.get("ExecutionStatus") in ("EXECUTE_FAILED", "OBSOLETE")


def _judged(wanted: Wanted, step: str, stack: Stack | None, change_set: Mapping[str, Any]) -> Plan:
    reason = change_set.get("StatusReason") or ""
    if change_set["Status"] in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        return _plan("planning", wanted, detail=f"the change set of {wanted.stack} is {change_set['Status']}")
    if change_set.get("ExecutionStatus") == "EXECUTE_COMPLETE" and stack is not None:
        return _plan(
            "unchanged", wanted, outputs=outputs(stack), detail="was applied by this execution before"
        )
    if is_empty(change_set):
        cloudformation.delete_change_set(wanted.stack, wanted.change_set)
        return _unchanged(wanted, step, stack)
    if change_set["Status"] != "CREATE_COMPLETE":
        raise TierFailed(
            f"CloudFormation refused the change: {reason or change_set['Status']}",
            f"stack {wanted.stack}",
            "nothing of this tier was changed; remove the cause and start the release again",
            status=change_set["Status"],
        )
    changes = changes_of(change_set)
    if wanted.remedy and step == "update" and all(gate.moves_by_itself(change) for change in changes):
        cloudformation.delete_change_set(wanted.stack, wanted.change_set)
        return _unchanged(wanted, step, stack)
    gate.check(wanted.tier, changes, wanted.allow)
    told = "new" if step == "create" else "changed"
    return _plan(
        "planned",
        wanted,
        changeSet=change_set["ChangeSetId"],
        row=row_of(wanted, told, stack, change_set),
        detail=f"{len(changes)} changes",
    )


def is_empty(change_set: Mapping[str, Any]) -> bool:
    """Whether CloudFormation saw nothing to do."""
    reason = change_set.get("StatusReason") or ""
    return change_set["Status"] == "FAILED" and any(words in reason for words in EMPTY)


def changes_of(change_set: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [gate.change(item["ResourceChange"]) for item in change_set["Changes"] if "ResourceChange" in item]


def row_of(wanted: Wanted, status: str, stack: Stack | None, change_set: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of the tier, see slipway.plan."""
    was = (stack or {}).get("Parameters", [])
    differ = plans.changed_parameters(was, change_set.get("Parameters", [])) if status == "changed" else []
    return plans.row(wanted.tier, wanted.stack, status, changes_of(change_set), differ, wanted.allow)


def _unchanged(wanted: Wanted, step: str, stack: Stack | None) -> Plan:
    if step != "update" or stack is None:
        status = str(stack["StackStatus"]) if stack else "absent"
        raise TierFailed(
            f"{wanted.stack} is {status}, and CloudFormation sees nothing to do",
            f"stack {wanted.stack}",
            "roll the stack back or delete it by hand, then start the release again",
            needsAPerson=True,
            status=status,
        )
    return _plan("unchanged", wanted, outputs=outputs(stack))


def _plan(status: str, wanted: Wanted, **more: Any) -> Plan:
    row = plans.row(wanted.tier, wanted.stack, "unchanged" if status == "unchanged" else "busy")
    nothing: Plan = {"changeSet": None, "row": row, "outputs": {}, "detail": ""}
    return {"status": status, "stack": wanted.stack, **nothing, **more}


def stuck(stack: str, status: str) -> TierFailed:
    advice = ADVICE.get(status, "see the stack's events")
    return TierFailed(f"{stack} is {status}", f"stack {stack}", advice, needsAPerson=True, status=status)


def outputs(stack: Stack) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def parameters(stack: Stack) -> dict[str, str]:
    """As the stack was given them last."""
    return {one["ParameterKey"]: one.get("ParameterValue", "") for one in stack.get("Parameters", [])}


def tags(stack: Stack) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}


# Apply


def apply(stack: str, change_set: str) -> dict[str, Any]:
    """Executes the change set, once: if it was executed before, that is fine. The stack is protected from
    deletion."""
    present = cloudformation.change_set(stack, change_set)
    if present is None or present.get("ExecutionStatus") not in (
        "AVAILABLE",
        "EXECUTE_IN_PROGRESS",
        "EXECUTE_COMPLETE",
    ):
        status = present.get("ExecutionStatus") if present else "gone"
        raise TierFailed(
            f"the change set cannot be executed: it is {status}", f"stack {stack}", "start the release again"
        )
    if present["ExecutionStatus"] == "AVAILABLE":
        cloudformation.protect(stack, True)
        cloudformation.execute_change_set(stack, change_set)
    return {}


# Check


def check(stack: str, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "in_progress" | "complete", "outputs", "detail"}; raises TierFailed once CloudFormation
    has given up."""
    found = linger(
        lambda: cloudformation.describe(stack), lambda seen: seen is None or not _at_work(seen), patience
    )
    if found is None:
        raise TierFailed(f"{stack} has gone", f"stack {stack}", "start the release again", status="absent")
    if _at_work(found):
        working = at_work(cloudformation.events(stack))
        detail = f"{stack} is {found['StackStatus']}" + (f": {', '.join(working)}" if working else "")
        return {"status": "in_progress", "outputs": {}, "detail": detail}
    if found["StackStatus"] in SUCCEEDED:
        return {
            "status": "complete",
            "outputs": outputs(found),
            "detail": f"{stack} is {found['StackStatus']}",
        }
    raise _failed(stack, found)


def _at_work(stack: Stack) -> bool:
    return str(stack["StackStatus"]).endswith("_IN_PROGRESS")


def _failed(stack: str, found: Stack) -> TierFailed:
    status = str(found["StackStatus"])
    first = first_failure(cloudformation.events(stack))
    what = f"{stack} is {status}: {found.get('StackStatusReason') or 'no reason given'}"
    resource = None
    if first is not None:
        resource = first["LogicalResourceId"]
        reason = first.get("ResourceStatusReason", "no reason given")
        what = f"{resource} ({first.get('ResourceType')}): {reason}; {stack} is {status}"
    return TierFailed(
        what,
        f"stack {stack}" + (f", resource {resource}" if resource else ""),
        ADVICE.get(status, "see the stack's events"),
        needsAPerson=NEXT_STEP.get(status) == "stuck",
        status=status,
        resource=resource,
    )


def of_last_operation(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The events, newest first, down to the one with which the stack's last operation began."""
    found: list[Mapping[str, Any]] = []
    for event in events:
        found.append(event)
        of_stack = event.get("PhysicalResourceId") == event.get("StackId")
        began = event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
        if of_stack and began:
            break
    return found


def first_failure(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The resource whose failure came first; those that were cancelled because of it are none."""
    failures = [
        event
        for event in of_last_operation(events)
        if event["ResourceStatus"].endswith("_FAILED")
        and event.get("PhysicalResourceId") != event.get("StackId")
        and "cancelled" not in event.get("ResourceStatusReason", "").lower()
    ]
    return failures[-1] if failures else None


def at_work(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """The resources that CloudFormation is at, as names."""
    last: dict[str, Mapping[str, Any]] = {}
    for event in of_last_operation(events):
        if event.get("PhysicalResourceId") != event.get("StackId"):
            last.setdefault(event["LogicalResourceId"], event)
    return sorted(name for name, event in last.items() if event["ResourceStatus"].endswith("_IN_PROGRESS"))[
        :10
    ]
