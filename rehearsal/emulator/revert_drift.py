"""Change sets that see drift: ``DeploymentMode: REVERT_DRIFT``, which the emulator ignores as shipped.

The change set compares the new template with what there is instead of with what was deployed last: the
differing actual properties are laid over the old side, and what has gone is not on it. So is the execution,
which therefore changes what differs and makes anew what was deleted; if it fails, the stack goes back to
what there was. Source: CloudFormation user guide, "Using drift-aware change sets".
"""

from __future__ import annotations

import contextvars
import copy
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, wrap_type
from rehearsal.emulator.security_groups import DIRECTIONS, atoms, without

RELIES_ON = (
    ("services.cloudformation", "_change_sets"),
    ("services.cloudformation.changesets", "_diff_resources"),
    ("services.cloudformation.changesets", "_find_change_set"),
    ("services.cloudformation.drift", "detect_resource_drift"),
    ("services.cloudformation.drift", "supports_drift"),
    ("services.cloudformation.handlers", "_ACTION_HANDLERS"),
    ("services.cloudformation.handlers", "_resolve_stack"),
    ("services.cloudformation.helpers", "_error"),
    ("services.cloudformation.helpers", "_esc"),
    ("services.cloudformation.helpers", "_p"),
    ("services.cloudformation.provisioners", "_ec2_sg_permissions"),
    ("services.cloudformation.stacks", "_resolve_dynamic_references"),
    ("services.ec2", "_security_groups"),
    ("core.responses", "now_iso"),
)

REVERT = "REVERT_DRIFT"
KEPT = "_drifts"
"""Member of a change set of the emulator: what its resources were found to be."""

Drifts = Mapping[str, Mapping[str, Any]]
"""Logical id → StackResourceDrift, of a stack's resources."""

_seen: contextvars.ContextVar[Drifts | None] = contextvars.ContextVar("drifts", default=None)


def install(_region: Region) -> None:
    """Let change sets be made, described and executed so."""
    handlers = ministack("services.cloudformation.handlers")._ACTION_HANDLERS
    replace(ministack("services.cloudformation.changesets"), "_diff_resources", _against_what_is)
    handlers["CreateChangeSet"] = _created(handlers["CreateChangeSet"])
    handlers["DescribeChangeSet"] = _described(handlers["DescribeChangeSet"])
    handlers["ExecuteChangeSet"] = _executed(handlers["ExecuteChangeSet"])
    wrap_type("AWS::EC2::SecurityGroup", "update", _single_rules)


# Pure


def laid_over(recorded: Mapping[str, Any], drift: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded properties with those that differ as they are; one that has gone is left out."""
    actual = json.loads(drift["ActualProperties"])
    differing = differing_properties(drift)
    kept = {name: value for name, value in recorded.items() if name not in differing}
    return kept | {name: actual[name] for name in sorted(differing) if name in actual}


def differing_properties(drift: Mapping[str, Any]) -> set[str]:
    """The names of the properties that differ, at the top."""
    return {one["PropertyPath"].split("/")[1] for one in drift.get("PropertyDifferences", ())}


def modified(drifts: Drifts) -> dict[str, Mapping[str, Any]]:
    return {name: one for name, one in drifts.items() if one["StackResourceDriftStatus"] == "MODIFIED"}


def deleted(drifts: Drifts) -> set[str]:
    return {name for name, one in drifts.items() if one["StackResourceDriftStatus"] == "DELETED"}


def old_side(template: Mapping[str, Any], drifts: Drifts) -> dict[str, Any]:
    """The template that was deployed last, as it is now."""
    resources = {
        name: one for name, one in template.get("Resources", {}).items() if name not in deleted(drifts)
    }
    for name, drift in modified(drifts).items():
        if name in resources:
            now = laid_over(resources[name].get("Properties") or {}, drift)
            resources[name] = {**resources[name], "Properties": now}
    return {**template, "Resources": resources}


def stack_status(drifts: Drifts) -> str:
    """StackDriftStatus of the change set."""
    found = {one["StackResourceDriftStatus"] for one in drifts.values()}
    if found & {"MODIFIED", "DELETED"}:
        return "DRIFTED"
    return "UNKNOWN" if "UNKNOWN" in found else "IN_SYNC"


# The API


def _created(original: Handler) -> Handler:
    helpers = ministack("services.cloudformation.helpers")

    def create(params: dict[str, Any]) -> Any:
        mode = str(helpers._p(params, "DeploymentMode") or "")
        if not mode:
            return original(params)
        if mode != REVERT:
            return helpers._error(
                "ValidationError",
                f"1 validation error detected: Value '{mode}' at 'deploymentMode' failed to satisfy "
                f"constraint: Member must satisfy enum value set: [{REVERT}]",
            )
        stack = ministack("services.cloudformation.handlers")._resolve_stack(
            str(helpers._p(params, "StackName") or "")
        )
        drifts = _drifts(stack) if stack else {}
        token = _seen.set(drifts)
        try:
            answer = original(params)
        finally:
            _seen.reset(token)
        _keep(answer, drifts)
        return answer

    return create


def _drifts(stack: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every resource of the stack held against what there is, as a detection would."""
    drift = ministack("services.cloudformation.drift")
    now = ministack("core.responses").now_iso()
    return {
        name: drift.detect_resource_drift(stack, name, record, now)
        for name, record in (stack.get("_resources") or {}).items()
        if drift.supports_drift(record.get("ResourceType", ""))
    }


def _keep(answer: Any, drifts: Drifts) -> None:
    text = answer[2].decode() if isinstance(answer[2], bytes) else str(answer[2])
    made = re.search(r"<Id>([^<]+)</Id>", text)
    if made:
        ministack("services.cloudformation")._change_sets[made.group(1)][KEPT] = drifts


def _against_what_is(original: Handler) -> Handler:
    """The comparison of a change set. A property that the template has come to agree with is set right in the
    stack's books alone (SyncWithActual)."""

    def diff(old: Any, new: Any, resources: Any = None, *rest: Any) -> list[dict[str, Any]]:
        drifts = _seen.get()
        if drifts is None:
            return list(original(old, new, resources, *rest))
        known = {name: one for name, one in (resources or {}).items() if name not in deleted(drifts)}
        changes = list(original(old_side(old, drifts), new, known, *rest))
        named = {change["ResourceChange"]["LogicalResourceId"] for change in changes}
        wanted = (new or {}).get("Resources", {})
        for name, drift in modified(drifts).items():
            if name not in named and name in wanted:
                changes.append(_in_step(name, drift))
        return changes

    return diff


def _in_step(name: str, drift: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ResourceChange": {
            "Action": "SyncWithActual",
            "LogicalResourceId": name,
            "PhysicalResourceId": drift["PhysicalResourceId"],
            "ResourceType": drift["ResourceType"],
            "Scope": [],
            "Details": [],
        }
    }


def _described(original: Handler) -> Handler:
    """DescribeChangeSet: with the mode, the drift of the stack and of each resource."""
    helpers = ministack("services.cloudformation.helpers")

    def describe(params: dict[str, Any]) -> Any:
        status, headers, body = original(params)
        name, stack = (str(helpers._p(params, key) or "") for key in ("ChangeSetName", "StackName"))
        _, found = ministack("services.cloudformation.changesets")._find_change_set(name, stack)
        if status >= 400 or not found or KEPT not in found:
            return status, headers, body
        text = body.decode() if isinstance(body, bytes) else str(body)
        return status, headers, with_drift(text, found[KEPT], helpers._esc).encode()

    return describe


def with_drift(xml: str, drifts: Drifts, escape: Any) -> str:
    """The answer of DescribeChangeSet with what only drift-aware change sets say."""

    def change(found: re.Match[str]) -> str:
        name = re.search(r"<LogicalResourceId>([^<]*)</LogicalResourceId>", found.group(0))
        drift = drifts.get(name.group(1)) if name else None
        status = drift["StackResourceDriftStatus"] if drift else "UNSUPPORTED"
        if name and name.group(1) not in drifts and "<Action>Add</Action>" in found.group(0):
            return found.group(0)  # it was never there
        told = f"<ResourceDriftStatus>{status}</ResourceDriftStatus>"
        whole = found.group(0).replace("</ResourceChange>", f"{told}</ResourceChange>")
        return _details(whole, drift, escape) if drift and status == "MODIFIED" else whole

    whole = re.sub(r"<ResourceChange>.*?</ResourceChange>", change, xml, flags=re.DOTALL)
    about = f"<DeploymentMode>{REVERT}</DeploymentMode>"
    about += f"<StackDriftStatus>{stack_status(drifts)}</StackDriftStatus>"
    return whole.replace("</DescribeChangeSetResult>", f"{about}</DescribeChangeSetResult>")


def _details(change: str, drift: Mapping[str, Any], escape: Any) -> str:
    """Each property that differs with its value of before and now, as the targets of the details say it."""
    expected, actual = (json.loads(drift[side]) for side in ("ExpectedProperties", "ActualProperties"))
    for name in differing_properties(drift):
        was, now = (json.dumps(side.get(name), sort_keys=True) for side in (expected, actual))
        told = (
            f"<Path>/Properties/{name}</Path><BeforeValue>{escape(now)}</BeforeValue>"
            "<BeforeValueFrom>ACTUAL_STATE</BeforeValueFrom><AfterValueFrom>TEMPLATE</AfterValueFrom>"
            f"<Drift><PreviousValue>{escape(was)}</PreviousValue><ActualValue>{escape(now)}</ActualValue>"
            f"<DriftDetectionTimestamp>{drift['Timestamp']}</DriftDetectionTimestamp></Drift>"
        )
        pattern = rf"(<Target>(?:(?!</Target>).)*<Name>{re.escape(name)}</Name>(?:(?!</Target>).)*)</Target>"
        change = re.sub(pattern, lambda one: f"{one.group(1)}{told}</Target>", change, count=1)  # noqa: B023
    return change


def _executed(original: Handler) -> Handler:
    """ExecuteChangeSet: what the stack has on record becomes what there is, first."""
    helpers = ministack("services.cloudformation.helpers")

    def execute(params: dict[str, Any]) -> Any:
        name, stack_name = (str(helpers._p(params, key) or "") for key in ("ChangeSetName", "StackName"))
        _, found = ministack("services.cloudformation.changesets")._find_change_set(name, stack_name)
        stack = (
            ministack("services.cloudformation.handlers")._resolve_stack(found["StackId"]) if found else None
        )
        if stack and found and found.get(KEPT) and found["ExecutionStatus"] == "AVAILABLE":
            stack["_resources"] = as_it_is(stack["_resources"], found[KEPT])
        return original(params)

    return execute


def as_it_is(resources: Mapping[str, Any], drifts: Drifts) -> dict[str, Any]:
    """A stack's resources on record as they are."""
    found = {name: copy.deepcopy(one) for name, one in resources.items() if name not in deleted(drifts)}
    for name, drift in modified(drifts).items():
        if name in found:
            found[name]["Properties"] = laid_over(found[name].get("Properties") or {}, drift)
    return found


def _single_rules(original: Handler) -> Handler:
    """A rule that the new properties do not have goes, though it was authorized together with others."""

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
        group = ministack("services.ec2")._security_groups.get(physical_id)
        for direction, permissions in DIRECTIONS.items():
            prop = f"SecurityGroup{direction}"
            going = _atoms(old.get(prop) or ()) - _atoms(new.get(prop) or ())
            if group is not None and going:
                left = [without(one, going) for one in group[permissions]]
                group[permissions] = [one for one in left if one is not None]
        return original(physical_id, old, new, *rest)

    return update


def _atoms(rules: Iterable[Mapping[str, Any]]) -> set[Any]:
    found = ministack("services.cloudformation.provisioners")._ec2_sg_permissions(list(rules))
    return {atom for permission in found for atom in atoms(permission)}
