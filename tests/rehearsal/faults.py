"""What the tests with faults share: visitors that never stop, ways to break a server, what must hold then."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rehearsal import host, visit
from tests.rehearsal.rehearsed import Ended, Load, Rehearsed, eventually, load

PATIENCE = 400.0
"""Seconds in which a state or a server has to come to where a test waits for it, on a slow machine."""


# Visitors


@dataclass
class Visitors:
    """Some who read the health path, and one who writes posts with images."""

    readers: Load = field(default_factory=Load)
    posts: list[visit.Post] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What those met whose post was not taken."""


@contextmanager
def visitors(region: Rehearsed, path: str = "/up") -> Iterator[Visitors]:
    """They come while this block runs."""
    seen, stop = Visitors(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            try:
                seen.posts.append(visit.write_post(region.site()))
            except (OSError, visit.Disappointed) as error:
                seen.refused.append(f"{type(error).__name__}: {error}")
            stop.wait(0.5)

    writer = threading.Thread(target=write, daemon=True)
    with load(region.site, path) as seen.readers:
        writer.start()
        try:
            yield seen
        finally:
            stop.set()
            writer.join()


def not_hurt(region: Rehearsed, seen: Visitors, proven: Collection[str]) -> None:
    """Every request was answered by a proven release, and every post is there."""
    assert seen.readers.failures == {}
    assert seen.refused == []
    assert {answer.removeprefix("200 ") for answer in seen.readers.answers} <= set(proven)
    assert seen.readers.answers, "nobody came"
    kept(region, seen)


def kept(region: Rehearsed, seen: Visitors) -> None:
    """Every post that was taken is in the database once, and the last can be read with its image."""
    assert seen.posts, "nobody wrote"
    titles = ", ".join(f"'{post.title}'" for post in seen.posts)
    found = region.sql(f"SELECT title FROM arable.posts WHERE title IN ({titles})").split("\n")
    assert sorted(filter(None, found)) == sorted(post.title for post in seen.posts)
    visit.read_back(region.site(), seen.posts[-1])


# What is where


def served(region: Rehearsed) -> set[str]:
    """The releases that the site answers with."""
    return {region.site().get("/up").headers["X-Slipway-Release"] for _ in range(8)}


def runs(region: Rehearsed, server: str) -> str:
    """The release that a server itself answers with."""
    answer = region.on(server, "curl -s -o /dev/null -D - --max-time 10 http://127.0.0.1:3000/up").stdout
    found = re.search(r"^X-Slipway-Release: (.*?)\r?$", answer, re.MULTILINE)
    return found.group(1) if found else ""


def item(region: Rehearsed, kind: str) -> dict[str, Any]:
    """What the table holds of the environment under this key."""
    key = {"pk": {"S": "ENVIRONMENT#arable"}, "sk": {"S": kind}}
    found = region.client("dynamodb").get_item(TableName=region.outputs["TableName"], Key=key)
    return dict(found["Item"])


def suspended(region: Rehearsed) -> set[str]:
    """What the Auto Scaling group is kept from doing."""
    name = region.tier("web")["AutoScalingGroupName"]
    found = region.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return {one["ProcessName"] for one in found["AutoScalingGroups"][0]["SuspendedProcesses"]}


def receipt(region: Rehearsed, execution: str) -> dict[str, Any]:
    """The kept receipt of an execution."""
    key = f"receipts/arable/{execution.rsplit(':', 1)[-1]}.json"
    found = region.client("s3").get_object(Bucket=region.outputs["ArtifactBucket"], Key=key)
    return dict(json.loads(found["Body"].read()))


def put_right(region: Rehearsed, ended: Ended) -> None:
    """Nobody holds the environment, nothing is suspended, and the receipt tells what the cause tells."""
    assert "holder" not in item(region, "LOCK")
    assert suspended(region) == set()
    told = receipt(region, ended.arn)
    assert (told["ending"], told["failure"]) == (ended.error, ended.explanation)


def all_healthy(region: Rehearsed) -> None:
    """As many servers as there should be, and the load balancer finds all of them healthy."""
    eventually(
        lambda: (
            set(region.targets()) == set(region.servers())
            and {health["State"] for health in region.targets().values()} == {"healthy"}
        ),
        PATIENCE,
        "all servers are healthy",
    )


# Moments in a release


def child(execution: str, machine: str, name: str) -> str:
    """ARN of the execution of another state machine that a release starts as `name`."""
    return execution.replace(":slipway-release:", f":slipway-{machine}:") + f"-{name}"


def entered(region: Rehearsed, execution: str) -> list[str]:
    """The states that an execution has come to, in order; none before it has begun."""
    states = region.client("stepfunctions")
    try:
        pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = [event for page in pages for event in page["events"]]
    except states.exceptions.ExecutionDoesNotExist:
        return []
    return [
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    ]


def await_state(region: Rehearsed, execution: str, state: str, times: int = 1) -> None:
    """Until an execution has come to a state for the n-th time."""
    eventually(
        lambda: entered(region, execution).count(state) >= times, PATIENCE, f"{state} for the {times}. time"
    )


def await_roll_out(region: Rehearsed, execution: str, state: str, times: int = 1) -> None:
    """Until the roll-out of a release has come to a state for the n-th time."""
    await_state(region, child(execution, "roll-out", "roll-out"), state, times)


def order(region: Rehearsed, execution: str) -> list[str]:
    """The servers in the order in which a release goes to them; its roll-out has to have begun."""
    arn = child(execution, "roll-out", "roll-out")
    given = json.loads(region.client("stepfunctions").describe_execution(executionArn=arn)["input"])
    return [server for wave in given["waves"] for server in wave["servers"]]


def begun(region: Rehearsed, execution: str, await_start: Callable[[str], None]) -> tuple[str, str]:
    """Until a release that is held (see `hold`) starts on its first server: that one, and the other."""
    await_roll_out(region, execution, "Activate")
    first, other = order(region, execution)
    await_start(first)
    return first, other


# Broken servers


def kill(region: Rehearsed, server: str) -> None:
    """The machine is lost at once, as when its host fails."""
    os.kill(host.servers(region.paths)[server], signal.SIGKILL)


@contextmanager
def busy(region: Rehearsed, server: str) -> Iterator[Callable[[], None]]:
    """Another step seems to run on the server, so that the next one waits until what this gives is called."""
    unit = "slipway-test-busy"
    begun = region.on(
        server,
        f"systemd-run -q --collect --unit {unit} flock /run/slipway.lock"
        " sh -c 'touch /run/slipway-busy; sleep 300' && until [ -e /run/slipway-busy ]; do sleep 0.05; done",
    )
    assert begun.returncode == 0, begun.stderr

    def free() -> None:
        region.on(server, f"systemctl stop {unit}; rm -f /run/slipway-busy")

    try:
        yield free
    finally:
        free()


HOLD = "/var/www/arable/shared/hold"


@contextmanager
def hold(region: Rehearsed) -> Iterator[Callable[[str], None]]:
    """Within this block a release of the overlay `held` does not get beyond its start on any server. Gives
    what waits until it is just starting on one."""
    since = {
        server: region.on(server, f"touch {HOLD}; date +%s").stdout.strip() for server in region.servers()
    }

    def await_start(server: str) -> None:
        log = f"journalctl --unit 'arable@*' --since @{since[server]} -o cat"
        eventually(
            lambda: "held" in region.on(server, log).stdout.split("\n"), PATIENCE, f"it starts on {server}"
        )

    try:
        yield await_start
    finally:
        for server in since:
            let_go(region, server)


def let_go(region: Rehearsed, server: str) -> None:
    """The release starts on the server, if there still is one."""
    with suppress(host.Unable):
        region.on(server, f"rm -f {HOLD}")


def spoil(region: Rehearsed, server: str) -> None:
    """A release of the overlay `held` will not start on the server."""
    assert region.on(server, "touch /var/www/arable/shared/spoilt").returncode == 0


def mend(region: Rehearsed) -> None:
    """No server is spoilt."""
    for server in region.servers():
        region.on(server, "rm -f /var/www/arable/shared/spoilt")


DISK = """
set -e
[ ! -e /full ] || { touch /full/filler; exit; }
mkdir /full
mount -t tmpfs -o size=600m tmpfs /full
for folder in etc var/www tmp; do
  mkdir -p /full/$folder
  cp -a /$folder/. /full/$folder
  mount --bind /full/$folder /$folder
done
"""


@contextmanager
def fill(region: Rehearsed, server: str) -> Iterator[None]:
    """Within this block the server has not one byte free for releases, settings and temporary files."""
    done = region.on(
        server, f"{DISK}dd if=/dev/zero of=/full/filler bs=64k 2>/dev/null || true; echo 1 >/full/byte"
    )
    assert "No space left" in done.stderr, done
    try:
        yield
    finally:
        region.on(server, "rm -f /full/filler /full/byte")


# Less patience


@contextmanager
def sooner(region: Rehearsed, former: int | str, seconds: int) -> Iterator[None]:
    """The roll-out waits for `seconds` at most where it would wait for `former`."""
    states = region.client("stepfunctions")
    machine = region.outputs["ReleaseStateMachineArn"].replace("slipway-release", "slipway-roll-out")
    shipped = states.describe_state_machine(stateMachineArn=machine)["definition"]
    hasty = shipped.replace(f"1000 * {former}", f"1000 * {seconds}").replace(
        f"$string({former})", f"$string({seconds})"
    )
    assert hasty != shipped
    states.update_state_machine(stateMachineArn=machine, definition=hasty)
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=machine, definition=shipped)


def command_of(ended: Ended) -> dict[str, Any]:
    """The input that an explanation's command starts an execution with."""
    words = shlex.split(ended.explanation["command"])
    assert words[:3] == ["aws", "stepfunctions", "start-execution"]
    return dict(json.loads(words[words.index("--input") + 1]))
