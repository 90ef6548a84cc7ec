"""What a finding is: something of an environment that is not as it was released, or not as it must be. Pure.

A finding is a plain dictionary, because it travels through state machines, the table and reports.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

# How bad each kind is, unless a finding says otherwise.
#   high     data or visitors are in danger, or already without service
#   medium   the environment is not what was released; it serves
#   low      worth knowing
SEVERITIES: Mapping[str, str] = {
    "stack_resource_modified": "medium",
    "stack_resource_deleted": "high",
    "stack_differs": "medium",
    "stack_missing": "high",
    "stack_unknown": "medium",
    "server_silent": "high",
    "server_release": "high",
    "server_code": "high",
    "server_ruby": "medium",
    "server_configuration": "medium",
    "server_service": "high",
    "server_migrations": "medium",
    "server_restarted": "low",
    "database_public": "high",
    "database_reachable": "high",
    "backups_off": "high",
    "backups_old": "high",
    "target_unhealthy": "high",
    "certificate_expires": "high",
    "certificate_not_renewing": "medium",
    "alias_elsewhere": "high",
    "delegation_elsewhere": "high",
    "redirect_missing": "medium",
    "security_group_open": "high",
    "bucket_public": "high",
    "imds_open": "medium",
    "role_policy_added": "high",
    "scaling_suspended": "medium",
}

# The worst first.
LEVELS = ("high", "medium", "low")

# What a look hands on at most: a state's payload has at most 256 KiB, for three looks, what 1,000 servers run
# (80 KB) and the recorded release.
MOST = 60
MOST_BYTES = 50 * 1024
# Characters of a value or a sentence that a finding shows; a policy may have thousands.
LONGEST = 400


class Who(TypedDict):
    """Who changed it, as CloudTrail says."""

    name: str
    at: str
    event: str


class Finding(TypedDict):
    """`key` is the same in every check that finds it again. `tier`: one of the tiers, or "servers". `where`:
    the resource or the server, as a person would name it. `remediable`: whether a check with `"remedy": true`
    puts it right. `resource`: its name in AWS, by which CloudTrail knows it; empty if it has none.

    RecordDrift adds `since` (ISO), `seen` (consecutive checks that found it) and `who`.
    """

    key: str
    kind: str
    severity: str
    tier: str
    where: str
    what: str
    expected: str
    found: str
    remedy: str
    remediable: bool
    resource: str
    since: NotRequired[str]
    seen: NotRequired[int]
    who: NotRequired[Who | None]
    remedied: NotRequired[str]


def finding(
    kind: str,
    tier: str,
    where: str,
    what: str,
    *,
    expected: object,
    found: object,
    remedy: str,
    detail: str = "",
    remediable: bool = False,
    resource: str = "",
    severity: str | None = None,
) -> Finding:
    """`detail`: the property, or whatever else tells two findings of a kind at the same place apart."""
    return {
        "key": f"{kind}|{where}|{detail}",
        "kind": kind,
        "severity": severity or SEVERITIES[kind],
        "tier": tier,
        "where": where,
        "what": shown(what),
        "expected": shown(expected),
        "found": shown(found),
        "remedy": remedy,
        "remediable": remediable,
        "resource": resource,
    }


def shown(value: object) -> str:
    """A value as a finding shows it: short.

    >>> shown(True), shown(None), shown("a" * 500)[-3:]
    ('true', 'nothing', 'aa…')
    """
    words = {True: "true", False: "false"}
    text = "nothing" if value is None else words[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The same order in every check."""
    return sorted(findings, key=lambda one: (LEVELS.index(one["severity"]), one["key"]))


def bounded(findings: Sequence[Finding]) -> dict[str, Any]:
    """{"findings": the worst, "more": how many were left out}."""
    handed = fitting(findings, MOST_BYTES)[:MOST]
    return {"findings": handed, "more": len(findings) - len(handed)}


def fitting(findings: Iterable[Finding], most: int) -> list[Finding]:
    """The worst of them, as many as are no longer than so many bytes together."""
    ordered = worst_first(findings)
    lengths = itertools.accumulate(map(size, ordered))
    return [one for one, length in zip(ordered, lengths, strict=True) if length <= most]


def size(one: Mapping[str, Any]) -> int:
    """Bytes as JSON, with the comma."""
    return len(json.dumps(one)) + 2


def counts(findings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many of each severity."""
    return {level: sum(one["severity"] == level for one in findings) for level in LEVELS}


def check_command(execution: str, environment: str, *, remedy: bool) -> str:
    """The command that checks the environment again, and puts right what it finds. `execution`: any
    execution of the same state machine."""
    machine = ":".join(execution.replace(":execution:", ":stateMachine:").split(":")[:7])
    asked = f'{{"environment":"{environment}"' + (',"remedy":true}' if remedy else "}")
    return (
        f"aws stepfunctions start-execution --region {execution.split(':')[3]} "
        f"--state-machine-arn {machine} --input '{asked}'"
    )
