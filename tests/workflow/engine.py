"""The shipped state machines on MiniStack's own interpreter, in this process, fakes at the Lambda boundary.

The definitions are the files of `statemachine/`, with the substitutions that `template.yaml` makes (its ARNs,
and short waits instead of its numbers). Of the interpreter nothing is replaced but three things: what a
function answers, how long a pause really lasts, and, on request, how the failure of a child execution is
reported: MiniStack hands on the child's own error, AWS says `States.TaskFailed` with the child described in
the cause.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ministack.services import stepfunctions

ROOT = Path(__file__).resolve().parents[2]
EXECUTION = "test"
MACHINES = ("RunCommand", "DeployTier", "RollOut", "CleanUp", "Release")
PREFIX = "arn:aws:lambda:us-east-1:000000000000:function:"
# Seconds that stand in template.yaml and would make a test of what never ends wait.
SHORT = {
    "PollSeconds": "1",
    "TierSeconds": "0.3",
    "CertificateSeconds": "0.3",
    "DatabaseSeconds": "0.3",
    "ServersSeconds": "0.3",
    "RestorePointSeconds": "0.3",
    "DeliverySeconds": "0.3",
    "DrainGraceSeconds": "0.3",
    "ActivateSeconds": "0.3",
    "HealthySeconds": "0.3",
    "BakeGraceSeconds": "0.3",
    "VerifySeconds": "0.3",
    "CommandsSeconds": "0.3",
    "PreviewSeconds": "0.3",
}
# For all other tests no deadline may pass only because the machine that they run on is busy.
PATIENT = {**dict.fromkeys(SHORT, "600"), "PollSeconds": SHORT["PollSeconds"]}


class TaskError(Exception):
    """What a function raises: the error's name is the ASL error name, the text its message."""

    def __init__(self, error: str, message: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.message = message


Answer = Callable[[dict[str, Any]], Any]


@dataclass
class Functions:
    """Fake functions by name (`CheckTier`), each from its payload to its answer; remembers every call."""

    answers: dict[str, Answer]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, reference: str, payload: dict[str, Any]) -> Any:
        name = reference.removeprefix(PREFIX)
        with self._guard:
            self.calls.append((name, payload))
        return json.loads(json.dumps(self.answers[name](payload)))

    def payloads(self, name: str) -> list[dict[str, Any]]:
        return [payload for called, payload in self.calls if called == name]


@dataclass
class Execution:
    """What an execution left; `path` is every state entered, `Release.X` or `DeployTier/network.X`."""

    status: str
    output: Any
    error: str | None
    cause: Any
    path: list[str]

    def of(self, machine: str) -> list[str]:
        """The states of one execution, in order: `of("Release")`, `of("RunCommand/prepare")`."""
        return [state.split(".", 1)[1] for state in self.path if state.split(".", 1)[0] == machine]

    def machines(self) -> list[str]:
        """Every execution that took part, as `of` takes it."""
        return list(dict.fromkeys(state.split(".", 1)[0] for state in self.path))

    def kinds_of(self, machine: str) -> list[str]:
        """The types of the states of one execution, in order."""
        kinds = {name: state["Type"] for name, state in states_of(definition(machine.partition("/")[0]))}
        return [kinds[name] for name in self.of(machine)]


def definition(machine: str) -> dict[str, Any]:
    """The shipped definition of `Release`, `DeployTier`, `RunCommand`, or `RollOut`, unsubstituted."""
    name = {
        "Release": "release",
        "DeployTier": "deploy_tier",
        "RunCommand": "run_command",
        "RollOut": "roll_out",
        "CleanUp": "clean_up",
    }
    text = (ROOT / "statemachine" / f"{name[machine]}.asl.yaml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def states_of(scope: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every state of a definition, those inside Parallel and Map too."""
    for name, state in scope["States"].items():
        yield name, state
        for branch in state.get("Branches", []):
            yield from states_of(branch)
        if "ItemProcessor" in state:
            yield from states_of(state["ItemProcessor"])


def substitute(value: Any, values: Mapping[str, str]) -> Any:
    """Replaces `${Name}` in every string, as CloudFormation does with DefinitionSubstitutions."""
    if isinstance(value, dict):
        return {key: substitute(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, values) for item in value]
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace("${" + name + "}", text)
    return value


class Engine:
    """MiniStack's interpreter with the four machines; one at a time in a process."""

    def __init__(
        self, functions: Functions, *, as_on_aws: bool, seconds: Mapping[str, str] | None = None
    ) -> None:
        self._sfn = stepfunctions
        self._functions = functions
        self._as_on_aws = as_on_aws
        self._path: list[str] = []
        self._arns: dict[str, str] = {}
        self._seconds = {**PATIENT, **(seconds or {})}
        self._stop_at: tuple[str, bool] | None = None
        self._others: frozenset[threading.Thread] = frozenset()

    @contextmanager
    def running(self) -> Iterator[Engine]:
        """Installs the fakes, creates the machines, and puts everything back at the end."""
        names = ("_call_lambda", "time", "_invoke_nested_start_execution_sync", *_ENTERING)
        kept = {name: getattr(self._sfn, name) for name in names}
        self._others = frozenset(threading.enumerate())
        try:
            self._install(kept)
            for machine in MACHINES:
                self._create(machine)
            yield self
        finally:
            for name, value in kept.items():
                setattr(self._sfn, name, value)
            self._sfn.reset()

    def run(
        self, payload: Any, machine: str = "Release", within: float = 120, name: str = EXECUTION
    ) -> Execution:
        """Starts an execution, waits for its end. Raises TimeoutError after `within` seconds."""
        arn = self.start(payload, machine, name)
        give_up = time.monotonic() + within
        while (ended := _body(self._sfn._describe_execution({"executionArn": arn})))["status"] == "RUNNING":
            if time.monotonic() > give_up:
                raise TimeoutError(f"{arn} still runs; entered so far: {self._path}")
            time.sleep(0.01)
        cause = ended.get("cause")
        return Execution(
            status=ended["status"],
            output=json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else None,
            error=ended.get("error"),
            cause=_json_or_text(cause),
            path=list(self._path),
        )

    def start(self, payload: Any, machine: str = "Release", name: str = EXECUTION) -> str:
        """The ARN of an execution that runs from now on."""
        given = {"stateMachineArn": self._arns[machine], "name": name, "input": json.dumps(payload)}
        return str(_body(self._sfn._start_execution(given))["executionArn"])

    def stop_at(self, mark: str, *, under_way: bool) -> None:
        """The release is stopped, and its children with it, as soon as the state `Release.Migrate` or
        `RollOut/roll-out.Activate` is entered; `under_way`: what the state calls goes on to its end, as a
        Lambda function does."""
        self._stop_at = (mark, under_way)

    def stop(self) -> None:
        """Stops whatever runs."""
        for execution in [e for e in self._sfn._executions.values() if e["status"] == "RUNNING"]:
            self._sfn._stop_execution({"executionArn": execution["executionArn"]})

    def busy(self) -> bool:
        """Whether anything still goes on, were it in an execution that has been stopped."""
        return bool(frozenset(threading.enumerate()) - self._others)

    def described(self, arn: str) -> dict[str, Any]:
        return _body(self._sfn._describe_execution({"executionArn": arn}))

    def history(self, arn: str) -> list[dict[str, Any]]:
        """Its events, and the starts of its children, which MiniStack leaves out until they have ended."""
        events = _body(self._sfn._get_execution_history({"executionArn": arn, "maxResults": 1000}))["events"]
        mark = f'"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "{arn}"'
        started = [e["executionArn"] for e in self._sfn._executions.values() if mark in (e["input"] or "")]
        outputs = [json.dumps({"ExecutionArn": child}) for child in started]
        return [*events, *({"taskSubmittedEventDetails": {"output": output}} for output in outputs)]

    def arn(self, machine: str, name: str = EXECUTION) -> str:
        return f"{self._arns[machine].replace(':stateMachine:', ':execution:')}:{name}"

    def _create(self, machine: str) -> None:
        shipped = definition(machine)
        for name, state in states_of(shipped):
            state["Comment"] = f"{machine}.{name}"  # the mark by which an entered state is known
        values = dict(self._seconds)
        values.update({f"{name}StateMachineArn": arn for name, arn in self._arns.items()})
        functions = {
            name.removesuffix("FunctionArn")
            for name in _placeholders(shipped)
            if name.endswith("FunctionArn")
        }
        values.update({f"{name}FunctionArn": PREFIX + name for name in functions})
        created = _body(
            self._sfn._create_state_machine(
                {
                    "name": f"slipway-{machine}",
                    "definition": json.dumps(substitute(shipped, values)),
                    "roleArn": "arn:aws:iam::000000000000:role/slipway",
                }
            )
        )
        self._arns[machine] = created["stateMachineArn"]

    def _install(self, kept: Mapping[str, Any]) -> None:
        sfn = self._sfn

        def call(reference: str, payload: dict[str, Any]) -> Any:
            try:
                return self._functions(reference, payload)
            except TaskError as error:
                body = {"errorType": error.error, "errorMessage": error.message, "stackTrace": []}
                raise sfn._ExecutionError(error.error, json.dumps(body)) from error

        def nested(resource: str, request: dict[str, Any]) -> Any:
            try:
                return kept["_invoke_nested_start_execution_sync"](resource, request)
            except sfn._ExecutionError as error:
                child = (
                    f"{request['StateMachineArn'].replace(':stateMachine:', ':execution:')}:{request['Name']}"
                )
                described = {
                    "ExecutionArn": child,
                    "Name": request["Name"],
                    "Status": "FAILED",
                    "Error": error.error,
                    "Cause": error.cause,
                }
                raise sfn._ExecutionError("States.TaskFailed", json.dumps(described)) from error

        sfn._call_lambda = call
        sfn.time = _ImpatientTime()
        if self._as_on_aws:
            sfn._invoke_nested_start_execution_sync = nested
        for name in _ENTERING:
            setattr(sfn, name, self._entering(kept[name]))

    def _entering(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def entered(state: dict[str, Any], *rest: Any) -> Any:
            if execute.__name__ != "_apply_input_path" or state.get("Type") == "Succeed":
                self._note(state["Comment"], rest)
                if self._stop_at and self._path[-1] == self._stop_at[0]:
                    (_, under_way), self._stop_at = self._stop_at, None
                    self.stop()
                    if not under_way:
                        raise SystemExit  # this thread's, silently
            return execute(state, *rest)

        return entered

    def _note(self, mark: str, rest: tuple[Any, ...]) -> None:
        machine, state = mark.split(".", 1)
        context = rest[-1]  # each of them is handed the context object last
        child = context["Execution"]["Name"].removeprefix(EXECUTION).removeprefix("-")
        self._path.append(f"{machine}{'/' + child if child else ''}.{state}")


class _ImpatientTime:
    """The module `time`, but nobody sleeps longer than 10 ms: waits, back-off, MiniStack's own pauses."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


# Every way a state is entered. A Succeed state has no function of its own: its input path is looked at.
_ENTERING = (
    "_execute_task",
    "_execute_choice",
    "_execute_wait",
    "_execute_parallel",
    "_fail_state_error",
    "_apply_input_path",
)


def _placeholders(value: Any) -> set[str]:
    return set(re.findall(r"\$\{(\w+)\}", json.dumps(value)))


def _body(response: tuple[int, Any, bytes]) -> dict[str, Any]:
    status, _, body = response
    answer: dict[str, Any] = json.loads(body)
    if status >= 400:
        raise AssertionError(f"{answer}")
    return answer


def _json_or_text(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text
