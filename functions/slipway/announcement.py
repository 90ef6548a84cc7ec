"""Says what happened: an event on EventBridge for programs, a message on SNS for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from slipway.aws import messages

SOURCE = "slipway"

# An event on EventBridge has at most 256 KiB; what is long is in the receipt.
LONG = ("states", "servers")


def announce(event: str, environment: str, detail: Mapping[str, Any], topic: str) -> dict[str, Any]:
    short = {key: value for key, value in detail.items() if key not in LONG}
    messages.put_event(SOURCE, event, json.dumps({"environment": environment, **short}))
    messages.publish(topic, subject(event, environment), text(event, environment, short))
    return {}


def subject(event: str, environment: str) -> str:
    return f"slipway: {environment}: {event}"[:100]


def text(event: str, environment: str, detail: Mapping[str, Any]) -> str:
    """A message for a person: what, where, next first, if they are there; then everything."""
    first = [f"{key}: {detail[key]}" for key in ("what", "where", "next", "detail") if detail.get(key)]
    warnings = [
        f"warning: {one['where']}: {one['what']}; {one['next']}" for one in detail.get("warnings", [])
    ]
    return "\n".join([f"{environment}: {event}", *first, *warnings, "", json.dumps(detail, indent=2)])
