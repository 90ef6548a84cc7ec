"""Constant load on real servers: releases come, one goes back, and no visitor loses a request or a post."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from rehearsal import load
from rehearsal.ringing import NAME, ringing
from tests.rehearsal.rehearsed import Ended, Rehearsed, log

DOMAIN = "arable.example"


@dataclass
class Loaded:
    """Three releases under load: one of each strategy, one taken back; what visitors met meanwhile."""

    beside: Ended
    drained: Ended
    taken_back: Ended
    tally: load.Tally

    @property
    def name(self) -> dict[str, str]:
        """Which release is called what."""
        ended = {"beside": self.beside, "drained": self.drained, "taken back": self.taken_back}
        return {name: str(one.given["release"]["id"]) for name, one in ended.items()}


def rolled(region: Rehearsed, overlay: str | None, strategy: str, **rollout: Any) -> dict[str, Any]:
    """The input of a release that is rolled out in this way."""
    given = region.given(overlay)
    given["rollout"] |= {"strategy": strategy, **rollout}
    return given


@pytest.fixture(scope="module")
def loaded(region: Rehearsed, first: Ended) -> Loaded:
    """All of it, once."""
    with load.on(region.paths, DOMAIN) as running:
        beside = region.succeed(rolled(region, "second", "side_by_side"))
        log(running.tally().says())
        drained = region.succeed(rolled(region, None, "drain"))
        log(running.tally().says())
        with ringing(region.client("cloudwatch")) as alarm:
            back = region.fail(rolled(region, "second", "side_by_side", alarms=[alarm]))
    log(running.tally().says())
    return Loaded(beside, drained, back, running.tally())


def test_no_request_was_lost(loaded: Loaded) -> None:
    assert loaded.tally.failures == {}


def test_no_post_was_lost(region: Rehearsed, loaded: Loaded) -> None:
    bucket = region.tier("storage")["ImageBucketName"]
    assert loaded.tally.posts
    missing = load.lost(loaded.tally.posts, region.site(), region.sql, region.client("s3"), bucket, "arable")
    assert missing == []


def test_it_was_a_load_and_every_release_really_served(
    loaded: Loaded, record_property: Callable[[str, object], None]
) -> None:
    tally = loaded.tally
    record_property("measured", f"three releases under load: {tally.says()}")
    before = loaded.beside.receipt["before"]
    assert sum(tally.sent.values()) > 1000, tally.says()
    assert min(tally.sent.values()) > 10, tally.says()
    assert set(tally.releases) == {before, *loaded.name.values()}
    assert min(tally.releases.values()) > 10, tally.says()


def test_the_one_with_the_alarm_went_back_and_the_one_before_served_on(loaded: Loaded) -> None:
    assert loaded.taken_back.error == "FailedClean"
    assert f"{NAME} rings" in json.dumps(loaded.taken_back.explanation)
    seen = loaded.tally.seen
    assert seen[loaded.name["drained"]][1] > seen[loaded.name["taken back"]][1]


def test_each_went_as_it_was_told_to(loaded: Loaded) -> None:
    for ended, strategy in ((loaded.beside, "side_by_side"), (loaded.drained, "drain")):
        assert {one["strategy"] for one in ended.receipt["servers"]} == {strategy}
