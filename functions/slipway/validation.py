"""The whole validation of an input. It changes nothing; it reads the table and the artifact."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway import artifact, back_to, records, request, schema, tiers, waves
from slipway.errors import InvalidInput
from slipway.schema import Problem

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
    _refuse(schema.problems(input_schema(), given))
    completed = schema.complete(input_schema(), given)
    name = completed["environment"]
    if not isinstance(name, str):
        name = name["name"]
    known = records.current(name)
    completed["environment"] = _described(completed["environment"], known)
    release = completed["release"]
    current, history = (known or {}).get("release", {}).get("id"), records.history(name)
    by_id = not release["artifact"] and not release["sha256"]
    wrong, said = (
        artifact.examined(release, bucket) if release["artifact"] and release["sha256"] else ([], None)
    )
    _refuse(
        [
            *request.problems(completed["environment"], records.cidrs()),
            *waves.problems(completed["environment"], completed["rollout"]),
            *back_to.problems(release, current, history),
            *wrong,
        ]
    )
    completed["release"], told = back_to.resolved(release, current, history) if by_id else (release, None)
    return {
        **completed,
        "previous": _previous(known),
        "backTo": told,
        "recorded": _recorded(completed, known, history),
        "archive": said,
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
        what = f"is {environment}, of which no release has succeeded yet"
        _refuse(
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


def _previous(known: Mapping[str, Any] | None) -> dict[str, str] | None:
    if known is None:
        return None
    return {part: known["release"][part] for part in ("id", "artifact", "sha256")}


def _refuse(problems: list[Problem]) -> None:
    if not problems:
        return
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise InvalidInput(
        f"{first.path} {first.what}; allowed: {first.allowed}{more}",
        ", ".join(dict.fromkeys(problem.path for problem in problems)),
        NOTHING_CHANGED,
        problems=[problem.as_dict() for problem in problems],
    )
