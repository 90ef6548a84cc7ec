"""A release that was there before, asked for by its id alone: what it was, and what was migrated since.
Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.schema import Problem

PREVIOUS = "previous"
CURRENT = "current"
MEANINGS = {PREVIOUS: "the release before", CURRENT: "the release that serves"}
PARTS = ("id", "artifact", "sha256")

Receipt = Mapping[str, Any]


def problems(
    release: Mapping[str, Any], current: str | None, history: Sequence[Receipt], remedy: bool = False
) -> Iterator[Problem]:
    """What is wrong with naming a release so. `remedy`: whether it is to put right what drifted."""
    if remedy and release["id"] != CURRENT:
        yield Problem("remedy", "is true, but something else is released with it", f"release.id {CURRENT}")
    missing = [part for part in ("artifact", "sha256") if not release.get(part)]
    if len(missing) == 1:
        yield Problem(f"release.{missing[0]}", "is missing", "both artifact and sha256, or neither")
    elif not missing and release["id"] in MEANINGS:
        meaning = MEANINGS[release["id"]]
        yield Problem("release.id", f"is {release['id']}, which means {meaning}", "an id of its own")
    elif missing and release["id"] == CURRENT:
        if current is None:
            allowed = "a new release, which needs artifact and sha256"
            yield Problem("release.id", f"is {CURRENT}, but nothing has been released here yet", allowed)
    elif missing and wanted(release["id"], current, history) is None:
        yield Problem("release.id", _unknown(release["id"]), _offered(current, history))


def _unknown(name: str) -> str:
    if name == PREVIOUS:
        return f"is {PREVIOUS}, but no other release has succeeded here before"
    return f"is {name}, of which no release has succeeded here"


def _offered(current: str | None, history: Sequence[Receipt]) -> str:
    known = list(dict.fromkeys(entry["release"]["id"] for entry in reversed(_successes(history))))
    others = [name for name in known if name != current][:5]
    named = f"{PREVIOUS}, or one of {', '.join(others)}; " if others else ""
    return f"{named}a new release needs artifact and sha256"


def wanted(name: str, current: str | None, history: Sequence[Receipt]) -> Receipt | None:
    """The newest success of that id; of `previous`: of any id that is not the current one."""
    for entry in reversed(_successes(history)):
        found = entry["release"]["id"]
        if found == name or (name == PREVIOUS and found != current):
            return entry
    return None


def resolved(
    release: Mapping[str, Any], current: str | None, history: Sequence[Receipt]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The release in full, which migrates nothing, and what the receipt says of the way back:
    {"release", "migrationsSince": [{"release", "migrations"}], "restorePoints": [names], "says"}."""
    entry = wanted(release["id"], current, history)
    if entry is None:
        raise AssertionError("refused as a problem before")
    parts = {part: entry["release"][part] for part in PARTS}
    since = list(_migrated(_since(parts, history)))
    points = [point for point in map(_restore_point, _since(parts, history)) if point]
    told = {
        "release": parts["id"],
        "migrationsSince": since,
        "restorePoints": points,
        "says": _said(parts["id"], since, points),
    }
    return {**release, **parts, "migrate": False}, told


def kept(release: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The release that serves, in full: nothing is brought back, and nothing migrates."""
    return {**release, **{part: known["release"][part] for part in PARTS}, "migrate": False}


def _successes(history: Sequence[Receipt]) -> list[Receipt]:
    return [entry for entry in history if entry["ending"] == "Succeeded" and "artifact" in entry["release"]]


def _since(parts: Mapping[str, str], history: Sequence[Receipt]) -> list[Receipt]:
    """What came after the release's own first success: it was made for the schema of that time."""
    first = next(
        number
        for number, entry in enumerate(history)
        if entry["ending"] == "Succeeded" and all(entry["release"].get(part) == parts[part] for part in PARTS)
    )
    return list(history[first + 1 :])


def _migrated(entries: Sequence[Receipt]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        ran = list(entry.get("migrations", {}).get("ran") or [])
        if ran:
            yield {"release": entry["release"]["id"], "migrations": ran}
        elif (entry.get("failure") or {}).get("phase") == "migrate":
            yield {"release": entry["release"]["id"], "migrations": [], "failed": True}


def _restore_point(entry: Receipt) -> str | None:
    found: str | None = (entry.get("restorePoint") or {}).get("snapshot")
    return found


def _said(name: str, since: Sequence[Mapping[str, Any]], points: Sequence[str]) -> str:
    if not since:
        return f"No migration ran since {name} was released."
    ran = "; ".join(
        f"{entry['release']}: {', '.join(entry['migrations']) or 'a migration that failed'}"
        for entry in since
    )
    kept = f" The database as it was before is in the snapshot {points[0]}." if points else ""
    return f"Migrations ran since {name} was released and are not undone ({ran}).{kept}"
