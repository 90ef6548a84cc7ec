"""Whether an environment can be checked now: it has been released, and nobody is changing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway import lock, records

Json = Mapping[str, Any]


ASKED = "asked"
AUTOMATIC = "automatic"


def begin(given: Json, execution: str, automatic: bool = False) -> dict[str, Any]:
    """{"status": "many", "environments"} for an input that names none.

    Otherwise {"status", "environment", "detail"}: nothing (no release of it has succeeded, or it was taken
    down) · postponed (an execution is changing it) · begun, with {"fence", "current", "remedy"}.

    `remedy`: whether what is found is put right: asked (by the input) · automatic (Slipway's own stack says
    so) · nothing of both.
    """
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
