"""Two releases of one environment at once: each acts on what is true when the lock is its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway import artifact, lock, records, tiers, validation
from tests.workflow.engine import ROOT, Answer, Engine, Execution
from tests.workflow.fleet import OUTPUTS, always, fails, when
from tests.workflow.world import World


def given(release: str) -> dict[str, Any]:
    parts = {"artifact": f"s3://bucket/releases/{release}.tar.gz", "sha256": release[-1] * 64}
    return {"environment": "arable", "release": {"id": release, **parts}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """An environment that serves r1, recorded as a release records it."""
    world = World(monkeypatch)
    monkeypatch.setattr(artifact, "examined", lambda _release, _bucket: ([], None))
    described = json.loads((ROOT / "events" / "first-release.json").read_text())["environment"]
    request = validation.validate({**given("r1"), "environment": described}, "bucket")
    records.set_current(request["environment"], request["release"], 0, OUTPUTS, tiers.digest())
    receipt = {"release": request["release"], "ending": "Succeeded"}
    records.add_history("arable", "2026-11-22T10:00:00Z", "r1", "zero", receipt)
    return world


def overtaken(world: World, release: str, by: str, **overrides: Answer) -> Execution:
    """A release between whose validation and lock another one goes from its start to its end."""
    overtaking: list[Execution] = []

    def acquire(payload: dict[str, Any]) -> dict[str, Any]:
        if payload["input"] == given(release) and not overtaking:
            overtaking.append(running.run(given(by), name="overtaking"))
        return lock.acquire(
            payload["request"],
            payload["execution"],
            lambda request: validation.again(request, payload["input"]),
        )

    functions = world.functions(
        ValidateInput=lambda payload: validation.validate(payload["input"], "bucket"),
        AcquireLock=acquire,
        **overrides,
    )
    with Engine(functions, as_on_aws=True).running() as running:
        world.on(running)
        execution = running.run(given(release), name="overtaken")
    assert [one.status for one in overtaking] == ["SUCCEEDED"]
    assert world.holder() is None
    return execution


def broken(release: str) -> Answer:
    """Of VerifyRelease: that release does not serve."""
    verified = {"status": "verified", "detail": "", "url": "https://arable.example", "targets": []}
    return when(
        lambda payload: payload["request"]["release"]["id"] == release,
        fails("VerificationFailed"),
        always(verified),
    )


def test_it_goes_back_to_what_served_when_it_began(world: World) -> None:
    execution = overtaken(world, "r3", by="r2", VerifyRelease=broken("r3"))
    assert execution.error == "FailedClean"
    assert world.fleet_has("r2")
    assert "r2" in execution.cause["next"]
    assert "r1" not in execution.cause["next"]


def test_what_served_when_it_was_validated_is_not_called_unchanged(world: World) -> None:
    execution = overtaken(world, "r1", by="r2")
    assert execution.status == "SUCCEEDED", execution.cause
    assert "RollOut" in execution.of("Release/overtaken")
    assert world.fleet_has("r1")
