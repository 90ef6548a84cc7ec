"""Releases of the sample application in one region: transitions, time, and whose time it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import boto3

from bench import added
from bench.number import Number
from rehearsal import host, release
from rehearsal.host import say
from rehearsal.ringing import ringing
from tools.watch import watch


@contextmanager
def region() -> Iterator[tuple[host.Paths, dict[str, str]]]:
    """A region of its own with the orchestrator deployed."""
    state = host.STATE / "bench"
    state.mkdir(parents=True, exist_ok=True)
    if not (state / "cache").is_symlink():
        (state / "cache").symlink_to(host.Paths().cache)
    paths = host.Paths(state)
    release.build(paths)
    with host.region(paths, say, host.Ports(0, 0, 0)):
        release.become_operator(host.environment(paths))
        yield paths, release.deploy(paths)


def measured() -> Iterator[Number]:
    """Transitions and seconds of a first and of a next release; total time over the hosts' own."""
    host.install_packages()
    release.need_cache(host.Paths(), say)
    with region() as (paths, outputs):
        first = timed(paths, outputs, "2026-11-22.1")
        yield Number("transitions of a first release (2 hosts)", first.transitions, "transitions", None)
        yield Number("  its time", first.seconds, "s", None)
        following = timed(paths, outputs, "2026-11-22.2")
        yield Number("transitions of a next release (2 hosts)", following.transitions, "transitions", 80.0)
        yield Number("  its time", following.seconds, "s", None)
        yield Number("  what the hosts need of it, on the critical path", following.hosts, "s", None)
        yield Number("  what the state machine adds to it", following.seconds - following.hosts, "s", None)
        yield Number("  total time over the hosts' own time", following.seconds / following.hosts, "×", 1.5)
        yield Number(
            "going back to the release before, from the decision", going_back(paths, outputs), "s", 5.0
        )
        yield Number("all function code, zipped", code_size() / 1e6, "MB", 1.0)


@dataclass(frozen=True)
class Timed:
    """What a release took."""

    transitions: int
    seconds: float
    hosts: float
    """The commands on servers, one after another; of servers that work at the same time, the slowest."""


def timed(paths: host.Paths, outputs: Mapping[str, str], name: str) -> Timed:
    """Release the sample application under this id, and measure; says which state took and added how much."""
    began = time.monotonic()
    done = release.release(outputs, name, paths)
    watched = done.watched
    top = watched.lanes[watched.root]
    assert top.began is not None
    assert top.ended is not None
    say(f"   {name}: {time.monotonic() - began:.1f} s with packaging and upload")
    shares = added.shares(done.execution, done.receipt["states"])
    for share in shares:
        say(share.line())
    hosts = sum(share.hosts for share in shares)
    return Timed(watched.transitions(), (top.ended - top.began).total_seconds(), hosts)


def going_back(paths: host.Paths, outputs: Mapping[str, str]) -> float:
    """Seconds from the moment at which a release to both servers has failed, because an alarm rings, to the
    one at which both serve the one before, healthy."""
    states = boto3.client("stepfunctions")
    artifact = release.package("2026-11-22.3", paths.run / "releases")
    place = release.upload(artifact, outputs["ArtifactBucket"])
    given = release.first_input("2026-11-22.3", place, artifact.sha256)
    with ringing(boto3.client("cloudwatch")) as alarm:
        given["rollout"] |= {"canary": 0, "batch": "100%", "alarms": [alarm]}
        watched = watch(states, release.start(outputs["ReleaseStateMachineArn"], given))
    steps = watched.lanes[watched.root].steps
    ended = steps["RollBack"].ended
    if ended is None or steps["RollBack"].failed:
        raise release.Failed(f"the release before was not put back: {steps['RollBack']}")
    return (ended - steps["PlanRollBack"].began).total_seconds()


def code_size() -> int:
    """Bytes of the zip that the functions share, as deployed."""
    functions = boto3.client("lambda").list_functions()["Functions"]
    return max(one["CodeSize"] for one in functions if one["FunctionName"].startswith(f"{release.STACK}-"))
