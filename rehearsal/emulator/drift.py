"""Drift detection that takes its time and reads with the rights of whoever asked for it.

The emulator compares at once, in nobody's name, and has readers for few types. What it compares stays as
shipped: properties that the template sets and that the type's reader covers. Readers of the types that the
tiers are made of are in `drift_network` and `drift_services`; what AWS cannot read (write-only properties:
the data of a launch template, a password, how a certificate is validated, the code of a function) none of
them reads.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.emulator import drift_network, drift_services
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler

RELIES_ON = (
    ("services.cloudformation.drift", "_DRIFT_READERS"),
    ("services.cloudformation.drift", "detect_resource_drift"),
    ("services.cloudformation.handlers", "_ACTION_HANDLERS"),
    ("services.cloudformation.handlers", "_drift_target"),
    ("services.cloudformation.helpers", "_error"),
    ("services.cloudformation.helpers", "_p"),
    ("services.cloudformation.helpers", "_xml"),
    ("core.responses", "new_uuid"),
    ("core.responses", "now_iso"),
)

DETECTION_SECONDS = 0.5
"""How long a detection runs at least: the first question after it finds it in progress, as on AWS."""


def install(region: Region) -> None:
    """Add the readers; read in the caller's name; detect in the background."""
    drift = ministack("services.cloudformation.drift")
    drift._DRIFT_READERS.update({**drift_network.READERS, **drift_services.READERS})
    replace(drift, "detect_resource_drift", lambda original: _as_who_asked(region, original))
    handlers = ministack("services.cloudformation.handlers")._ACTION_HANDLERS
    handlers["DetectStackDrift"] = _in_the_background(region, handlers["DetectStackDrift"])


def _as_who_asked(region: Region, original: Handler) -> Handler:
    """A resource that the caller may not read is UNKNOWN, and the detection has failed for it."""

    def detect(stack: dict[str, Any], logical_id: str, record: dict[str, Any], timestamp: str) -> Any:
        kind, physical_id = record.get("ResourceType", ""), record.get("PhysicalResourceId", "")
        refusal = region.may_read(kind, logical_id, stack["StackName"], record.get("Properties"), physical_id)
        if refusal is None:
            return original(stack, logical_id, record, timestamp)
        return {
            "StackId": stack["StackId"],
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": physical_id,
            "ResourceType": kind,
            "Timestamp": timestamp,
            "StackResourceDriftStatus": "UNKNOWN",
            "DriftStatusReason": refusal,
        }

    return detect


def _in_the_background(region: Region, original: Callable[[dict[str, Any]], Any]) -> Handler:
    """DetectStackDrift: answers with an id; the result is there later."""
    helpers = ministack("services.cloudformation.helpers")
    responses = ministack("core.responses")

    def start(params: dict[str, Any]) -> Any:
        named = str(helpers._p(params, "StackName") or "")
        stack, error = ministack("services.cloudformation.handlers")._drift_target(named)
        if error:
            return error
        identifier = str(responses.new_uuid())
        begun = {
            "StackId": stack["StackId"],
            "StackDriftDetectionId": identifier,
            "StackDriftStatus": "NOT_CHECKED",
            "DetectionStatus": "DETECTION_IN_PROGRESS",
            "DetectionStatusReason": "User Initiated",
            "Timestamp": responses.now_iso(),
        }
        detections: dict[str, dict[str, Any]] = stack.setdefault("_drift_detections", {})
        detections[identifier] = begun

        def detect() -> None:
            region.stopping.wait(DETECTION_SECONDS)
            before = set(detections)
            answer = original(params)
            found = next((detections.pop(one) for one in list(detections) if one not in before), None)
            detections[identifier] = ended(begun, found, answer)

        # The account, and in whose name the resources are read, are in the context of the request.
        region.background(contextvars.copy_context().run, detect, name=f"drift-{stack['StackName']}")
        result = f"<StackDriftDetectionId>{identifier}</StackDriftDetectionId>"
        return helpers._xml(
            200, "DetectStackDriftResponse", f"<DetectStackDriftResult>{result}</DetectStackDriftResult>"
        )

    return start


def ended(begun: Mapping[str, Any], found: Mapping[str, Any] | None, answer: Any) -> dict[str, Any]:
    """The record of a detection that is over, under the id that was given out when it began."""
    if found is None:
        # The stack is at work meanwhile, or has gone.
        why = answer[2].decode() if isinstance(answer[2], bytes) else str(answer[2])
        return {
            **begun,
            "StackDriftStatus": "UNKNOWN",
            "DetectionStatus": "DETECTION_FAILED",
            "DetectionStatusReason": why,
        }
    own = ("StackDriftDetectionId", "Timestamp")
    kept = {name: value for name, value in begun.items() if name != "DetectionStatusReason"}
    return {**kept, **{name: value for name, value in found.items() if name not in own}}
