"""What was found before: since when, in how many checks, whether it has been told, and what has gone since.

The table's item ENVIRONMENT#<name> DRIFT has {"version", "execution": the last check, "document"}; the
document {"checkedAt", "checks", "status", "findings": {key: finding}, "announcement"}. An announcement
({"by", "found": [keys], "gone": [findings]}) stands there until it has been made: should that fail, the next
check makes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway import lock, records
from slipway.aws import dynamodb, states
from slipway.drift import beginning, metrics, overlap, report, trail
from slipway.drift.finding import Finding, fitting, size, worst_first
from slipway.errors import TransientAwsError

Json = Mapping[str, Any]
Document = dict[str, Any]

# A check may have looked so long before it was recorded.
SLACK = timedelta(minutes=5)
# Times of checks that are remembered: what was changed before a finding was first seen was changed after the
# check before that. Without one: as far back as CloudTrail goes.
CHECKS = 10
TRAIL = timedelta(days=90)

# The table's item has at most 400 KB. What does not fit is forgotten, the worst last: what was found before
# and may be there all the same, and what has gone.
MOST_KNOWN = 200 * 1024
MOST_GONE = 150 * 1024


@dataclass(frozen=True)
class Looked:
    """What a check has seen. `execution`: {"arn", "name", "startedAt"}."""

    environment: str
    fence: int
    current: Json
    infrastructure: Json
    servers: Json
    standing: Json
    execution: Json
    remedy: str = ""
    """See slipway.drift.beginning."""

    @property
    def findings(self) -> list[Finding]:
        standing = self.standing["findings"]
        of_stacks = overlap.told_once(self.infrastructure["findings"], standing)
        return [*of_stacks, *self.servers["findings"], *standing]

    @property
    def unclear(self) -> Unclear:
        """Where a finding that is not found again may be there all the same."""
        found = self.findings
        looks = (self.infrastructure, self.servers, self.standing)
        return Unclear(
            frozenset(one["tier"] for one in found if one["kind"] == "stack_unknown"),
            frozenset(one["where"] for one in found if one["kind"] == "server_silent"),
            frozenset(one["kind"] for one in self.standing.get("unchecked", [])),
            any(look["more"] for look in looks),
        )


@dataclass(frozen=True)
class Unclear:
    """`tiers` whose drift could not be detected; `servers` that are silent; `kinds` of what must hold, if
    it could not be looked at; `all`: more was found than is handed on."""

    tiers: Collection[str] = ()
    servers: Collection[str] = ()
    kinds: Collection[str] = ()
    all: bool = False

    def covers(self, one: Mapping[str, Any]) -> bool:
        if one["kind"].startswith("stack_"):
            return self.all or one["tier"] in self.tiers
        if one["kind"].startswith("server_"):
            return self.all or one["where"] in self.servers
        return self.all or one["kind"] in self.kinds


@dataclass(frozen=True)
class Settings:
    """`namespace`: of the metrics, which is the stack's name; `consecutive`: in how many checks in a row
    something is found before it is told."""

    bucket: str
    namespace: str
    consecutive: int


@dataclass
class Merged:
    """`findings`: all of them; `new` and `gone`: what is to be told."""

    findings: dict[str, Any]
    new: list[Any] = field(default_factory=list)
    gone: list[Any] = field(default_factory=list)


# Merge


def merged(
    before: Json, found: Sequence[Finding], unclear: Unclear, now: str, consecutive: int, told: bool
) -> Merged:
    """What is known after a check. `told`: whether what the check before had to announce counts as told."""
    known: Mapping[str, Any] = before.get("findings") or {}
    untold: Json = {} if told else before.get("announcement") or {}
    still = {one["key"]: _again(one, known.get(one["key"]), untold, now) for one in found}
    lost = [one for key, one in known.items() if key not in still]
    kept: list[Any] = [_untold(one, untold) for one in lost if unclear.covers(one)]
    left = [one for one in lost if not unclear.covers(one)] + [
        one for one in untold.get("gone", []) if one["key"] not in still and one["key"] not in known
    ]
    room = MOST_KNOWN - sum(map(size, still.values()))
    after = Merged({**still, **{one["key"]: one for one in fitting(kept, room)}})
    gone = [one for one in left if one["announced"] and one["key"] not in untold.get("found", [])]
    after.gone = fitting(gone, MOST_GONE)
    after.new = [
        one for one in after.findings.values() if not one["announced"] and one["seen"] >= consecutive
    ]
    for one in after.new:
        one["announced"] = True
    return after


def _again(one: Finding, known: Json | None, untold: Json, now: str) -> dict[str, Any]:
    """A finding with what is known of it from the checks before."""
    not_yet_gone = next((old for old in untold.get("gone", []) if old["key"] == one["key"]), None)
    old = known or not_yet_gone or {}
    kept = {name: old[name] for name in ("who", "remedied") if old.get(name)}
    announced = bool(old.get("announced")) and one["key"] not in untold.get("found", [])
    seen = {"since": old.get("since", now), "seen": old.get("seen", 0) + 1, "announced": announced}
    return {**one, "who": None, **kept, **seen}


def _untold(one: Json, untold: Json) -> dict[str, Any]:
    return {**one, "announced": one["announced"] and one["key"] not in untold.get("found", [])}


# Record


def record(looked: Looked, settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """{"status": "clean" | "drift" | "postponed", "environment", "counts", "report", "found", "gone",
    "remedy"}; `found` and `gone` ({"what", …}, null if there is nothing to say) are to be announced, `remedy`
    are the keys of the findings that are to be put right.

    Postponed: somebody has changed the environment meanwhile, or does so now; nothing is recorded. Asked
    again by the same execution, it answers the same.
    """
    seen = lock.seen(looked.environment)
    if seen["holder"] or seen["fence"] != looked.fence:
        nothing = dict.fromkeys(("counts", "report", "found", "gone"))
        return {"status": "postponed", "environment": looked.environment, **nothing, "remedy": []}
    moment = now or datetime.now(UTC)
    document = _document(looked, settings, moment)
    told = report.of(looked, document, settings.consecutive)
    place = report.put(told, settings.bucket)
    metrics.put(told, settings.namespace)
    return _answer(looked, document, told, place)


def _document(looked: Looked, settings: Settings, now: datetime) -> Document:
    """What is now in the table."""
    item = dynamodb.get(records.key(looked.environment), "DRIFT") or {}
    before: Document = json.loads(item.get("document", "{}"))
    arn = looked.execution["arn"]
    if item.get("execution") == arn:
        return before
    at = _text(now)
    after = merged(
        before, looked.findings, looked.unclear, at, settings.consecutive, _is_told(before, states.status)
    )
    checks = before.get("checks", [])

    def not_yet(one: Finding) -> datetime:
        """When it was not there yet."""
        earlier = [check for check in checks if check < one["since"]]
        return _moment(earlier[-1]) - SLACK if earlier else now - TRAIL

    findings = trail.named(list(after.findings.values()), not_yet, f"{settings.namespace}-")
    named = {one["key"]: one for one in remedied(findings, looked.remedy, arn, settings.consecutive)}
    announcement = {"by": arn, "found": [one["key"] for one in after.new], "gone": after.gone}
    document = {
        "checkedAt": at,
        "checks": [*checks, at][-CHECKS:],
        "status": "drift" if _confirmed(findings, settings.consecutive) else "clean",
        "findings": named,
        "announcement": announcement if after.new or after.gone else None,
    }
    _put(looked.environment, int(item.get("version", 0)), arn, document)
    return document


def remedied(findings: Sequence[Any], remedy: str, execution: str, consecutive: int) -> list[Any]:
    """The findings, those that this check puts right marked with its ARN. Automatically that is tried once:
    what is found again afterwards was not put right by it, and would not be the next time."""

    def wanted(one: Json) -> bool:
        confirmed = bool(remedy) and one["remediable"] and one["seen"] >= consecutive
        return confirmed and (remedy == beginning.ASKED or not one.get("remedied"))

    return [{**one, "remedied": execution} if wanted(one) else one for one in findings]


def _is_told(before: Json, status: Callable[[str], str | None]) -> bool:
    """Whether the announcement of the check before was made, or is being made."""
    announcement = before.get("announcement")
    return announcement is None or status(announcement["by"]) in lock.ALIVE


def _put(environment: str, version: int, execution: str, document: Json) -> None:
    """Writes the item, unless another check has meanwhile: then this one goes on from that."""
    written = dynamodb.put(
        {
            "pk": records.key(environment),
            "sk": "DRIFT",
            "version": version + 1,
            "execution": execution,
            "document": json.dumps(document),
        },
        "attribute_not_exists(pk) OR version = :seen",
        {":seen": version},
    )
    if not written:
        raise TransientAwsError(
            "another check has recorded what it found just now", f"environment {environment}", "try again"
        )


def announced(environment: str, execution: str) -> dict[str, Any]:
    """Notes that what this execution had to announce has been told."""
    item = dynamodb.get(records.key(environment), "DRIFT") or {}
    document = json.loads(item.get("document", "{}"))
    if (document.get("announcement") or {}).get("by") == execution:
        _put(environment, item["version"], item["execution"], {**document, "announcement": None})
    return {}


def _confirmed(findings: Sequence[Any], consecutive: int) -> list[Any]:
    return [one for one in findings if one["seen"] >= consecutive]


def _answer(looked: Looked, document: Document, told: Json, place: str) -> dict[str, Any]:
    announcement = document["announcement"] or {"found": [], "gone": []}
    new = worst_first(
        [document["findings"][key] for key in announcement["found"] if key in document["findings"]]
    )
    return {
        "status": told["status"],
        "environment": looked.environment,
        "counts": told["counts"],
        "report": place,
        "found": report.message("found", new, place) if new else None,
        "gone": report.message("gone", worst_first(announcement["gone"]), place)
        if announcement["gone"]
        else None,
        "remedy": sorted(
            key for key, one in document["findings"].items() if one.get("remedied") == looked.execution["arn"]
        ),
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
