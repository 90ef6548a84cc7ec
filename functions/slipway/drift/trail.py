"""Who changed something, and when, as CloudTrail tells it. Where it does not, nobody is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from slipway.aws import cloudtrail
from slipway.drift.finding import Finding, Who
from slipway.preflight import Unknown
from slipway.tried import tried

Json = Mapping[str, Any]

# CloudTrail answers two calls a second in an account and region: a check asks for a few resources only.
MOST = 10
# An event takes up to a quarter of an hour to get there: so a finding is asked after in its first checks.
CHECKS = 3
# What AWS does by itself, or on behalf of Slipway.
SERVICES = frozenset(
    {
        "autoscaling.amazonaws.com",
        "cloudformation.amazonaws.com",
        "elasticloadbalancing.amazonaws.com",
        "rds.amazonaws.com",
    }
)


def named(findings: Sequence[Finding], after: Callable[[Finding], datetime], own: str) -> list[Finding]:
    """The findings, each new one with who did it, where that can be said. `after`: when it was not there yet;
    `own`: what the names of Slipway's own functions and roles begin with."""
    asked = [
        one for one in findings if one["resource"] and not one.get("who") and one.get("seen", 1) <= CHECKS
    ]
    since: dict[str, datetime] = {}
    for one in asked:
        since[one["resource"]] = min(after(one), since.get(one["resource"], after(one)))
    known = {name: _who(name, moment, own) for name, moment in list(since.items())[:MOST]}
    return [{**one, "who": one.get("who") or known.get(one["resource"])} for one in findings]


def _who(resource: str, since: datetime, own: str) -> Who | None:
    seen = tried(partial(cloudtrail.events, resource, since))
    return None if isinstance(seen, Unknown) else who(seen, own)


def who(events: Iterable[Json], own: str) -> Who | None:
    """Of the newest event that changed something, if a person (or a program of somebody's) made it."""
    # A function's session has its name: assumed-role/slipway-DrainServers…/slipway-drain-servers.
    of_ours = re.compile(rf":assumed-role/{re.escape(own)}[^/]*/{re.escape(own)}")
    for event in events:
        if str(event.get("ReadOnly", "")).lower() == "true":
            continue
        told = _told(event)
        if told.get("errorCode"):  # an attempt that was refused
            continue
        identity = _identity(told)
        if identity.get("invokedBy") in SERVICES or event.get("Username") == "AWSCloudFormation":
            continue
        if of_ours.search(str(identity.get("arn", ""))):
            continue
        name = event.get("Username") or str(identity.get("arn", "")).rsplit("/", 1)[-1]
        if name:
            return {"name": str(name), "at": _text(event["EventTime"]), "event": str(event["EventName"])}
    return None


def _identity(told: Json) -> Json:
    found = told.get("userIdentity")
    return found if isinstance(found, Mapping) else {}


def _told(event: Json) -> Json:
    """The event itself, as CloudTrail keeps it."""
    try:
        found = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
