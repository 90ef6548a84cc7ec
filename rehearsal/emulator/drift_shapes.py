"""How a reader of drift answers: the real state in the shape that the template has it in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Properties = Mapping[str, Any]
Reader = Callable[[str, Properties], "dict[str, Any] | None"]
"""(physical id, the template's properties) → what there is now, None when it has gone."""
Readers = Mapping[str, tuple[Reader, frozenset[str]]]
"""Type → its reader and the properties that are read."""


def shaped(wanted: Any, found: Any) -> Any:
    """`found` with the members alone that the template sets: what a service adds as a default is no drift.
    Source: CloudFormation user guide, "What is drift?"."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {name: shaped(wanted[name], value) for name, value in found.items() if name in wanted}
    if isinstance(wanted, list) and isinstance(found, list):
        members: dict[str, Any] = {}
        for each in wanted:
            members |= each if isinstance(each, Mapping) else {}
        return [shaped(members, each) for each in found] if members else found
    return found


def taken(props: Properties, found: Mapping[str, Any]) -> dict[str, Any]:
    """What is set of `found`, each in the template's shape; a member that is None is not there."""
    return {name: shaped(props.get(name), value) for name, value in found.items() if value is not None}


def attributes(wanted: Any, found: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Those of a list of {"Key", "Value"} that the template sets: a service has a value for every key."""
    keys = {each["Key"] for each in wanted or ()}
    return [{"Key": one["Key"], "Value": str(one["Value"])} for one in found if one["Key"] in keys]


def alike(wanted: Any, found: str, plain: Callable[[str], str]) -> Any:
    """`wanted` if the service means the same by `found`, otherwise `found`."""
    return wanted if isinstance(wanted, str) and plain(wanted) == plain(found) else found
