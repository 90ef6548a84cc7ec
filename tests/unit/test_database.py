"""Whether a DB instance can be used, by its status."""

from __future__ import annotations

from typing import Any

import pytest

from check_database.app import handler
from slipway import database
from slipway.errors import DatabaseRefused
from tests.unit.fakes import install, patience, refused


class Rds:
    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)

    def describe_db_instances(self, DBInstanceIdentifier: str) -> dict[str, Any]:
        if not self.statuses:
            raise refused("DBInstanceNotFound", "DescribeDBInstances")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"DBInstances": [{"DBInstanceStatus": status}]}


def test_ready_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, rds=Rds("available"))
    answer = handler({"environment": "arable", "outputs": {"database": {"InstanceIdentifier": "db"}}}, None)
    assert answer == {"status": "ready", "detail": "db is available"}


def test_lingers_through_a_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, rds=Rds("creating", "creating", "backing-up"))
    assert database.check("db", patience())["status"] == "ready"


@pytest.mark.parametrize("status", ["creating", "modifying", "rebooting", "a-status-of-the-future"])
def test_waiting(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, rds=Rds(status))
    assert database.check("db", patience()) == {"status": "waiting", "detail": f"db is {status}"}


def test_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, rds=Rds())
    assert database.check("db", patience()) == {"status": "waiting", "detail": "db is not there"}


@pytest.mark.parametrize("status", sorted(database.LOST))
def test_lost(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, rds=Rds(status))
    with pytest.raises(DatabaseRefused, match=status):
        database.check("db", patience())
