"""The shipped state machines on MiniStack's own interpreter, in this process, fakes at the Lambda boundary.

The definitions are the files of `statemachine/`, with the substitutions that `template.yaml` makes (its ARNs,
and short waits instead of its numbers). Of the interpreter only this is replaced: what a function answers,
how long a pause really lasts, what a stopped execution goes on with (nothing, in any branch), what goes wrong
because it was asked for (`Fault`, `Stop`; the time-out of a task is such a fault, it has no clock here), and,
on request, how the failure of a child execution is reported: MiniStack hands on the child's own error, AWS
says `States.TaskFailed` with the child described in the cause.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonata
import yaml
from ministack.services import eventbridge, stepfunctions

ROOT = Path(__file__).resolve().parents[2]
EXECUTION = "test"
MACHINES = (
    "AwaitCommand",
    "DeployTier",
    "RollOut",
    "JoinHost",
    "CleanUp",
    "Release",
    "CheckDrift",
    "TearDown",
)
_NAMES = {name: re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in MACHINES}
STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
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
    "DetectionSeconds": "0.3",
    "ReportSeconds": "0.3",
    "ServingSeconds": "0.3",
    "EndSeconds": "0.3",
    "LastSeconds": "0.3",
    "ImagesSeconds": "0.3",
    "ResumeSeconds": "0.3",
    "ResumePauseSeconds": "1",
    "ReleaseSeconds": "0.3",
    "AgentSeconds": "0.3",
    "JoinSeconds": "0.3",
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

# The state in which a thread of the interpreter is: `Release.Migrate`, `RollOut/roll-out.Activate`.
_here: ContextVar[str] = ContextVar("_here", default="")


@dataclass(frozen=True)
class Fault:
    """What befalls the calls of a task, from the `nth` time on that its state is entered.

    `calls`: how many of them; None: all, in whichever execution the state stands (of the machines that are
    started for several things, DeployTier and AwaitCommand, the executions for the same thing). `done`: the
    effect takes place, only the answer is lost.
    """

    mark: str
    error: str
    cause: str = ""
    calls: int | None = 1
    done: bool = False
    nth: int = 1


@dataclass(frozen=True)
class Stop:
    """An execution is stopped as soon as it enters a state for the `nth` time, and its children with it.

    `call`: what becomes of the state's call: `none` (it is not made), `made` (it goes on to its end, as a
    Lambda function does), `late` (it begins only when a clean-up has taken over). `alone`: the execution is
    stopped, the one that started it runs on.
    """

    mark: str
    call: str = "none"
    alone: bool = False
    nth: int = 1


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
        """The states of one execution, in order: `of("Release")`, `of("AwaitCommand/prepare")`."""
        return [state.split(".", 1)[1] for state in self.path if state.split(".", 1)[0] == machine]

    def machines(self) -> list[str]:
        """Every execution that took part, as `of` takes it."""
        return list(dict.fromkeys(state.split(".", 1)[0] for state in self.path))

    def kinds_of(self, machine: str) -> list[str]:
        """The types of the states of one execution, in order."""
        kinds = {name: state["Type"] for name, state in states_of(definition(machine.partition("/")[0]))}
        return [kinds[name] for name in self.of(machine)]


def definition(machine: str) -> dict[str, Any]:
    """The shipped definition of `Release`, `DeployTier`, `AwaitCommand`, or `RollOut`, unsubstituted."""
    loaded: dict[str, Any] = json.loads(_loaded(ROOT / "statemachine" / f"{_NAMES[machine]}.asl.yaml"))
    return loaded


@cache
def _loaded(path: Path) -> str:
    """The file as JSON, which is much quicker to read again."""
    return json.dumps(yaml.safe_load(path.read_text()))


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
        self,
        functions: Functions,
        *,
        as_on_aws: bool,
        seconds: Mapping[str, str] | None = None,
        pause: float = 0.01,
    ) -> None:
        self._sfn = stepfunctions
        self._pause = pause
        self._functions = functions
        self._as_on_aws = as_on_aws
        self._path: list[str] = []
        self._arns: dict[str, str] = {}
        self._seconds = {**PATIENT, **(seconds or {})}
        self._others: frozenset[threading.Thread] = frozenset()
        self._stop: Stop | None = None
        self._fault: Fault | None = None
        self._entered: Counter[str] = Counter()
        self._failed_calls = 0
        self._guard = threading.RLock()
        self._ended = threading.Condition()
        self._calling = 0  # states of functions that are being executed, but for one that is held up
        self._held: _Held | None = None
        self.events: list[dict[str, Any]] = []  # entries put on the event bus: executions that ended
        self._ended_for_all: set[str] = set()  # ARNs of those whose end is on the bus

    @contextmanager
    def running(self) -> Iterator[Engine]:
        """Installs the fakes, creates the machines, and puts everything back at the end."""
        names = ("_call_lambda", "time", "_invoke_nested_start_execution_sync", *_WRAPPED, *_ENTERING)
        kept = {name: getattr(self._sfn, name) for name in names}
        self._others = frozenset(threading.enumerate())
        kept_put_events = eventbridge._put_events
        try:
            self._install(kept)
            for machine in MACHINES:
                self._create(machine)
            yield self
        finally:
            self._release_held()
            for name, value in kept.items():
                setattr(self._sfn, name, value)
            eventbridge._put_events = kept_put_events
            self._sfn.reset()

    def run(
        self, payload: Any, machine: str = "Release", within: float = 120, name: str = EXECUTION
    ) -> Execution:
        """Starts an execution, waits for its end. Raises TimeoutError after `within` seconds."""
        arn = self.start(payload, machine, name)
        with self._ended:
            if not self._ended.wait_for(lambda: arn in self._ended_for_all, within):
                raise TimeoutError(f"{arn} still runs; entered so far: {self._path[-200:]}")
        ended = self.described(arn)
        cause = ended.get("cause")
        return Execution(
            status=ended["status"],
            output=json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else None,
            error=ended.get("error"),
            cause=_json_or_text(cause),
            path=self.path(),
        )

    def start(self, payload: Any, machine: str = "Release", name: str = EXECUTION) -> str:
        """The ARN of an execution that runs from now on."""
        given = {"stateMachineArn": self._arns[machine], "name": name, "input": json.dumps(payload)}
        return str(_body(self._sfn._start_execution(given))["executionArn"])

    def rest(self, within: float) -> None:
        """Returns when nothing runs any more, what was started and not waited for either."""
        give_up = time.monotonic() + within
        while any(one["status"] == "RUNNING" for one in self._sfn._executions.values()):
            if time.monotonic() > give_up:
                raise TimeoutError(f"something still runs; entered so far: {self._path}")
            time.sleep(0.001)

    def stop_at(self, mark: str, *, under_way: bool) -> None:
        """The release is stopped, and its children with it, as soon as the state `Release.Migrate` or
        `RollOut/roll-out.Activate` is entered; `under_way`: what the state calls goes on to its end, as a
        Lambda function does."""
        self.inject(Stop(mark, "made" if under_way else "none"))

    def inject(self, trouble: Fault | Stop) -> None:
        """From now on this fault, or this stop."""
        if isinstance(trouble, Stop):
            self._stop = trouble
        else:
            self._fault = trouble

    def heal(self) -> None:
        """From now on nothing goes wrong any more; a call that was held up is let go, and waited for."""
        self._fault, self._stop = None, None
        self._release_held()

    def hit(self) -> bool:
        """Whether what was asked for has happened."""
        return self._stop is None and (self._fault is None or self._failed_calls > 0)

    def settle(self, within: float = 120) -> None:
        """Returns when what was under way when something was stopped has come to its end."""
        give_up = time.monotonic() + within
        while self._calling > 0 or self._untold():
            if time.monotonic() > give_up:
                raise TimeoutError(f"something is still under way; entered so far: {self._path}")
            time.sleep(0.001)

    def _untold(self) -> bool:
        """Whether the news of an execution's end is still on its way; a stop stops one after another."""
        with self._guard:
            ran = [e for e in self._sfn._executions.values() if not e.get("sync")]
            ended = {e["executionArn"] for e in ran if e["status"] != "RUNNING"}
            return not ended <= self._ended_for_all

    def stop(self) -> None:
        """Stops whatever runs."""
        with self._guard:
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
        mark = f'"{STARTED_BY}": "{arn}"'
        started = [e["executionArn"] for e in self._sfn._executions.values() if mark in (e["input"] or "")]
        outputs = [json.dumps({"ExecutionArn": child}) for child in started]
        return [*events, *({"taskSubmittedEventDetails": {"output": output}} for output in outputs)]

    def path(self) -> list[str]:
        """Every state entered so far."""
        return list(self._path)

    def machine_arn(self, machine: str) -> str:
        return self._arns[machine]

    def arn(self, machine: str, name: str = EXECUTION) -> str:
        return f"{self._arns[machine].replace(':stateMachine:', ':execution:')}:{name}"

    def _create(self, machine: str) -> None:
        values = dict(self._seconds)
        values.update({f"{name}StateMachineArn": arn for name, arn in self._arns.items()})
        created = _body(
            self._sfn._create_state_machine(
                {
                    "name": f"slipway-{_NAMES[machine].replace('_', '-')}",
                    "definition": _substituted(machine, tuple(values.items())),
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
                described = {"ExecutionArn": child, "Name": request["Name"], "Status": "FAILED"}
                if child in sfn._executions and sfn._executions[child]["status"] != "FAILED":
                    described["Status"] = sfn._executions[child]["status"]
                else:
                    described |= {"Error": error.error, "Cause": error.cause}
                raise sfn._ExecutionError("States.TaskFailed", json.dumps(described)) from error

        sfn._call_lambda = call
        sfn.time = _ImpatientTime(self._pause)
        sfn._run_execution = self._running(kept["_run_execution"])
        sfn._invoke_resource = self._invoking(kept["_invoke_resource"])
        eventbridge._put_events = self._told
        sfn._validate_definition_jsonata = _validated
        sfn._run_sub_machine = self._branching(kept["_run_sub_machine"])
        sfn._invoke_resource_with_timeout = lambda resource, given, _seconds: sfn._invoke_resource(
            resource, given
        )
        sfn.jsonata = _PatientJsonata(kept["jsonata"])
        if self._as_on_aws:
            sfn._invoke_nested_start_execution_sync = nested
        for name in _ENTERING:
            setattr(sfn, name, self._entering(kept[name]))

    def _branching(self, run_states: Callable[..., Any]) -> Callable[..., Any]:
        """A branch has variables of its own, as on AWS: MiniStack's branches share theirs, and fail when one
        assigns while another evaluates."""

        def run(states: Any, start: Any, given: Any, execution: Any, context: dict[str, Any]) -> Any:
            own = context | {"variables": dict(context.get("variables") or {})}
            return run_states(states, start, given, execution, own)

        return run

    def _running(self, run_execution: Callable[[str], None]) -> Callable[[str], None]:
        def run(arn: str) -> None:
            if not self._parent_runs(arn):
                self._sfn._stop_execution({"executionArn": arn})
                return
            kept = _here.set("")
            with suppress(SystemExit):  # it was stopped
                run_execution(arn)
            _here.reset(kept)

        return run

    def _parent_runs(self, arn: str) -> bool:
        given = json.loads(self._sfn._executions[arn]["input"])
        parent = given.get(STARTED_BY) if isinstance(given, dict) else None
        return parent is None or bool(self._sfn._executions[parent]["status"] == "RUNNING")

    def _invoking(self, invoke: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
        def invoked(resource: str, given: Any) -> Any:
            here = _here.get()
            held = self._held
            if held and held.mark == here and not held.done.is_set():
                held.taken_over.wait()
                try:
                    return invoke(resource, given)
                finally:
                    held.done.set()
            fault = self._fault if self._fails(here) else None
            if fault and not fault.done:
                raise self._sfn._ExecutionError(fault.error, fault.cause)
            answer = invoke(resource, given)
            if fault:
                raise self._sfn._ExecutionError(fault.error, fault.cause)
            if re.fullmatch(r"CleanUp.*\.TakeOver", here):
                self._release_held()
            return answer

        return invoked

    def _fails(self, here: str) -> bool:
        """Whether this call is one of those that fail; it is counted if so."""
        with self._guard:
            fault = self._fault
            if fault is None or self._entered[fault.mark] < fault.nth:
                return False
            if fault.calls is None:
                fails = here == fault.mark or _state_of(here) == _state_of(fault.mark)
            else:
                fails = here == fault.mark and self._failed_calls < fault.calls
            self._failed_calls += fails
            return fails

    def _release_held(self) -> None:
        held = self._held  # it may still be on its way to the call
        if held:
            held.taken_over.set()
            if not held.done.wait(120):
                raise TimeoutError(f"{held.mark} was let go and has not ended")
            self._held = None

    def _told(self, given: Mapping[str, Any], **_: Any) -> None:
        ends = [entry for entry in given["Entries"] if json.loads(entry["Detail"])["status"] != "RUNNING"]
        with self._ended:
            self.events += ends
            self._ended_for_all |= {json.loads(entry["Detail"])["executionArn"] for entry in ends}
            self._ended.notify_all()

    def _entering(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def entered(state: dict[str, Any], *rest: Any) -> Any:
            if execute.__name__ == "_apply_input_path" and state.get("Type") != "Succeed":
                return execute(state, *rest)
            calls = "lambda" in state.get("Resource", "")
            with self._guard:
                self._enter(state["Comment"], rest)
                self._calling += calls
            try:
                if self._stop_here(calls):
                    with self._guard:
                        self._calling, calls = self._calling - calls, False
                return execute(state, *rest)
            finally:
                with self._guard:
                    self._calling -= calls

        return entered

    def _enter(self, mark: str, rest: tuple[Any, ...]) -> None:
        machine, state = mark.split(".", 1)
        execution = rest[-1]["Execution"]  # each of them is handed the context object last
        if self._sfn._executions[execution["Id"]]["status"] != "RUNNING":
            raise SystemExit  # of this thread, silently: who was stopped enters nothing more
        child = execution["Name"].removeprefix(EXECUTION).removeprefix("-")
        here = f"{machine}{'/' + child if child else ''}.{state}"
        _here.set(here)
        self._entered[here] += 1
        self._path.append(here)

    def _stop_here(self, calls: bool) -> bool:
        """Stops what is to be stopped here; whether the state's call is held up."""
        with self._guard:
            stop = self._stop
            if stop is None or _here.get() != stop.mark or self._entered[stop.mark] < stop.nth:
                return False
            self._stop = None
            if stop.alone:
                self._sfn._stop_execution({"executionArn": self._execution_of(stop.mark)})
            else:
                self.stop()
            if stop.call == "none" or not calls:
                raise SystemExit
            if stop.call == "late":
                self._held = _Held(stop.mark)
            return stop.call == "late"

    def _execution_of(self, mark: str) -> str:
        machine, _, child = mark.split(".", 1)[0].partition("/")
        machine_arn = self._arns[machine].replace(":stateMachine:", ":execution:")
        names = (f"{EXECUTION}-{child}", child or EXECUTION)
        return next(
            arn for arn in (f"{machine_arn}:{name}" for name in names) if arn in self._sfn._executions
        )


@dataclass
class _Held:
    """A call that begins only when a clean-up has taken over."""

    mark: str
    taken_over: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


def _state_of(mark: str) -> str:
    """The same for the same state in another execution for the same thing: of a roll-out, for any."""
    scope, state = mark.split(".", 1)
    machine, _, child = scope.partition("/")
    return f"{machine}/{child}.{state}" if machine in ("DeployTier", "AwaitCommand") else f"{machine}.{state}"


class _ImpatientTime:
    """The module `time`, but nobody sleeps longer than that: waits, back-off, MiniStack's own pauses."""

    def __init__(self, longest: float) -> None:
        self._longest = longest

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        if self._longest:
            time.sleep(min(seconds, self._longest))


class _PatientJsonata:
    """The module `jsonata`, but an expression is parsed once in a process, and has a minute: a test machine
    may be busy for longer than the second that AWS and MiniStack give it."""

    def __init__(self, kept: Any) -> None:
        self.Jsonata = self
        self.utils = kept.utils
        self._kept = kept.Jsonata

    def jsonata(self, text: str, timeout: int = 0) -> Any:
        expression = copy(_parsed(text))
        expression.environment = expression.create_frame(self._kept.static_frame)
        expression.environment.set_runtime_bounds(60_000, None)
        self._kept.CURRENT.jsonata = expression
        return expression


@cache
def _parsed(text: str) -> Any:
    return jsonata.Jsonata.jsonata(text)


# MiniStack's check of the expressions, of each definition once in a process.
_validated = cache(stepfunctions._validate_definition_jsonata)

_WRAPPED = (
    *("_run_execution", "_invoke_resource", "_invoke_resource_with_timeout"),
    *("jsonata", "_validate_definition_jsonata", "_run_sub_machine"),
)

# Every way a state is entered. A Succeed state has no function of its own: its input path is looked at.
_ENTERING = (
    "_execute_task",
    "_execute_choice",
    "_execute_pass",
    "_execute_wait",
    "_execute_parallel",
    "_execute_map",
    "_fail_state_error",
    "_apply_input_path",
)


@cache
def _substituted(machine: str, given: tuple[tuple[str, str], ...]) -> str:
    """The definition as JSON, every state with its mark as its comment, and functions by their names."""
    shipped = definition(machine)
    for name, state in states_of(shipped):
        state["Comment"] = f"{machine}.{name}"  # the mark by which an entered state is known
    functions = {
        name: PREFIX + name.removesuffix("FunctionArn")
        for name in _placeholders(shipped)
        if name.endswith("FunctionArn")
    }
    return json.dumps(substitute(shipped, {**dict(given), **functions}))


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
