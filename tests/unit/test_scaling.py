"""Auto Scaling held still and let go, also by somebody else, after an attempt that was cut off."""

from __future__ import annotations

from typing import Any

import pytest

from resume_scaling.app import handler as resume_scaling
from slipway import scaling
from slipway.errors import LockLost
from suspend_scaling.app import handler as suspend_scaling
from tests.unit.fakes import LOCK, install, refused

GROUP = "slipway-arable-web-Group"
EVENT = {
    "environment": "arable",
    "outputs": {"web": {"AutoScalingGroupName": GROUP}},
    "lock": LOCK,
}


class Table:
    """One table; the environment is locked."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {"LOCK": {"fence": {"N": "1"}, "holder": {"S": "arn:holder"}}}

    def get_item(self, Key: dict[str, Any], **_: Any) -> dict[str, Any]:
        item = self.items.get(Key["sk"]["S"])
        return {"Item": item} if item else {}

    def put_item(self, Item: dict[str, Any], **_: Any) -> None:
        self.items[Item["sk"]["S"]] = Item


class Group:
    """A group with processes; `broken`: its next suspension is cut off after it was done."""

    def __init__(self, *suspended: str) -> None:
        self.suspended = set(suspended)
        self.there = True
        self.broken = False

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> dict[str, Any]:
        processes = [{"ProcessName": name, "SuspensionReason": "…"} for name in sorted(self.suspended)]
        return {"AutoScalingGroups": [{"SuspendedProcesses": processes}] if self.there else []}

    def suspend_processes(self, AutoScalingGroupName: str, ScalingProcesses: list[str]) -> None:
        assert AutoScalingGroupName == GROUP
        self.suspended |= set(ScalingProcesses)
        if self.broken:
            self.broken = False
            raise refused("InternalFailure", "SuspendProcesses", status=500)

    def resume_processes(self, AutoScalingGroupName: str, ScalingProcesses: list[str]) -> None:
        assert self.there
        self.suspended -= set(ScalingProcesses)


def use(monkeypatch: pytest.MonkeyPatch, group: Group) -> Table:
    table = Table()
    monkeypatch.setenv("TABLE_NAME", "slipway")
    install(monkeypatch, dynamodb=table, autoscaling=group)
    return table


def test_suspended_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    use(monkeypatch, group)
    assert suspend_scaling(EVENT, None) == {"processes": sorted(scaling.PROCESSES)}
    assert group.suspended == set(scaling.PROCESSES)
    assert resume_scaling({"environment": "arable"}, None) == {"processes": sorted(scaling.PROCESSES)}
    assert group.suspended == set()
    assert resume_scaling({"environment": "arable"}, None) == {"processes": []}


def test_what_somebody_else_suspended_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group("AZRebalance", "Terminate")
    use(monkeypatch, group)
    scaling.suspend("arable", GROUP)
    scaling.resume("arable")
    assert group.suspended == {"AZRebalance", "Terminate"}


def test_an_attempt_that_was_cut_off_is_not_taken_for_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group("AZRebalance")
    use(monkeypatch, group)
    group.broken = True
    with pytest.raises(Exception, match="InternalFailure"):
        suspend_scaling(EVENT, None)
    suspend_scaling(EVENT, None)
    suspend_scaling(EVENT, None)
    scaling.resume("arable")
    assert group.suspended == {"AZRebalance"}


def test_all_suspended_by_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(*scaling.PROCESSES)
    use(monkeypatch, group)
    assert scaling.suspend("arable", GROUP) == {"processes": []}
    assert scaling.resume("arable") == {"processes": []}
    assert group.suspended == set(scaling.PROCESSES)


def test_a_group_that_is_gone_is_nothing_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    use(monkeypatch, group)
    scaling.suspend("arable", GROUP)
    group.there = False
    scaling.resume("arable")
    assert scaling.resume("arable") == {"processes": []}


def test_who_has_lost_the_lock_suspends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    use(monkeypatch, group).items["LOCK"]["fence"] = {"N": "2"}
    with pytest.raises(LockLost):
        suspend_scaling(EVENT, None)
    assert group.suspended == set()
