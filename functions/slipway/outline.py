"""What a tier that is not there yet would consist of: read from an outline of its template, with its
conditions evaluated as far as the parameters are known. Pure, but for the file that travels with the code.

Three values: a condition that depends on an output of a tier that is not there yet is None, neither true nor
false.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

UNKNOWN = "(known after the tier before it)"

Parameters = Mapping[str, str]
Expression = Any
Truth = bool | None


class Outputs(dict[str, str]):
    """Outputs of a tier that is not there, or not there whole: those that are missing are UNKNOWN."""

    def __missing__(self, key: str) -> str:
        return UNKNOWN


@functools.cache
def outlines() -> dict[str, Any]:
    """By tier: see tools/tier_outlines.py, which writes the file."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "outlines.json").read_text())
    return loaded


def additions(tier: str, parameters: Parameters) -> list[dict[str, Any]]:
    """The changes (as of gate.change) that creating the tier would be. One of whose condition depends on what
    is not known yet has `replacement` "False" and says so in `why`."""
    outline = outlines()[tier]
    rows = []
    for name, resource in sorted(outline["resources"].items()):
        condition = resource.get("condition")
        holds = True if condition is None else truth(condition, outline["conditions"], parameters)
        if holds is not False:
            rows.append(_addition(name, resource["type"], None if holds else condition))
    return rows


def _addition(name: str, kind: str, depends: str | None) -> dict[str, Any]:
    why = [] if depends is None else [{"property": "", "recreation": "Never", "causes": [f"if {depends}"]}]
    return {
        "action": "Add",
        "resource": name,
        "type": kind,
        "replacement": "False",
        "properties": [],
        "policy": "",
        "why": why,
    }


def unknown(value: str) -> bool:
    """Whether a parameter's value is, or contains, what is not known yet."""
    return UNKNOWN in value


def truth(name: str, conditions: Mapping[str, Expression], parameters: Parameters) -> Truth:
    """Whether a condition of the template holds; None if that is not known yet."""
    return _evaluate(conditions[name], conditions, parameters)


def _evaluate(expression: Expression, conditions: Mapping[str, Expression], given: Parameters) -> Truth:
    [(function, value)] = expression.items()
    return _FUNCTIONS[function](value, conditions, given)


def _equals(value: Sequence[Expression], conditions: Mapping[str, Expression], given: Parameters) -> Truth:
    left, right = (_value(side, given) for side in value)
    return None if unknown(left) or unknown(right) else left == right


def _not(value: Sequence[Expression], conditions: Mapping[str, Expression], given: Parameters) -> Truth:
    holds = _evaluate(value[0], conditions, given)
    return None if holds is None else not holds


def _and(value: Sequence[Expression], conditions: Mapping[str, Expression], given: Parameters) -> Truth:
    all_of = [_evaluate(part, conditions, given) for part in value]
    return False if False in all_of else None if None in all_of else True


def _or(value: Sequence[Expression], conditions: Mapping[str, Expression], given: Parameters) -> Truth:
    any_of = [_evaluate(part, conditions, given) for part in value]
    return True if True in any_of else None if None in any_of else False


def _value(side: Expression, given: Parameters) -> str:
    """A text, a parameter, or an entry of a parameter that is a list."""
    if isinstance(side, str):
        return side
    if "Ref" in side:
        return given[side["Ref"]]
    index, source = side["Fn::Select"]
    value = _value(source, given)
    return value if unknown(value) else value.split(",")[int(index)]


_FUNCTIONS: Mapping[str, Callable[[Any, Mapping[str, Expression], Parameters], Truth]] = {
    "Condition": truth,
    "Fn::Equals": _equals,
    "Fn::Not": _not,
    "Fn::And": _and,
    "Fn::Or": _or,
}
