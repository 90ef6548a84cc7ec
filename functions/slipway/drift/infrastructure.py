"""The stacks of an environment: CloudFormation's own drift detection, and whether template and parameters are
those that the recorded release asked for.

CloudFormation compares the properties that a template sets, and those of the types that it supports; what it
does not look at is told. `slipway.drift.standing` looks at what must hold all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway import stacks, tiers
from slipway.aws import cloudformation
from slipway.drift import noise
from slipway.drift.finding import Finding, bounded, check_command, finding
from slipway.patience import DEFAULT, Patience, linger

Json = Mapping[str, Any]
Detection = dict[str, Any]

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/detect-drift-stack.html#drift-considerations
DETECTABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "UPDATE_ROLLBACK_FAILED",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)
NO_STACK = frozenset({None, "DELETE_COMPLETE", "REVIEW_IN_PROGRESS"})

# A resource of one of these types that was changed by hand opens something, or lets somebody do more.
OPENS = ("AWS::EC2::SecurityGroup", "AWS::IAM::", "AWS::S3::Bucket", "AWS::SecretsManager::")


@dataclass(frozen=True)
class Asked:
    """What the check goes by: the recorded release, and the check's own execution."""

    environment: str
    current: Json
    execution: str
    parameters: Callable[[str], Mapping[str, str]]  # of a tier, as the recorded release asks for them

    @property
    def remedy(self) -> str:
        return check_command(self.execution, self.environment, remedy=True)


# Detect


def detect(environment: str, begun: Sequence[Json]) -> list[Detection]:
    """[{"tier", "stack", "status", "detection"}]: drift detection is begun in every tier's stack, but for
    those where it has been `begun` before.

    `detection` is null where there is nothing to detect, or CloudFormation is at another one: `busy` then.
    """
    known = {one["tier"]: dict(one) for one in begun if not one["busy"]}
    return [known.get(tier) or _begin(environment, tier) for tier in tiers.TIERS]


def _begin(environment: str, tier: str) -> Detection:
    name = tiers.stack_name(environment, tier)
    stack = cloudformation.describe(name)
    status = stack["StackStatus"] if stack else None
    detection = cloudformation.detect_drift(name) if status in DETECTABLE else None
    return {
        "tier": tier,
        "stack": name,
        "status": status,
        "detection": detection,
        "busy": status in DETECTABLE and detection is None,
    }


# Check


def check(asked: Asked, detections: Sequence[Json], patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "waiting" | "looked", "findings", "more", "stacks": [{"tier", "status", "notChecked"}],
    "ignored"}; it changes nothing."""
    found = linger(lambda: [_detected(one) for one in detections], _all_ended, patience)
    if not _all_ended(found):
        return {"status": "waiting", **bounded([]), "stacks": [], "ignored": []}
    looks = [_looked(asked, one) for one in found]
    findings = [one for look in looks for one in look["findings"]]
    findings += differing_digest(asked, {look["tier"]: look["template"] for look in looks})
    return {
        "status": "looked",
        **bounded(findings),
        "stacks": [{key: look[key] for key in ("tier", "status", "notChecked")} for look in looks],
        "ignored": [one for look in looks for one in look["ignored"]],
    }


def _detected(one: Json) -> Detection:
    """The detection with what CloudFormation says of it: `ended`, `drift`, `why`."""
    if one["busy"]:
        return {**one, "ended": False}
    if one["detection"] is None:
        return {**one, "ended": True, "drift": "", "why": ""}
    seen = cloudformation.drift_detection(one["detection"])
    return {
        **one,
        "ended": seen["DetectionStatus"] != "DETECTION_IN_PROGRESS",
        "drift": seen.get("StackDriftStatus", ""),
        "why": seen.get("DetectionStatusReason", "") if seen["DetectionStatus"] == "DETECTION_FAILED" else "",
    }


def _all_ended(found: Iterable[Json]) -> bool:
    return all(one["ended"] for one in found)


def _looked(asked: Asked, one: Json) -> dict[str, Any]:
    """Of one tier: {"tier", "status", "findings", "notChecked", "ignored", "template"}."""
    tier, name, status = one["tier"], one["stack"], one["status"]
    look: dict[str, Any] = {
        "tier": tier,
        "status": status or "absent",
        "findings": [],
        "notChecked": [],
        "ignored": [],
        "template": None,
    }
    if status in NO_STACK:
        return look | {"findings": [missing(asked, tier, name)]}
    if one["detection"] is None:
        return look | {"findings": [unknown(tier, name, f"it is {status}")]}
    stack = cloudformation.describe(name) or {}
    resources = cloudformation.resources(name)
    drifts = cloudformation.drifted(name) if has_drifted(resources) else []
    modified, ignored = of_resources(asked, tier, drifts)
    template = cloudformation.template(name)
    findings = [
        *modified,
        *differing_parameters(asked, tier, stack),
        *differing_template(asked, tier, template),
    ]
    if one["why"]:
        findings.append(unknown(tier, name, one["why"]))
    return look | {
        "findings": findings,
        "notChecked": not_checked(resources),
        "ignored": ignored,
        "template": template,
    }


# Judge


def missing(asked: Asked, tier: str, stack: str) -> Finding:
    return finding(
        "stack_missing",
        tier,
        stack,
        f"the stack of the tier {tier} is not there",
        expected="a stack",
        found=None,
        remedy="a release makes it anew, empty: bring back what it held first, or start a release of the "
        "environment if nothing was lost with it",
    )


def unknown(tier: str, stack: str, why: str) -> Finding:
    return finding(
        "stack_unknown",
        tier,
        stack,
        f"CloudFormation could not say whether the stack has drifted: {why}",
        expected="a drift detection that ends",
        found=why,
        remedy=f"see aws cloudformation describe-stack-events --stack-name {stack}; once CloudFormation has "
        "ended its work, the next check asks again",
    )


def _status(resource: Json) -> str:
    return str((resource.get("DriftInformation") or {}).get("StackResourceDriftStatus", "NOT_CHECKED"))


def has_drifted(resources: Iterable[Json]) -> bool:
    return any(_status(one) in ("MODIFIED", "DELETED") for one in resources)


def not_checked(resources: Iterable[Json]) -> list[str]:
    """Logical ids of what CloudFormation does not look at: types without drift detection."""
    return sorted(one["LogicalResourceId"] for one in resources if _status(one) == "NOT_CHECKED")


def of_resources(asked: Asked, tier: str, drifts: Iterable[Json]) -> tuple[list[Finding], list[Json]]:
    """The findings, and what differs and does not count: [{"where", "property", "why"}]."""
    findings: list[Finding] = []
    ignored: list[Json] = []
    for drift in drifts:
        if drift["StackResourceDriftStatus"] == "DELETED":
            findings.append(deleted(asked, tier, drift))
            continue
        for difference in drift.get("PropertyDifferences", []):
            path = difference["PropertyPath"]
            why = noise.reason(
                drift["ResourceType"], path, difference["ExpectedValue"], difference["ActualValue"]
            )
            if why:
                ignored.append({"where": _where(tier, drift), "property": path, "why": why})
            else:
                findings.append(modified(asked, tier, drift, difference))
    return findings, ignored


def deleted(asked: Asked, tier: str, drift: Json) -> Finding:
    kind, name = drift["ResourceType"], drift.get("PhysicalResourceId", "")
    return finding(
        "stack_resource_deleted",
        tier,
        _where(tier, drift),
        f"{kind} {name} was deleted outside CloudFormation",
        expected=name or kind,
        found=None,
        remedy=asked.remedy,
        remediable=True,
        resource=name,
    )


def modified(asked: Asked, tier: str, drift: Json, difference: Json) -> Finding:
    kind, name, path = drift["ResourceType"], drift.get("PhysicalResourceId", ""), difference["PropertyPath"]
    verb = {"ADD": "was added to", "REMOVE": "was removed from"}.get(
        difference["DifferenceType"], "differs in"
    )
    return finding(
        "stack_resource_modified",
        tier,
        _where(tier, drift),
        f"{path.strip('/').replace('/', '.')} {verb} {kind} {name}",
        expected=_value(difference["ExpectedValue"]),
        found=_value(difference["ActualValue"]),
        remedy=asked.remedy,
        detail=path,
        remediable=True,
        resource=name,
        severity="high" if kind.startswith(OPENS) else None,
    )


def _value(text: str) -> str | None:
    return None if text in ("null", "") else text


def _where(tier: str, drift: Json) -> str:
    return f"{tier}/{drift['LogicalResourceId']}"


def differing_parameters(asked: Asked, tier: str, stack: Json) -> list[Finding]:
    """Parameters of the stack that are not as the recorded release asks for them. Of another version of
    Slipway than made the stack, those that both know."""
    has = stacks.parameters(stack)
    wanted = asked.parameters(tier)
    same = asked.current.get("templates") == tiers.digest()
    return [
        finding(
            "stack_differs",
            tier,
            tiers.stack_name(asked.environment, tier),
            f"the stack's parameter {name} is not what the recorded release asked for",
            expected=wanted.get(name),
            found=has.get(name),
            remedy=asked.remedy,
            detail=name,
            remediable=True,
            resource=stack.get("StackId", ""),
        )
        for name in sorted(wanted.keys() | has.keys() if same else wanted.keys() & has.keys())
        if wanted.get(name) != has.get(name) and not noise.parameter(name)
    ]


def differing_template(asked: Asked, tier: str, template: str) -> list[Finding]:
    """Whether the stack was made from another template than the recorded release; that can only be said tier
    by tier while the templates that travel with the code are still those of that release."""
    if asked.current.get("templates") != tiers.digest() or tiers.same(tier, template):
        return []
    stack = tiers.stack_name(asked.environment, tier)
    return [
        finding(
            "stack_differs",
            tier,
            stack,
            "the stack was updated with another template than that of the recorded release",
            expected=_sum(tiers.template(tier)),
            found=_sum(template),
            remedy=asked.remedy,
            detail="template",
            remediable=True,
        )
    ]


def differing_digest(asked: Asked, templates: Mapping[str, str | None]) -> list[Finding]:
    """The same when Slipway has been deployed with other templates since: only all of them together can be
    held against what was recorded."""
    recorded = asked.current.get("templates")
    texts = [templates.get(tier) for tier in tiers.TIERS]
    if not recorded or recorded == tiers.digest() or None in texts:
        return []
    if tiers.digest_of(text for text in texts if text is not None) == recorded:
        return []
    return [
        finding(
            "stack_differs",
            "network",
            asked.environment,
            "one of the stacks was updated with another template than that of the recorded release",
            expected=recorded,
            found="other templates",
            remedy="start a release of the environment: it brings all tiers to Slipway's templates",
            detail="templates",
        )
    ]


def _sum(template: str) -> str:
    return f"a template with the sha256 {hashlib.sha256(template.encode()).hexdigest()[:12]}…"
