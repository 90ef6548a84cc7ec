"""Change sets that see what conditions add and remove.

The emulator compares all resources of the old and the new template, whatever their conditions say; a
parameter that only switches a condition would be "no change", and a removal by it would pass any gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("services.cloudformation.changesets", "_resolve_props_for_diff"),
    ("services.cloudformation.changesets", "_evaluate_conditions"),
)


def install(region: Region) -> None:
    """Compare only resources whose conditions hold."""
    changesets = ministack("services.cloudformation.changesets")
    replace(changesets, "_resolve_props_for_diff", lambda original: _holding(original, changesets))


def _holding(original: Callable[..., dict[str, Any]], changesets: Any) -> Callable[..., dict[str, Any]]:
    def resolve(template: Any, parameters: Any, stack_name: str, stack_id: str) -> dict[str, Any]:
        found = original(template, parameters, stack_name, stack_id)
        conditions = changesets._evaluate_conditions(template, parameters) if template else {}
        return {"Resources": present(found.get("Resources", {}), conditions)}

    return resolve


def present(resources: Mapping[str, Any], conditions: Mapping[str, bool]) -> dict[str, Any]:
    """The resources without a condition, or with one that holds."""
    return {
        name: resource
        for name, resource in resources.items()
        if resource.get("Condition") is None or conditions.get(resource["Condition"], False)
    }
