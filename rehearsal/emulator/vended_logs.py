"""The log that Step Functions writes of its machines, event by event, as their LoggingConfiguration asks; and
how many of their executions ended how, in CloudWatch.

Its shape: https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html. Whether the machine's role may
have logs delivered is asked when the machine is made or changed, as on AWS (`service_roles`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("services.stepfunctions", "_add_event"),
    ("services.stepfunctions", "_state_machines"),
    ("services.cloudwatch_logs", "_create_log_stream"),
    ("services.cloudwatch_logs", "_log_groups"),
    ("services.cloudwatch_logs", "_put_log_events"),
)

logger = logging.getLogger("region.vended_logs")

# "Log levels for Step Functions execution events", on the same page.
FATAL = frozenset({"ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"})
ERROR = FATAL | {
    *("FailStateEntered", "EvaluationFailed"),
    *("ActivityFailed", "ActivityScheduleFailed", "ActivityTimedOut"),
    *("LambdaFunctionFailed", "LambdaFunctionScheduleFailed", "LambdaFunctionStartFailed"),
    *("LambdaFunctionTimedOut", "MapIterationAborted", "MapIterationFailed", "MapStateAborted"),
    *("MapStateFailed", "ParallelStateAborted", "ParallelStateFailed"),
    *("TaskFailed", "TaskStartFailed", "TaskSubmitFailed", "TaskTimedOut"),
}
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html#cloudwatch-step-functions-execution-metrics
COUNTED = {
    "ExecutionSucceeded": "ExecutionsSucceeded",
    "ExecutionFailed": "ExecutionsFailed",
    "ExecutionAborted": "ExecutionsAborted",
    "ExecutionTimedOut": "ExecutionsTimedOut",
}
EXECUTION_DATA = ("input", "output", "inputDetails", "outputDetails")

Json = Mapping[str, Any]


def install(region: Region) -> None:
    """Write each event of a history that the machine's level admits, when it happens; count the ends."""

    def writing(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def add(execution: Json, kind: str, details: Json | None = None) -> dict[str, Any]:
            event = original(execution, kind, details)
            if kind in COUNTED:
                machine = {"StateMachineArn": str(execution["stateMachineArn"])}
                region.put_metric("AWS/States", COUNTED[kind], machine, 1.0, time.time(), "Count")
            try:
                _write(execution, event)
            except Exception:  # an execution does not end because nothing could be written of it
                logger.exception("%s: %s could not be logged", execution["executionArn"], kind)
            return event

        return add

    replace(ministack("services.stepfunctions"), "_add_event", writing)


def logged(configuration: Json, kind: str) -> bool:
    """Whether a machine with this LoggingConfiguration logs events of that type."""
    level = str(_of(configuration, "level") or "OFF")
    return level == "ALL" or (level == "ERROR" and kind in ERROR) or (level == "FATAL" and kind in FATAL)


def record(event: Json, execution: str, *, data: bool) -> dict[str, Any]:
    """An event of a history as its log has it. `data`: includeExecutionData."""
    [details] = [value for key, value in event.items() if key.endswith("EventDetails")] or [{}]
    moment = datetime.fromisoformat(str(event["timestamp"]).replace("Z", "+00:00"))
    return {
        "id": str(event["id"]),
        "type": event["type"],
        "details": {
            key: value
            for key, value in details.items()
            if value is not None and (data or key not in EXECUTION_DATA)
        },
        "redrive_count": "0",
        "previous_event_id": str(event.get("previousEventId", event["id"] - 1)),
        "event_timestamp": str(int(moment.timestamp() * 1000)),
        "execution_arn": execution,
    }


def _write(execution: Json, event: Json) -> None:
    machine = ministack("services.stepfunctions")._state_machines.get(execution["stateMachineArn"]) or {}
    configuration = machine.get("loggingConfiguration") or {}
    if not logged(configuration, event["type"]):
        return
    arn = str(execution["executionArn"])
    line = record(event, arn, data=bool(_of(configuration, "includeExecutionData")))
    logs = ministack("services.cloudwatch_logs")
    for destination in _of(configuration, "destinations") or []:
        group = _of(_of(destination, "cloudWatchLogsLogGroup") or {}, "logGroupArn")
        name = str(group).removesuffix(":*").rpartition(":log-group:")[2]
        if name not in logs._log_groups:
            logger.warning("%s: its log group %s is gone", arn, name)
            continue
        stream = _stream(arn)
        logs._create_log_stream({"logGroupName": name, "logStreamName": stream})  # it may be there
        entry = {"timestamp": int(line["event_timestamp"]), "message": json.dumps(line)}
        logs._put_log_events({"logGroupName": name, "logStreamName": stream, "logEvents": [entry]})


def _stream(execution: str) -> str:
    name, minute = execution.split(":")[-2], time.strftime("%Y-%m-%d-%H-%M", time.gmtime())
    return f"states/{name}/{minute}/{hashlib.sha256(execution.encode()).hexdigest()[:8]}"


def _of(value: Json, key: str) -> Any:
    """In either spelling: the API's, and that of a template."""
    return value.get(key, value.get(key[0].upper() + key[1:]))
