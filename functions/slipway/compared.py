"""Which tiers stand: in their stacks CloudFormation would find nothing to change for a release.

A change set says the same, and takes seconds a tier to say it. So a tier stands only where its answer is
certain: a stack whose last operation succeeded, with our template, our parameters, our tags and our role.
Whatever differs, or cannot be told, is left to a change set. CloudFormation looks no further than that
either: what is behind a `{{resolve:ssm:…}}` it looks up when the resource changes otherwise, and what was
changed in the resources themselves only a drift-aware change set sees, which is a remedy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from slipway import plan, stacks, tiers
from slipway.aws import cloudformation
from slipway.errors import TierFailed

Outputs = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Asked:
    """What a release asks of the tiers of an environment. `parameters`: of a tier, given the outputs of the
    tiers before it that stand; it raises TierFailed if those are not enough."""

    environment: str
    role: str
    parameters: Callable[[str, Outputs], Mapping[str, str]]
    remedy: bool = False


@dataclass(frozen=True)
class Seen:
    """A stack (None: there is none) and the template that it was made from, if it was asked for."""

    stack: Mapping[str, Any] | None
    template: str = ""


def compare(asked: Asked) -> dict[str, Any]:
    """{"standing": {tier: {"outputs", "row"}}, "others": {tier: why it is left to a change set}}; `row` is
    what PlanTier says of a tier that is unchanged."""
    if asked.remedy:
        return {"standing": {}, "others": dict.fromkeys(tiers.TIERS, "a remedy looks at the resources")}
    return judged(asked, look(asked.environment))


def look(environment: str) -> dict[str, Seen]:
    """The stacks of all tiers, at the same time; but for the first, because making a client is not safe in
    several threads."""
    first, *others = (tiers.stack_name(environment, tier) for tier in tiers.TIERS)
    seen = [_seen(first)]
    with ThreadPoolExecutor(len(others)) as pool:
        seen += pool.map(_seen, others)
    return dict(zip(tiers.TIERS, seen, strict=True))


def _seen(name: str) -> Seen:
    stack = cloudformation.describe(name)
    if stack is None or stack["StackStatus"] not in stacks.SUCCEEDED:
        return Seen(stack)
    return Seen(stack, cloudformation.template(name))


def judged(asked: Asked, seen: Mapping[str, Seen]) -> dict[str, Any]:
    """What `compare` answers. Pure."""
    standing: dict[str, dict[str, Any]] = {}
    others: dict[str, str] = {}
    for tier in tiers.TIERS:
        outputs = {before: one["outputs"] for before, one in standing.items()}
        stack = seen[tier].stack
        why = _why_not(asked, tier, outputs, seen[tier])
        if stack is None or why:
            others[tier] = why
        else:
            row = plan.row(tier, tiers.stack_name(asked.environment, tier), "unchanged")
            standing[tier] = {"outputs": stacks.outputs(stack), "row": row}
    return {"standing": standing, "others": others}


def _why_not(asked: Asked, tier: str, outputs: Outputs, seen: Seen) -> str:
    """Why the tier does not stand; empty if it does."""
    stack = seen.stack
    if stack is None:
        return "there is no stack"
    if stack["StackStatus"] not in stacks.SUCCEEDED:
        return f"it is {stack['StackStatus']}"
    if not tiers.same(tier, seen.template):
        return "it has another template"
    if stack.get("RoleARN") != asked.role:
        return "it has another role"
    if stacks.tags(stack) != tiers.tags(asked.environment, tier):
        return "it has other tags"
    return _differing(asked, tier, outputs, stack)


def _differing(asked: Asked, tier: str, outputs: Outputs, stack: Mapping[str, Any]) -> str:
    """Which parameters differ, or that it cannot be said."""
    # A name in Systems Manager: what is behind it may be another value than it was.
    if any("ResolvedValue" in one for one in stack.get("Parameters", [])):
        return "a parameter is looked up"
    try:
        wanted = asked.parameters(tier, outputs)
    except TierFailed as error:  # a tier before it does not stand
        return error.what
    has = stacks.parameters(stack)
    differing = [name for name in sorted(wanted.keys() | has.keys()) if wanted.get(name) != has.get(name)]
    return f"other parameters: {', '.join(differing)}" if differing else ""
