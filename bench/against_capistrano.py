"""Slipway against Capistrano: the same archives, servers, database, nginx and load balancer, in turns.

Interleaved in one region, under constant load: Slipway side_by_side, Capistrano in parallel, Slipway drain,
Capistrano in sequence with servers out of the load balancer meanwhile and without, and again.
bench/capistrano/README.md says what is compared, and how it is kept fair.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3

from bench import releases, served
from bench.added import Share, history
from bench.contenders import (
    Capistrano,
    Course,
    Fleet,
    Slipway,
    ended,
    fleet,
    install_capistrano,
    let_capistrano_in,
    tier,
)
from bench.number import Number
from rehearsal import host, load, release, ringing, visit
from rehearsal.host import say

ROUNDS = 5
RATES = load.Rates(kept=80, fresh=10, posts=1)
"""Requests a second: what the region's servers hold on two cores with a release going on beside."""
WANTED = RATES.kept + RATES.fresh + RATES.posts
BEFORE, AFTER = 6.0, 4.0  # seconds of load before a deployment begins and after its last server serves
LONGEST = 300.0
DOMAIN = "arable.example"


@dataclass(frozen=True)
class Turn:
    """One deployment under load."""

    way: str
    seconds: float
    """Until every server served it."""
    whole: float
    """Until the contender had ended."""
    requests: int
    failed: int
    lost: int
    hosts: float = 0.0
    """Of Slipway's time, the servers' own commands."""
    added: float = 0.0
    """Of Slipway's time, everything else."""
    balanced: float = 0.0
    """Of that, from the word to the load balancer until it had let go of servers, and called them healthy."""
    rate: float = 0.0
    """Requests a second that were answered as they should be."""

    def line(self) -> str:
        """A row for reading along."""
        share = 100 * self.failed / self.requests
        return (
            f"   {self.way:<46} {self.seconds:>6.1f} s   ended {self.whole:>6.1f} s   "
            f"{self.failed:>5} of {self.requests} requests failed ({share:.2f} %)   {self.lost} posts lost"
        )


SIDE_BY_SIDE, PARALLEL = "Slipway side_by_side", "Capistrano in parallel"
DRAIN, SEQUENCE = "Slipway drain", "Capistrano in sequence"
DRAINED = f"{SEQUENCE}, out of the load balancer"
WAYS = (SIDE_BY_SIDE, PARALLEL, DRAIN, DRAINED, SEQUENCE)

COMPARED = ((SIDE_BY_SIDE, PARALLEL, 1.0), (DRAIN, DRAINED, 1.0), (DRAIN, SEQUENCE, None))
"""Ours, theirs, and the ratio to reach; none where theirs does not wait for the load balancer, and loses
requests by it: docs/decisions/014-the-bound-of-drain.md."""


class Contest:
    """Deployments of numbered releases in one region."""

    def __init__(self, paths: host.Paths, outputs: Mapping[str, str]) -> None:
        self.paths = paths
        self.number = 0
        self.courses: dict[str, Sequence[Share]] = {}
        release.release(outputs, self.next_name(), paths)
        self.fleet: Fleet = fleet(paths, outputs)
        let_capistrano_in(self.fleet)
        self.contenders: dict[str, Slipway | Capistrano] = {
            SIDE_BY_SIDE: Slipway(self.fleet, ALL_AT_ONCE),
            PARALLEL: Capistrano(self.fleet, "parallel"),
            DRAIN: Slipway(self.fleet, {"strategy": "drain"}),
            DRAINED: Capistrano(self.fleet, "drained"),
            SEQUENCE: Capistrano(self.fleet, "sequence"),
        }
        name = self.next_name()
        self.contenders[PARALLEL].deploy(release.package(name, paths.run / "releases"), name)

    def next_name(self) -> str:
        """An id that no release had."""
        self.number += 1
        return f"bench.{self.number}"

    def turn(self, way: str) -> Turn:
        """Deploy the next release in this way, under load."""
        contender, name = self.contenders[way], self.next_name()
        artifact = release.package(name, self.paths.run / "releases")
        contender.serve()
        with served.seen(self.paths, self.fleet.addresses) as seen, ThreadPoolExecutor(1) as pool:
            with load.on(self.paths, DOMAIN, RATES) as running:
                time.sleep(BEFORE)
                began = time.time()
                deployed = pool.submit(timed, contender, artifact, name)
                until = self.in_service(seen, name, deployed)
                ended_at, course = deployed.result()
                time.sleep(max(0.0, until + AFTER - time.time()))
            tally = running.tally()
        if course.shares:
            self.courses[way] = course.shares
        return Turn(
            way,
            until - began,
            ended_at - began,
            sum(tally.sent.values()),
            sum(tally.failures.values()),
            len(self.lost(tally.posts)),
            sum(share.hosts for share in course.shares),
            sum(share.added for share in course.shares),
            course.balanced,
            tally.rate,
        )

    def in_service(self, seen: served.Seen, name: str, deployed: Future[Any] | None = None) -> float:
        """When (time.time()) every server served the release and was healthy for the load balancer."""
        deadline, unhealthy = time.monotonic() + LONGEST, 0.0
        balancers = boto3.client("elbv2")  # one for all looks: making one takes longer than a look
        while True:
            since = seen.since(name)
            if not healthy(balancers, self.fleet):
                unhealthy = time.time()
            elif since is not None:
                return max(since, unhealthy)
            if deployed is not None and deployed.done():
                deployed.result()  # raises what it raised
            if time.monotonic() > deadline:
                raise release.Failed(f"{name} is not served everywhere after {LONGEST} s")
            time.sleep(0.2)

    def lost(self, posts: Sequence[load.Sent]) -> list[str]:
        """Posts that the site accepted and does not have."""
        site = visit.Site(DOMAIN, self.paths.authority, host.opened_ports(self.paths).https)
        database = f"rds-{tier('database')['InstanceIdentifier']}"

        def sql(statement: str) -> str:
            argv = ["mariadb", "--batch", "--skip-column-names"]
            return self.fleet.on(database, argv, statement.encode()).decode()

        bucket = tier("storage")["ImageBucketName"]
        return load.lost(posts, site, sql, boto3.client("s3"), bucket, "arable")

    def back(self) -> Iterator[Number]:
        """How long going back takes, side_by_side and under load: by hand, and by itself."""
        contender = self.contenders[SIDE_BY_SIDE]
        contender.serve()
        for _ in range(2):
            former, name = f"bench.{self.number}", self.next_name()
            contender.deploy(release.package(name, self.paths.run / "releases"), name)
        with load.on(self.paths, DOMAIN, RATES) as running:
            by_hand = self.back_by_hand(former)
            by_itself = self.back_by_itself(former)
        failed = sum(running.tally().failures.values())
        yield Number(
            "going back, side_by_side, from the decision of a release whose alarm rings", by_itself, "s", 5
        )
        yield Number("  by hand, from the start of the execution that releases what was before", by_hand, "s")
        yield Number("  failed requests meanwhile", failed, "requests", 0)

    def back_by_hand(self, former: str) -> float:
        """Seconds from the start of the execution until every server serves the release before."""
        given = {"environment": "arable", "release": {"id": "previous"}, "rollout": ALL_AT_ONCE}
        with served.seen(self.paths, self.fleet.addresses) as seen:
            began = time.time()
            arn = release.start(self.fleet.outputs["ReleaseStateMachineArn"], given)
            until = self.in_service(seen, former)
            ended(arn)
            release.receipt_of(arn)
        return until - began

    def back_by_itself(self, former: str) -> float:
        """Seconds from the state that decides on it until every server serves the release before again: all
        had the new one when an alarm rang."""
        outputs, name = self.fleet.outputs, self.next_name()
        artifact = release.package(name, self.paths.run / "releases")
        given = release.first_input(
            name, release.upload(artifact, outputs["ArtifactBucket"]), artifact.sha256
        )
        given["rollout"] |= {**ALL_AT_ONCE, "alarms": [ringing.NAME]}
        with (
            ringing.ringing(boto3.client("cloudwatch")),
            served.seen(self.paths, self.fleet.addresses) as seen,
        ):
            arn = release.start(outputs["ReleaseStateMachineArn"], given)
            seen.wait(name, LONGEST)
            until = self.in_service(seen, former)
            ended(arn)
        return until - entered(arn, "PlanRollBack")


ALL_AT_ONCE = {"strategy": "side_by_side", "canary": 0, "batch": "100%"}


def healthy(balancers: Any, fleet: Fleet) -> bool:
    """Whether the load balancer calls every server so; one that is out of it is not listed."""
    targets = balancers.describe_target_health(TargetGroupArn=fleet.targets)["TargetHealthDescriptions"]
    return all_in([target["TargetHealth"]["State"] for target in targets], len(fleet.servers))


def all_in(states: Sequence[str], servers: int) -> bool:
    """Whether these states are of so many healthy targets, and of no other."""
    return list(states) == ["healthy"] * servers


def entered(execution: str, state: str) -> float:
    """When an execution came to a state (time.time())."""
    for event in history(execution):
        if event.get("stateEnteredEventDetails", {}).get("name") == state:
            return float(event["timestamp"].timestamp())
    raise release.Failed(f"{execution} has not come to {state}")


def timed(contender: Slipway | Capistrano, artifact: release.Artifact, name: str) -> tuple[float, Course]:
    """Deploy; when that had ended (time.time()), and what is known of it."""
    course = contender.deploy(artifact, name)
    return time.time(), course


def rows(turns: Sequence[Turn]) -> Iterator[Number]:
    """What the turns of each way came to; then the ratios."""
    for way in WAYS:
        yield from rows_of(way, of(turns, way))
    median = {way: statistics.median(turn.seconds for turn in of(turns, way)) for way in WAYS}
    for ours, theirs, bound in COMPARED:
        yield Number(f"{ours} over {theirs}", median[ours] / median[theirs], "×", bound)


def rows_of(way: str, turns: Sequence[Turn]) -> Iterator[Number]:
    """What the turns of one way came to: medians, and sums of what went wrong."""

    def median(of_turn: Callable[[Turn], float]) -> float:
        return statistics.median(map(of_turn, turns))

    bound = 0 if way in (SIDE_BY_SIDE, DRAIN) else None
    yield Number(f"{way}: until both servers serve it", median(lambda turn: turn.seconds), "s")
    yield Number("  until it has ended", median(lambda turn: turn.whole), "s")
    if any(turn.hosts for turn in turns):
        yield Number("    the servers' own commands", median(lambda turn: turn.hosts), "s")
        yield Number("    what the orchestrator adds", median(lambda turn: turn.added), "s")
    if way == DRAIN:
        balanced = median(lambda turn: turn.balanced)
        yield Number("      of that, until servers were let go of, and called healthy", balanced, "s")
    failed, requests = sum(turn.failed for turn in turns), sum(turn.requests for turn in turns)
    yield Number(f"  failed requests of {requests}", failed, "requests", bound)
    yield Number("    their share", 100 * failed / requests, "%")
    rate = median(lambda turn: turn.rate)
    yield Number(f"  answered well, of {WANTED:g} a second", rate, "requests/s")
    yield Number("  lost posts", sum(turn.lost for turn in turns), "posts", bound)


def of(turns: Sequence[Turn], way: str) -> list[Turn]:
    """The turns of one way."""
    return [turn for turn in turns if turn.way == way]


def measured() -> Iterator[Number]:
    """All of it, in one region."""
    host.install_packages()
    install_capistrano()
    release.need_cache(host.Paths(), say)
    with releases.region() as (paths, outputs):
        contest = Contest(paths, outputs)
        first = contest.turn(SIDE_BY_SIDE)
        say(first.line() + ", the first")
        turns: list[Turn] = []
        for _ in range(ROUNDS):
            for way in WAYS:
                turns.append(contest.turn(way))
                say(turns[-1].line())
        for way, shares in contest.courses.items():
            say("\n".join([f"   {way}, its last turn, state by state:", *(share.line() for share in shares)]))
        yield from rows(turns)
        yield Number(f"{SIDE_BY_SIDE}, where servers have to ask Rails for migrations", first.seconds, "s")
        yield from contest.back()
