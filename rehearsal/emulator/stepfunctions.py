"""State machines as Step Functions runs them, where the emulator differs.

Definitions may be YAML; branches of Parallel have variables of their own and end when one of them
fails; every state leaves its events; a nested execution ends with its parent and fails as AWS lets it
fail; time-outs of machines hold; a machine may do only what its role allows.
"""

from __future__ import annotations

import contextvars
import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from rehearsal.emulator import identity
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("services.stepfunctions", "_run_execution"),
    ("services.stepfunctions", "_run_sub_machine"),
    ("services.stepfunctions", "_run_parallel_branches"),
    ("services.stepfunctions", "_execute_task"),
    ("services.stepfunctions", "_execute_choice"),
    ("services.stepfunctions", "_execute_map"),
    ("services.stepfunctions", "_execute_parallel"),
    ("services.stepfunctions", "_execute_pass"),
    ("services.stepfunctions", "_execute_wait"),
    ("services.stepfunctions", "_invoke_resource"),
    ("services.stepfunctions", "_invoke_resource_with_timeout"),
    ("services.stepfunctions", "_invoke_nested_start_execution_sync"),
    ("services.stepfunctions", "_nested_start_execution_request"),
    ("services.stepfunctions", "_start_execution"),
    ("services.stepfunctions", "_stop_execution"),
    ("services.stepfunctions", "_scaled_sleep"),
    ("services.stepfunctions", "time"),
    ("services.stepfunctions", "_resolve_lambda_function_ref"),
    ("services.stepfunctions", "_SFN_WAIT_SCALE"),
    ("services.stepfunctions", "_ExecutionError"),
    ("services.stepfunctions", "_add_event"),
    ("services.stepfunctions", "_emit_execution_status_event"),
    ("services.stepfunctions", "_executions"),
    ("services.stepfunctions", "_state_machines"),
    ("services.cloudformation.provisioners", "_sfn_definition"),
)

POLL_SECONDS = 0.05


class Run:
    """What a piece of work belongs to: an execution, and whether that piece has to end.

    A branch of Parallel and a task with a time-out have a `Run` of their own below the execution's.
    """

    def __init__(self, execution: dict[str, Any], parent: Run | None = None) -> None:
        self.execution = execution
        self._parent = parent
        self._over = threading.Event()

    def end(self) -> None:
        """Whatever runs in here has to stop."""
        self._over.set()

    @property
    def over(self) -> bool:
        """Whether this piece, one above it, or the execution ended."""
        return (
            self._over.is_set()
            or self.execution["status"] != "RUNNING"
            or (self._parent is not None and self._parent.over)
        )


_run: contextvars.ContextVar[Run | None] = contextvars.ContextVar("run", default=None)


def install(region: Region) -> None:
    """Replace the parts of the emulator's interpreter that differ from Step Functions."""
    service = ministack("services.stepfunctions")
    machines = _Machines(region, service)
    replace(ministack("services.cloudformation.provisioners"), "_sfn_definition", json_definition)
    replace(service, "_run_execution", machines.run_execution)
    service.time = _Prompt()
    service._run_sub_machine = machines.run_states
    service._run_parallel_branches = machines.run_branches
    service._invoke_nested_start_execution_sync = machines.run_nested
    service._scaled_sleep = machines.sleep
    replace(service, "_invoke_resource", machines.permitted)
    replace(service, "_invoke_resource_with_timeout", machines.within_time)


def json_definition(original: Callable[[Any], str]) -> Callable[[Any], str]:
    """The definition in JSON, whether the template gave it in JSON or YAML."""
    return lambda props: json.dumps(yaml.safe_load(original(props)))


class _Prompt:
    """Time, for an interpreter that lets 0.15 s pass before the first state of each execution: AWS begins at
    once, and nothing else there sleeps but what `_Machines.sleep` has taken the place of."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Not at all."""


class _Machines:
    """The interpreter's replaced parts, with the names and parameters of the originals."""

    def __init__(self, region: Region, service: Any) -> None:
        self._region = region
        self._service = service

    def run_execution(self, original: Callable[[str], None]) -> Callable[[str], None]:
        """One execution, ended when its definition's TimeoutSeconds is over."""

        def run(arn: str) -> None:
            execution = self._service._executions.get(arn)
            if execution is None:
                return
            _run.set(Run(execution))
            seconds = self._definition(execution).get("TimeoutSeconds")
            timer = threading.Timer(float(seconds), self._time_out, [execution]) if seconds else None
            if timer:
                timer.daemon = True
                timer.start()
            try:
                original(arn)
            finally:
                if timer:
                    timer.cancel()

        return run

    def _definition(self, execution: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._service._state_machines.get(execution["stateMachineArn"]) or {}
        try:
            definition: dict[str, Any] = json.loads(machine.get("definition") or "{}")
        except ValueError:
            return {}
        return definition

    def _time_out(self, execution: dict[str, Any]) -> None:
        if execution["status"] != "RUNNING":
            return
        execution.update(status="TIMED_OUT", error="States.Timeout", stopDate=_now(), cause=None)
        self._service._add_event(
            execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}}
        )
        # As for every other end, the default event bus hears of it.
        self._service._emit_execution_status_event(execution)

    def run_states(
        self,
        states: Mapping[str, Any],
        start_at: str,
        input_data: Any,
        execution: dict[str, Any],
        ctx: dict[str, Any],
    ) -> Any:
        """States of a branch or of an iteration, one after another, each with its events."""
        service, run = self._service, _run.get()
        name: str | None = start_at
        current = copy.deepcopy(input_data)
        while name:
            if run is not None and run.over:
                raise service._ExecutionError("States.BranchFailed", "the branch was stopped")
            state = states.get(name)
            if state is None:
                raise service._ExecutionError("States.Runtime", f"State '{name}' not found")
            ctx["State"] = {"Name": name, "EnteredTime": _now(), "RetryCount": 0}
            entered = {"name": name, "input": json.dumps(current)}
            service._add_event(
                execution, f"{state['Type']}StateEntered", {"stateEnteredEventDetails": entered}
            )
            current, following = self._execute(state, current, execution, ctx)
            exited = {"name": name, "output": json.dumps(current)}
            service._add_event(execution, f"{state['Type']}StateExited", {"stateExitedEventDetails": exited})
            name = following
        return current

    def _execute(
        self, state: dict[str, Any], data: Any, execution: dict[str, Any], ctx: dict[str, Any]
    ) -> tuple[Any, str | None]:
        service, kind = self._service, state["Type"]
        if kind == "Fail":
            raise service._ExecutionError(*service._fail_state_error(state, data, ctx))
        if kind == "Succeed":
            if service._state_query_language(state, ctx) == "JSONata":
                return service._apply_jsonata_output(state, data, ctx, default=data), None
            return service._apply_output_path(state, service._apply_input_path(state, data, ctx), ctx), None
        # Looked up for each state: others may have replaced them as well.
        handler = getattr(service, f"_execute_{kind.lower()}", None)
        if handler is None:
            raise service._ExecutionError("States.Runtime", f"Unknown state type: {kind}")
        long = kind in ("Task", "Parallel", "Map")
        result: tuple[Any, str | None] = (
            handler(state, data, execution, ctx) if long else handler(state, data, ctx)
        )
        return result

    def run_branches(
        self, state: dict[str, Any], raw: Any, execution: dict[str, Any], ctx: dict[str, Any]
    ) -> tuple[Any, str | None]:
        """All branches of a Parallel at once; the first that fails ends the others."""
        service = self._service
        jsonata = service._state_query_language(state, ctx) == "JSONata"
        if jsonata:
            given = service._apply_jsonata_arguments(state, raw, ctx)
        else:
            given = service._apply_parameters(state, service._apply_input_path(state, raw, ctx), ctx)
        results = self._all(state["Branches"], given, execution, ctx)
        if jsonata:
            output = service._apply_jsonata_output(state, raw, ctx, result=results, default=results)
            service._apply_state_assign(state, raw, ctx, result=results)
            return output, service._next_or_end(state)
        output = service._apply_result_path(state, raw, service._apply_result_selector(state, results))
        return service._apply_output_path(state, output, ctx), service._next_or_end(state)

    def _all(
        self, branches: list[dict[str, Any]], given: Any, execution: dict[str, Any], ctx: dict[str, Any]
    ) -> list[Any]:
        results: list[Any] = [None] * len(branches)
        failures: list[Exception] = []
        together = Run(execution, _run.get())

        def one(number: int, branch: dict[str, Any]) -> None:
            _run.set(together)
            # Variables that a branch assigns are its own (developer guide, "Variable scope").
            own = ctx | {"variables": dict(ctx.get("variables") or {})}
            try:
                results[number] = self.run_states(branch["States"], branch["StartAt"], given, execution, own)
            except Exception as error:  # whatever it is, it is the branch's failure
                failures.append(error)
                together.end()

        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(one, n, b), daemon=True)
            for n, b in enumerate(branches)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            first = failures[0]
            if isinstance(first, self._service._ExecutionError):
                raise first
            raise self._service._ExecutionError("States.BranchFailed", str(first)) from first
        return results

    def sleep(self, seconds: float) -> None:
        """A Wait or the pause before a retry, cut short when its branch or execution ends."""
        run, until = _run.get(), time.monotonic() + float(seconds) * self._service._SFN_WAIT_SCALE
        while (left := until - time.monotonic()) > 0:
            if run is not None and run.over:
                return
            time.sleep(min(left, POLL_SECONDS))

    def run_nested(self, _resource: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """startExecution.sync:2: the child's result; the child is stopped when its parent ends first."""
        service, run = self._service, _run.get()
        status, _, body = service._start_execution(service._nested_start_execution_request(arguments))
        answer = json.loads(body or b"{}")
        if status >= 400:
            raise service._ExecutionError(f"StepFunctions.{answer.get('__type')}", answer.get("message", ""))
        child = service._executions[answer["executionArn"]]
        if run is not None:
            submitted = {
                "resourceType": "states",
                "resource": "startExecution.sync:2",
                "output": json.dumps({"ExecutionArn": child["executionArn"]}),
            }
            service._add_event(run.execution, "TaskSubmitted", {"taskSubmittedEventDetails": submitted})
            # The child is looked at, and stopped with its parent, with the parent's role.
            self._permit(run.execution, "states:DescribeExecution", child["executionArn"])
        while child["status"] == "RUNNING":
            if run is not None and run.over:
                self._permit(run.execution, "states:StopExecution", child["executionArn"])
                service._stop_execution({"executionArn": child["executionArn"], "cause": "the parent ended"})
                raise service._ExecutionError("States.TaskFailed", "the parent ended")
            time.sleep(POLL_SECONDS)
        described = describe(child)
        if child["status"] != "SUCCEEDED":
            raise service._ExecutionError("States.TaskFailed", json.dumps(described))
        return described

    def within_time(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A task with TimeoutSeconds; what it started is stopped when they are over."""

        def invoke(resource: str, arguments: Any, timeout: float) -> Any:
            outer = _run.get()
            if outer is None:
                return original(resource, arguments, timeout)
            mine = Run(outer.execution, outer)
            token = _run.set(mine)
            try:
                return original(resource, arguments, timeout)
            finally:
                mine.end()
                _run.reset(token)

        return invoke

    def permitted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A task's call, if the machine's role allows it. A call that is not known here is not made."""

        def invoke(resource: str, arguments: Any) -> Any:
            run = _run.get()
            needed = self.needed(resource, arguments)
            if needed is None:
                raise self._service._ExecutionError(
                    "States.Runtime", f"this region does not know which permission {resource} needs"
                )
            if run is not None:
                self._permit(run.execution, *needed)
            return original(resource, arguments)

        return invoke

    def _permit(self, execution: Mapping[str, Any], action: str, target: str) -> None:
        role = self._role(execution)
        if not identity.role_allows(self._region, role, action, target):
            raise self._service._ExecutionError(
                "States.Permissions",
                f"The role {role} of the state machine is not authorized to perform: {action} on "
                f"resource: {target}",
            )

    def needed(self, resource: str, arguments: Any) -> tuple[str, str] | None:
        """IAM's action and resource for a function or a nested machine; None for what is not known."""
        service = self._service
        if "states:::lambda:invoke" in resource:
            name = service._resolve_lambda_function_ref(arguments.get("FunctionName", ""), optimized=True)
            return "lambda:InvokeFunction", self._function_arn(str(name))
        if ":lambda:" in resource and ":function:" in resource:
            return "lambda:InvokeFunction", resource
        if "states:startExecution" in resource:
            return "states:StartExecution", str(arguments.get("StateMachineArn", ""))
        return None

    def _function_arn(self, name: str) -> str:
        if name.startswith("arn:"):
            return name
        return f"arn:aws:lambda:{self._region.name}:{self._region.account}:function:{name}"

    def _role(self, execution: Mapping[str, Any]) -> str:
        arn = str(execution["stateMachineArn"])
        return str((self._service._state_machines.get(arn) or {}).get("roleArn", ""))


def describe(child: Mapping[str, Any]) -> dict[str, Any]:
    """An ended execution as the result (or the cause of failure) of startExecution.sync:2."""
    described = {
        "ExecutionArn": child["executionArn"],
        "Input": _parsed(child.get("input")),
        "InputDetails": {"Included": True},
        "Name": child["name"],
        "StartDate": child["startDate"],
        "StateMachineArn": child["stateMachineArn"],
        "Status": child["status"],
        "StopDate": child["stopDate"],
    }
    if child["status"] == "SUCCEEDED":
        return described | {"Output": _parsed(child.get("output")), "OutputDetails": {"Included": True}}
    return described | {"Error": child.get("error"), "Cause": child.get("cause")}


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _now() -> str:
    return str(ministack("core.responses").now_iso())
