"""The tiers' stacks go in the reverse order of a release, those beside each other that do not build on one
another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway import tiers
from slipway.aws import cloudformation
from slipway.errors import TierFailed
from slipway.patience import DEFAULT, Patience, linger
from slipway.tear_down import hindrances

Json = Mapping[str, Any]

# What has to be gone before a tier goes: what uses it, or would go on writing into it.
AFTER: Mapping[str, Sequence[str]] = {
    "load_balancer": (),
    "web": ("load_balancer",),
    "certificate": ("load_balancer",),
    "database": ("web",),
    "storage": ("web",),
    "network": ("load_balancer", "web", "database"),
}
ORDER = tuple(AFTER)

# What is done by a stack's status, if it is not simply deleted.
#   gone   there is nothing (more) of it
#   wait   CloudFormation is at it
#   retry  a deletion that failed: again, if nothing is in the way
STEP: Mapping[str | None, str] = {
    None: "gone",
    "DELETE_COMPLETE": "gone",
    "DELETE_IN_PROGRESS": "wait",
    "ROLLBACK_IN_PROGRESS": "wait",
    "UPDATE_IN_PROGRESS": "wait",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "wait",
    "UPDATE_ROLLBACK_IN_PROGRESS": "wait",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "wait",
    "IMPORT_IN_PROGRESS": "wait",
    "IMPORT_ROLLBACK_IN_PROGRESS": "wait",
    "DELETE_FAILED": "retry",
}

# How often an execution begins the deletion of a stack: what AWS lets go of late (a function's network
# interfaces) may fail the first time.
ATTEMPTS = 3


def advance(
    environment: str, wanted: Sequence[str], begun: Mapping[str, int], role: str, patience: Patience = DEFAULT
) -> dict[str, Any]:
    """{"status": "removing" | "removed", "begun", "left", "detail"}: does what can be done of removing the
    `wanted` tiers, and watches for a while.

    `begun`: how often this execution has begun to delete each tier's stack so far, and then with what was
    begun now. `left`: tiers that are still there. Raises TierFailed, with what is in the way.
    """
    counted = dict(begun)
    return linger(
        lambda: _step(environment, wanted, counted, role),
        lambda seen: seen["status"] == "removed",
        patience,
    )


def _step(environment: str, wanted: Sequence[str], begun: dict[str, int], role: str) -> dict[str, Any]:
    statuses = {tier: _status(environment, tier) for tier in _looked_at(wanted)}
    left = [tier for tier in wanted if STEP.get(statuses[tier]) != "gone"]
    for tier in left:
        if _may_go(tier, statuses):
            _remove(environment, tier, statuses[tier], begun, role)
    detail = ", ".join(f"{tiers.stack_name(environment, tier)} is {statuses[tier]}" for tier in left)
    return {
        "status": "removing" if left else "removed",
        "begun": dict(begun),
        "left": left,
        "detail": detail or "all of them are gone",
    }


def _looked_at(wanted: Sequence[str]) -> list[str]:
    """The wanted tiers and those that have to be gone before."""
    return [tier for tier in ORDER if tier in wanted or any(tier in AFTER[one] for one in wanted)]


def _may_go(tier: str, statuses: Mapping[str, str | None]) -> bool:
    return all(STEP.get(statuses[before]) == "gone" for before in AFTER[tier])


def _status(environment: str, tier: str) -> str | None:
    stack = cloudformation.describe(tiers.stack_name(environment, tier))
    return str(stack["StackStatus"]) if stack else None


def _remove(environment: str, tier: str, status: str | None, begun: dict[str, int], role: str) -> None:
    step = STEP.get(status, "delete")
    if step == "wait":
        return
    if step == "retry" and begun.get(tier):
        refuse_if_hindered(environment, tier, begun[tier])
    stack = tiers.stack_name(environment, tier)
    cloudformation.protect(stack, False)
    cloudformation.delete(stack, role)
    begun[tier] = begun.get(tier, 0) + 1


def refuse_if_hindered(environment: str, tier: str, times: int) -> None:
    """Raises TierFailed if something of others is in the way, or if it was tried often enough."""
    stack = tiers.stack_name(environment, tier)
    found = _hindrances(environment)
    if not found and times < ATTEMPTS:
        return
    failed = failures(cloudformation.events(stack))
    what = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or "no reason given"
    following = found[0]["next"] if found else "remove what its events name"
    raise TierFailed(
        f"{stack} could not be deleted: {what}"
        + "".join(f"; in the way: {one['where']}, {one['what']}" for one in found[:3]),
        f"stack {stack}",
        f"{following}; then start the tear-down again: it goes on from there",
        needsAPerson=True,
        status="DELETE_FAILED",
        resources=failed,
        hindrances=found,
    )


def failures(events: Iterable[Json]) -> dict[str, str]:
    """Resources whose deletion failed last, with the reasons that CloudFormation gives."""
    found: dict[str, str] = {}
    for event in events:
        of_stack = event.get("PhysicalResourceId") == event.get("StackId")
        if of_stack and event["ResourceStatus"] == "DELETE_IN_PROGRESS":
            break
        if not of_stack and event["ResourceStatus"] == "DELETE_FAILED":
            found[event["LogicalResourceId"]] = event.get("ResourceStatusReason", "no reason given")
    return found


def _hindrances(environment: str) -> list[dict[str, str]]:
    there = [tier for tier in ORDER if STEP.get(_status(environment, tier)) != "gone"]
    return hindrances.look(
        environment,
        {tier: cloudformation.resources(tiers.stack_name(environment, tier)) for tier in there},
    )
