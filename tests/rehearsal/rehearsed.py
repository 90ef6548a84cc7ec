"""The region of the tests: how they talk to it, release into it, look behind it; what may be left of it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from rehearsal import host, release, visit
from rehearsal.machines import cgroups
from slipway import clean_up
from tools.watch import watch

STATE = host.STATE / "tests"
"""Beside the region of `make region`, so that both can be up; the servers' image is shared."""
ANY_PORTS = host.Ports(0, 0, 0)
OVERLAYS = Path(__file__).with_name("overlays")


def paths() -> host.Paths:
    """The tests' own folder, with the image of the main one."""
    STATE.mkdir(parents=True, exist_ok=True)
    shared = host.Paths().cache
    shared.mkdir(parents=True, exist_ok=True)
    cache = STATE / "cache"
    if not cache.is_symlink():
        cache.symlink_to(shared)
    return host.Paths(STATE)


def log(text: str) -> None:
    """pytest shows it where a test fails."""
    print(text, flush=True)


@dataclass
class Ended:
    """An execution that has ended."""

    arn: str
    given: dict[str, Any]
    status: str
    error: str
    explanation: dict[str, Any]
    receipt: dict[str, Any]
    transitions: int
    waits: int
    seconds: float

    @property
    def walked(self) -> int:
        """Transitions without those of looks that came too early (wait, check, choice): how many there are of
        them says how busy the machine was."""
        return self.transitions - 3 * self.waits


@dataclass(frozen=True)
class Planned:
    """A plan, the input of the release that it was asked for, and what stood before and after it."""

    given: dict[str, Any]
    answer: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass
class Rehearsed:
    """A region that is up, with the orchestrator in it."""

    paths: host.Paths
    ports: host.Ports
    outputs: dict[str, str]
    folder: Path
    numbers: list[int] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """A client of the operator."""
        factory: Any = boto3.client
        return factory(service)

    def site(self, domain: str = "arable.example") -> visit.Site:
        """The site, through the load balancer."""
        return visit.Site(domain, self.paths.authority, self.ports.https)

    def tier(self, name: str, environment: str = "arable") -> dict[str, str]:
        """Outputs of a tier's stack."""
        stack = f"slipway-{environment}-{name.replace('_', '-')}"
        found = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def given(self, overlay: str | None = None, **web: Any) -> dict[str, Any]:
        """Upload the application, changed by an overlay, as a new release; the input that releases it.

        `web`: fields of `environment.web` that differ from the published example.
        """
        self.numbers.append(len(self.numbers) + 1)
        name = f"2026-11-22.{self.numbers[-1]}"
        artifact = release.package(name, self.folder, None if overlay is None else OVERLAYS / overlay)
        made = release.first_input(
            name, release.upload(artifact, self.outputs["ArtifactBucket"]), artifact.sha256
        )
        made["environment"]["web"] |= web
        return made

    def told(self, ended: Ended, state: str) -> dict[str, Any]:
        """What the last step said of the command that the release began in a state, by server."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history")
        events = [event for page in pages.paginate(executionArn=ended.arn) for event in page["events"]]
        left = clean_up.outputs(events)
        command = (left.get(f"Await{state}") or left[state])["commandId"]
        listed = self.client("ssm").list_command_invocations(CommandId=command, Details=True)
        outputs = {
            one["InstanceId"]: one["CommandPlugins"][-1]["Output"] for one in listed["CommandInvocations"]
        }
        assert outputs
        return {server: json.loads(output.splitlines()[0]) for server, output in outputs.items()}

    def release(self, given: dict[str, Any], meanwhile: Callable[[str], None] | None = None) -> Ended:
        """Execute to the end, whatever it is. `meanwhile` is given the execution's ARN on another thread."""
        began = time.monotonic()
        states = release.client("stepfunctions")
        arn = release.start(self.outputs["ReleaseStateMachineArn"], given)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(meanwhile, arn) if meanwhile else None
            watched = watch(states, arn, plain=True)
            if other:
                other.result()
        ended = states.describe_execution(executionArn=arn)
        return Ended(
            arn,
            given,
            str(ended["status"]),
            str(ended.get("error", "")),
            as_object(ended.get("cause")),
            as_object(ended.get("output")),
            watched.transitions(),
            sum(map(self._waits, watched.lanes)),
            time.monotonic() - began,
        )

    def _waits(self, execution: str) -> int:
        """How often an execution waited."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history")
        events = (event for page in pages.paginate(executionArn=execution) for event in page["events"])
        return sum(event["type"] == "WaitStateEntered" for event in events)

    def succeed(self, given: dict[str, Any]) -> Ended:
        """Execute; it must succeed."""
        ended = self.release(given)
        assert ended.status == "SUCCEEDED", f"{ended.error}: {ended.explanation}"
        return ended

    def plan(self, given: dict[str, Any]) -> dict[str, Any]:
        """What this release would do."""
        return release.plan(self.outputs, given).receipt

    def standing(self) -> dict[str, Any]:
        """All that a plan may not change: stacks with their change sets, the table, objects, groups, commands
        but for reports, and what runs on the servers since when. What a check for drift writes down is not
        among it: each end of a release starts one."""
        cloudformation = self.client("cloudformation")
        stacks = cloudformation.describe_stacks()["Stacks"]
        names = [one["StackName"] for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"]
        for one in stacks:
            one.pop("DriftInformation", None)
        objects = self.client("s3").list_objects_v2(Bucket=self.outputs["ArtifactBucket"]).get("Contents", [])
        groups = self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        items = self.client("dynamodb").scan(TableName=self.outputs["TableName"])["Items"]
        # But for the mark that servers were asked for their report; it expires by itself.
        items = [item for item in items if not item["sk"]["S"].startswith(("COMMAND#", "DRIFT"))]
        asked = "systemctl show -p ActiveEnterTimestampMonotonic 'arable@*' nginx; ls -l /var/www/arable"
        running = [one["InstanceId"] for group in groups for one in group["Instances"]]
        return {
            "stacks": sorted(json.dumps(one, default=str, sort_keys=True) for one in stacks),
            "changeSets": {
                name: cloudformation.list_change_sets(StackName=name)["Summaries"] for name in names
            },
            "objects": sorted(one["Key"] for one in objects if not one["Key"].startswith("drift/")),
            "groups": json.dumps(groups, default=str, sort_keys=True),
            "items": sorted(json.dumps(item, sort_keys=True) for item in items),
            "commands": sorted(
                one["CommandId"]
                for one in self.client("ssm").list_commands()["Commands"]
                if not one["DocumentName"].endswith("-report")
            ),
            "servers": {server: self.on(server, asked).stdout for server in running},
        }

    def fail(self, given: dict[str, Any], meanwhile: Callable[[str], None] | None = None) -> Ended:
        """Execute; it must fail, and say how it ended and why."""
        ended = self.release(given, meanwhile)
        assert ended.status == "FAILED", ended
        assert ended.error in ("FailedClean", "FailedDirty"), ended
        assert {"error", "what", "where", "next"} <= ended.explanation.keys(), ended.explanation
        return ended

    def left(self, execution: str, state: str) -> bool:
        """Whether an execution has gone through a state."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history")
        events = (event for page in pages.paginate(executionArn=execution) for event in page["events"])
        return any(event.get("stateExitedEventDetails", {}).get("name") == state for event in events)

    def ping(self, server: str) -> str:
        """What Systems Manager has heard of its agent: Online, ConnectionLost; empty: nothing yet."""
        found = self.client("ssm").describe_instance_information()["InstanceInformationList"]
        return next((str(one["PingStatus"]) for one in found if one["InstanceId"] == server), "")

    def servers(self) -> list[str]:
        """Instance ids of the web servers in service."""
        group = self.tier("web")["AutoScalingGroupName"]
        found = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        instances = found["AutoScalingGroups"][0]["Instances"]
        return [one["InstanceId"] for one in instances if one["LifecycleState"] == "InService"]

    def on(self, server: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a server, past the product."""
        command = host.on_server(self.paths, server, ["bash", "-s"])
        return subprocess.run(command, input=script, capture_output=True, text=True, check=False)

    def sql(self, statement: str) -> str:
        """Run a statement as the database's administrator, past the product."""
        server = f"rds-{self.tier('database')['InstanceIdentifier']}"
        done = subprocess.run(
            host.on_server(self.paths, server, ["mariadb", "--batch", "--skip-column-names"]),
            input=statement,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def targets(self) -> dict[str, dict[str, str]]:
        """Server → health, as the load balancer says."""
        arn = self.tier("web")["TargetGroupArn"]
        found = self.client("elbv2").describe_target_health(TargetGroupArn=arn)
        return {one["Target"]["Id"]: one["TargetHealth"] for one in found["TargetHealthDescriptions"]}


def as_object(text: str | None) -> dict[str, Any]:
    """A JSON object; anything else under "text"."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"text": text}


def eventually(look: Callable[[], bool], seconds: float, what: str) -> None:
    """Return as soon as `look()` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def same(look: Callable[[], object], wanted: object, seconds: float = 60) -> None:
    """Return as soon as `look()` is as wanted; fail after `seconds`, with the difference."""
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted


@dataclass
class Load:
    """What visitors met while it ran."""

    answers: dict[str, int] = field(default_factory=dict)
    """Status (or error) and release → how often."""

    @property
    def failures(self) -> dict[str, int]:
        """Everything that was not a 200."""
        return {answer: times for answer, times in self.answers.items() if not answer.startswith("200 ")}


@contextmanager
def load(site: Callable[[], visit.Site], path: str, every: float = 0.05) -> Iterator[Load]:
    """Visitors that keep asking for a page, one each `every` seconds, while this block runs."""
    seen, stop = Load(), threading.Event()

    def visitor() -> None:
        while not stop.is_set():
            try:
                response = site().get(path)
                answer = f"{response.status} {response.headers['X-Slipway-Release']}"
            except OSError as error:
                answer = f"{type(error).__name__}: {error}"
            seen.answers[answer] = seen.answers.get(answer, 0) + 1
            stop.wait(every)

    thread = threading.Thread(target=visitor, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True)
class Traces:
    """What a region could leave behind on the machine."""

    links: frozenset[str]
    routes: frozenset[str]
    rules: str
    mounts: frozenset[str]
    namespaces: frozenset[str]
    loops: frozenset[str]
    groups: frozenset[str]
    processes: frozenset[str]


def traces(folder: Path) -> Traces:
    """The machine's links, routes, firewall, mounts, named namespaces; loop devices, control groups and
    processes that have to do with `folder`."""

    def lines(*command: str) -> frozenset[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return frozenset(line.strip() for line in done.stdout.splitlines())

    mine = str(folder)
    groups = [root / cgroups.family(folder / "run") for root in cgroups.roots()]
    return Traces(
        links=frozenset(line.split(":")[1] for line in lines("ip", "-o", "link")),
        routes=lines("ip", "-4", "route", "show", "table", "all"),
        rules="\n".join(sorted(lines("nft", "list", "tables"))),
        mounts=frozenset(line for line in lines("findmnt", "-rno", "TARGET") if mine in line),
        namespaces=lines("ip", "netns", "list"),
        loops=frozenset(line for line in lines("losetup", "-nO", "BACK-FILE") if mine in line),
        groups=frozenset(str(group) for group in groups if group.exists()),
        processes=frozenset(line for line in lines("ps", "-ww", "-eo", "args") if mine in line),
    )
