"""What a release would do, or did, to an environment: rows of tiers, and the whole of it as text. Pure.

A row is what one tier's plan says: {"tier", "stack", "status", "basis", "changes", "leftOut", "parameters",
"refused", "detail"}; `changes` as gate.change, `leftOut` how many of them are not shown, `parameters`
[{"name", "before", "after"}] those of the stack that differ.

status     what it means
unchanged  CloudFormation sees nothing to do
changed    what CloudFormation would do, or did
new        the tier was not there; `basis` is "change set", or "template" for what slipway.outline says
busy       CloudFormation is at it: its end decides what is to be done
stuck      only a person can go on
unknown    CloudFormation refused the question, or what it needs is not known
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from slipway import gate

Row = dict[str, Any]
Change = Mapping[str, Any]
Json = Mapping[str, Any]

# A state's input, output and variables have at most 256 KiB each; six rows travel through them together.
ROW_BYTES = 12 * 1024
VALUE_LETTERS = 120

# The text of a plan, and all that a receipt (an execution's output, too) says of its plan.
TEXT_BYTES = 96 * 1024
RECEIPT_BYTES = 32 * 1024
RECEIPT_TEXT_BYTES = 12 * 1024
SERVERS_SHOWN = 200

DRIFTS = {
    "MODIFIED": ", put back: changed without Slipway",
    "DELETED": ", made anew: deleted without Slipway",
}
SIGNS = {"Add": "+", "Remove": "-", "Import": "<", "SyncWithActual": "="}
KINDS = {
    "+": "to add",
    "~": "to change",
    "-/+": "to replace",
    "~?": "to change, perhaps to replace",
    "-": "to remove",
    "<": "to import",
    "=": "that is as the template says already",
    "?": "that CloudFormation cannot tell yet",
}


def row(
    tier: str,
    stack: str,
    status: str,
    changes: Sequence[Change] = (),
    parameters: Sequence[Json] = (),
    allow: Iterable[str] = (),
    detail: str = "",
    basis: str = "change set",
) -> Row:
    """A row, cut so that it fits."""
    whole: Row = {
        "tier": tier,
        "stack": stack,
        "status": status,
        "basis": basis if status in ("unchanged", "changed", "new") else "",
        "changes": [],
        "leftOut": 0,
        "parameters": [dict(one) for one in parameters],
        "refused": gate.findings(tier, changes, allow),
        "detail": detail[:1000],
    }
    return _filled(whole, changes, ROW_BYTES)


def _filled(whole: Row, changes: Sequence[Change], most: int) -> Row:
    """The row with as many of the changes as fit; those that lose something first."""
    ordered = sorted(changes, key=lambda change: (_rank(change), change["resource"]))
    left = most - size({**whole, "changes": []})
    shown: list[dict[str, Any]] = []
    for change in ordered:
        left -= size(change) + 2
        if left < 0:
            break
        shown.append(dict(change))
    return {**whole, "changes": shown, "leftOut": whole["leftOut"] + len(changes) - len(shown)}


def _rank(change: Change) -> int:
    return ("-/+", "-", "~?", "?", "~", "<", "+", "=").index(sign(change))


def size(value: Any) -> int:
    """Bytes of a value as JSON, at its longest (everything beyond ASCII escaped)."""
    return len(json.dumps(value, separators=(",", ":")))


def sign(change: Change) -> str:
    """How a change is marked in the text."""
    if change["action"] != "Modify":
        return SIGNS.get(change["action"], "?")
    return {"True": "-/+", "Conditional": "~?"}.get(change["replacement"], "~")


def changed_parameters(before: Iterable[Json], after: Iterable[Json]) -> list[dict[str, str]]:
    """[{"name", "before", "after"}] of CloudFormation's Parameters of a stack and of its change set."""
    was = {one["ParameterKey"]: str(one.get("ParameterValue", "")) for one in before}
    becomes = {one["ParameterKey"]: str(one.get("ParameterValue", "")) for one in after}
    return [
        {"name": name, "before": was.get(name, "")[:VALUE_LETTERS], "after": value[:VALUE_LETTERS]}
        for name, value in sorted(becomes.items())
        if was.get(name) != value
    ]


# --- the whole ---------------------------------------------------------------------------------------------


def blocked(rows: Sequence[Row], running: str, problems: Sequence[Json]) -> list[str]:
    """Why the release would not go through as it is asked for, one sentence each."""
    found = [running] if running else []
    found += [f"{one['check']}: {one['where']}: {one['what']}; {one['next']}" for one in problems]
    for one in rows:
        found += [f"DestructiveChange: {refused['what']}" for refused in one["refused"]]
        if one["status"] in ("stuck", "unknown"):
            found.append(f"tier {one['tier']}: {one['detail']}")
    return found


def entries(rows: Sequence[Row]) -> list[str]:
    """What `allow` lacks."""
    return [refused["allow"] for one in rows for refused in one["refused"]]


def shown_waves(waves: Sequence[Json]) -> list[dict[str, Any]]:
    """[{"number", "servers"}]; of a large fleet only the first servers are named."""
    left, found = SERVERS_SHOWN, []
    for wave in waves:
        servers = list(wave["servers"])
        found.append({"number": len(servers), "servers": servers[: max(0, left)]})
        left -= len(servers)
    return found


def of_release(
    request: Json, given: Json, migrations: Json, restore_point: Json, most: int = RECEIPT_BYTES
) -> dict[str, Any]:
    """The plan of a release that was carried out, for its receipt: {"tiers", "waves", "strategy",
    "migrations", "restorePoint", "text"}. `given`: {"tiers", "waves", "strategy"}, as far as it came;
    `migrations` and `restore_point` as in the receipt."""
    rows = [dict(one) for one in given["tiers"]]
    told = {
        "tiers": rows,
        "waves": shown_waves(given["waves"]),
        "strategy": given["strategy"],
        "migrations": migrations["pending"],
        "restorePoint": restore_point,
    }
    lines = [
        *_head(request),
        *_tier_lines(rows),
        *_wave_lines(told["waves"], told["strategy"], ""),
        *_migration_lines(migrations["pending"], ""),
        f"Restore point: {restore_point['snapshot'] or 'none'} ({restore_point['why']})",
    ]
    whole = {**told, "text": cut(lines, RECEIPT_TEXT_BYTES)}
    return {**whole, "tiers": _trimmed(rows, most - size({**whole, "tiers": []}))}


def _trimmed(rows: list[Row], most: int) -> list[Row]:
    """The rows with fewer changes, until they fit."""
    share = max(0, most) // max(1, len(rows))
    return [one if size(rows) <= most else _filled(one, one["changes"], share) for one in rows]


# --- the text ----------------------------------------------------------------------------------------------


def text(plan: Json, most: int = TEXT_BYTES) -> str:
    """A plan for a reader. `plan` as slipway.planning.answer makes it."""
    lines = [*_head(plan), *_verdict(plan), *_tier_lines(plan["tiers"])]
    lines += _wave_lines(plan["waves"], plan["strategy"], plan["servers"])
    lines += _migration_lines(plan["migrations"]["pending"], plan["migrations"]["why"])
    point = plan["restorePoint"]
    said = {True: "would be made", False: "none", None: "perhaps"}[point["wanted"]]
    lines += [f"Restore point: {said} ({point['why']})", *_preflight_lines(plan["preflight"])]
    lines += ["", *_estimate_lines(plan["estimate"])]
    return cut(lines, most)


def _head(told: Json) -> list[str]:
    release, environment = told["release"], told["environment"]
    name = environment if isinstance(environment, str) else environment["name"]
    before = told.get("before") or (told.get("previous") or {}).get("id")
    return [f"{name}: release {release['id']}, " + (f"after {before}" if before else "the first"), ""]


def _verdict(plan: Json) -> Iterator[str]:
    if plan["same"]:
        yield "This is what was released last. If the servers confirm it, the release changes nothing at all."
        yield ""
    if plan["blocked"]:
        yield "As it is asked for, the release would not go through:"
        yield from (f"  ! {sentence}" for sentence in plan["blocked"])
        if plan["allow"]:
            yield "  to let it pass, add to the input's allow: " + ", ".join(
                f'"{one}"' for one in plan["allow"]
            )
        yield ""


def _tier_lines(rows: Sequence[Row]) -> Iterator[str]:
    for one in rows:
        yield f"{one['tier']:<15}{_summary(one)}"
        for parameter in one["parameters"]:
            yield f"    {parameter['name']}: {parameter['before'] or '-'} → {parameter['after'] or '-'}"
        for change in one["changes"]:
            yield from _change_lines(one, change)
        if one["leftOut"]:
            yield f"    … and {one['leftOut']} more"
    if rows:
        yield ""


def _summary(one: Row) -> str:
    if one["status"] in ("unchanged", "busy", "stuck", "unknown"):
        return f"{one['status']}: {one['detail']}".removesuffix(": ")
    counted = Counter(sign(change) for change in one["changes"])
    said = ", ".join(f"{counted[mark]} {words}" for mark, words in KINDS.items() if counted[mark])
    said += f", {one['leftOut']} not shown" if one["leftOut"] else ""
    return said + (
        " (as its template says: nothing of it is there yet)" if one["basis"] == "template" else ""
    )


def _change_lines(one: Row, change: Change) -> Iterator[str]:
    refused = change["resource"] in {found["resource"] for found in one["refused"]}
    mark = "   REFUSED by the gate" if refused else ""
    kept = gate.KEPT.get(change["policy"])
    since = DRIFTS.get(change.get("drift", ""), "")
    yield (
        f"  {sign(change):>4} {change['resource']} ({change['type']})"
        + (f", {kept}" if kept else "")
        + since
        + mark
    )
    for why in change["why"]:
        replaces = {"Always": ", replaces it", "Conditionally": ", may replace it"}.get(why["recreation"], "")
        causes = ", ".join(why["causes"])
        yield (
            "         "
            + " ".join(filter(None, [why["property"], f"({causes})" if causes else ""]))
            + replaces
        )


def _wave_lines(waves: Sequence[Json], strategy: str | None, detail: str) -> Iterator[str]:
    if not waves:
        yield f"Servers: {detail or 'not reached'}"
        return
    number = sum(wave["number"] for wave in waves)
    yield f"Servers: {number} in {len(waves)} waves, {strategy}" + (f" ({detail})" if detail else "")
    for position, wave in enumerate(waves, 1):
        more = wave["number"] - len(wave["servers"])
        named = ", ".join(wave["servers"]) + (f" and {more} more" if more else "")
        yield f"  {position:>3}  {named.strip()}"


def _migration_lines(pending: Sequence[str] | None, why: str) -> Iterator[str]:
    because = f" ({why})" if why else ""
    if pending is None:
        yield f"Migrations: not known{because}"
    else:
        yield f"Migrations: {', '.join(pending) or 'none pending'}{because}"


def _preflight_lines(preflight: Json | None) -> Iterator[str]:
    if preflight is None:
        yield "Preflight: not asked"
        return
    yield f"Preflight: {len(preflight['problems'])} problems, {len(preflight['warnings'])} warnings"
    yield from (
        f"  {one['check']}: {one['where']}: {one['what']}; {one['next']}" for one in preflight["warnings"]
    )


def _estimate_lines(estimate: Json) -> Iterator[str]:
    yield f"Time: about {duration(estimate['seconds'])} ({estimate['secondsOf']})"
    yield f"Cost of the release: about USD {estimate['usd']:.4f} ({estimate['usdOf']})"
    yield f"Cost a month: {estimate['monthly']:+.2f} USD" + (
        f" ({'; '.join(estimate['monthlyOf'])})" if estimate["monthlyOf"] else ""
    )
    yield f"  not included: {'; '.join(estimate['notIncluded'])}"


def duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{round(whole / 60)} min"


def cut(lines: Sequence[str], most: int) -> str:
    """The lines as one text; those that do not fit are counted instead."""
    whole = "\n".join(lines).rstrip() + "\n"
    if size(whole) <= most:
        return whole
    left, kept = most - 60, 0
    for line in lines:
        left -= size(line + "\n") - 2
        if left < 0:
            break
        kept += 1
    return "\n".join([*lines[:kept], f"… {len(lines) - kept} more lines are left out"]) + "\n"
