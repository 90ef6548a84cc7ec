"""The snapshot before a migration: a free and telling name, begun once, and what the receipt says of it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import restore_point
from slipway.errors import DatabaseRefused
from tests.unit.fakes import install, patience, refused

EXECUTION = {"arn": "arn:execution:1", "name": "1", "startedAt": "2026-11-22T10:11:12.345Z"}
NAME = "slipway-arable-before-r-2-20261122t101112z"


class Rds:
    """Snapshots by name; a new one is complete at the given look."""

    def __init__(self, complete_after: int = 1, busy: bool = False) -> None:
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.complete_after = complete_after
        self.busy = busy

    def create_db_snapshot(self, **asked: Any) -> None:
        if self.busy:
            raise refused("InvalidDBInstanceState")
        if asked["DBSnapshotIdentifier"] in self.snapshots:
            raise refused("DBSnapshotAlreadyExists")
        self.snapshots[asked["DBSnapshotIdentifier"]] = {
            "Status": "creating",
            "PercentProgress": 0,
            "TagList": asked["Tags"],
        }

    def describe_db_snapshots(self, DBSnapshotIdentifier: str) -> dict[str, Any]:
        if DBSnapshotIdentifier not in self.snapshots:
            raise refused("DBSnapshotNotFound")
        self.complete_after -= 1
        found = self.snapshots[DBSnapshotIdentifier]
        if self.complete_after <= 0 and found["Status"] == "creating":
            found |= {"Status": "available", "PercentProgress": 100}
        return {"DBSnapshots": [found]}


def create(execution: dict[str, str] = EXECUTION) -> dict[str, Any]:
    return restore_point.create("db", "arable", "R.2", execution, patience())


def test_it_is_begun_and_named_after_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Rds(complete_after=3)
    install(monkeypatch, rds=fake)
    assert create() == {
        "status": "available",
        "snapshot": NAME,
        "detail": f"{NAME} is available (100 %)",
    }
    tags = {tag["Key"]: tag["Value"] for tag in fake.snapshots[NAME]["TagList"]}
    assert tags == {
        "slipway:environment": "arable",
        "slipway:release": "R.2",
        "slipway:execution": EXECUTION["arn"],
    }


def test_asked_again_it_finds_what_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Rds(complete_after=1000)
    install(monkeypatch, rds=fake)
    assert [create()["status"], create()["status"]] == ["creating", "creating"]
    assert list(fake.snapshots) == [NAME]


def test_a_name_that_somebody_else_took_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Rds()
    install(monkeypatch, rds=fake)
    create({**EXECUTION, "arn": "another"})
    assert create()["snapshot"] == NAME + "-2"
    fake.snapshots |= {f"{NAME}-{number}": {"Status": "available", "TagList": []} for number in range(2, 10)}
    with pytest.raises(DatabaseRefused, match="no name is free"):
        create()


def test_an_instance_that_is_busy_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, rds=Rds(busy=True))
    assert (create()["status"], create()["snapshot"]) == ("busy", None)


@pytest.mark.parametrize("status", ["failed", None])
def test_one_that_will_never_be_complete_ends_the_release(
    status: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Rds(complete_after=1000)
    fake.snapshots = {"s": {"Status": status}} if status else {}
    install(monkeypatch, rds=fake)
    with pytest.raises(DatabaseRefused, match="nothing was migrated"):
        restore_point.check("s", patience())


FOUND = {"pending": ["1"], "empty": False}
WANTED = {"migrate": True, "backup": True}


@pytest.mark.parametrize(
    ("release", "found", "made", "snapshot", "why"),
    [
        (WANTED, FOUND, {"status": "available", "snapshot": "s"}, "s", "migrations were pending"),
        (
            WANTED,
            FOUND,
            {"status": "creating", "detail": "s is creating"},
            None,
            "not complete: s is creating",
        ),
        (WANTED, FOUND, None, None, "not reached"),
        (WANTED, None, None, None, "not reached"),
        (WANTED, {**FOUND, "pending": []}, None, None, "not needed: no migration was pending"),
        (WANTED, {**FOUND, "empty": True}, None, None, "not needed: the database was empty"),
        ({**WANTED, "backup": False}, FOUND, None, None, "skipped: release.backup is false"),
        ({**WANTED, "migrate": False}, None, None, None, "not needed: this release migrates nothing"),
    ],
)
def test_what_the_receipt_says(
    release: dict[str, Any], found: Any, made: Any, snapshot: str | None, why: str
) -> None:
    assert restore_point.told(release, found, made) == {"snapshot": snapshot, "why": why}
