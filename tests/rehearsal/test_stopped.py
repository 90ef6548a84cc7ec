"""A release that is stopped on real servers, under load: the one before serves as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rehearsal.faults import (
    PATIENCE,
    all_healthy,
    await_roll_out,
    await_state,
    item,
    not_hurt,
    receipt,
    runs,
    served,
    suspended,
    visitors,
)
from tests.rehearsal.rehearsed import Ended, Rehearsed, eventually


def stopped(
    region: Rehearsed,
    given: dict[str, Any],
    until: Callable[[str], None],
    afterwards: Callable[[], None] = lambda: None,
) -> Ended:
    """Release, and stop it when `until` returns; it is cleaned up after, and who visits the site meets none
    of it. `afterwards`: what the clean-up has to wait for."""
    [serving] = served(region)

    def stop(execution: str) -> None:
        until(execution)
        region.client("stepfunctions").stop_execution(executionArn=execution, cause="a test says so")

    with visitors(region) as seen:
        ended = region.release(given, stop)
        assert ended.status == "ABORTED"
        afterwards()
        eventually(lambda: "holder" not in item(region, "LOCK"), PATIENCE, "the lock is free")

    told = receipt(region, ended.arn)
    assert (told["ending"], told["failure"]["error"]) == ("FailedClean", "States.Aborted"), told["failure"]
    assert "a test says so" in told["failure"]["what"]
    assert f"Release {serving} " in told["failure"]["next"]
    assert f"--execution-arn {ended.arn}" in told["failure"]["command"]
    assert suspended(region) == set()
    all_healthy(region)
    not_hurt(region, seen, {serving, given["release"]["id"]})
    assert served(region) == {serving}
    assert {runs(region, server) for server in region.servers()} == {serving}
    return ended


@pytest.mark.parametrize(
    ("strategy", "state", "times"),
    [
        ("drain", "Activate", 1),
        ("drain", "RestoreServers", 1),
        ("drain", "Activate", 2),
        ("side_by_side", "CheckTargets", 1),
    ],
)
def test_stopped_in_the_middle_of_the_rollout(
    region: Rehearsed, first: Ended, strategy: str, state: str, times: int
) -> None:
    given = region.given("second")
    given["rollout"] |= {"strategy": strategy}
    stopped(region, given, lambda execution: await_roll_out(region, execution, state, times))


@pytest.mark.parametrize("state", ["CompareTiers", "Stage", "Report"])
def test_stopped_before_and_after_the_rollout(region: Rehearsed, first: Ended, state: str) -> None:
    stopped(region, region.given("second"), lambda execution: await_state(region, execution, state))


def test_stopped_while_it_migrates(region: Rehearsed, first: Ended) -> None:
    """The migration is not cut in two: the clean-up waits for it."""
    region.sql("DROP TABLE IF EXISTS arable.holding, arable.go_on")

    def migrating(_execution: str) -> None:
        there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'holding'"
        eventually(lambda: region.sql(there).strip() == "1", PATIENCE, "the migration runs")

    def go_on() -> None:
        cleaning = ":slipway-clean-up:"
        eventually(
            lambda: cleaning in item(region, "LOCK")["holder"]["S"], PATIENCE, "it is cleaned up after"
        )
        region.sql("CREATE TABLE arable.go_on (id INT)")

    ended = stopped(region, region.given("long-migration"), migrating, go_on)
    ran = "SELECT COUNT(*) FROM arable.schema_migrations WHERE version = '20261110080000'"
    assert region.sql(ran).strip() == "1"
    failure = receipt(region, ended.arn)["failure"]
    assert failure["phase"] == "migrate"
    assert "Migrations are not undone" in failure["next"]


def test_the_next_release_succeeds(region: Rehearsed, first: Ended) -> None:
    ended = region.succeed(region.given("second"))
    assert served(region) == {ended.given["release"]["id"]}
