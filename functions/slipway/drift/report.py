"""What is told of a check: the report, and the messages of what is new and what has gone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slipway.aws import s3
from slipway.drift import page
from slipway.drift.finding import LEVELS, counts, worst_first

if TYPE_CHECKING:
    from slipway.drift.record import Looked

Json = Mapping[str, Any]

# Findings that a message carries: an event has at most 256 KiB, and a person reads no more.
MOST = 20
# What a finding carries for the record alone.
INSIDE = ("announced", "resource")


def of(looked: Looked, document: Json, consecutive: int) -> dict[str, Any]:
    """The report. `unconfirmed`: what was not found in enough checks in a row yet; `ignored`: what differs
    and does not count, with why; `more`: findings that were left out because there are too many;
    `notLookedAt`: [{"where", "what"}] of what AWS did not let the check look at (the types of resources of
    which CloudFormation detects no drift stand with the stacks)."""
    every = [_plain(one) for one in worst_first(document["findings"].values())]
    findings = [one for one in every if one["seen"] >= consecutive]
    looks = (looked.infrastructure, looked.servers, looked.standing)
    started = datetime.fromisoformat(looked.execution["startedAt"])
    ended = datetime.fromisoformat(document["checkedAt"])
    return {
        "environment": looked.environment,
        "checkedAt": document["checkedAt"],
        "release": dict(looked.current["release"]),
        "status": "drift" if findings else "clean",
        "findings": findings,
        "unconfirmed": [one for one in every if one["seen"] < consecutive],
        "gone": [_plain(one) for one in (document["announcement"] or {"gone": []})["gone"]],
        "counts": counts(findings),
        "more": sum(look["more"] for look in looks),
        "servers": list(looked.servers["servers"]),
        "certificateDays": looked.standing["certificateDays"],
        "stacks": list(looked.infrastructure["stacks"]),
        "ignored": list(looked.infrastructure["ignored"]),
        "notLookedAt": not_looked_at(looked),
        "execution": looked.execution["arn"],
        "seconds": max(0, round((ended - started).total_seconds())),
    }


def not_looked_at(looked: Looked) -> list[dict[str, str]]:
    return [{"where": one["what"], "what": one["why"]} for one in looked.standing.get("unchecked", [])]


def _plain(one: Json) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in INSIDE}


def put(report: Json, bucket: str) -> str:
    """Writes the report, as that of its moment and as the latest, and its page; where the latest is."""
    folder = f"drift/{report['environment']}"
    content = json.dumps(report, indent=2).encode()
    s3.put(bucket, f"{folder}/{report['checkedAt']}.json", content, "application/json")
    s3.put(bucket, f"{folder}/latest.html", page.render(report).encode(), "text/html; charset=utf-8")
    s3.put(bucket, f"{folder}/latest.json", content, "application/json")
    return f"s3://{bucket}/{folder}/latest.json"


def message(event: str, findings: Sequence[Any], place: str) -> dict[str, Any]:
    """What is said of findings that are new (`found`) or not there any more (`gone`)."""
    shown = [_plain(one) for one in findings[:MOST]]
    return {
        "what": "\n".join([_summary(event, findings), *(_line(one, event) for one in shown)]),
        "next": "" if event == "gone" else "each finding says its remedy; the report has all of them",
        "findings": shown,
        "more": len(findings) - len(shown),
        "counts": counts(findings),
        "report": place,
    }


def _summary(event: str, findings: Sequence[Any]) -> str:
    number = counts(findings)
    levels = ", ".join(f"{number[level]} {level}" for level in LEVELS if number[level])
    things = "finding" if len(findings) == 1 else "findings"
    return f"{len(findings)} {things} {'are gone' if event == 'gone' else 'are new'}: {levels}".replace(
        "1 finding are", "1 finding is"
    )


def _line(one: Json, event: str) -> str:
    """One finding as a line, with what was expected and who did it.

    >>> one = {"severity": "high", "where": "i-1", "what": "it runs r1", "expected": "r2", "found": "r1"}
    >>> _line(one, "found")
    '- high: i-1: it runs r1 (expected r2, found r1)'
    """
    line = f"- {one['severity']}: {one['where']}: {one['what']}"
    if event == "gone":
        return line
    who = one.get("who")
    by = f", by {who['name']} at {who['at']} ({who['event']})" if who else ""
    return f"{line} (expected {one['expected']}, found {one['found']}{by})"
