"""Launch lifecycle hooks: a new server waits until somebody says whether it may come into service.

EventBridge is told of each wait. What is said in time counts: CONTINUE or ABANDON, by token or by server;
after the heartbeat time-out the hook's default result, unless a heartbeat has put it off; at the latest after
100 such times, or 48 hours. A hook that is deleted meanwhile lets nobody in. Hooks for servers that leave are
not played here, and refused.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import Handler

RELIES_ON = (
    ("services.autoscaling", "_hooks"),
    ("services.autoscaling", "_error"),
    ("services.autoscaling", "_xml"),
    ("services.autoscaling", "_p"),
    ("services.eventbridge", "_put_events"),
)

TYPE = "AWS::AutoScaling::LifecycleHook"
LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
RESULTS = ("CONTINUE", "ABANDON")
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html#lifecycle-hook-considerations
MOST_HEARTBEATS, MOST_SECONDS = 100, 48 * 3600
HEARTBEAT_SECONDS = (30, 7200)

logger = logging.getLogger("autoscaling")

Group = dict[str, Any]


class Hooks:
    """What each server waits for."""

    def __init__(self, changed: Callable[[Group], None]) -> None:
        """`changed`: look after that group now."""
        self._changed = changed

    def begin(self, group: Group, instance: dict[str, Any]) -> bool:
        """Whether the server has to wait. EventBridge is told for what."""
        hooks, now = _of(group["AutoScalingGroupName"]), time.monotonic()
        instance["_actions"] = {
            name: {"token": str(uuid.uuid4()), "began": now, "until": now + hook["HeartbeatTimeout"]}
            for name, hook in hooks.items()
        }
        for name, hook in hooks.items():
            self._tell(group, instance, name, hook)
        return bool(hooks)

    def verdict(self, group: Group, instance: Mapping[str, Any]) -> tuple[str, str]:
        """(CONTINUE | ABANDON | empty while it waits, why)."""
        hooks = _of(group["AutoScalingGroupName"])
        results = []
        for name, action in instance.get("_actions", {}).items():
            result = action.get("result", "")
            why = f"Lifecycle Action Completed with {result} Result"
            if not result and name not in hooks:
                result, why = "ABANDON", "Lifecycle Hook Deleted"
            elif not result and time.monotonic() > action["until"]:
                result, why = hooks[name]["DefaultResult"], "Heartbeat Timeout"
            results.append((result, f"Lifecycle Action with token {action['token']} was abandoned: {why}"))
        abandoned = [one for one in results if one[0] == "ABANDON"]
        if abandoned:
            return abandoned[0]
        return ("", "") if any(not result for result, _ in results) else ("CONTINUE", "")

    def _tell(self, group: Group, instance: Mapping[str, Any], name: str, hook: Mapping[str, Any]) -> None:
        detail = {
            "LifecycleActionToken": instance["_actions"][name]["token"],
            "AutoScalingGroupName": group["AutoScalingGroupName"],
            "LifecycleHookName": name,
            "EC2InstanceId": instance["InstanceId"],
            "LifecycleTransition": LAUNCHING,
            "Origin": "EC2",
            "Destination": "AutoScalingGroup",
        }
        if hook.get("NotificationMetadata"):
            detail["NotificationMetadata"] = hook["NotificationMetadata"]
        entry = {
            "Source": "aws.autoscaling",
            "DetailType": "EC2 Instance-launch Lifecycle Action",
            "Detail": json.dumps(detail),
            "Resources": [group["AutoScalingGroupARN"]],
        }
        ministack("services.eventbridge")._put_events({"Entries": [entry]}, allow_aws_source=True)
        logger.info("%s: %s waits for %s", group["AutoScalingGroupName"], instance["InstanceId"], name)

    # API

    def complete(self, params: dict[str, Any]) -> Any:
        """CompleteLifecycleAction."""
        service = ministack("services.autoscaling")
        result = service._p(params, "LifecycleActionResult")
        if result not in RESULTS:
            return service._error("ValidationError", f"LifecycleActionResult must be one of {list(RESULTS)}")
        group, action = self._action(params)
        if group is None or action is None:
            return _none_active(params)
        action["result"] = result
        self._changed(group)
        return service._xml(200, "CompleteLifecycleActionResponse", "<CompleteLifecycleActionResult/>")

    def heartbeat(self, params: dict[str, Any]) -> Any:
        """RecordLifecycleActionHeartbeat."""
        service = ministack("services.autoscaling")
        group, action = self._action(params)
        if group is None or action is None:
            return _none_active(params)
        hook = _of(group["AutoScalingGroupName"])[service._p(params, "LifecycleHookName")]
        most = min(MOST_SECONDS, MOST_HEARTBEATS * hook["HeartbeatTimeout"])
        action["until"] = min(time.monotonic() + hook["HeartbeatTimeout"], action["began"] + most)
        return service._xml(
            200,
            "RecordLifecycleActionHeartbeatResponse",
            "<RecordLifecycleActionHeartbeatResult/>",
        )

    def _action(self, params: dict[str, Any]) -> tuple[Group | None, dict[str, Any] | None]:
        """The group, and what one of its servers waits for, if it still does."""
        service = ministack("services.autoscaling")
        name, hook = service._p(params, "AutoScalingGroupName"), service._p(params, "LifecycleHookName")
        token, server = service._p(params, "LifecycleActionToken"), service._p(params, "InstanceId")
        group = service._asgs.get(name)
        for instance in (group or {"Instances": []})["Instances"]:
            action = instance.get("_actions", {}).get(hook)
            asked = action is not None and (token == action["token"] or server == instance["InstanceId"])
            if asked and "result" not in action and instance["LifecycleState"] == "Pending:Wait":
                return group, action
        return None, None


def offered(original: Handler) -> Handler:
    """PutLifecycleHook for servers that come."""
    service = ministack("services.autoscaling")

    def put(params: dict[str, Any]) -> Any:
        fields = {name: service._p(params, name) for name in ("LifecycleTransition", "HeartbeatTimeout")}
        if problem := wrong(fields):
            return service._error("ValidationError", problem)
        return original(params)

    return put


def made(original: Handler) -> Handler:
    """CloudFormation's create of a hook, likewise."""

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        if problem := wrong(props):
            raise ValueError(problem)
        return original(logical_id, props, stack_name)

    return create


def wrong(fields: Mapping[str, Any]) -> str:
    """Why such a hook is not taken; empty if it is."""
    if fields.get("LifecycleTransition") != LAUNCHING:
        return f"{fields.get('LifecycleTransition')} is not offered by the rehearsal"
    least, most = HEARTBEAT_SECONDS
    if not least <= int(fields.get("HeartbeatTimeout") or 3600) <= most:
        return f"HeartbeatTimeout must be between {least} and {most} seconds"
    return ""


def _of(name: str) -> dict[str, dict[str, Any]]:
    hooks = ministack("services.autoscaling")._hooks.values()
    return {hook["LifecycleHookName"]: hook for hook in hooks if hook["AutoScalingGroupName"] == name}


def _none_active(params: dict[str, Any]) -> Any:
    """AWS's words, which somebody may go by."""
    service = ministack("services.autoscaling")
    token, server = service._p(params, "LifecycleActionToken"), service._p(params, "InstanceId")
    what = f"token {token}" if token else f"instance ID {server}"
    return service._error("ValidationError", f"No active Lifecycle Action found with {what}")
