"""A release to many servers, simulated: the shipped definitions and the shipped functions, AWS made up.

    python -m bench.simulation SERVERS [--failing]

The state machines run on the emulator's interpreter. The functions that handle servers are the real ones,
above clients that answer for as many servers as are asked for, page by page, and are no quicker than servers:
what is waited for takes longer than a function lingers, so each wait shows in the history. Other functions
answer at once. Prints one JSON object, `Measured`. With --failing the release does not start on any server of
the second wave, which is all servers but one: then only the size of the explanations is of interest.

Runs in a process of its own (scale.py), with a function's environment variables and `functions` on its path.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import os
import sys
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from ministack.services import stepfunctions

from slipway import commands, lock, patience
from slipway.errors import SlipwayError
from tests.workflow.engine import Answer, Engine, Functions, TaskError
from tests.workflow.fleet import fleet, request

Json = dict[str, Any]

HANDLERS = {
    "CheckServers": "check_servers",
    "StartCommand": "start_command",
    "CheckCommand": "check_command",
    "DrainServers": "drain_servers",
    "CheckDrained": "check_drained",
    "RestoreServers": "restore_servers",
    "CheckTargets": "check_targets",
    "PlanRollBack": "plan_roll_back",
    "ExplainFailure": "explain_failure",
    "RecordRelease": "record_release",
}
"""The functions that are given, or answer, something of every server."""

COMMAND_SECONDS = 45.0  # longer than the 20 s of one look, and of a second one
DRAIN_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
FIRST_OUTPUT = 2500  # characters that Run Command lists of an output
PAGE = 50  # invocations, agents and instances that one answer of AWS lists
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Measured:
    """What a simulated release came to. Sizes in bytes."""

    status: str = ""
    events: dict[str, int] = field(default_factory=dict)
    """Execution → its history events, as AWS counts them."""
    transitions: int = 0
    waves: int = 0
    payload: int = 0
    payload_of: str = ""
    variable: int = 0
    variable_of: str = ""
    """The largest variable of a state machine."""
    variables: int = 0
    """All variables of the execution that has most in them."""
    output: int = 0
    """The largest input or output of an execution."""
    cause: int = 0
    """The longest cause of a failure, in characters."""
    instances: int = 0
    """The most servers that one call of SendCommand named."""
    receipt: int = 0
    item: int = 0
    """The largest item of the table."""
    memory: int = 0
    memory_of: str = ""
    """What the function that needs most allocates for its largest call."""


# AWS, made up


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Cloud:
    """The clients that functions meet. Everything takes its time by `clock`."""

    def __init__(self, servers: Sequence[str], clock: Clock, failing: bool) -> None:
        self.servers = servers
        self.clock = clock
        self.failing = failing
        self.commands: dict[str, tuple[str, float, Sequence[str]]] = {}
        self.since: dict[str, tuple[str, float]] = {}
        self.items: dict[tuple[str, str], Json] = {}
        self.measured = Measured()
        self.engine: Engine | None = None

    def client(self, service: str, **_: Any) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        return Pages(getattr(self, f"pages_of_{operation}"))

    # Auto Scaling

    def describe_auto_scaling_groups(self, **_: Any) -> Json:
        instances = [
            {
                "InstanceId": server,
                "AvailabilityZone": f"eu-central-1{'abc'[number % 3]}",
                "LifecycleState": "InService",
                "HealthStatus": "Healthy",
                "InstanceType": "t3.micro",
                "LaunchTemplate": {"LaunchTemplateId": "lt-" + "0" * 17, "Version": "1"},
                "ProtectedFromScaleIn": False,
            }
            for number, server in enumerate(self.servers)
        ]
        return through_json(
            {"AutoScalingGroups": [{"Instances": instances, "DesiredCapacity": len(self.servers)}]}
        )

    def describe_auto_scaling_instances(self, InstanceIds: Sequence[str]) -> Json:
        return {
            "AutoScalingInstances": [
                {"InstanceId": server, "LifecycleState": "InService"} for server in InstanceIds
            ]
        }

    # EC2

    def pages_of_describe_instances(self, Filters: Sequence[Json]) -> Iterator[Json]:
        running = [{"InstanceId": server, "State": {"Name": "running"}} for server in Filters[0]["Values"]]
        yield {"Reservations": [{"Instances": running}]}

    # Systems Manager

    def pages_of_describe_instance_information(self, Filters: Sequence[Json]) -> Iterator[Json]:
        listed = Filters[0]["Values"]
        yield {
            "InstanceInformationList": [
                {"InstanceId": server, "PingStatus": "Online", "IPAddress": f"10.20.{n // 256}.{n % 256}"}
                for n, server in enumerate(listed)
            ]
        }

    def send_command(self, DocumentName: str, InstanceIds: Sequence[str], **_: Any) -> Json:
        if len(InstanceIds) > PAGE:
            raise ValueError(f"SendCommand takes {PAGE} servers, not {len(InstanceIds)}")
        self.measured.instances = max(self.measured.instances, len(InstanceIds))
        command = str(uuid.uuid4())
        self.commands[command] = DocumentName.rsplit("-", 1)[-1], self.clock(), InstanceIds
        return {"Command": {"CommandId": command}}

    def pages_of_list_commands(self, **_: Any) -> Iterator[Json]:
        yield {"Commands": []}

    def pages_of_list_command_invocations(self, CommandId: str, **_: Any) -> Iterator[Json]:
        step, since, servers = self.commands[CommandId]
        ended = self.clock() - since >= COMMAND_SECONDS
        for first in range(0, len(servers), PAGE):
            page = [
                self._invocation(CommandId, step, server, ended) for server in servers[first : first + PAGE]
            ]
            yield through_json({"CommandInvocations": page})

    def _invocation(self, command: str, step: str, server: str, ended: bool) -> Json:
        fails = self.failing and step == "activate" and server != self.servers[0]
        status = ("Failed" if fails else "Success") if ended else "InProgress"
        names = commands.steps(step)
        plugins = [
            {
                "Name": name,
                "Status": status,
                "ResponseCode": 0,
                "ResponseStartDateTime": BEGAN,
                "ResponseFinishDateTime": BEGAN + timedelta(seconds=COMMAND_SECONDS / len(names)),
                "Output": printed(name, ok=not fails) if ended else "",
            }
            for name in names
        ]
        return {
            "CommandId": command,
            "InstanceId": server,
            "InstanceName": f"ip-10-20-0-0.eu-central-1.compute.internal {server}",
            "Comment": f"slipway arable {step}",
            "DocumentName": f"slipway-{step}",
            "Status": status,
            "StatusDetails": status,
            "CommandPlugins": plugins,
        }

    # Elastic Load Balancing

    def describe_target_health(self, **_: Any) -> Json:
        return through_json({"TargetHealthDescriptions": list(map(self._target, self.servers))})

    def _target(self, server: str) -> Json:
        change, since = self.since.get(server, ("register", -HEALTHY_SECONDS))
        past = self.clock() - since
        if change == "register":
            state = "healthy" if past >= HEALTHY_SECONDS else "initial"
        else:
            state = "unused" if past >= DRAIN_SECONDS else "draining"
        return {
            "Target": {"Id": server, "Port": 3000},
            "TargetHealth": {"State": state, "Reason": "Elb.Some"},
        }

    def deregister_targets(self, Targets: Sequence[Json], **_: Any) -> Json:
        self.since |= {target["Id"]: ("deregister", self.clock()) for target in Targets}
        return {}

    def register_targets(self, Targets: Sequence[Json], **_: Any) -> Json:
        self.since |= {target["Id"]: ("register", self.clock()) for target in Targets}
        return {}

    def describe_target_group_attributes(self, **_: Any) -> Json:
        return {"Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}]}

    def modify_target_group_attributes(self, **_: Any) -> Json:
        return {}

    # DynamoDB, S3, Step Functions

    def get_item(self, Key: Json, **_: Any) -> Json:
        found = self.items.get((Key["pk"]["S"], Key["sk"]["S"]))
        return {"Item": found} if found else {}

    def put_item(self, Item: Json, **_: Any) -> Json:
        size = sum(len(name) + len(next(iter(value.values()))) for name, value in Item.items())
        self.measured.item = max(self.measured.item, size)
        self.items[Item["pk"]["S"], Item["sk"]["S"]] = Item
        return {}

    def put_object(self, Body: bytes, **_: Any) -> Json:
        self.measured.receipt = max(self.measured.receipt, len(Body))
        return {}

    def describe_execution(self, executionArn: str) -> Json:
        assert self.engine is not None
        return {**self.engine.described(executionArn), "startDate": BEGAN}

    def get_execution_history(self, executionArn: str, **_: Any) -> Json:
        assert self.engine is not None
        events = through_json({"events": self.engine.history(executionArn)})["events"]
        for event in events:
            event.setdefault("type", "TaskSubmitted")
            event["timestamp"] = datetime.now(UTC)
        return {"events": events}


class Pages:
    """A paginator."""

    def __init__(self, pages: Callable[..., Iterator[Json]]) -> None:
        self.paginate = pages


def through_json(answer: Json) -> Json:
    """An answer as a client makes it out of what came over the wire; times stay times."""
    text = json.dumps(answer, default=lambda time: time.isoformat())
    parsed: Json = json.loads(text)
    for invocation in parsed.get("CommandInvocations", []):
        for plugin in invocation["CommandPlugins"]:
            for name in ("ResponseStartDateTime", "ResponseFinishDateTime"):
                plugin[name] = datetime.fromisoformat(plugin[name])
    return parsed


def printed(step: str, *, ok: bool) -> str:
    """What a document prints on a server, as much of it as Run Command lists."""
    told: Json = {"step": step, "ok": ok, "changed": True, "reason": "" if ok else "x" * 500}
    told |= {"wanted": "2026-11-22.2", "before": "2026-11-22.1", "strategy": "drain", "warm": False}
    told |= {"release": "2026-11-22.2", "seconds": COMMAND_SECONDS, "ruby": "3.1.2", "gems": "system"}
    if step == "pending":
        told |= {"pending": [], "number": 0, "empty": False}
    return f"{json.dumps(told)}\n".ljust(FIRST_OUTPUT, ".")


# The release


def simulate(servers: Sequence[str], failing: bool) -> Measured:
    """Release to them in waves of a tenth (`failing`: all at once after the canary)."""
    clock = Clock()
    cloud = Cloud(servers, clock, failing)
    rollout: Json = {"canary": 1, "batch": "10%", "strategy": "drain", "bakeSeconds": 60}
    if failing:
        rollout |= {"batch": "100%", "strategy": "side_by_side", "bakeSeconds": 0}
    asked = whole(request(**rollout), len(servers))
    functions = fleet(
        ValidateInput=lambda _: asked,
        CheckBake=bakes(),
        **{name: real(handler) for name, handler in HANDLERS.items()},
    )
    variables = Variables()
    with made_up(cloud, clock), Engine(functions, as_on_aws=True, seconds=PATIENT).running() as engine:
        cloud.engine = engine
        with variables.watched():
            execution = engine.run({"as": "given"}, within=600)
        measured = cloud.measured
        measured.status = execution.status if execution.status == "SUCCEEDED" else str(execution.error)
        measured.events = {
            machine: 2 + sum(map(events_of, execution.kinds_of(machine))) for machine in execution.machines()
        }
        measured.transitions = len(execution.path)
        measured.waves = len(functions.payloads("CheckBake")) // len(BAKE)
        measured.payload, measured.payload_of = largest_payload(functions)
        measured.output, measured.cause = ends()
        if not failing:
            measured.memory, measured.memory_of = hungriest(functions)
    measured.variable, measured.variable_of = variables.largest
    measured.variables = variables.most
    return measured


BAKE = ("baking", "baking", "baked")
PATIENT = dict.fromkeys(
    ("DrainGraceSeconds", "ActivateSeconds", "DeliverySeconds", "HealthySeconds", "BakeGraceSeconds",
     "ServersSeconds", "VerifySeconds"), "3600",
)  # fmt: skip


def bakes() -> Answer:
    """Of CheckBake: each wave is looked at three times."""
    looks = Counter[str]()

    def answer(payload: Json) -> Json:
        wave = payload["servers"][0]
        looks[wave] += 1
        return {"status": BAKE[looks[wave] - 1]}

    return answer


def whole(asked: Json, servers: int) -> Json:
    """The request with what the receipt tells of the environment."""
    environment = asked["environment"]
    web = {**environment["web"], "min": servers, "desired": servers, "max": servers}
    named = {"domain": {"name": "arable.example"}, "network": {"cidr": "10.20.0.0/16"}}
    return {**asked, "environment": {**environment, **named, "web": web}}


def real(handler: str) -> Answer:
    """The function itself, its errors as Lambda reports them."""
    work = importlib.import_module(f"{handler}.app").handler

    def answer(payload: Json) -> Any:
        try:
            return work(payload, None)
        except SlipwayError as error:
            raise TaskError(type(error).__name__, str(error)) from error

    return answer


@contextlib.contextmanager
def made_up(cloud: Cloud, clock: Clock) -> Iterator[None]:
    """Functions meet `cloud` instead of AWS, and their pauses are the clock's."""
    setattr(boto3, "client", cloud.client)  # noqa: B010
    for waits in (patience.DEFAULT, patience.OUT_OF_SERVICE, patience.AT_WORK):
        object.__setattr__(waits, "clock", clock)
        object.__setattr__(waits, "sleep", clock.sleep)
    lock.assure = lambda held: None
    yield


def events_of(kind: str) -> int:
    """History events of a state: entered, exited; a task is also scheduled, started, submitted, and ends."""
    return {"Task": 6, "Fail": 1, "Parallel": 4}.get(kind, 2)


def largest_payload(functions: Functions) -> tuple[int, str]:
    """The largest that a function was given."""
    return max((size(payload), name) for name, payload in functions.calls)


def ends() -> tuple[int, int]:
    """The largest input or output of all executions, and their longest cause."""
    texts, causes = [""], [""]
    for execution in stepfunctions._executions.values():
        texts += [execution.get("input") or "", execution.get("output") or ""]
        causes.append(execution.get("cause") or "")
    return max(len(text.encode()) for text in texts), max(map(len, causes))


def hungriest(functions: Functions) -> tuple[int, str]:
    """The most that a function allocates in its largest call, and which function that is."""
    largest: dict[str, Json] = {}
    for name, payload in functions.calls:
        if name in HANDLERS and size(payload) > size(largest.get(name, {})):
            largest[name] = payload
    return max((allocated(functions.answers[name], payload), name) for name, payload in largest.items())


def allocated(answer: Answer, payload: Json) -> int:
    """Bytes at the most beyond what there was before."""
    tracemalloc.start()
    try:
        json.dumps(answer(json.loads(json.dumps(payload))))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Variables:
    """The sizes of what state machines assign."""

    def __init__(self) -> None:
        self.largest = (0, "")
        self.most = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Looks at them after each state that assigns some."""
        assign = stepfunctions._apply_state_assign

        def watching(state: Json, given: Any, context: Json, **rest: Any) -> None:
            assign(state, given, context, **rest)
            if state.get("Assign"):
                self._look(context["State"]["Name"], context["variables"])

        stepfunctions._apply_state_assign = watching
        try:
            yield
        finally:
            stepfunctions._apply_state_assign = assign

    def _look(self, state: str, variables: Mapping[str, Any]) -> None:
        sizes = {name: size(value) for name, value in variables.items()}
        self.most = max(self.most, sum(sizes.values()))
        self.largest = max(self.largest, *((one, f"{name} at {state}") for name, one in sizes.items()))


def size(value: Any) -> int:
    """Bytes of JSON."""
    return len(json.dumps(value, separators=(",", ":")).encode())


def main() -> int:
    """Simulate one, print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation")
    parser.add_argument("servers", type=int)
    parser.add_argument("--failing", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "CRITICAL")
    logging.disable(logging.CRITICAL)
    servers = [f"i-{number:017x}" for number in range(given.servers)]
    with contextlib.redirect_stdout(io.StringIO()):
        measured = simulate(servers, given.failing)
    print(json.dumps(asdict(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
