"""Servers out of and back into a load balancer that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from check_drained.app import handler as check_drained
from check_targets.app import handler as check_targets
from drain_servers.app import handler as drain_servers
from restore_servers.app import handler as restore_servers
from slipway import targets
from slipway.errors import CapacityMissing, LockLost, VerificationFailed
from tests.unit.fakes import LOCK, Held, Members, install, patience, refused


class LoadBalancer:
    """A target that is out drains for `draining` looks; one that comes in warms for `warming` looks."""

    def __init__(self, draining: int = 0, warming: int = 0, delay: int = 30) -> None:
        self.states: dict[str, list[str]] = {"i-1": ["healthy"], "i-2": ["healthy"]}
        self.draining, self.warming, self.delay = draining, warming, delay
        self.changes: list[dict[str, Any]] = []
        self.lost: set[str] = set()

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        now = {server: left.pop(0) if len(left) > 1 else left[0] for server, left in self.states.items()}
        self.states = {server: left for server, left in self.states.items() if left != ["gone"]}
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": server, "Port": 3000}, "TargetHealth": {"State": state, "Reason": "r"}}
                for server, state in now.items()
                if state != "gone"
            ]
        }

    def deregister_targets(self, TargetGroupArn: str, Targets: list[dict[str, str]]) -> None:
        for target in Targets:
            self.states[target["Id"]] = ["draining"] * self.draining + ["gone"]

    def register_targets(self, TargetGroupArn: str, Targets: list[dict[str, str]]) -> None:
        if self.lost & {target["Id"] for target in Targets}:
            raise refused("InvalidTarget", "RegisterTargets", "not in a running state")
        for target in Targets:
            self.states[target["Id"]] = ["initial"] * self.warming + ["healthy"]

    def describe_target_group_attributes(self, TargetGroupArn: str) -> dict[str, Any]:
        return {
            "Attributes": [
                {"Key": "stickiness.enabled", "Value": "false"},
                {"Key": "deregistration_delay.timeout_seconds", "Value": str(self.delay)},
            ]
        }

    def modify_target_group_attributes(self, TargetGroupArn: str, Attributes: list[dict[str, str]]) -> None:
        self.changes += Attributes


def use(monkeypatch: pytest.MonkeyPatch, fake: LoadBalancer) -> LoadBalancer:
    install(monkeypatch, elbv2=fake)
    return fake


def test_drain_lingers_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LoadBalancer(draining=5))
    assert targets.drain("g", ["i-1"], 30, patience()) == {"status": "drained"}
    assert [target["server"] for target in targets.all_targets("g")] == ["i-2"]


def test_a_long_drain_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LoadBalancer(draining=45))
    assert targets.drain("g", ["i-1"], 30, patience()) == {"status": "draining"}
    assert targets.check_drained("g", ["i-1"], patience()) == {"status": "drained"}


def test_drain_time_is_changed_only_if_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer(delay=30))
    targets.drain("g", ["i-1"], 30, patience())
    assert fake.changes == []
    targets.drain("g", ["i-1"], 120, patience())
    assert fake.changes == [{"Key": "deregistration_delay.timeout_seconds", "Value": "120"}]


def test_an_unused_target_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer())
    fake.states["i-1"] = ["unused"]
    assert targets.check_drained("g", ["i-1"], patience()) == {"status": "drained"}


def test_restore_lingers_until_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LoadBalancer(warming=4))
    assert targets.restore("g", ["i-1"], patience()) == {"status": "healthy", "targets": []}


def test_restore_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LoadBalancer(warming=45))
    assert targets.restore("g", ["i-1"], patience())["status"] == "waiting"
    assert targets.check("g", ["i-1"], patience())["status"] == "healthy"


def test_only_the_servers_asked_for_count(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer())
    fake.states["i-2"] = ["unhealthy"]
    assert targets.check("g", ["i-1"], patience())["status"] == "healthy"
    assert targets.check("g", ["i-1", "i-2"], patience()) == {
        "status": "waiting",
        "targets": [{"server": "i-2", "state": "unhealthy", "reason": "r"}],
    }


def test_a_server_that_is_not_registered_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LoadBalancer())
    answer = targets.check("g", ["i-9"], patience())
    assert answer == {
        "status": "waiting",
        "targets": [{"server": "i-9", "state": "unused", "reason": "not registered"}],
    }


def test_of_a_server_that_has_left_its_group_nothing_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    balancer = LoadBalancer()
    install(monkeypatch, elbv2=balancer, autoscaling=Members(gone=["i-8"], leaving=["i-9"]))
    assert targets.restore("g", ["i-1", "i-8", "i-9"], patience()) == {"status": "healthy", "targets": []}
    assert balancer.states == {"i-1": ["healthy"], "i-2": ["healthy"]}
    assert targets.check("g", ["i-8"], patience())["status"] == "healthy"


def test_a_server_that_is_lost_keeps_no_other_from_coming_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer())
    fake.states, fake.lost = {}, {"i-9"}
    with pytest.raises(VerificationFailed, match="does not take i-9 back") as raised:
        targets.restore("g", ["i-1", "i-9", "i-2"], patience())
    assert raised.value.details == {"servers": ["i-9"]}
    assert fake.states == {"i-1": ["healthy"], "i-2": ["healthy"]}


def test_any_other_refusal_of_a_target_comes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer())
    monkeypatch.setattr(fake, "register_targets", raising(refused("TooManyTargets")))
    with pytest.raises(ClientError, match="TooManyTargets"):
        targets.restore("g", ["i-1", "i-2"], patience())


def raising(error: Exception) -> Callable[..., None]:
    def call(**_: Any) -> None:
        raise error

    return call


def test_the_last_that_serves_is_not_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer())
    fake.states["i-2"] = ["unhealthy"]
    with pytest.raises(CapacityMissing, match="i-2 is unhealthy"):
        targets.drain("g", ["i-1"], 0, patience())
    assert fake.states["i-1"] == ["healthy"]


@pytest.mark.parametrize(
    ("one", "other"), [("unhealthy", "unhealthy"), ("healthy", "healthy"), ("unhealthy", "healthy")]
)
def test_any_other_is(monkeypatch: pytest.MonkeyPatch, one: str, other: str) -> None:
    fake = use(monkeypatch, LoadBalancer())
    fake.states = {"i-1": [one], "i-2": [other]}
    assert targets.drain("g", ["i-1"], 30, patience()) == {"status": "drained"}


def test_all_that_there_are_may_be_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, LoadBalancer())
    del fake.states["i-2"]
    assert targets.drain("g", ["i-1"], 30, patience()) == {"status": "drained"}


def test_handlers_pass_their_payload_on(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, elbv2=LoadBalancer(), dynamodb=Held())
    of = {"lock": LOCK, "targetGroupArn": "g", "servers": ["i-1"]}
    assert drain_servers({**of, "drainSeconds": 30}, None) == {"status": "drained"}
    assert check_drained(of, None) == {"status": "drained"}
    assert restore_servers(of, None)["status"] == "healthy"
    assert check_targets(of, None)["status"] == "healthy"


@pytest.mark.parametrize("held", [Held(fence=2), Held(holder="")])
def test_who_has_lost_the_lock_moves_no_server(monkeypatch: pytest.MonkeyPatch, held: Held) -> None:
    balancer = LoadBalancer()
    install(monkeypatch, elbv2=balancer, dynamodb=held)
    of = {"lock": LOCK, "targetGroupArn": "g", "servers": ["i-1"]}
    for handler, more in ((drain_servers, {"drainSeconds": 30}), (restore_servers, {})):
        with pytest.raises(LockLost):
            handler({**of, **more}, None)
    assert balancer.states == {"i-1": ["healthy"], "i-2": ["healthy"]}
    assert balancer.changes == []
