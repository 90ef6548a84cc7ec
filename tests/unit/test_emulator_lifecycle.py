"""The emulated Auto Scaling: who waits for lifecycle hooks, and what becomes of it; sizes that stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import autoscaling, cloudformation, eventbridge

from rehearsal.emulator import autoscaling as groups
from rehearsal.emulator import lifecycle

NAME, HOOK = "slipway-x-web-Group", "slipway-x-web-JoinHook"
ARN = f"arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:1:autoScalingGroupName/{NAME}"


class World:
    """A group with a hook and one server; the events that were put; a clock."""

    def __init__(self, patch: pytest.MonkeyPatch, default: str = "ABANDON") -> None:
        self.now = 0.0
        self.events: list[dict[str, Any]] = []
        self.changed = 0
        self.instance: dict[str, Any] = {"InstanceId": "i-1", "LifecycleState": "Pending:Wait"}
        self.group = {
            "AutoScalingGroupName": NAME,
            "AutoScalingGroupARN": ARN,
            "Instances": [self.instance],
        }
        autoscaling._asgs[NAME] = self.group
        self.put(default)
        self.hooks = lifecycle.Hooks(lambda _group: setattr(self, "changed", self.changed + 1))
        patch.setattr("rehearsal.emulator.lifecycle.time.monotonic", lambda: self.now)
        patch.setattr(eventbridge, "_put_events", self._put_events)

    def put(self, default: str) -> None:
        fields = {"HeartbeatTimeout": 60, "DefaultResult": default, "NotificationMetadata": "x"}
        autoscaling._hooks[f"{NAME}/{HOOK}"] = autoscaling._hook_record(NAME, HOOK, fields)

    def _put_events(self, given: dict[str, Any], allow_aws_source: bool = False) -> None:
        assert allow_aws_source
        self.events += given["Entries"]

    @property
    def token(self) -> str:
        return str(json.loads(self.events[0]["Detail"])["LifecycleActionToken"])

    def ask(self, action: str, **fields: str) -> tuple[int, str]:
        params = {"AutoScalingGroupName": NAME, "LifecycleHookName": HOOK, **fields}
        status, _, body = getattr(self.hooks, action)(params)
        return status, body.decode()

    def verdict(self) -> str:
        return self.hooks.verdict(self.group, self.instance)[0]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)
    autoscaling._clear_state()


def test_event_bridge_is_told_of_the_wait_as_by_aws(world: World) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html"""
    assert world.hooks.begin(world.group, world.instance)
    [event] = world.events
    assert event["Source"] == "aws.autoscaling"
    assert event["DetailType"] == "EC2 Instance-launch Lifecycle Action"
    assert event["Resources"] == [ARN]
    assert json.loads(event["Detail"]) == {
        "LifecycleActionToken": world.token,
        "AutoScalingGroupName": NAME,
        "LifecycleHookName": HOOK,
        "EC2InstanceId": "i-1",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "NotificationMetadata": "x",
        "Origin": "EC2",
        "Destination": "AutoScalingGroup",
    }


@pytest.mark.parametrize("by", ["token", "server"])
@pytest.mark.parametrize("result", ["CONTINUE", "ABANDON"])
def test_what_is_said_counts_once(world: World, by: str, result: str) -> None:
    world.hooks.begin(world.group, world.instance)
    assert world.verdict() == ""
    who = {"LifecycleActionToken": world.token} if by == "token" else {"InstanceId": "i-1"}
    assert world.ask("complete", LifecycleActionResult=result, **who)[0] == 200
    assert world.verdict() == result
    assert world.changed == 1
    status, said = world.ask("complete", LifecycleActionResult="CONTINUE", **who)
    assert (status, world.verdict()) == (400, result)
    assert "<Code>ValidationError</Code>" in said
    assert "No active Lifecycle Action found with" in said


def test_after_its_time_the_hook_s_own_result_counts(world: World) -> None:
    world.hooks.begin(world.group, world.instance)
    world.now = 59
    assert world.ask("heartbeat", LifecycleActionToken=world.token)[0] == 200
    world.now = 118
    assert world.verdict() == ""
    world.now = 120
    result, why = world.hooks.verdict(world.group, world.instance)
    assert (result, why.endswith("was abandoned: Heartbeat Timeout")) == ("ABANDON", True)
    world.put("CONTINUE")
    assert world.verdict() == "CONTINUE"


def test_heartbeats_do_not_put_it_off_for_ever(world: World) -> None:
    world.hooks.begin(world.group, world.instance)
    for _ in range(101):
        world.now += 59
        world.ask("heartbeat", LifecycleActionToken=world.token)
    assert world.now < 100 * 60
    world.now = 100 * 60 + 1
    assert world.verdict() == "ABANDON"


def test_a_hook_that_is_deleted_lets_nobody_in(world: World) -> None:
    world.hooks.begin(world.group, world.instance)
    del autoscaling._hooks[f"{NAME}/{HOOK}"]
    assert world.verdict() == "ABANDON"


def test_a_server_that_is_leaving_is_waited_for_no_more(world: World) -> None:
    world.hooks.begin(world.group, world.instance)
    world.instance["LifecycleState"] = "Terminating"
    assert world.ask("heartbeat", LifecycleActionToken=world.token)[0] == 400
    assert world.ask("complete", LifecycleActionToken=world.token, LifecycleActionResult="CONTINUE")[0] == 400


def test_without_a_hook_nobody_waits(world: World) -> None:
    autoscaling._hooks.clear()
    assert not world.hooks.begin(world.group, world.instance)
    assert world.verdict() == "CONTINUE"
    assert world.events == []


def test_what_is_no_result_is_refused(world: World) -> None:
    world.hooks.begin(world.group, world.instance)
    assert world.ask("complete", LifecycleActionToken=world.token, LifecycleActionResult="PERHAPS")[0] == 400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"LifecycleTransition": lifecycle.LAUNCHING, "HeartbeatTimeout": "30"}, ""),
        ({"LifecycleTransition": lifecycle.LAUNCHING, "HeartbeatTimeout": 7201}, "between 30 and 7200"),
        ({"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}, "not offered"),
    ],
)
def test_hooks_that_are_not_taken(fields: dict[str, Any], said: str) -> None:
    assert said in lifecycle.wrong(fields)
    assert bool(said) == bool(lifecycle.wrong(fields))


# --- sizes of a group that CloudFormation updates ---

BEFORE = {"MinSize": 2, "MaxSize": 6, "DesiredCapacity": 5}
DECLARED = {"MinSize": "2", "MaxSize": "6", "DesiredCapacity": "2"}


@pytest.mark.parametrize(
    ("changed", "sizes"),
    [
        ({}, (2, 6, 5)),  # another property of the group
        ({"DesiredCapacity": "3"}, (2, 6, 3)),
        ({"MaxSize": "8"}, (2, 8, 5)),
        ({"MaxSize": "4"}, (2, 4, 4)),  # what scaling had moved it to is too much now
        ({"MinSize": "6"}, (6, 6, 6)),
    ],
)
def test_sizes_that_the_template_has_not_changed_stay(
    changed: dict[str, str], sizes: tuple[int, int, int]
) -> None:
    """UpdatePolicy: IgnoreUnmodifiedGroupSizeProperties."""
    new = {**DECLARED, **changed}
    after = {name: int(value) for name, value in new.items()}
    kept = groups.kept_sizes(BEFORE, DECLARED, new, after)
    assert (kept["MinSize"], kept["MaxSize"], kept["DesiredCapacity"]) == sizes


def test_only_a_group_whose_update_policy_says_so_keeps_its_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = {"AutoScalingScheduledAction": {"IgnoreUnmodifiedGroupSizeProperties": True}}
    for declared, keeps in (({"UpdatePolicy": policy}, True), ({}, False)):
        stack = {
            "_resources": {"Group": {"PhysicalResourceId": NAME}},
            "_template": {"Resources": {"Group": declared}},
        }
        monkeypatch.setattr(cloudformation, "_stacks", {"slipway-x-web": stack})
        assert groups.ignores_unmodified_sizes("slipway-x-web", NAME) is keeps
        assert not groups.ignores_unmodified_sizes("slipway-x-web", "another")
