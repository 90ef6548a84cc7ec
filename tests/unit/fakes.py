"""Stand-ins for AWS where moto has none, or answers what did not happen. A fault is a state of the fake."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from slipway.aws import client
from slipway.patience import Patience


def install(monkeypatch: pytest.MonkeyPatch, **services: Any) -> None:
    """Lets the functions meet these in place of boto3's clients; any other service is an error, but for Auto
    Scaling, to whose groups all servers belong."""
    services.setdefault("autoscaling", Members())
    monkeypatch.setattr(boto3, "client", lambda service, **_: services[service])
    client.cache_clear()


class Members:
    """Auto Scaling: every server is a member of a group, but for those that have gone or are leaving."""

    def __init__(self, gone: Collection[str] = (), leaving: Collection[str] = ()) -> None:
        self.gone, self.leaving = set(gone), set(leaving)

    def describe_auto_scaling_instances(self, InstanceIds: list[str]) -> dict[str, Any]:
        assert 0 < len(InstanceIds) <= 50
        return {
            "AutoScalingInstances": [
                {
                    "InstanceId": server,
                    "AutoScalingGroupName": "group",
                    "LifecycleState": "Terminating:Wait" if server in self.leaving else "InService",
                }
                for server in InstanceIds
                if server not in self.gone
            ]
        }


def refused(code: str, operation: str = "Operation", message: str = "", status: int = 400) -> ClientError:
    """An error as AWS answers it."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def patience(clock: Clock | None = None) -> Patience:
    """As patient as in service, in no time."""
    clock = clock or Clock()
    return Patience(clock=clock, sleep=clock.sleep)


class Pages:
    """A paginator over what a call answers in one page."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def paginate(self, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        yield self.answer(**arguments)


class Paging:
    """A client whose paginators are its methods."""

    def get_paginator(self, operation: str) -> Pages:
        return Pages(getattr(self, operation))


class Held:
    """A table in which the environment is locked under a fence."""

    def __init__(self, fence: int = 1, holder: str = "arn:holder") -> None:
        self.item = {
            "fence": {"N": str(fence)},
            "holder": {"S": holder},
            "since": {"S": "2026-11-22T10:00:00Z"},
        }

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self.item}


LOCK = {"environment": "arable", "fence": 1}
"""What a task is told of the lock that `Held` has."""
