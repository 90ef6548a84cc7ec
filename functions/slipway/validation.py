"""The whole validation of an input. It changes nothing; it reads the table and the artifact."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import artifact, back_to, records, request, schema, tiers, waves
from slipway.errors import InvalidInput
from slipway.schema import Problem

# Problems that a refusal lists: the cause of an execution has at most 32,768 characters.
MOST_LISTED = 20

NOTHING_CHANGED = "nothing was changed; correct the input and start again"


@functools.cache
def input_schema() -> dict[str, Any]:
    """The schema of the input, as docs/input.md describes it."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "input.schema.json").read_text())
    return loaded


def validate(given: Any, bucket: str) -> dict[str, Any]:
    """The completed request: {environment, release, rollout, allow, previous, backTo, recorded, archive};
    raises InvalidInput with all problems.

    `previous` is {id, artifact, sha256} of the environment's current release, or None. `backTo`: see
    back_to.resolved, None for a release with an artifact of its own. `recorded`: {"same": whether exactly
    this is what was released last, "outputs": of the tiers, then}. `archive`: what the artifact says, see
    archive.Archive.as_dict; None for a release that is brought back.
    """
    refuse(schema.problems(input_schema(), given))
    completed, remembered = _read(given)
    release = completed["release"]
    wrong, said = (
        artifact.examined(release, bucket) if release["artifact"] and release["sha256"] else ([], None)
    )
    refuse([*_problems(completed, remembered), *wrong])
    return {**_resolved(completed, remembered), "archive": said}


def again(validated: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """A request that was validated before, with what is remembered of the environment now: another release
    may have ended since. Raises InvalidInput if it cannot be released any more.

    The artifact is not looked at again: it is the one of that SHA-256, or the servers will refuse it.
    """
    completed, remembered = _read(given)
    refuse(_problems(completed, remembered))
    return {**validated, **_resolved(completed, remembered)}


@dataclass(frozen=True)
class _Remembered:
    """What the table has of an environment: the last success (see records.current) and the receipts."""

    known: dict[str, Any] | None
    history: list[dict[str, Any]]

    @property
    def current(self) -> str | None:
        """The id of the release that serves."""
        return str(self.known["release"]["id"]) if self.known else None


def _read(given: Any) -> tuple[dict[str, Any], _Remembered]:
    """The input with its defaults, its environment described in full; and what is remembered of that."""
    completed = schema.complete(input_schema(), given)
    name = completed["environment"]
    if not isinstance(name, str):
        name = name["name"]
    remembered = _Remembered(records.current(name), records.history(name))
    completed["environment"] = _described(completed["environment"], remembered.known)
    return completed, remembered


def _problems(completed: Mapping[str, Any], remembered: _Remembered) -> list[Problem]:
    return [
        *request.problems(completed["environment"], records.cidrs()),
        *waves.problems(completed["environment"], completed["rollout"]),
        *back_to.problems(completed["release"], remembered.current, remembered.history, completed["remedy"]),
    ]


def _resolved(completed: Mapping[str, Any], remembered: _Remembered) -> dict[str, Any]:
    """The request with its release in full, and what it follows."""
    release, told = dict(completed["release"]), None
    if release["id"] == back_to.CURRENT and remembered.known is not None:
        release = back_to.kept(release, remembered.known)
    elif not release["artifact"] and not release["sha256"]:
        release, told = back_to.resolved(release, remembered.current, remembered.history)
    whole = {**completed, "release": release}
    return {
        **whole,
        "previous": _previous(remembered.known),
        "backTo": told,
        "recorded": _recorded(whole, remembered.known, remembered.history),
    }


def _recorded(
    completed: Mapping[str, Any], known: Mapping[str, Any] | None, history: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A release that failed since may have changed tiers: then nothing is taken as it was recorded."""
    if known is None or "templates" not in known or not history or history[-1]["ending"] != "Succeeded":
        return {"same": False, "outputs": {}}
    wanted, was = completed["release"], known["release"]
    same = (
        completed["environment"] == known["environment"]
        and all(wanted[part] == was[part] for part in ("id", "sha256"))
        and (was["migrate"] or not wanted["migrate"])
        and known["templates"] == tiers.digest()
    )
    return {"same": same, "outputs": known["outputs"] if same else {}}


def _described(environment: str | dict[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The description of an environment that may be given by its name."""
    if not isinstance(environment, str):
        return environment
    if known is None:
        what = f"is {environment}, {_why_unknown(environment)}"
        refuse(
            [
                Problem(
                    "environment", what, "the full description, or the name of an environment released before"
                )
            ]
        )
        raise AssertionError("refused above")
    # What was recorded by an older version is completed with the defaults of this one.
    described: dict[str, Any] = schema.complete(
        input_schema()["properties"]["environment"], dict(known["environment"])
    )
    return described


def _why_unknown(environment: str) -> str:
    retired = records.retired(environment)
    if retired:
        return f"which was taken down at {retired['at']} (execution {retired['execution']})"
    return "of which no release has succeeded yet"


def _previous(known: Mapping[str, Any] | None) -> dict[str, str] | None:
    if known is None:
        return None
    return {part: known["release"][part] for part in ("id", "artifact", "sha256")}


def refuse(problems: list[Problem]) -> None:
    """Raises InvalidInput with the problems, if there are any."""
    if not problems:
        return
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise InvalidInput(
        f"{first.path} {first.what}; allowed: {first.allowed}{more}",
        ", ".join(dict.fromkeys(problem.path for problem in problems[:MOST_LISTED])),
        NOTHING_CHANGED,
        problems=[problem.as_dict() for problem in problems[:MOST_LISTED]],
    )
