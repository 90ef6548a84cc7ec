"""A small world for whole lives of environments: two servers, a load balancer, the table.

The lock, the clean-up, the history and the explanations are the real code, on a table in memory and on the
interpreter's own executions; servers are a dictionary. A server serves when it is in the load balancer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from slipway import clean_up, failure, lock, records
from slipway.aws import cloudformation, dynamodb, ec2, ssm, states
from slipway.errors import SlipwayError
from tests.workflow.engine import Answer, Engine, Functions, TaskError
from tests.workflow.fleet import OUTPUTS, always, fleet, pending, ready, request

Payload = dict[str, Any]


class World:
    """What the functions change: `servers` (release, and whether it is in), `items`, `receipts`, `told`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.servers = {name: {"release": "r1", "in": True} for name in ("i-1", "i-2")}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.told: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.suspended = False
        self.wanted = request(bakeSeconds=1)
        self._engine: Engine | None = None
        monkeypatch.setattr(dynamodb, "get", lambda pk, sk: dict(self.items.get((pk, sk), {})) or None)
        monkeypatch.setattr(dynamodb, "put", self._put)
        monkeypatch.setattr(dynamodb, "query", lambda pk: self._under(pk, ""))
        monkeypatch.setattr(dynamodb, "last", lambda pk, beginning, most: self._under(pk, beginning)[-most:])
        monkeypatch.setattr(states, "status", lambda arn: self._executions(arn)["status"])
        monkeypatch.setattr(states, "described", self._described)
        monkeypatch.setattr(states, "history", lambda arn: (self._history(arn), True))
        monkeypatch.setattr(states, "current_state", self._current_state)
        monkeypatch.setattr(cloudformation, "describe", self._stack)
        monkeypatch.setattr(ec2, "states", lambda servers: dict.fromkeys(servers, "running"))
        monkeypatch.setattr(ssm, "agents", lambda servers: dict.fromkeys(servers, {"PingStatus": "Online"}))
        records.set_current({"name": "arable"}, {"id": "r1", "artifact": "", "sha256": ""}, 0)

    def functions(self, **overrides: Answer) -> Functions:
        """The functions of the environment, each refused when it acts under a lock that was lost."""
        answers: dict[str, Answer] = {
            "ValidateInput": lambda _: self._current_request(),
            "AcquireLock": lambda payload: lock.acquire(payload["request"], payload["execution"]),
            "ReleaseLock": lambda payload: lock.release(payload["environment"], payload["execution"]),
            "TakeOver": lambda payload: clean_up.take_over(payload["input"], payload["execution"]),
            "CheckServers": ready(*self.servers),
            "SuspendScaling": self._held(lambda _: self._suspend(True)),
            "ResumeScaling": lambda _: self._suspend(False),
            "ApplyTier": self._held(always({})),
            "DrainServers": self._held(lambda payload: self._move(payload, False, {"status": "drained"})),
            "RestoreServers": self._held(
                lambda payload: self._move(payload, True, {"status": "healthy", "targets": []})
            ),
            "StartCommand": self._held(self._command),
            "RecordRelease": self._record,
            "ExplainFailure": lambda payload: failure.explain(
                payload["request"],
                payload["error"],
                payload["cause"],
                payload["phase"],
                payload["rollback"],
                payload["restorePoint"],
                bool(payload["migrated"]),
                payload["lost"],
            ),
            "Notify": self._tell,
            **overrides,
        }
        return fleet(**{name: _named(answer) for name, answer in answers.items()})

    def on(self, engine: Engine) -> Engine:
        self._engine = engine
        return engine

    def holder(self) -> str | None:
        return self.items.get(("ENVIRONMENT#arable", "LOCK"), {}).get("holder")

    def fleet_has(self, release: str) -> bool:
        """Every server has the release and is in the load balancer, and Auto Scaling does its work."""
        return not self.suspended and all(
            server == {"release": release, "in": True} for server in self.servers.values()
        )

    def _current_request(self) -> Payload:
        current = records.current("arable")
        return {**self.wanted, "previous": {"id": current["release"]["id"]} if current else None}

    def _held(self, answer: Answer) -> Answer:
        def checked(payload: Payload) -> Any:
            try:
                lock.assure(payload["lock"])
            except SlipwayError:
                self.refused.append(payload.get("step", ""))
                raise
            return answer(payload)

        return checked

    def _move(self, payload: Payload, inside: bool, answer: Payload) -> Payload:
        for server in payload["servers"]:
            self.servers[server]["in"] = inside
        return answer

    def _command(self, payload: Payload) -> Any:
        if payload["step"] == "activate":
            for server in payload["servers"]:
                self.servers[server]["release"] = payload["parameters"]["Release"]
        return pending("20261122100000")(payload)

    def _record(self, payload: Payload) -> Payload:
        release = payload["request"]["release"]
        if payload["ending"] == "Succeeded":
            lock.assure(payload["lock"])
            records.set_current(payload["request"]["environment"], release, payload["lock"]["fence"])
        self.receipts[payload["execution"]["name"]] = {
            "ending": payload["ending"],
            "release": release["id"],
            "failure": payload["failure"],
            "migrations": payload["migrations"],
        }
        return self.receipts[payload["execution"]["name"]]

    def _suspend(self, suspended: bool) -> Payload:
        self.suspended = suspended
        processes = "Launch" if suspended else ""
        self.items["ENVIRONMENT#arable", "SCALING"] = {"group": "group", "processes": processes}
        return {"processes": ["Launch"]}

    def _tell(self, payload: Payload) -> Payload:
        self.told.append((payload["event"], payload["environment"]))
        return {}

    def _put(
        self, item: Mapping[str, Any], condition: str | None = None, values: Mapping[str, Any] | None = None
    ) -> bool:
        key = (str(item["pk"]), str(item["sk"]))
        there, given = self.items.get(key), dict(values or {})
        holds = {
            None: True,
            "attribute_not_exists(pk)": there is None,
            "attribute_not_exists(pk) OR execution = :execution": there is None
            or there.get("execution") == given.get(":execution"),
            "fence = :seen": there is not None and there["fence"] == given.get(":seen"),
            "attribute_not_exists(pk) OR fence <= :fence": there is None
            or there["fence"] <= given.get(":fence", -1),
        }[condition]
        if holds:
            self.items[key] = dict(item)
        return holds

    def _under(self, pk: str, beginning: str) -> list[Payload]:
        keys = sorted(key for key in self.items if key[0] == pk and key[1].startswith(beginning))
        return [dict(self.items[key]) for key in keys]

    def _executions(self, arn: str) -> dict[str, Any]:
        assert self._engine is not None
        return self._engine.described(arn)

    def _described(self, arn: str) -> dict[str, Any]:
        found = self._executions(arn)
        return {**found, "startDate": datetime.fromisoformat("2026-11-22T10:00:00+00:00")}

    def _history(self, arn: str) -> list[dict[str, Any]]:
        assert self._engine is not None
        return self._engine.history(arn)

    def _current_state(self, arn: str) -> str | None:
        entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in self._history(arn)]
        return next((name for name in reversed(entered) if name), None)

    def _stack(self, name: str) -> dict[str, Any] | None:
        tier = name.removeprefix("slipway-arable-").replace("-", "_")
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS[tier].items()]
        return {"StackName": name, "Outputs": outputs}


def _named(answer: Answer) -> Answer:
    """Errors of the real code as Lambda reports them."""

    def named(payload: Payload) -> Any:
        try:
            return answer(payload)
        except TaskError:
            raise
        except Exception as error:
            raise TaskError(type(error).__name__, str(error)) from error

    return named


def event(arn: str, status: str = "ABORTED") -> dict[str, Any]:
    """What EventBridge hands to the clean-up."""
    given = json.dumps({"environment": "arable"})
    return {"detail": {"executionArn": arn, "status": status, "input": given}}
