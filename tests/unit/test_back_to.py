"""Releases that are asked for by their id alone: which one is meant, and what was migrated since."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import back_to


def entry(name: str, ending: str = "Succeeded", **more: Any) -> dict[str, Any]:
    release = {"id": name, "artifact": f"s3://b/releases/{name}.tar.gz", "sha256": name[-1] * 64}
    return {"release": release, "ending": ending, "migrations": {"ran": []}, **more}


def migrating(name: str, *versions: str, snapshot: str | None = None, **more: Any) -> dict[str, Any]:
    found = entry(name, **more)
    return {**found, "migrations": {"ran": list(versions)}, "restorePoint": {"snapshot": snapshot}}


HISTORY = [
    migrating("r1", "20260101"),
    migrating("r2", "20260202", snapshot="before-r2"),
    entry("r3", "FailedClean", failure={"phase": "migrate"}),
    entry("r4"),
]


def said(name: str, current: str | None = "r4", history: Any = HISTORY, **more: str) -> list[str]:
    return [
        f"{one.path} {one.what}; {one.allowed}"
        for one in back_to.problems({"id": name, **more}, current, history)
    ]


@pytest.mark.parametrize(("asked", "found"), [("previous", "r2"), ("r1", "r1"), ("r4", "r4")])
def test_which_one_is_meant(asked: str, found: str) -> None:
    assert said(asked) == []
    release, told = back_to.resolved({"id": asked, "migrate": True, "backup": True}, "r4", HISTORY)
    assert release == {**entry(found)["release"], "migrate": False, "backup": True}
    assert told["release"] == found


def test_previous_of_a_release_that_was_brought_back_is_the_one_that_it_replaced() -> None:
    history = [*HISTORY, entry("r2")]
    assert back_to.resolved({"id": "previous"}, "r2", history)[0]["id"] == "r4"


def test_what_was_migrated_since() -> None:
    _, told = back_to.resolved({"id": "r1"}, "r4", HISTORY)
    assert told["migrationsSince"] == [
        {"release": "r2", "migrations": ["20260202"]},
        {"release": "r3", "migrations": [], "failed": True},
    ]
    assert told["restorePoints"] == ["before-r2"]
    assert told["says"] == (
        "Migrations ran since r1 was released and are not undone (r2: 20260202; r3: a migration that failed)."
        " The database as it was before is in the snapshot before-r2."
    )


def test_a_release_that_came_back_is_as_old_as_its_schema() -> None:
    _, told = back_to.resolved({"id": "r1"}, "r4", [*HISTORY, entry("r1"), entry("r4")])
    assert told["migrationsSince"][0] == {"release": "r2", "migrations": ["20260202"]}


def test_nothing_was_migrated_since() -> None:
    assert (
        back_to.resolved({"id": "r4"}, "r4", HISTORY)[1]["says"] == "No migration ran since r4 was released."
    )


def test_what_cannot_be_brought_back() -> None:
    offered = "previous, or one of r2, r1; a new release needs artifact and sha256"
    assert said("r3") == [f"release.id is r3, of which no release has succeeded here; {offered}"]
    assert said("previous", "r1", [HISTORY[0]]) == [
        "release.id is previous, but no other release has succeeded here before;"
        " a new release needs artifact and sha256"
    ]


@pytest.mark.parametrize(("given", "missing"), [("artifact", "sha256"), ("sha256", "artifact")])
def test_half_of_a_release(given: str, missing: str) -> None:
    assert said("r9", **{given: "x"}) == [
        f"release.{missing} is missing; both artifact and sha256, or neither"
    ]


def test_the_word_previous_is_no_id() -> None:
    assert said("r9", artifact="a", sha256="b") == []
    assert said("previous", artifact="a", sha256="b") == [
        "release.id is previous, which means the release before; an id of its own"
    ]


def test_current_is_the_release_that_serves_and_migrates_nothing() -> None:
    assert said("current") == []
    known = {"release": {"id": "r4", "artifact": "s3://b/r4.tar.gz", "sha256": "4" * 64, "migrate": True}}
    asked = {"id": "current", "artifact": "", "sha256": "", "migrate": True, "backup": True}
    assert back_to.kept(asked, known) == {
        "id": "r4",
        "artifact": "s3://b/r4.tar.gz",
        "sha256": "4" * 64,
        "migrate": False,
        "backup": True,
    }


def test_current_needs_a_release_that_serves() -> None:
    assert said("current", current=None, history=[]) == [
        "release.id is current, but nothing has been released here yet; "
        "a new release, which needs artifact and sha256"
    ]


def test_no_release_of_its_own_is_called_current() -> None:
    parts = {"artifact": "s3://b/x.tar.gz", "sha256": "1" * 64}
    assert said("current", **parts) == [
        "release.id is current, which means the release that serves; an id of its own"
    ]


def test_a_remedy_is_of_the_release_that_serves() -> None:
    asked = {"id": "r1", "artifact": "", "sha256": ""}
    [problem] = back_to.problems(asked, "r4", HISTORY, remedy=True)
    assert (problem.path, problem.allowed) == ("remedy", "release.id current")
    assert list(back_to.problems({**asked, "id": "current"}, "r4", HISTORY, remedy=True)) == []
