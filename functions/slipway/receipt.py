"""The receipt of a release: what was asked for, how it ended, how long each part took, what it cost, how to
undo it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway import commands, history, lock, plan, records, restore_point, tiers
from slipway.aws import s3, states
from slipway.errors import LockLost

# us-east-1, eu-central-1 and most others; some regions cost up to half more.
USD_PER_TRANSITION = 0.025 / 1000
SOURCE = (
    "https://aws.amazon.com/step-functions/pricing/ (Standard, $0.025 per 1,000 transitions, most regions)"
)

# A release has some 12 executions below it; the histories of so many are read.
MOST_CHILDREN = 40
# An execution's output has at most 256 KiB.
MOST_STATES = 300

Json = Mapping[str, Any]


def record(
    held: Json | None,
    request: Json,
    ending: str,
    execution: Json,
    outputs: Mapping[str, Mapping[str, str]],
    servers: Sequence[Json],
    failure: Json | None,
    bucket: str,
    log_group: str,
    migrations: Json,
    planned: Json | None = None,
    warnings: Sequence[Json] = (),
) -> dict[str, Any]:
    """Writes what is remembered of the release, and answers its receipt.

    `held`: the lock {"environment", "fence"}; `planned`: {"tiers", "waves", "strategy"} as far as the release
    came, None if that is not known; `warnings`: the preflight's. Raises LockLost if it has been lost before
    a success could be recorded; a failure is a part of the history whoever holds it.
    """
    environment, release = request["environment"], request["release"]
    if ending == "Succeeded":
        lock.assure(held)
    before = records.replaced(environment["name"], int(held["fence"]) if held else -1)
    now = datetime.now(UTC)
    told = {
        **facts(request, ending, execution, servers, failure, now),
        "warnings": [dict(warning) for warning in warnings],
        **migrated(release, migrations, log_group),
        "links": links(execution, outputs, bucket, log_group, _key(environment["name"], execution["name"])),
        "undo": _undo(execution["arn"], before, request, ending),
        **course(execution["arn"], now),
        "bakeSeconds": request["rollout"]["bakeSeconds"] * len(planned["waves"]) if planned else 0,
    }
    told["plan"] = (
        plan.of_release(request, planned, told["migrations"], told["restorePoint"]) if planned else None
    )
    records.register(environment)
    if ending == "Succeeded" and not told["unchanged"]:
        _set_current(environment, _as_current(release, before), held, outputs, before)
    _write(told, execution, bucket)
    return told


def add_warnings(told: Json, warnings: Sequence[Json], bucket: str) -> dict[str, Any]:
    """The receipt with further warnings, written in the place of the one that was recorded."""
    receipt = {**told, "warnings": [*told["warnings"], *warnings]}
    name = str(told["execution"]).rsplit(":", 1)[-1]
    if warnings:
        _write(receipt, {"name": name, "startedAt": told["startedAt"]}, bucket)
    return receipt


def _write(told: Json, execution: Json, bucket: str) -> None:
    """Into the history, unless nothing was changed, and into the bucket."""
    if not told["unchanged"]:
        short = {name: value for name, value in told.items() if name not in ("states", "plan")}
        records.add_history(
            told["environment"], execution["startedAt"], told["release"]["id"], execution["name"], short
        )
    key = _key(told["environment"], execution["name"])
    s3.put(bucket, key, json.dumps(told, indent=2).encode(), "application/json")


def facts(
    request: Json, ending: str, execution: Json, servers: Sequence[Json], failure: Json | None, now: datetime
) -> dict[str, Any]:
    """What is known without asking anybody."""
    previous = request.get("previous")
    started = datetime.fromisoformat(execution["startedAt"])
    return {
        "environment": request["environment"]["name"],
        "url": f"https://{request['environment']['domain']['name']}",
        "release": dict(request["release"]),
        "unchanged": request.get("outcome") == "unchanged",
        "backTo": request.get("backTo"),
        "before": previous["id"] if previous else None,
        "ending": ending,
        "failure": dict(failure) if failure else None,
        "execution": execution["arn"],
        "startedAt": execution["startedAt"],
        "recordedAt": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": round((now - started).total_seconds(), 3),
        "servers": [dict(server) for server in servers],
        "drained": drained(request, servers),
    }


def drained(request: Json, servers: Sequence[Json]) -> str | None:
    """Why the servers were drained although they were to get the release side by side; None if that is not
    so."""
    wanted = request.get("rollout", {}).get("strategy")
    if wanted != "side_by_side" or all(server.get("strategy") != "drain" for server in servers):
        return None
    return "not every server has the memory for a second release beside the one that serves"


def migrated(release: Json, migrations: Json, log_group: str) -> dict[str, Any]:
    """{"migrations": {"pending", "ran", "seconds", "log"}, "restorePoint": {"snapshot", "why"}}.

    `migrations`: {"found", "restorePoint", "ran"}, each None if the release did not come so far. Of a
    migration that failed, `ran` is not known here: see the failure, and the database.
    """
    found, ran = migrations["found"], migrations["ran"]
    log = commands.log_link(log_group, ran["command"], ran["server"]) if ran else None
    return {
        "migrations": {
            "pending": found["pending"] if found else None,
            "ran": ran["migrations"] if ran else [],
            "seconds": ran["seconds"] if ran else None,
            "log": log,
        },
        "restorePoint": restore_point.told(release, found, migrations["restorePoint"]),
    }


def links(
    execution: Json, outputs: Mapping[str, Mapping[str, str]], bucket: str, log_group: str, key: str
) -> dict[str, str]:
    region = execution["arn"].split(":")[3]
    console = f"https://{region}.console.aws.amazon.com"
    return {
        "execution": f"{console}/states/home?region={region}#/v2/executions/details/{execution['arn']}",
        "commands": commands.group_link(log_group, region),
        "receipt": f"s3://{bucket}/{key}",
        "site": outputs.get("load_balancer", {}).get("Url", ""),
    }


def _undo(execution: str, before: Json | None, request: Json, ending: str) -> str | None:
    if ending != "Succeeded" or request.get("outcome") == "unchanged":
        return None
    return undo(execution, before, request["environment"])


def undo(execution: str, before: Json | None, environment: Json) -> str | None:
    """The command that releases again what was there before; None if there was nothing.

    The environment is named if it is still the same; otherwise it is given as it was. Migrations are not
    undone.
    """
    if before is None:
        return None
    same = before["environment"] == environment
    again = {
        "environment": environment["name"] if same else before["environment"],
        "release": {"id": before["release"]["id"]},
    }
    machine = ":".join(execution.replace(":execution:", ":stateMachine:").split(":")[:7])
    region = execution.split(":")[3]
    return (
        f"aws stepfunctions start-execution --region {region} --state-machine-arn {machine} "
        f"--input {shlex.quote(json.dumps(again, separators=(',', ':')))}"
    )


def course(execution: str, now: datetime) -> dict[str, Any]:
    """{"states", "transitions", "cost", "complete"}: the execution and those that it started, up to this
    moment."""
    events, complete = states.history(execution)
    own = history.told(events, now)
    rows = _rows("", own)
    transitions = own.transitions
    for child in own.children[:MOST_CHILDREN]:
        events, whole = states.history(child)
        of_child = history.told(events, now)
        rows += _rows(_label(execution, child) + "/", of_child)
        transitions += of_child.transitions
        complete = complete and whole
    complete = complete and len(own.children) <= MOST_CHILDREN and len(rows) <= MOST_STATES
    usd = round(transitions * USD_PER_TRANSITION, 6)
    cost = {
        "usd": usd,
        "of": f"{transitions} state transitions up to the writing of this receipt",
        "source": SOURCE,
    }
    return {"states": rows[:MOST_STATES], "transitions": transitions, "cost": cost, "complete": complete}


def _rows(prefix: str, told: history.Told) -> list[dict[str, Any]]:
    return [
        {"state": prefix + name, "times": int(times), "seconds": seconds}
        for name, (times, seconds) in told.states.items()
    ]


def _label(parent: str, child: str) -> str:
    """What a child is for: its name without its parent's, of which it has the first 60 characters."""
    name = child.rsplit(":", 1)[-1]
    return name.removeprefix(parent.rsplit(":", 1)[-1][:60]).strip("-") or name


def _key(environment: str, execution: str) -> str:
    return f"receipts/{environment}/{execution}.json"


def _as_current(release: Json, before: Json | None) -> Json:
    """The release as it is recorded: brought to the servers again without its migrations (a remedy), it is
    still one whose migrations have run."""
    was = before["release"] if before else {}
    same = all(was.get(part) == release.get(part) for part in ("id", "sha256"))
    return {**release, "migrate": True} if same and was.get("migrate") else release


def _set_current(
    environment: Json, release: Json, held: Json | None, outputs: Json, before: Json | None
) -> None:
    """The fence is looked at once more by the write itself."""
    if held is None or not records.set_current(
        environment, release, int(held["fence"]), outputs, tiers.digest(), before
    ):
        raise LockLost(
            "a later holder of the lock has recorded its release already",
            f"environment {environment['name']}",
            "see which release the other execution leaves behind",
        )
