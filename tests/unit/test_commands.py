"""Steps on servers: what the results mean, by golden cases, and what is sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

import pytest

from check_command.app import handler as check_command
from slipway import commands
from slipway.errors import CommandFailed
from start_command.app import handler as start_command
from tests.unit.fakes import LOCK, Held, Members, Paging, install, patience, refused
from tests.unit.golden import Case, cases


class Ssm(Paging):
    """Run Command with given invocations; `after` looks it lists nothing."""

    def __init__(self, invocations: list[dict[str, Any]], after: int = 0) -> None:
        for invocation in invocations:
            for plugin in invocation["CommandPlugins"]:
                for moment in ("ResponseStartDateTime", "ResponseFinishDateTime"):
                    plugin[moment] = datetime.fromisoformat(plugin[moment])
        self.invocations = invocations
        self.after = after
        self.sent: list[dict[str, Any]] = []

    def send_command(self, **arguments: Any) -> dict[str, Any]:
        self.sent.append(arguments)
        return {"Command": {"CommandId": "c-1"}}

    def list_command_invocations(self, CommandId: str, Details: bool) -> dict[str, Any]:
        assert CommandId == "c-1"
        assert Details
        self.after -= 1
        return {"CommandInvocations": self.invocations if self.after < 0 else []}


@cases("command")
def test_check(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a document with one step, if the case does not name another."""
    install(monkeypatch, ssm=Ssm(case["invocations"]))
    document = case.get("document", "activate")
    if "failed" not in case:
        answer = commands.check("c-1", document, case["servers"], "/slipway/commands", patience())
        assert answer["status"] == case["status"]
        assert answer["commandId"] == "c-1"
        if "results" in case:
            assert answer["results"] == case["results"]
        return
    with pytest.raises(CommandFailed) as raised:
        commands.check("c-1", document, case["servers"], "/slipway/commands", patience())
    told = json.loads(str(raised.value))
    assert {key: told[key] for key in case["failed"]} == case["failed"]
    assert told["step"] == case["failed"].get("step", document)
    assert told["what"].startswith(f"{told['step']} failed on ")
    assert told["server"] in told["log"]
    assert f"c-1/{told['server']}" in told["next"]


SUCCEEDED = {
    "InstanceId": "i-1",
    "Status": "Success",
    "CommandPlugins": [
        {
            "Output": '{"step":"report","ok":true}',
            "ResponseStartDateTime": "2026-11-22T10:00:00+00:00",
            "ResponseFinishDateTime": "2026-11-22T10:00:01+00:00",
        }
    ],
}


def test_start(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Ssm([SUCCEEDED])
    install(monkeypatch, ssm=fake, dynamodb=Held())
    answer = start_command(
        {
            "lock": LOCK,
            "environment": "arable",
            "step": "report",
            "servers": ["i-1"],
            "parameters": {"Release": "1", "Variables": {"GRÜẞE": "ja"}},
            "timeoutSeconds": 1200,
        },
        None,
    )
    assert answer["status"] == "succeeded"
    assert check_command({"commandId": "c-1", "step": "report", "servers": ["i-1"]}, None) == answer
    (sent,) = fake.sent
    assert sent["DocumentName"] == "slipway-report"
    assert sent["InstanceIds"] == ["i-1"]
    assert sent["Parameters"]["Release"] == ["1"]
    assert json.loads(base64.b64decode(sent["Parameters"]["Variables"][0])) == {"GRÜẞE": "ja"}
    assert sent["TimeoutSeconds"] == 1200
    assert sent["CloudWatchOutputConfig"] == {
        "CloudWatchOutputEnabled": True,
        "CloudWatchLogGroupName": "/slipway/commands",
    }


def test_a_command_that_is_not_listed_at_once_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ssm=Ssm([json.loads(json.dumps(SUCCEEDED, default=str))], after=3))
    assert commands.check("c-1", "report", ["i-1"], "/g", patience())["status"] == "succeeded"


def test_no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Ssm([])
    install(monkeypatch, ssm=fake)
    with pytest.raises(CommandFailed):
        commands.start("arable", "report", [], {}, 60, "slipway", "/g", patience())
    assert fake.sent == []


class Fleet(Paging):
    """Run Command that every server answers well, but for those that it does not reach."""

    def __init__(self, unreachable: Collection[str] = ()) -> None:
        self.unreachable = set(unreachable)
        self.sent: dict[str, list[str]] = {}

    def send_command(self, InstanceIds: list[str], **_: Any) -> dict[str, Any]:
        assert 0 < len(InstanceIds) <= 50
        if self.unreachable & set(InstanceIds):
            raise refused("InvalidInstanceId", "SendCommand", "Instances [[…]] not in a valid state")
        self.sent[f"c-{len(self.sent)}"] = InstanceIds
        return {"Command": {"CommandId": f"c-{len(self.sent) - 1}"}}

    def list_command_invocations(self, CommandId: str, Details: bool) -> dict[str, Any]:
        answers = [
            {**SUCCEEDED, "InstanceId": server, "CommandId": CommandId} for server in self.sent[CommandId]
        ]
        return {"CommandInvocations": answers}

    def describe_instance_information(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        asked = set(Filters[0]["Values"]) - self.unreachable
        return {"InstanceInformationList": [{"InstanceId": one, "PingStatus": "Online"} for one in asked]}


def servers(number: int) -> list[str]:
    return [f"i-{n:04}" for n in range(number)]


def start(number: int) -> dict[str, Any]:
    return commands.start("arable", "report", servers(number), {}, 60, "slipway", "/g", patience())


def test_more_servers_than_a_command_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fleet()
    install(monkeypatch, ssm=fake)
    answer = start(120)
    assert [len(sent) for sent in fake.sent.values()] == [50, 50, 20]
    assert answer["commandId"] == "c-0,c-1,c-2"
    assert [result["server"] for result in answer["results"]] == servers(120)
    assert commands.check(answer["commandId"], "report", servers(120), "/g", patience()) == answer


def test_the_answer_of_a_thousand_servers_fits_into_a_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ssm=Fleet())
    assert len(json.dumps(start(1000))) < 128 * 1024


def test_a_server_that_has_left_its_group_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fleet(unreachable=["i-0001"])
    install(monkeypatch, ssm=fake, autoscaling=Members(gone=["i-0001"]))
    answer = start(3)
    assert [result["server"] for result in answer["results"]] == ["i-0000", "i-0002"]
    install(monkeypatch, ssm=Fleet(unreachable=["i-0000"]), autoscaling=Members(leaving=["i-0000"]))
    assert start(1) == {"commandId": "", "status": "succeeded", "results": []}


def test_a_server_that_is_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ssm=Fleet(unreachable=["i-0001"]))
    with pytest.raises(CommandFailed, match="i-0001: Systems Manager does not reach it"):
        start(3)


def test_what_becomes_of_a_server_that_has_left_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {**SUCCEEDED, "InstanceId": "i-2", "Status": "Failed", "CommandPlugins": []}
    waiting = {**failed, "InstanceId": "i-3", "Status": "InProgress"}
    install(
        monkeypatch, ssm=Ssm([_copy(SUCCEEDED), failed, waiting]), autoscaling=Members(gone=["i-2", "i-3"])
    )
    answer = commands.check("c-1", "report", ["i-1", "i-2", "i-3"], "/g", patience())
    assert answer["status"] == "succeeded"
    assert [result["server"] for result in answer["results"]] == ["i-1"]


def _copy(invocation: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(invocation, default=str))
    return copied


def test_a_delivery_takes_at_least_awss_least(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Ssm([])
    install(monkeypatch, ssm=fake)
    assert (
        commands.start("arable", "report", ["i-1"], {}, 5, "slipway", "/g", patience())["status"] == "running"
    )
    assert fake.sent[0]["TimeoutSeconds"] == 30


def test_log_link() -> None:
    assert commands.log_link("/slipway/commands", "c-1", "i-1", "eu-central-1") == (
        "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:log-groups/"
        "log-group/$252Fslipway$252Fcommands$3FlogStreamNameFilter$3Dc-1$252Fi-1"
    )


@pytest.mark.parametrize("line", ["", "hello", "[]", '"ok"', '{"status": 1}', '{"ok": true'])
def test_what_is_no_result(line: str) -> None:
    assert commands.parsed(line) is None
