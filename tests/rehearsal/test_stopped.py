"""A release that is stopped on real servers, under load: the one before serves as if nothing had happened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rehearsal.rehearsed import Ended, Rehearsed, eventually, load


def child_at(region: Rehearsed, release: str, state: str, times: int) -> bool:
    """Whether the roll-out of the release has come to a state for the n-th time."""
    roll_out = release.replace(":slipway-release:", ":slipway-roll-out:") + "-roll-out"
    states = region.client("stepfunctions")
    try:
        pages = states.get_paginator("get_execution_history").paginate(executionArn=roll_out)
        events = [event for page in pages for event in page["events"]]
    except states.exceptions.ExecutionDoesNotExist:
        return False
    names = [event.get("stateEnteredEventDetails", {}).get("name") for event in events]
    return names.count(state) >= times


def lock(region: Rehearsed) -> dict[str, Any]:
    key = {"pk": {"S": "ENVIRONMENT#arable"}, "sk": {"S": "LOCK"}}
    return dict(region.client("dynamodb").get_item(TableName=region.outputs["TableName"], Key=key)["Item"])


def receipt(region: Rehearsed, execution: str) -> dict[str, Any]:
    key = f"receipts/arable/{execution.rsplit(':', 1)[-1]}.json"
    found = region.client("s3").get_object(Bucket=region.outputs["ArtifactBucket"], Key=key)
    return dict(json.loads(found["Body"].read()))


def served(region: Rehearsed) -> set[str]:
    return {region.site().get("/up").headers["X-Slipway-Release"] for _ in range(8)}


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
    [serving] = served(region)
    given = region.given("second")
    given["rollout"] |= {"strategy": strategy}

    def stop(execution: str) -> None:
        eventually(lambda: child_at(region, execution, state, times), 400, f"{state} for the {times}. time")
        region.client("stepfunctions").stop_execution(executionArn=execution, cause="a test says so")

    with load(region.site, "/up") as visitors:
        ended = region.release(given, stop)
        assert ended.status == "ABORTED"
        eventually(lambda: "holder" not in lock(region), 300, "the lock is free")

    told = receipt(region, ended.arn)
    assert (told["ending"], told["failure"]["error"]) == ("FailedClean", "States.Aborted"), told["failure"]
    assert "a test says so" in told["failure"]["what"]
    assert visitors.failures == {}
    assert served(region) == {serving}
    eventually(
        lambda: {health["State"] for health in region.targets().values()} == {"healthy"}, 120, "all healthy"
    )
    assert set(region.targets()) == set(region.servers())


def test_the_next_release_succeeds(region: Rehearsed, first: Ended) -> None:
    ended = region.succeed(region.given("second"))
    assert served(region) == {ended.given["release"]["id"]}
