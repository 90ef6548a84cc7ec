"""The answer to "plan": true: what a release would do, put together from what CloudFormation, the servers,
the archives and the table say. It reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from slipway import artifact, lock, plan, records
from slipway.estimate import estimate, newest

Json = Mapping[str, Any]
Row = dict[str, Any]


def answer(
    request: Json, rows: Sequence[Row], servers: Json | None, preflight: Json | None, execution: Json
) -> dict[str, Any]:
    """{"plan": true, "environment", "release", "before", "same", "blocked", "allow", "tiers", "servers",
    "waves", "strategy", "migrations": {"pending", "why"}, "restorePoint": {"wanted", "why"}, "preflight",
    "estimate", "execution", "text"}.

    `servers` is CheckServers' answer, `preflight` Preflight's; None if there are none to ask, or they could
    not be.
    """
    environment = request["environment"]["name"]
    running = lock.in_the_way(environment)
    waves, strategy = _waves(request, servers)
    migrations = pending(request)
    point = restore_point(request, migrations["pending"])
    checked = {"problems": [], "warnings": [], **(preflight or {})}
    whole = {
        "plan": True,
        "environment": environment,
        "release": dict(request["release"]),
        "before": (request["previous"] or {}).get("id"),
        "same": request["recorded"]["same"] and not request["remedy"],
        "blocked": plan.blocked(rows, running, checked["problems"]),
        "allow": plan.entries(rows),
        "tiers": list(rows),
        "servers": _told(servers, rows),
        "waves": plan.shown_waves(waves),
        "strategy": strategy,
        "migrations": migrations,
        "restorePoint": point,
        "preflight": {name: list(checked[name]) for name in ("problems", "warnings")} if preflight else None,
        "estimate": estimate(
            request, rows, len(waves), bool(point["wanted"]), newest(records.history(environment))
        ),
        "execution": execution["arn"],
    }
    return {**whole, "text": plan.text(whole)}


def _waves(request: Json, servers: Json | None) -> tuple[Sequence[Json], str]:
    """Those of the strategy that is asked for: whether the servers have the memory for side_by_side is asked
    when the release is staged."""
    strategy = request["rollout"]["strategy"]
    if servers is None:
        return [], strategy
    return servers["drainWaves"] if strategy == "drain" else servers["waves"], strategy


def _told(servers: Json | None, rows: Sequence[Row]) -> str:
    if servers is not None:
        return "" if servers["status"] == "ready" else str(servers["detail"])
    web = next((row for row in rows if row["tier"] == "web"), None)
    return "none is there yet" if web is None or web["status"] == "new" else "could not be asked for"


def pending(request: Json) -> dict[str, Any]:
    """{"pending": [migrations that the new archive has and the one that serves has not] or None, "why"}."""
    release, previous = request["release"], request["previous"]
    if not release["migrate"]:
        return {"pending": [], "why": "this release migrates nothing"}
    said = request.get("archive") or {}
    if "migrations" not in said:
        return {"pending": None, "why": "what the archive holds is not known"}
    if previous is None:
        return {"pending": said["migrations"], "why": "all that the archive has"}
    try:
        serves = artifact.facts(previous["artifact"])["migrations"]
    except ClientError:
        return {"pending": None, "why": f"the archive of {previous['id']}, which serves, cannot be read"}
    lacking = [name for name in said["migrations"] if name not in set(serves)]
    return {
        "pending": lacking,
        "why": f"those that {previous['id']} has not, by the archives; the release asks the database itself",
    }


def restore_point(request: Json, lacking: Sequence[str] | None) -> dict[str, Any]:
    """{"wanted": whether one would be made, None if that is not known, "why"}."""
    release = request["release"]
    if not release["migrate"] or lacking == []:
        return {"wanted": False, "why": "nothing is migrated"}
    if not release["backup"]:
        return {"wanted": False, "why": "release.backup is false"}
    if lacking is None:
        return {"wanted": None, "why": "if the database lacks a migration"}
    if request["previous"] is None:
        return {"wanted": False, "why": "the database is new; if it had tables, one would be made"}
    return {"wanted": True, "why": "migrations are pending; a snapshot of the database"}
