"""What CloudFormation would do to the tiers of an environment, asked by change sets that nobody executes.

Those of all tiers are made at once and deleted again when the last one is done. A tier that is not there
gets none: a change set would leave a stack in REVIEW_IN_PROGRESS behind it, and could say no more than the
template does (see slipway.outline).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from slipway import gate, outline, plan, stacks, tiers
from slipway.aws import cloudformation
from slipway.errors import SlipwayError, TransientAwsError
from slipway.patience import DEFAULT, Patience, linger
from slipway.task import named

Row = dict[str, Any]
Stack = Mapping[str, Any]
Parameters = Callable[[str, Mapping[str, Mapping[str, str]]], Mapping[str, str]]

PENDING = ("CREATE_PENDING", "CREATE_IN_PROGRESS")


@dataclass(frozen=True)
class Asked:
    """An environment, what is wanted of it, and under whose name. `parameters`: of a tier, given the outputs
    of all that are there."""

    environment: str
    allow: Sequence[str]
    role: str
    execution: str
    parameters: Parameters
    remedy: bool = False

    def wanted(self, tier: str, outputs: Mapping[str, Mapping[str, str]]) -> stacks.Wanted:
        return stacks.Wanted(
            self.environment,
            tier,
            lambda: self.parameters(tier, outputs),
            self.allow,
            self.role,
            f"plan-{self.execution}",
            self.remedy,
        )


def ask(asked: Asked, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "previewed" | "previewing" (ask again), "rows": [one a tier], "outputs": {tier: outputs} of
    those that are there, "detail"}. What cannot be answered for a tier is a part of its row."""
    there = {tier: cloudformation.describe(tiers.stack_name(asked.environment, tier)) for tier in tiers.TIERS}
    outputs = {tier: stacks.outputs(stack) for tier, stack in there.items() if stack}
    known = {tier: outline.Outputs(outputs.get(tier, {})) for tier in tiers.TIERS}
    asks = {tier: asked.wanted(tier, known) for tier in tiers.TIERS}
    rows = {tier: _at_once(wanted, there[tier]) for tier, wanted in asks.items()}
    seen = linger(
        lambda: {tier: _seen(asks[tier]) for tier, row in rows.items() if row is None},
        lambda found: all(one is not None for one in found.values()),
        patience,
    )
    waited = sorted(tier for tier, one in seen.items() if one is None)
    if waited:
        return _answer("previewing", [], outputs, f"CloudFormation still computes {', '.join(waited)}")
    judged = {tier: _judged(asks[tier], there[tier], one) for tier, one in seen.items() if one is not None}
    discard(asked)
    return _answer("previewed", [rows[tier] or judged[tier] for tier in tiers.TIERS], outputs)


def discard(asked: Asked) -> dict[str, Any]:
    """Deletes the change sets that were made under this name."""
    for tier in tiers.TIERS:
        wanted = asked.wanted(tier, {})
        if cloudformation.change_set(wanted.stack, wanted.change_set) is not None:
            cloudformation.delete_change_set(wanted.stack, wanted.change_set)
    return _answer("discarded", [], {})


def _answer(
    status: str, rows: Sequence[Row | None], outputs: Mapping[str, Any], detail: str = ""
) -> dict[str, Any]:
    return {"status": status, "rows": list(rows), "outputs": dict(outputs), "detail": detail}


def _at_once(wanted: stacks.Wanted, stack: Stack | None) -> Row | None:
    """The row of a tier that needs no change set; otherwise it has been begun."""
    status = str(stack["StackStatus"]) if stack else None
    step = stacks.NEXT_STEP.get(status, "stuck")
    if step in ("create", "renew"):
        return _from_template(wanted, step)
    if step == "wait":
        return _row(wanted, "busy", f"{wanted.stack} is {status}; the release waits for its end")
    if step == "stuck":
        error = stacks.stuck(wanted.stack, str(status))
        return _row(wanted, "stuck", f"{error.what}; {error.next}")
    return _begun(wanted, step)


def _from_template(wanted: stacks.Wanted, step: str) -> Row:
    changes = outline.additions(wanted.tier, wanted.parameters())
    renewed = "what is left of an attempt that was rolled back is deleted first" if step == "renew" else ""
    return plan.row(
        wanted.tier, wanted.stack, "new", changes, allow=wanted.allow, detail=renewed, basis="template"
    )


def _begun(wanted: stacks.Wanted, step: str) -> Row | None:
    if cloudformation.change_set(wanted.stack, wanted.change_set) is not None:
        return None
    lacking = sorted(name for name, value in wanted.parameters().items() if outline.unknown(value))
    if lacking:
        return _row(wanted, "unknown", f"{', '.join(lacking)}: the tier before it has no such output")
    try:
        stacks.begin(wanted, step)
    except ClientError as error:
        return _refused(wanted, named(error))
    return None


def _refused(wanted: stacks.Wanted, error: SlipwayError) -> Row:
    if isinstance(error, TransientAwsError):
        raise error
    return _row(wanted, "unknown", error.what)


def _seen(wanted: stacks.Wanted) -> Mapping[str, Any] | None:
    """The change set once CloudFormation is done with it. One that has gone was overtaken by a release."""
    found = cloudformation.change_set(wanted.stack, wanted.change_set) or {"Status": "DELETE_COMPLETE"}
    return None if found["Status"] in PENDING else found


def _judged(wanted: stacks.Wanted, stack: Stack | None, change_set: Mapping[str, Any]) -> Row:
    if stacks.is_empty(change_set):
        return _row(wanted, "unchanged", "")
    if change_set["Status"] == "CREATE_COMPLETE":
        if wanted.remedy and all(map(gate.moves_by_itself, stacks.changes_of(change_set))):
            return _row(wanted, "unchanged", "")
        return stacks.row_of(wanted, "changed", stack, change_set)
    reason = change_set.get("StatusReason") or f"the change set is {change_set['Status']}"
    return _row(wanted, "unknown", f"CloudFormation refused the change: {reason}")


def _row(wanted: stacks.Wanted, status: str, detail: str) -> Row:
    return plan.row(wanted.tier, wanted.stack, status, detail=detail)
