"""The answer of a plan, from what the servers, the archives and the table say."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import boto3
import pytest

from slipway import lock, plan, planning, records, restore_point
from slipway.aws import states
from tests.contract.shipped import TIERS
from tests.contract.test_payloads import completed
from tests.unit.conftest import BUCKET
from write_plan.app import handler as write_plan

EXECUTION = {"arn": "arn:aws:states:x:1:execution:slipway-release:plan-1", "name": "plan-1", "startedAt": ""}
ROWS = [plan.row(name, f"slipway-arable-{name}", "unchanged") for name in TIERS]
READY = {
    "status": "ready",
    "servers": [{"id": "i-1"}, {"id": "i-2"}],
    "waves": [{"servers": ["i-1", "i-2"]}],
    "drainWaves": [{"servers": ["i-1"]}, {"servers": ["i-2"]}],
    "detail": "2 of 2 servers are ready",
}


def request(**release: Any) -> dict[str, Any]:
    wanted = completed()
    return {
        **wanted,
        "release": {**wanted["release"], "id": "r2", **release},
        "rollout": {**wanted["rollout"], "strategy": "drain"},
        "previous": {"id": "r1", "artifact": f"s3://{BUCKET}/releases/r1.tar.gz", "sha256": "0" * 64},
        "recorded": {"same": False, "outputs": {}},
        "archive": {"migrations": ["20261101090000_create_posts", "20261108080000_add_place"]},
    }


def upload(name: str, *migrations: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in ["Gemfile", "Gemfile.lock", "config.ru", *(f"db/migrate/{one}.rb" for one in migrations)]:
            archive.addfile(tarfile.TarInfo(path), io.BytesIO())
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"releases/{name}.tar.gz", Body=packed.getvalue())


def answered(given: dict[str, Any], servers: Any = READY, preflight: Any = None) -> dict[str, Any]:
    event = {"request": given, "previews": {"rows": ROWS}, "servers": servers}
    return write_plan({**event, "preflight": preflight, "execution": EXECUTION}, None)


@pytest.mark.usefixtures("aws")
def test_a_plan_of_a_next_release() -> None:
    upload("r1", "20261101090000_create_posts")
    told = answered(request())
    assert (told["plan"], told["environment"], told["before"]) == (True, "arable", "r1")
    assert told["migrations"]["pending"] == ["20261108080000_add_place"]
    assert told["restorePoint"]["wanted"] is True
    assert [wave["servers"] for wave in told["waves"]] == [["i-1"], ["i-2"]]
    assert told["blocked"] == told["allow"] == []
    assert "20261108080000_add_place" in told["text"]
    assert plan.size(told) < 16 * 1024


@pytest.mark.usefixtures("aws")
def test_side_by_side_takes_its_own_waves() -> None:
    given = request(migrate=False)
    given["rollout"]["strategy"] = "side_by_side"
    told = answered(given)
    assert [wave["servers"] for wave in told["waves"]] == [["i-1", "i-2"]]


@pytest.mark.usefixtures("aws")
def test_an_archive_that_serves_and_has_gone_leaves_the_migrations_open() -> None:
    told = answered(request())
    assert told["migrations"]["pending"] is None
    assert told["restorePoint"]["wanted"] is None
    assert "Migrations: not known" in told["text"]


@pytest.mark.usefixtures("aws")
def test_a_first_release_has_all_migrations_pending_and_nothing_to_restore() -> None:
    told = answered({**request(), "previous": None}, servers=None)
    assert len(told["migrations"]["pending"]) == 2
    assert told["restorePoint"]["wanted"] is False
    assert "could not be asked for" in told["text"]


def test_restore_points_are_wanted_as_a_release_makes_them() -> None:
    """Held against what the receipt says of the same release."""
    for migrate in (True, False):
        for backup in (True, False):
            for pending in ([], ["1"]):
                given = request(migrate=migrate, backup=backup)
                wanted = planning.restore_point(given, pending)["wanted"]
                found = {"pending": pending, "empty": False}
                told = restore_point.told(given["release"], found if migrate else None, None)
                assert wanted == (told["why"] == "not reached"), (migrate, backup, pending)


@pytest.mark.usefixtures("aws")
def test_a_release_that_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "status", lambda arn: "RUNNING")
    monkeypatch.setattr(states, "current_state", lambda arn: "RollOut")
    running = {"environment": {"name": "arable"}, "release": {"id": "r1b"}}
    lock.acquire(running, "arn:running")
    told = answered(request(migrate=False))
    [sentence] = told["blocked"]
    assert "release r1b has been running" in sentence
    assert "now at RollOut (arn:running)" in sentence
    assert sentence in told["text"]
    monkeypatch.setattr(states, "status", lambda arn: "SUCCEEDED")
    assert answered(request(migrate=False))["blocked"] == []


@pytest.mark.usefixtures("aws")
def test_what_preflight_found_is_in_the_plan() -> None:
    problem = {"check": "disk", "where": "i-1", "what": "8 MiB are free", "next": "make room"}
    warning = {"check": "certificate", "where": "arn", "what": "20 days left", "next": "see why"}
    told = answered(
        request(migrate=False), preflight={"problems": [problem], "warnings": [warning], "servers": []}
    )
    assert told["blocked"] == ["disk: i-1: 8 MiB are free; make room"]
    assert told["preflight"] == {"problems": [problem], "warnings": [warning]}
    assert "20 days left" in told["text"]


@pytest.mark.usefixtures("aws")
def test_the_time_goes_by_the_last_release() -> None:
    receipt = {
        "ending": "Succeeded",
        "before": "r0",
        "release": {"id": "r1"},
        "seconds": 47,
        "transitions": 80,
    }
    records.add_history("arable", "2026-11-22T10:00:00Z", "r1", "run-1", receipt)
    told = answered(request(migrate=False))
    assert told["estimate"]["seconds"] == 47
    assert "release r1 took 47 s" in told["text"]


@pytest.mark.usefixtures("aws")
def test_what_was_released_last_is_told_so() -> None:
    given = request(migrate=False)
    given["recorded"]["same"] = True
    assert "changes nothing at all" in answered(given)["text"]
