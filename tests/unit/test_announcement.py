"""What is said to programs and to people."""

from __future__ import annotations

import json
from typing import Any

import pytest

from notify.app import handler
from slipway import announcement
from tests.unit.fakes import install


class Events:
    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.entries += Entries
        if self.takes:
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "later"}]}


class Sns:
    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []

    def publish(self, **arguments: Any) -> None:
        self.published.append(arguments)


DETAIL = {
    "ending": "FailedClean",
    "what": "boom",
    "where": "i-1",
    "next": "again",
    "states": [{"state": "x"}],
}


def test_announce(monkeypatch: pytest.MonkeyPatch) -> None:
    events, sns = Events(), Sns()
    install(monkeypatch, events=events, sns=sns)
    monkeypatch.setenv("TOPIC_ARN", "arn:topic")
    assert handler({"event": "failed clean", "environment": "arable", "detail": DETAIL}, None) == {}
    (entry,) = events.entries
    assert (entry["Source"], entry["DetailType"]) == ("slipway", "failed clean")
    assert json.loads(entry["Detail"])["environment"] == "arable"
    assert "states" not in json.loads(entry["Detail"])
    (message,) = sns.published
    assert message["TopicArn"] == "arn:topic"
    assert message["Subject"] == "slipway: arable: failed clean"
    assert message["Message"].splitlines()[:4] == [
        "arable: failed clean",
        "what: boom",
        "where: i-1",
        "next: again",
    ]


def test_an_event_that_is_not_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, events=Events(takes=False), sns=Sns())
    monkeypatch.setenv("TOPIC_ARN", "arn:topic")
    with pytest.raises(RuntimeError, match="InternalFailure later"):
        handler({"event": "succeeded", "environment": "arable", "detail": {}}, None)


def test_warnings_are_said_first() -> None:
    warning = {"check": "certificate", "where": "certificate c", "what": "ends in 20 days", "next": "see ACM"}
    said = announcement.text("succeeded", "arable", {"release": "r2", "warnings": [warning]})
    assert said.splitlines()[1] == "warning: certificate c: ends in 20 days; see ACM"
