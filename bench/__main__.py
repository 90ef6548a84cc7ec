"""`make bench`: the numbers of docs and design that a release touches, each measured now, ratios in one run.

    python -m bench [--no-setup] [NUMBER…]

Needs what the rehearsal needs. Set-up is measured in a fresh clone of the last commit, in a temporary folder,
so it downloads what a fresh machine downloads (Debian's packages that `apt` has installed already excepted).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3

from rehearsal import host, release
from rehearsal.host import ROOT, say
from tools.watch import Watcher, decoded

FUNCTIONS = ROOT / "functions"
RUNS = 9  # of each import, alternating; the median of an odd number is a run that happened


@dataclass(frozen=True)
class Number:
    """One measured number. `reach`: the most that it may be."""

    what: str
    value: float
    unit: str
    reach: float | None

    def line(self) -> str:
        """A row of the table."""
        wanted = "" if self.reach is None else f"≤ {self.reach:g} {self.unit}"
        verdict = "" if self.reach is None else "reached" if self.value <= self.reach else "MISSED"
        return f"{self.what:<66} {self.value:>9.2f} {self.unit:<12} {wanted:<20} {verdict}"


# Set-up: a fresh clone


def setup() -> Iterator[Number]:
    """Seconds of the first and of the second `make rehearse` in a fresh clone."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        clone = Path(folder) / "slipway"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
        for what, reach in (("make rehearse, fresh clone", 300.0), ("make rehearse, second time", 90.0)):
            began = time.monotonic()
            with (host.STATE / "bench-setup.log").open("ab") as log:
                done = subprocess.run(["make", "rehearse"], cwd=clone, stdout=log, stderr=log, check=False)
            if done.returncode != 0:
                raise SystemExit(f"make rehearse failed in a fresh clone: see {log.name}")
            yield Number(what, time.monotonic() - began, "s", reach)


# Releases: in one region


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


def releases() -> Iterator[Number]:
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
        yield Number("  total time over the hosts' own time", following.seconds / following.hosts, "×", 1.5)
        yield Number("all function code, zipped", code_size() / 1e6, "MB", 1.0)


@dataclass(frozen=True)
class Timed:
    """What a release took."""

    transitions: int
    seconds: float
    hosts: float
    """The commands on servers, one after another; of servers that work at the same time, the slowest."""


def timed(paths: host.Paths, outputs: Mapping[str, str], name: str) -> Timed:
    """Release the sample application under this id, and measure."""
    began = time.monotonic()
    done = release.release(outputs, name, paths)
    watched = done.watched
    top = watched.lanes[watched.root]
    assert top.began is not None
    assert top.ended is not None
    say(f"   {name}: {time.monotonic() - began:.1f} s with packaging and upload")
    return Timed(watched.transitions(), (top.ended - top.began).total_seconds(), own_time(watched))


def own_time(watched: Watcher) -> float:
    """Seconds that the servers' commands took: of each nested command its slowest server, of a roll-out the
    activations one after another. What the load balancer needs to let go and to take back is not theirs."""
    states = boto3.client("stepfunctions")
    total = 0.0
    for arn in watched.lanes:
        output = decoded(states.describe_execution(executionArn=arn).get("output"))
        results: list[dict[str, Any]] = output.get("results", []) if "commandId" in output else []
        total += max((float(result["seconds"]) for result in results), default=0.0)
        waves: list[dict[str, Any]] = output.get("servers", []) if arn != watched.root else []
        total += sum(float(server["seconds"]["activate"]) for server in waves)
    return total


def code_size() -> int:
    """Bytes of the zip that the functions share, as deployed."""
    functions = boto3.client("lambda").list_functions()["Functions"]
    return max(one["CodeSize"] for one in functions if one["FunctionName"].startswith(f"{release.STACK}-"))


# Initialisation


def initialisation() -> Iterator[Number]:
    """Importing a function's handler and making one client over a bare boto3 with one; the slowest function.

    Functions make their clients when they need them, so the client is part of both sides.
    """
    handlers = sorted(path.parent.name for path in FUNCTIONS.glob("*/app.py"))
    bare = "import boto3; boto3.client('dynamodb', region_name='eu-central-1')"
    client = "from slipway.aws import client; client('dynamodb')"
    commands = {"bare": bare} | {name: f"import {name}.app; {client}" for name in handlers}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(importing(command))
    medians = {name: statistics.median(runs) for name, runs in times.items()}
    slowest = max(handlers, key=lambda name: medians[name])
    yield Number("bare import boto3 and a client", medians["bare"] * 1000, "ms", None)
    yield Number(f"initialisation of the slowest function ({slowest})", medians[slowest] * 1000, "ms", None)
    yield Number("  over the bare one", medians[slowest] / medians["bare"], "×", 1.3)


def importing(command: str) -> float:
    """Seconds of processor time that one command takes in a new interpreter, its own start not counted."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(FUNCTIONS),
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_TRACE_DISABLED": "true",
        **dict.fromkeys(names_of_settings(), "x"),
    }
    script = f"import time; began = time.process_time(); {command}; print(time.process_time() - began)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=FUNCTIONS,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def names_of_settings() -> Sequence[str]:
    """Environment variables that functions may read when they are imported."""
    return ("TABLE_NAME", "ARTIFACT_BUCKET", "TOPIC_ARN", "CLOUDFORMATION_ROLE_ARN", "DOCUMENT_PREFIX",
            "COMMAND_LOG_GROUP", "LAYER_ARN", "FUNCTION_RUNTIME", "FUNCTION_ARCHITECTURE",
            "POWERTOOLS_SERVICE_NAME")  # fmt: skip


MEASURES = {"setup": setup, "releases": releases, "initialisation": initialisation}


def main() -> int:
    """Measure, print a table, keep it in .rehearsal/bench.json. Exit code 1 when a number is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; all")
    chosen = parser.parse_args().measures or list(MEASURES)
    try:
        host.require([sys.executable, "-m", "bench", *sys.argv[1:]])
        numbers = [number for name in chosen for number in MEASURES[name]()]
    except (host.Unable, release.Failed) as error:
        host.complain(f"bench: {error}")
        return 1
    finally:
        shutil.rmtree(host.STATE / "bench", ignore_errors=True)
    say("")
    for number in numbers:
        say(number.line())
    file = host.STATE / "bench.json"
    file.write_text(json.dumps([asdict(number) for number in numbers], indent=2) + "\n")
    missed = [number for number in numbers if number.reach is not None and number.value > number.reach]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
