"""Whether an environment can be checked now: it has been released, and nobody is changing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway import lock, records, validation
from slipway.schema import Problem

Json = Mapping[str, Any]


# The last is what a machine tells its children of itself.
KNOWN = frozenset({"environment", "remedy", "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"})

ASKED = "asked"
AUTOMATIC = "automatic"


def begin(given: Json, execution: str, automatic: bool = False) -> dict[str, Any]:
    """{"status": "many", "environments"} for an input that names none.

    Otherwise {"status", "environment", "detail"}: nothing (no release of it has succeeded, or it was taken
    down) · postponed (an execution is changing it) · begun, with {"fence", "current", "remedy"}.

    `remedy`: whether what is found is put right: asked (by the input) · automatic (Slipway's own stack says
    so) · nothing of both. Raises InvalidInput: a misspelt field must not check something else than was meant.
    """
    validation.refuse(list(problems(given)))
    name = environment(given)
    if name is None:
        return {"status": "many", "environments": released()}
    current = records.current(name)
    if current is None:
        return _status("nothing", name, f"no release of {name} has succeeded")
    seen = lock.seen(name)
    if seen["holder"]:
        return _status("postponed", name, f"{seen['holder']} is changing the environment")
    return {
        **_status("begun", name, ""),
        "fence": seen["fence"],
        "current": current,
        "remedy": _remedy(given, automatic),
    }


def problems(given: Json) -> Iterator[Problem]:
    """What is wrong with an input that a person wrote; an event of EventBridge has fields of its own."""
    if "detail" in given:
        return
    for name in sorted(given.keys() - KNOWN):
        yield Problem(name, "is unknown", "environment and remedy, or nothing for every environment")
    if not isinstance(given.get("environment", ""), str):
        yield Problem("environment", "is no text", "the name of an environment that was released")
    if not isinstance(given.get("remedy", False), bool):
        yield Problem("remedy", "is neither true nor false", "true or false")
    if given.get("remedy") is True and not given.get("environment"):
        yield Problem("remedy", "is true for no environment", "true together with one environment")


def _remedy(given: Json, automatic: bool) -> str:
    if given.get("remedy") is True:
        return ASKED
    return AUTOMATIC if automatic else ""


def environment(given: Json) -> str | None:
    """The environment that an input names: by itself, or as EventBridge hands over the end of a release."""
    detail = given.get("detail")
    name = detail.get("environment") if isinstance(detail, Mapping) else given.get("environment")
    return str(name) if name else None


def released() -> list[str]:
    """The environments that a release has succeeded in."""
    return [name for name in sorted(records.cidrs()) if records.current(name)]


def _status(status: str, name: str, detail: str) -> dict[str, Any]:
    return {"status": status, "environment": name, "detail": detail}
