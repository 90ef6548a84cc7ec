"""What a step on a server reports beside "ok": the facts that something is decided by, and their types.
Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fits = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _numbers(*names: str) -> Fits:
    return lambda value: isinstance(value, dict) and all(_number(value.get(name)) for name in names)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_null(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


# Field → what it has to be, in words and as a test.
FACTS: Mapping[str, tuple[str, Fits]] = {
    "release": ("a text or null", _or_null(_text)),
    "staged": ("a list of texts", _texts),
    "ruby": ("a text or null", _or_null(_text)),
    "disk": ("an object with the number freeMiB", _numbers("freeMiB")),
    "memory": (
        "an object with the numbers availableMiB and applicationMiB",
        _numbers("availableMiB", "applicationMiB"),
    ),
    "sideBySide": ("true or false", _flag),
    "pending": ("a list of texts", _texts),
    "empty": ("true or false", _flag),
    "migrations": ("a list of texts", _texts),
    "seconds": ("a number", _number),
    "code": ("an object or null", _or_null(_object)),
    "configuration": ("an object or null", _or_null(_object)),
    "bootedSeconds": ("a number", _number),
    "restarted": ("true or false", _flag),
}

# What the step pending says on a server that was not to ask (hosts/configure.yaml).
NOBODY = "nobody"

# Step → fields without which a release cannot go on.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "pending": ("pending", "empty"),
    "migrate": ("migrations", "seconds"),
}


def wrong(step: str, result: Mapping[str, Any]) -> str:
    """What is wrong with a result, empty if nothing is.

    >>> wrong("stage", {"ok": True, "sideBySide": "perhaps"})
    'sideBySide is not true or false'
    >>> wrong("pending", {"ok": True}), wrong("pending", {"ok": True, "asked": "nobody"})
    ('pending is missing', '')
    """
    asked = step != "pending" or "pending" in result or result.get("asked") != NOBODY
    for name in NEEDED.get(step, ()) if asked else ():
        if name not in result:
            return f"{name} is missing"
    for name, (what, fits) in FACTS.items():
        if name in result and not fits(result[name]):
            return f"{name} is not {what}"
    return ""
