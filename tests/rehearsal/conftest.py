"""One region for all tests of the product on real servers: up once, the orchestrator deployed once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal import host, release
from tests.rehearsal import rehearsed
from tests.rehearsal.rehearsed import Ended, Planned, Rehearsed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the first release first: they tell of the region while nothing else was done in it."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent == here and item.path.name != "test_first_release.py")


@pytest.fixture(scope="session")
def able() -> None:
    """Linux, root, packages, image; skips loudly elsewhere."""
    if sys.platform != "linux":
        pytest.skip("the rehearsal needs Linux and root")
    try:
        host.install_packages()
        release.need_cache(rehearsed.paths(), rehearsed.log)
    except host.Unable as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def region(able: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    """A region with the orchestrator in it. When it goes down, nothing of it may be left."""
    paths = rehearsed.paths()
    release.build(paths)
    host.down(paths, rehearsed.log)
    before = rehearsed.traces(paths.state)
    with host.region(paths, rehearsed.log, rehearsed.ANY_PORTS):
        release.become_operator(host.environment(paths))
        outputs = release.deploy(paths)
        yield Rehearsed(paths, host.opened_ports(paths), outputs, tmp_path_factory.mktemp("releases"))
    assert not paths.run.exists()
    rehearsed.same(lambda: rehearsed.traces(paths.state), before)


@pytest.fixture(scope="session")
def first_plan(region: Rehearsed) -> Planned:
    """The plan of the first release, asked for when there is nothing yet."""
    given, before = region.given(), region.standing()
    return Planned(given, region.plan(given), before, region.standing())


@pytest.fixture(scope="session")
def first(region: Rehearsed, first_plan: Planned) -> Ended:
    """The first release of the sample application."""
    return region.succeed(first_plan.given)


@pytest.fixture(scope="session")
def second_plan(region: Rehearsed, first: Ended) -> Planned:
    """The plan of the second release, in an environment that is to be another one: larger, and elsewhere."""
    given = region.given("second")
    asked = json.loads(json.dumps(given))
    asked["environment"]["web"]["max"] = 6
    asked["environment"]["network"] = {**asked["environment"].get("network", {}), "cidr": "10.21.0.0/16"}
    before = region.standing()
    return Planned(given, region.plan(asked), before, region.standing())


@pytest.fixture(scope="session")
def second(region: Rehearsed, second_plan: Planned) -> tuple[Ended, rehearsed.Load]:
    """The second release, of a changed application, under load."""
    given = second_plan.given
    with rehearsed.load(region.site, "/") as load:
        ended = region.succeed(given)
    return ended, load
