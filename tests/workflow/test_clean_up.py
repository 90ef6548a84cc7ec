"""Whatever stops a release, wherever: the one before serves, the lock is free, the next one succeeds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.workflow import fleet
from tests.workflow.engine import SHORT, Engine, Execution, Functions, definition, states_of
from tests.workflow.fleet import always, fails, then
from tests.workflow.world import World, event

GIVEN = {"environment": "arable"}

# A thread of the interpreter that is stopped ends by SystemExit.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@contextmanager
def engine(
    world: World, functions: Functions | None = None, seconds: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    with Engine(functions or world.functions(), as_on_aws=True, seconds=seconds).running() as running:
        yield world.on(running)


def settled(running: Engine) -> None:
    """What was under way when everything was stopped has come to its end."""
    give_up = time.monotonic() + 60
    while running.busy():
        assert time.monotonic() < give_up, running._path
        time.sleep(0.01)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


BEFORE = [
    "AcquireLock",
    "DeployNetwork",
    "Foundations",
    "DeployWeb",
    "Stage",
    "DeployLoadBalancer",
    "Configure",
]
MIGRATING = ["Migrate"]
AFTER = ["RollOut", "Report", "VerifyRelease", "Verified?", "RecordRelease"]
PLACES = [
    *(f"Release.{state}" for state in [*BEFORE, *MIGRATING, *AFTER]),
    "DeployTier/network.PlanTier",
    *(
        f"RollOut/roll-out.{name}"
        for name, state in states_of(definition("RollOut"))
        if state["Type"] == "Task"
    ),
]
NOT_ON_THE_WAY = {"CheckDrained", "CheckActivation", "CheckTargets", "RestoreAfterFailure"}
REACHED = [place for place in PLACES if place.split(".")[1] not in NOT_ON_THE_WAY]


@pytest.mark.parametrize("under_way", [False, True], ids=["at-once", "with-its-call-under-way"])
@pytest.mark.parametrize("place", REACHED)
def test_stopped_anywhere_the_release_before_serves(world: World, place: str, under_way: bool) -> None:
    with engine(world) as running:
        running.stop_at(place, under_way=under_way)
        assert running.run(GIVEN).status == "ABORTED"
        settled(running)
        recorded = place == "Release.RecordRelease" and under_way
        held = world.holder() is not None
        assert held or (place, under_way) == ("Release.AcquireLock", False)

        cleaned = running.run(event(running.arn("Release")), "CleanUp", name="clean-up")
        assert cleaned.status == "SUCCEEDED", cleaned.cause
        assert world.holder() is None
        assert world.fleet_has("r2" if recorded else "r1")
        if recorded:
            assert world.receipts["test"]["ending"] == "Succeeded"
        elif held:
            receipt = world.receipts["test"]
            assert (receipt["ending"], receipt["failure"]["error"]) == ("FailedClean", "States.Aborted")
            assert "was stopped at" in receipt["failure"]["what"]
            assert "r1" in receipt["failure"]["next"]
            assert world.told[-1] == ("failed clean", "arable")
            if place.startswith("RollOut"):
                assert receipt["migrations"]["restorePoint"]["snapshot"] == "before-r2"
                assert receipt["migrations"]["ran"]["migrations"] == ["20261108080000"]
                assert "in the snapshot before-r2" in receipt["failure"]["next"]

        again = running.run(GIVEN, name="again")
        assert again.status == "SUCCEEDED", again.cause
        assert world.fleet_has("r2")
        assert world.holder() is None


def test_a_release_that_puts_everything_right_itself_leaves_nothing_to_do(world: World) -> None:
    with engine(world, world.functions(VerifyRelease=_broken)) as running:
        assert running.run(GIVEN).error == "FailedClean"
        assert world.fleet_has("r1")
        receipt = dict(world.receipts["test"])
        cleaned = running.run(event(running.arn("Release"), "FAILED"), "CleanUp", name="clean-up")

    assert cleaned.of("CleanUp/clean-up") == ["TakeOver", "TakenOver?", "NothingToDo"]
    assert world.receipts["test"] == receipt


def _broken(_payload: dict[str, Any]) -> Any:
    raise KeyError("a defect")


def test_a_release_that_finds_a_dead_holder_cleans_up_after_it_first(world: World) -> None:
    """The event of the end was lost, or is on its way."""
    with engine(world) as running:
        running.stop_at("RollOut/roll-out.RestoreServers", under_way=False)
        running.run(GIVEN)
        assert not world.servers["i-1"]["in"]
        execution = running.run(GIVEN, name="next")
        late = running.run(event(running.arn("Release")), "CleanUp", name="late")

    assert execution.status == "SUCCEEDED", execution.cause
    assert world.receipts["test"]["ending"] == "FailedClean"
    assert world.fleet_has("r2")
    assert late.of("CleanUp/late")[-1] == "NothingToDo"


def test_a_release_that_starts_during_a_clean_up_is_told_of_it(world: World) -> None:
    refused: list[Execution] = []

    def meanwhile(_payload: dict[str, Any]) -> Any:
        refused.append(running.run(GIVEN, name="second"))
        return {"status": "quiet", "detail": ""}

    looks = then(always({"status": "running", "detail": "activate"}), meanwhile)
    with engine(world, world.functions(CheckCommands=looks)) as running:
        running.stop_at("RollOut/roll-out.Activate", under_way=True)
        running.run(GIVEN)
        settled(running)
        cleaned = running.run(event(running.arn("Release")), "CleanUp", name="clean-up")

    assert cleaned.status == "SUCCEEDED"
    [second] = refused
    assert (second.error, second.cause["error"]) == ("FailedClean", "EnvironmentLocked")
    assert "release r2 was interrupted and has been cleaned up after since" in second.cause["what"]
    assert second.cause["details"]["holder"].endswith(":clean-up")
    assert second.cause["details"]["state"] == "CheckCommands"
    assert world.fleet_has("r1")


def test_a_clean_up_that_is_stopped_is_taken_over_by_the_next_release(world: World) -> None:
    with engine(world) as running:
        running.stop_at("RollOut/roll-out.Activate", under_way=False)
        running.run(GIVEN)
        running.stop_at("CleanUp/clean-up.RestoreAll", under_way=False)
        assert running.run(event(running.arn("Release")), "CleanUp", name="clean-up").status == "ABORTED"
        assert world.holder() == running.arn("CleanUp", "clean-up")
        execution = running.run(GIVEN, name="next")

    assert execution.status == "SUCCEEDED", execution.cause
    assert world.receipts["test"]["ending"] == "FailedClean"
    assert (world.fleet_has("r2"), world.holder()) == (True, None)


def test_a_clean_up_that_is_stopped_is_followed_by_another(world: World) -> None:
    with engine(world) as running:
        running.stop_at("RollOut/roll-out.Activate", under_way=False)
        running.run(GIVEN)
        running.stop_at("CleanUp/clean-up.RestoreAll", under_way=False)
        told = event(running.arn("Release"))
        running.run(told, "CleanUp", name="clean-up")
        detail = {
            "stateMachineArn": running.machine_arn("CleanUp"),
            "executionArn": running.arn("CleanUp", "clean-up"),
            "status": "ABORTED",
            "input": json.dumps(told),
        }
        followed = running.run({"detail": detail}, "CleanUp", name="clean-up-2")

    assert followed.status == "SUCCEEDED", followed.cause
    receipt = world.receipts["test"]
    assert (receipt["ending"], receipt["failure"]["error"]) == ("FailedClean", "States.Aborted")
    assert (world.fleet_has("r1"), world.holder()) == (True, None)


STAYS = {"detail-type": "scaling suspended", "detail": {"environment": "arable"}}


def test_a_success_after_which_auto_scaling_stays_suspended_says_so_and_is_healed(world: World) -> None:
    resume = world.functions().answers["ResumeScaling"]
    receipt = {"ending": "Succeeded", "warnings": [], "unchanged": False}
    functions = world.functions(
        ResumeScaling=then(fails("AwsRefused"), fails("AwsRefused"), resume),
        RecordRelease=lambda payload: {**world.functions().answers["RecordRelease"](payload), **receipt},
        TellSuspended=lambda payload: {
            "warnings": [fleet.STAYS],
            "next": "resume it",
            "receipt": {**payload["receipt"], "warnings": [fleet.STAYS]},
        },
    )
    with engine(world, functions) as running:
        released = running.run(GIVEN)
        assert world.suspended
        cleaned = running.run(STAYS, "CleanUp", name="heal")
        nothing = running.run(STAYS, "CleanUp", name="nothing")

    assert released.status == "SUCCEEDED", released.cause
    assert released.of("Release")[-4:] == ["ResumeScaling", "TellSuspended", "ReleaseLock", "Notify"]
    assert released.output["warnings"] == [fleet.STAYS]
    attempt = ["TakeOver", "TakenOver?", "ResumeScaling"]
    refused = ["Told?", "FreeLock", "NotifyEnding?", "ResumeLater?", "WaitToResume"]
    done = ["Recorded?", "FreeLock", "NotifyEnding?", "NotifyResumed", "CleanedUp"]
    assert cleaned.of("CleanUp/heal") == [*attempt, *refused, *attempt, *done]
    assert world.told[-1] == ("scaling resumed", "arable")
    assert (world.fleet_has("r2"), world.holder()) == (True, None)
    assert nothing.of("CleanUp/nothing")[-1] == "NothingToDo"


def test_a_failure_after_which_auto_scaling_stays_suspended_says_so(world: World) -> None:
    functions = world.functions(VerifyRelease=_broken, ResumeScaling=fails("AwsRefused"))
    with engine(world, functions) as running:
        execution = running.run(GIVEN)

    assert execution.error == "FailedClean"
    assert execution.cause["next"].endswith("it stays suspended; resume it")
    assert functions.payloads("RecordRelease")[-1]["warnings"] == [fleet.STAYS]


@pytest.mark.parametrize("also", [{}, {"TellSuspended": fails("AwsRefused")}])
def test_a_clean_up_after_which_auto_scaling_stays_suspended_says_so(world: World, also: Any) -> None:
    functions = world.functions(ResumeScaling=fails("AwsRefused"), **also)
    with engine(world, functions) as running:
        running.stop_at("RollOut/roll-out.Activate", under_way=False)
        running.run(GIVEN)
        cleaned = running.run(event(running.arn("Release")), "CleanUp", name="clean-up")

    assert cleaned.status == "SUCCEEDED", cleaned.cause
    recorded = functions.payloads("RecordRelease")[-1]
    assert recorded["ending"] == "FailedClean"
    assert "stays suspended" in recorded["failure"]["next"]
    assert recorded["warnings"] == ([] if also else [fleet.STAYS])


def test_auto_scaling_is_not_let_go_on_while_a_release_runs(world: World) -> None:
    """That one does it itself at its end."""
    found: list[Execution] = []

    def meanwhile(payload: dict[str, Any]) -> Any:
        found.append(running.run(STAYS, "CleanUp", name=f"heal-{len(found)}"))
        return always({"status": "drained"})(payload)

    with engine(world, world.functions(DrainServers=meanwhile), {"ResumeSeconds": "-1"}) as running:
        released = running.run(GIVEN)

    assert released.status == "SUCCEEDED", released.cause
    assert found[0].of("CleanUp/heal-0") == ["TakeOver", "TakenOver?", "ResumeLater?", "StaysSuspended"]
    assert found[0].error == "DeadlinePassed"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("RollOut/roll-out.Activate", "could not be put back everywhere"),
        ("Release.Configure", "not all of them serve it"),
    ],
)
def test_a_server_that_cannot_be_put_back_calls_a_person(world: World, place: str, says: str) -> None:
    sick = always(
        {"status": "waiting", "targets": [{"server": "i-1", "state": "unhealthy", "reason": "500"}]}
    )
    unsure = always({"status": "waiting", "targets": []})
    faults = {"CheckTargets": sick} | ({"RestoreServers": unsure} if place == "Release.Configure" else {})
    with engine(world, world.functions(**faults), SHORT) as running:
        running.stop_at(place, under_way=True)
        running.run(GIVEN)
        settled(running)
        cleaned = running.run(event(running.arn("Release")), "CleanUp", name="clean-up")

    assert (cleaned.status, cleaned.error) == ("FAILED", "FailedDirty")
    assert "i-1 unhealthy 500" in cleaned.cause["rollback"]["what"]
    assert says in cleaned.cause["next"]
    assert world.receipts["test"]["ending"] == "FailedDirty"
    assert world.told[-1] == ("failed dirty", "arable")
    assert world.holder() is None


def test_who_has_lost_the_lock_changes_nothing_more_and_frees_nobody_elses(world: World) -> None:
    """As after a redrive: another release has taken the environment over in the meantime."""

    def somebody_else(payload: dict[str, Any]) -> Any:
        item = world.items[("ENVIRONMENT#arable", "LOCK")]
        item |= {"fence": item["fence"] + 1, "holder": "arn:somebody-else"}
        return always({"status": "ready", "detail": ""})(payload)

    with engine(world, world.functions(CheckDatabase=somebody_else)) as running:
        execution = running.run(GIVEN)

    assert (execution.error, execution.cause["error"]) == ("FailedClean", "LockLost")
    assert "arn:somebody-else" in execution.cause["what"]
    assert world.holder() == "arn:somebody-else"
    assert world.fleet_has("r1")
    assert world.receipts["test"]["failure"]["error"] == "LockLost"


def test_a_lock_lost_during_the_rollout_is_not_rolled_back_over_somebody_else(world: World) -> None:
    def somebody_else(_payload: dict[str, Any]) -> Any:
        item = world.items[("ENVIRONMENT#arable", "LOCK")]
        item |= {"fence": item["fence"] + 1, "holder": "arn:somebody-else"}
        world.servers["i-1"] |= {"release": "r3", "in": True}
        return {"status": "drained"}

    with engine(world, world.functions(DrainServers=somebody_else)) as running:
        execution = running.run(GIVEN)

    assert (execution.error, execution.cause["error"]) == ("FailedDirty", "LockLost")
    assert world.servers["i-1"] == {"release": "r3", "in": True}
    assert world.holder() == "arn:somebody-else"
