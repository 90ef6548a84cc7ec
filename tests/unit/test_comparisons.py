"""One server's report against the recorded release: what is found, and what is none of anybody's business."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.drift import servers
from slipway.drift.finding import Finding

CURRENT: dict[str, Any] = {
    "environment": {"name": "arable", "application": "arable", "web": {"ruby": "3.4"}},
    "release": {"id": "r2", "sha256": "0" * 64, "migrate": True},
}
SAME = {"recorded": "a", "actual": "a", "differences": 0, "firstDifferences": []}
WELL: dict[str, Any] = {
    "ok": True,
    "release": "r2",
    "sha256": "0" * 64,
    "ruby": "3.4.1",
    "services": {"nginx": "active", "arable": "active"},
    "enabled": {"nginx": True, "arable": True},
    "code": SAME,
    "configuration": {"written": 8, "differences": 0, "firstDifferences": []},
    "pending": [],
    "bootedSeconds": 100,
    "restarted": False,
}


def judged(result: dict[str, Any] | None, release: dict[str, Any] | None = None) -> list[Finding]:
    current = {**CURRENT, "release": {**CURRENT["release"], **(release or {})}}
    return servers.judged(current, [{"server": "i-1", "result": result, "why": "no answer"}], "the remedy")


def differing(*first: str, differences: int | None = None) -> dict[str, Any]:
    number = len(first) if differences is None else differences
    return {**SAME, "actual": "b", "written": 8, "differences": number, "firstDifferences": list(first)}


@pytest.mark.parametrize(
    ("change", "kind", "found", "remediable"),
    [
        ({"release": "r1"}, "server_release", "r1", True),
        ({"release": None}, "server_release", "nothing", True),
        ({"sha256": "f" * 64}, "server_release", "f" * 64, True),
        ({"code": differing("changed app/a.rb", "gone b")}, "server_code", "changed app/a.rb, gone b", True),
        ({"code": differing("changed a", differences=9)}, "server_code", "changed a and 8 more", True),
        ({"ruby": "3.2.9"}, "server_ruby", "3.2.9", True),
        ({"configuration": differing("changed /etc/x")}, "server_configuration", "changed /etc/x", True),
        ({"configuration": differing("added /etc/x")}, "server_configuration", "added /etc/x", False),
        ({"services": {"nginx": "inactive", "arable": "active"}}, "server_service", "inactive", True),
        (
            {"services": {"nginx": "active", "arable": "failed"}, "release": None},
            "server_service",
            "failed",
            True,
        ),
        ({"enabled": {"nginx": False, "arable": True}}, "server_service", "switched off", True),
        ({"pending": ["1", "2"]}, "server_migrations", "1, 2", False),
        ({"restarted": True}, "server_restarted", "restarted", False),
    ],
)
def test_one_thing_is_found_once(change: dict[str, Any], kind: str, found: str, remediable: bool) -> None:
    [one] = judged({**WELL, **change})
    assert (one["kind"], one["found"], one["remediable"]) == (kind, found, remediable)
    if remediable:
        assert one["remedy"] == "the remedy"
    assert "i-1" in one["where"] or kind == "server_migrations"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"code": None, "configuration": None},  # prepared by an earlier version
        {"ruby": "3.4.7"},
        {"restarted": True, "bootedSeconds": 90_000},
        {"uptimeSeconds": 5},
    ],
)
def test_what_is_well_is_not_told(change: dict[str, Any]) -> None:
    assert judged({**WELL, **change}) == []


def test_a_release_without_migrations_may_leave_some() -> None:
    assert judged({**WELL, "pending": ["1"]}, {"migrate": False}) == []


def test_what_only_earlier_documents_told() -> None:
    assert judged({"ok": True, "release": "r2"}) == []


def test_a_server_that_does_not_answer() -> None:
    [one] = judged(None)
    assert one["kind"] == "server_silent"


def test_migrations_are_told_once_for_all_servers() -> None:
    reports = [{"server": f"i-{n}", "result": {**WELL, "pending": ["1"]}, "why": ""} for n in range(3)]
    assert len(servers.judged(CURRENT, reports, "")) == 1
