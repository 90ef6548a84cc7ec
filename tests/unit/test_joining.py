"""A new server: what it is given, what it waits for, what becomes of one that cannot join."""

from __future__ import annotations

import json
from typing import Any

import pytest

from check_newcomer.app import handler as check_newcomer
from complete_join.app import handler as complete_join
from plan_join.app import handler as plan_join
from slipway import joining, lock, records, scaling, servers
from slipway.aws import autoscaling
from slipway.errors import AwsRefused, CommandFailed
from start_join_command.app import handler as start_join_command
from tests.unit.fakes import Paging, install, patience, refused

GROUP = "slipway-arable-web-Group"
ACTION = {
    "AutoScalingGroupName": GROUP,
    "LifecycleHookName": "slipway-arable-web-JoinHook",
    "LifecycleActionToken": "token-1",
    "EC2InstanceId": "i-3",
    "NotificationMetadata": "arable",
}
OUTPUTS = {
    "database": {"Endpoint": "db", "Port": "3306", "ApplicationSecretArn": "arn:database"},
    "storage": {"SecretKeyBaseArn": "arn:key", "ImageBucketName": "images"},
}
FAILURE = {
    "Error": "CommandFailed",
    "Cause": json.dumps(
        {"errorType": "CommandFailed", "errorMessage": str(CommandFailed("no artifact", "i-3"))}
    ),
}


class Group:
    """Auto Scaling: what it waits for, what is suspended, what it was told; `gone`: it waits no more."""

    def __init__(self) -> None:
        self.gone = False
        self.heartbeats = 0
        self.told: list[str] = []
        self.suspended: set[str] = set()

    def record_lifecycle_action_heartbeat(self, **asked: str) -> None:
        self._waits(asked)
        self.heartbeats += 1

    def complete_lifecycle_action(self, LifecycleActionResult: str, **asked: str) -> None:
        self._waits(asked)
        self.told.append(LifecycleActionResult)

    def _waits(self, asked: dict[str, str]) -> None:
        assert asked["InstanceId"] == "i-3"
        if self.gone:
            said = f"No active Lifecycle Action found with token {asked['LifecycleActionToken']}"
            raise refused("ValidationError", "X", said)

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> dict[str, Any]:
        processes = [{"ProcessName": name} for name in self.suspended]
        return {"AutoScalingGroups": [{"SuspendedProcesses": processes}]}

    def suspend_processes(self, AutoScalingGroupName: str, ScalingProcesses: list[str]) -> None:
        self.suspended |= set(ScalingProcesses)

    def resume_processes(self, AutoScalingGroupName: str, ScalingProcesses: list[str]) -> None:
        self.suspended -= set(ScalingProcesses)


class Executions:
    """Step Functions: executions that run."""

    def __init__(self) -> None:
        self.running: set[str] = set()

    def describe_execution(self, executionArn: str) -> dict[str, str]:
        return {"status": "RUNNING" if executionArn in self.running else "FAILED"}


@pytest.fixture
def group(aws: None, monkeypatch: pytest.MonkeyPatch) -> Group:
    import boto3  # noqa: PLC0415

    made = Group()
    install(monkeypatch, autoscaling=made, stepfunctions=Executions(), dynamodb=boto3.client("dynamodb"))
    return made


@pytest.fixture
def executions(group: Group, monkeypatch: pytest.MonkeyPatch) -> Executions:
    import boto3  # noqa: PLC0415

    made = Executions()
    table = boto3.client("dynamodb")
    install(monkeypatch, autoscaling=group, stepfunctions=made, dynamodb=table)
    return made


def current(environment: dict[str, Any], release: str = "r1", fence: int = 1) -> None:
    named = {"id": release, "artifact": f"s3://a/releases/{release}.tar.gz", "sha256": "0" * 64}
    assert records.set_current({**environment, "name": "arable"}, named, fence, OUTPUTS)


def begun(environment: dict[str, Any], executions: Executions, name: str = "arn:release") -> int:
    """A release runs; its fence."""
    executions.running.add(name)
    request = {"environment": {"name": "arable"}, "release": {"id": "r2"}}
    return int(lock.acquire(request, name)["fence"])


def plan(given: str | None = None) -> dict[str, Any]:
    return joining.plan(ACTION, given, patience())


def test_it_takes_what_is_recorded(group: Group, environment: dict[str, Any]) -> None:
    current(environment)
    wanted = plan()
    assert (wanted["status"], wanted["release"]) == ("wanted", "r1")
    assert [step["step"] for step in wanted["steps"]] == list(joining.SECONDS)
    assert wanted["steps"][1]["parameters"]["Variables"] == environment["variables"]
    assert plan(wanted["of"]) == {**wanted, "status": "ready", "steps": []}
    assert group.heartbeats == 2


def test_what_was_recorded_meanwhile_is_wanted_again(group: Group, environment: dict[str, Any]) -> None:
    current(environment)
    given = plan()["of"]
    current({**environment, "variables": {"GREETING": "hello"}})
    assert plan(given)["status"] == "wanted", "the same release in another environment"
    current(environment, "r2")
    assert (plan(given)["status"], plan(given)["release"]) == ("wanted", "r2")


def test_it_waits_while_a_release_has_its_servers(
    group: Group, executions: Executions, environment: dict[str, Any]
) -> None:
    current(environment)
    fence = begun(environment, executions)
    assert plan()["status"] == "wanted", "the release waits for it"
    scaling.suspend("arable", GROUP, fence)
    assert plan()["status"] == "waiting"
    assert plan(plan()["of"])["status"] == "waiting", "what it has may be replaced"
    scaling.resume("arable")
    assert plan()["status"] == "wanted"


def test_what_an_earlier_release_left_suspended_is_no_reason_to_wait(
    group: Group, executions: Executions, environment: dict[str, Any]
) -> None:
    """The next release waits for all servers of the group: both would wait for each other."""
    current(environment)
    scaling.suspend("arable", GROUP, begun(environment, executions))
    lock.release("arable", "arn:release")
    begun(environment, executions, "arn:next")
    assert plan()["status"] == "wanted"


def test_a_release_that_died_is_not_waited_for_nor_its_clean_up(
    group: Group, executions: Executions, environment: dict[str, Any]
) -> None:
    """What is recorded is what the clean-up brings back."""
    current(environment)
    scaling.suspend("arable", GROUP, begun(environment, executions))
    executions.running.clear()
    assert plan()["status"] == "wanted"
    executions.running.add("arn:clean-up")
    assert lock.take_over("arable", "arn:clean-up")
    assert plan()["status"] == "wanted"


def test_before_anything_is_recorded(
    group: Group, executions: Executions, environment: dict[str, Any]
) -> None:
    assert plan()["status"] == "unknown", "somebody else's group"
    fence = begun(environment, executions)
    assert plan()["status"] == "unreleased", "the first release reaches it"
    scaling.suspend("arable", GROUP, fence)
    assert plan()["status"] == "waiting", "it does not any more"
    executions.running.clear()
    assert plan()["status"] == "unreleased"


def test_an_event_that_comes_twice(group: Group, environment: dict[str, Any]) -> None:
    current(environment)
    event = {"action": ACTION, "given": None}
    assert plan_join({**event, "execution": "arn:1"}, None)["status"] == "wanted"
    assert plan_join({**event, "execution": "arn:2"}, None)["status"] == "doubled"
    assert plan_join({**event, "execution": "arn:1"}, None)["status"] == "wanted", (
        "a call that is tried again"
    )


def test_a_server_that_is_gone(group: Group, environment: dict[str, Any]) -> None:
    current(environment)
    group.gone = True
    assert plan()["status"] == "gone"
    assert complete_join({"action": ACTION, "failure": None}, None)["status"] == "gone"
    assert complete_join({"action": ACTION, "failure": FAILURE}, None)["status"] == "gone"
    assert records.abandoned("arable", "r1") == 0
    with pytest.raises(CommandFailed, match="does not wait for i-3 any more"):
        start_join_command(
            {"action": ACTION, "step": "stage", "parameters": {}, "timeoutSeconds": 30, "token": "t"}, None
        )


def test_another_refusal_is_none_of_that(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: str) -> None:
        raise refused("AccessDenied", "RecordLifecycleActionHeartbeat", "not authorized")

    monkeypatch.setattr(group, "record_lifecycle_action_heartbeat", refuse, raising=False)
    with pytest.raises(AwsRefused):
        plan_join({"action": ACTION, "execution": "arn:1", "given": None}, None)


def test_it_comes_into_service(group: Group) -> None:
    assert complete_join({"action": ACTION, "failure": None}, None) == {"status": "joined"}
    assert group.told == ["CONTINUE"]


def test_one_that_cannot_join_is_abandoned_with_the_reason(group: Group, environment: dict[str, Any]) -> None:
    current(environment)
    told = complete_join({"action": ACTION, "failure": FAILURE}, None)
    assert (told["status"], told["launching"], group.told) == ("abandoned", "goes on", ["ABANDON"])
    group.gone = True
    assert complete_join({"action": ACTION, "failure": FAILURE}, None) == told, "a call that is made again"
    assert told["what"] == "the new server i-3 could not take release r1: no artifact"
    assert (told["error"], told["where"], told["server"]) == ("CommandFailed", "i-3", "i-3")


def test_after_three_in_a_row_no_further_one_is_launched(group: Group, environment: dict[str, Any]) -> None:
    current(environment)

    def fail(token: str) -> dict[str, Any]:
        return complete_join({"action": {**ACTION, "LifecycleActionToken": token}, "failure": FAILURE}, None)

    assert [fail(token)["launching"] for token in ("1", "1", "2")] == ["goes on"] * 3, "a call made twice"
    assert group.suspended == set()
    last = fail("3")
    assert (last["launching"], group.suspended) == ("stopped", {"Launch"})
    assert f"--auto-scaling-group-name {GROUP} --scaling-processes Launch" in last["next"]
    scaling.resume("arable")
    assert group.suspended == set()
    current(environment, "r2")
    assert fail("4")["launching"] == "goes on", "another release counts anew"


def test_a_server_that_came_into_service_begins_the_count_anew(
    group: Group, environment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(f"2026-11-29T00:00:{second:02}Z" for second in range(60))
    monkeypatch.setattr(joining, "_now", lambda: next(moments))
    current(environment)
    for token in "12":
        complete_join({"action": {**ACTION, "LifecycleActionToken": token}, "failure": FAILURE}, None)
    complete_join({"action": ACTION, "failure": None}, None)
    again = complete_join({"action": {**ACTION, "LifecycleActionToken": "3"}, "failure": FAILURE}, None)
    assert again["launching"] == "goes on"


def test_one_that_cannot_join_is_left_to_a_release_that_waits_for_it(
    group: Group, executions: Executions, environment: dict[str, Any]
) -> None:
    """Otherwise an environment whose recorded release cannot be had any more could never be released to."""
    current(environment)
    fence = begun(environment, executions)
    assert complete_join({"action": ACTION, "failure": FAILURE}, None)["status"] == "left"
    assert group.told == ["CONTINUE"]
    scaling.suspend("arable", GROUP, fence)
    assert complete_join({"action": ACTION, "failure": FAILURE}, None)["status"] == "abandoned"


class Agents(Paging):
    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)

    def describe_instance_information(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        found = [{"InstanceId": "i-3", "PingStatus": status}] if status else []
        return {"InstanceInformationList": found}


def test_its_agent_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ssm=Agents("", "ConnectionLost", "Online"))
    assert joining.agent(ACTION, patience()) == {"status": "online", "detail": "Online"}
    install(monkeypatch, ssm=Agents(""))
    assert joining.agent(ACTION, patience())["detail"] == "nobody has heard of it"
    install(monkeypatch, ssm=Agents("Online"))
    assert check_newcomer({"action": ACTION}, None)["status"] == "online"


def test_a_release_does_not_wait_for_servers_that_are_not_launched() -> None:
    one = {"InstanceId": "i-1", "LifecycleState": "InService"}
    coming = {"InstanceId": "i-2", "LifecycleState": "Pending:Wait"}
    whole = {"Instances": [one], "DesiredCapacity": 2}
    assert servers.expected(whole) == ([one], 2)
    assert servers.expected({**whole, "SuspendedProcesses": [{"ProcessName": "Launch"}]}) == ([one], 1)
    both = {"Instances": [one, coming], "DesiredCapacity": 2}
    assert servers.expected(both) == ([one, coming], 2)
    assert servers.expected(both, newcomers=False) == ([one], 1)


def test_a_release_knows_that_a_server_is_joining() -> None:
    agents = {"i-1": {"PingStatus": "Online"}, "i-2": {"PingStatus": "Online"}}
    one = {"InstanceId": "i-1", "LifecycleState": "InService", "HealthStatus": "Healthy"}
    one |= {"AvailabilityZone": "a"}
    for state, joining_ in (("Pending", False), ("Pending:Wait", True), ("Terminating", False)):
        seen = servers.judged([one, {**one, "InstanceId": "i-2", "LifecycleState": state}], agents, 2)
        assert (seen["status"], seen["joining"]) == ("waiting", joining_)
    assert not servers.judged([one], agents, 1)["joining"]


def test_what_auto_scaling_says_of_a_group_that_is_gone(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(**_: str) -> None:
        raise refused("ValidationError", "X", f"Group {GROUP} not found")

    monkeypatch.setattr(group, "complete_lifecycle_action", gone, raising=False)
    assert autoscaling.complete(ACTION, "ABANDON") is False
