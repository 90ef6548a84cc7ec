"""Auto Scaling held still and let go, also by somebody else, after an attempt that was cut off."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resume_scaling.app import handler as resume_scaling
from slipway import scaling
from slipway.errors import LockLost
from suspend_scaling.app import handler as suspend_scaling
from tell_suspended.app import handler as tell_suspended
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
    scaling.suspend("arable", GROUP, 1)
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
    assert scaling.suspend("arable", GROUP, 1) == {"processes": []}
    assert scaling.resume("arable") == {"processes": []}
    assert group.suspended == set(scaling.PROCESSES)


def test_a_group_that_is_gone_is_nothing_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    use(monkeypatch, group)
    scaling.suspend("arable", GROUP, 1)
    group.there = False
    scaling.resume("arable")
    assert scaling.resume("arable") == {"processes": []}


def test_who_has_lost_the_lock_suspends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    use(monkeypatch, group).items["LOCK"]["fence"] = {"N": "2"}
    with pytest.raises(LockLost):
        suspend_scaling(EVENT, None)
    assert group.suspended == set()


class Told:
    """EventBridge and SNS."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[str] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.events += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in Entries]
        return {"FailedEntryCount": 0}

    def publish(self, Message: str, **_: Any) -> None:
        self.messages.append(Message)


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}

    def put_object(self, Key: str, Body: bytes, **_: Any) -> None:
        self.objects[Key] = json.loads(Body)


COMMAND = (
    f"aws autoscaling resume-processes --region eu-central-1 --auto-scaling-group-name {GROUP} "
    "--scaling-processes AZRebalance AlarmNotification InstanceRefresh ReplaceUnhealthy "
    "ScheduledActions"
)
RECEIPT = {
    "environment": "arable",
    "release": {"id": "2"},
    "execution": "arn:aws:states:eu-central-1:123456789012:execution:slipway-release:two",
    "startedAt": "2026-11-22T10:00:00Z",
    "unchanged": False,
    "warnings": [{"check": "certificate"}],
    "states": [],
    "plan": None,
}


def telling(monkeypatch: pytest.MonkeyPatch, group: Group) -> tuple[Table, Told, Bucket]:
    table, told, bucket = use(monkeypatch, group), Told(), Bucket()
    for name, value in (
        ("AWS_REGION", "eu-central-1"),
        ("TOPIC_ARN", "arn:topic"),
        ("ARTIFACT_BUCKET", "artifacts"),
    ):
        monkeypatch.setenv(name, value)
    install(monkeypatch, dynamodb=table, autoscaling=group, events=told, sns=told, s3=bucket)
    return table, told, bucket


def test_what_stays_suspended_is_told_with_the_command_that_resumes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, told, bucket = telling(monkeypatch, Group())
    scaling.suspend("arable", GROUP, 1)
    answer = tell_suspended({"environment": "arable", "receipt": RECEIPT}, None)
    [warning] = answer["warnings"]
    assert (warning["where"], warning["next"].endswith(COMMAND)) == (GROUP, True)
    assert answer["next"].endswith(COMMAND)
    assert answer["receipt"]["warnings"] == [{"check": "certificate"}, warning]
    assert bucket.objects == {"receipts/arable/two.json": answer["receipt"]}
    [history] = [item for key, item in table.items.items() if key.startswith("RELEASE#")]
    assert json.loads(history["document"]["S"])["warnings"] == answer["receipt"]["warnings"]
    assert told.events == [("scaling suspended", {"environment": "arable", **warning})]
    assert COMMAND in told.messages[0]


def test_a_failure_has_no_receipt_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    _, told, bucket = telling(monkeypatch, Group())
    scaling.suspend("arable", GROUP, 1)
    answer = tell_suspended({"environment": "arable", "receipt": None}, None)
    assert (answer["receipt"], bucket.objects, len(told.events)) == (None, {}, 1)


def test_what_was_resumed_after_all_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, told, bucket = telling(monkeypatch, Group())
    answer = tell_suspended({"environment": "arable", "receipt": RECEIPT}, None)
    assert answer == {"warnings": [], "next": "", "receipt": RECEIPT}
    assert (told.events, bucket.objects) == ([], {})


def test_a_release_has_its_servers_from_the_suspension_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Group(*scaling.PROCESSES))
    assert not scaling.held("arable", 1)
    suspend_scaling(EVENT, None)
    assert scaling.held("arable", 1)
    assert not scaling.held("arable", 2), "the next holder has not begun"
    resume_scaling({"environment": "arable"}, None)
    assert not scaling.held("arable", 1)


def test_launching_that_was_stopped_goes_on_when_a_release_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    use(monkeypatch, group)
    scaling.stop_launching("arable", GROUP)
    scaling.stop_launching("arable", GROUP)
    assert group.suspended == {"Launch"}
    scaling.suspend("arable", GROUP, 1)
    assert scaling.resume("arable") == {"processes": [*sorted(scaling.PROCESSES), "Launch"]}
    assert group.suspended == set()
    assert scaling.resume("arable") == {"processes": []}


def test_launching_that_somebody_else_stopped_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group("Launch")
    use(monkeypatch, group)
    scaling.stop_launching("arable", GROUP)
    scaling.resume("arable")
    assert group.suspended == {"Launch"}


def test_launching_that_was_stopped_is_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    telling(monkeypatch, Group())
    assert scaling.left("arable") is None
    scaling.stop_launching("arable", GROUP)
    assert scaling.left("arable") == {"group": GROUP, "processes": ["Launch"]}
    scaling.suspend("arable", GROUP, 1)
    left = scaling.left("arable")
    assert left == {"group": GROUP, "processes": [*sorted(scaling.PROCESSES), "Launch"]}
    scaling.resume("arable")
    assert scaling.left("arable") is None
