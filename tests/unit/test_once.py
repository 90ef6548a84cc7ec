"""A command is sent once, however often the task that sends it is tried."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest

from slipway import once, records
from slipway.aws import client, dynamodb
from start_command.app import handler as start_command
from tests.unit.fakes import Paging, patience

EVENT: dict[str, Any] = {
    "lock": {"environment": "arable", "fence": 1},
    "environment": "arable",
    "step": "migrate",
    "servers": ["i-1"],
    "parameters": {"Release": "1"},
    "timeoutSeconds": 3600,
    "token": "run-1-migrate",
}
SUCCEEDED = {
    "InstanceId": "i-1",
    "Status": "Success",
    "CommandPlugins": [{"Output": '{"step":"migrate","ok":true,"migrations":[],"seconds":1}'}],
}


class Ssm(Paging):
    """Run Command that remembers what was sent; it may lose the sender before it has answered."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.lose_sender = False

    def send_command(self, **asked: Any) -> dict[str, Any]:
        self.sent.append(asked)
        if self.lose_sender:
            raise TimeoutError("the function was ended")
        return {"Command": {"CommandId": f"c-{len(self.sent)}"}}

    def list_commands(self, Filters: list[dict[str, str]]) -> dict[str, Any]:
        (wanted,) = Filters
        assert wanted["key"] == "DocumentName"
        return {
            "Commands": [
                {"CommandId": f"c-{number}", "Comment": asked["Comment"]}
                for number, asked in enumerate(self.sent, 1)
                if asked["DocumentName"] == wanted["value"]
            ]
        }

    def list_command_invocations(self, CommandId: str, Details: bool) -> dict[str, Any]:
        assert CommandId in [f"c-{number}" for number in range(1, len(self.sent) + 1)]
        return {"CommandInvocations": [SUCCEEDED]}


@pytest.fixture
def ssm(aws: None, monkeypatch: pytest.MonkeyPatch) -> Ssm:
    fake, table = Ssm(), boto3.client("dynamodb")
    monkeypatch.setattr(boto3, "client", lambda service, **_: {"ssm": fake, "dynamodb": table}[service])
    client.cache_clear()
    dynamodb.put({"pk": records.key("arable"), "sk": "LOCK", "holder": "e", "fence": 1})
    return fake


def test_a_task_that_is_tried_again_finds_the_command_that_it_sent(ssm: Ssm) -> None:
    first = start_command(EVENT, None)
    assert start_command(EVENT, None) == first
    assert len(ssm.sent) == 1
    assert len(ssm.sent[0]["Comment"]) <= 100


def test_also_if_its_first_try_never_heard_of_it(ssm: Ssm) -> None:
    ssm.lose_sender = True
    with pytest.raises(TimeoutError):
        start_command(EVENT, None)
    ssm.lose_sender = False
    assert start_command(EVENT, None)["commandId"] == "c-1"
    assert len(ssm.sent) == 1


def test_a_token_expires_when_its_execution_can_ask_no_more(ssm: Ssm) -> None:
    assert records.claim("arable", "token")
    assert not records.claim("arable", "token")
    item = dynamodb.get(records.key("arable"), "COMMAND#token")
    assert item is not None
    assert 0 < item["expires"] - time.time() <= 30 * 24 * 3600


def test_what_was_claimed_and_never_sent_is_sent(ssm: Ssm) -> None:
    assert records.claim("arable", EVENT["token"])
    assert once.sent("arable", EVENT["token"], "slipway-migrate", patience=patience()) == ""


@pytest.mark.parametrize("token", ["run-2-migrate", None])
def test_another_token_or_none_is_another_command(ssm: Ssm, token: str | None) -> None:
    start_command(EVENT, None)
    assert start_command({**EVENT, "token": token}, None)["commandId"] == "c-2"


def test_a_mark_is_short_and_the_tokens_own() -> None:
    assert once.mark("a" * 500) != once.mark("a" * 501)
    assert len(once.mark("a" * 500)) == 18
    assert once.mark(None) == ""
