"""What an execution's history tells: how long each state took, how many transitions, which executions it
started. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Event = Mapping[str, Any]


@dataclass
class Told:
    """`states`: name → [times entered, seconds], in the order of first entry; `children`: ARNs of
    executions."""

    states: dict[str, list[float]]
    transitions: int
    children: list[str]


def told(events: Sequence[Event], now: datetime) -> Told:
    """Reads a history. A state that has not been left yet counts until `now`."""
    states: dict[str, list[float]] = {}
    entered: dict[str, datetime] = {}
    for event in events:
        if event["type"].endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            states.setdefault(name, [0, 0.0])[0] += 1
            entered[name] = event["timestamp"]
        elif event["type"].endswith("StateExited"):
            name = event["stateExitedEventDetails"]["name"]
            _add(states, name, entered.pop(name, event["timestamp"]), event["timestamp"])
    for name, since in entered.items():
        _add(states, name, since, now)
    return Told(states, transitions(events), children(events))


def _add(states: dict[str, list[float]], name: str, since: datetime, until: datetime) -> None:
    if name in states:
        states[name][1] = round(states[name][1] + (until - since).total_seconds(), 3)


def transitions(events: Sequence[Event]) -> int:
    """Each state entered, and each further attempt of a task (AWS Step Functions pricing: "including
    retries")."""
    kinds = Counter(event["type"] for event in events)
    entered = sum(number for kind, number in kinds.items() if kind.endswith("StateEntered"))
    attempts = kinds["TaskScheduled"] + kinds["LambdaFunctionScheduled"]
    return entered + max(0, attempts - kinds["TaskStateEntered"])


def children(events: Sequence[Event]) -> list[str]:
    """The executions that this one started, in order."""
    found: dict[str, None] = {}
    for event in events:
        for key, part in (
            ("taskSubmittedEventDetails", "output"),
            ("taskSucceededEventDetails", "output"),
            ("taskFailedEventDetails", "cause"),
        ):
            arn = _execution_arn(event.get(key, {}).get(part))
            if arn:
                found.setdefault(arn)
    return list(found)


def _execution_arn(text: str | None) -> str | None:
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    arn = value.get("ExecutionArn") if isinstance(value, dict) else None
    return arn if isinstance(arn, str) else None
