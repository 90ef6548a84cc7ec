"""What can befall a state of a state machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tests.workflow.engine import Fault, Stop

THROTTLED, FOR_GOOD, REFUSED = "throttled", "throttled for good", "refused"
LATE, LATE_DONE = "time-out", "time-out, done"
CRASH, CRASH_DONE = "crash", "crash, done"
STOPPED, STOPPED_DONE, STOPPED_LATE, ALONE = "stopped", "stopped, done", "stopped, late", "child stopped"
FAULTS = (
    *(THROTTLED, FOR_GOOD, REFUSED, LATE, LATE_DONE, CRASH, CRASH_DONE),
    *(STOPPED, STOPPED_DONE, STOPPED_LATE, ALONE),
)

_REFUSAL = json.dumps(
    {
        "what": "AccessDeniedException: is not authorized to perform that",
        "where": "TheCall",
        "next": "see whether the role of that function permits it",
        "code": "AccessDeniedException",
    }
)


def _of_function(error: str, message: str) -> tuple[str, str]:
    return error, json.dumps({"errorType": error, "errorMessage": message, "stackTrace": []})


# (error, cause) of a call of a function, and of the start of a child.
THROTTLES = {
    True: ("Lambda.TooManyRequestsException", "Rate exceeded"),
    False: ("StepFunctions.ExecutionLimitExceededException", "too many executions"),
}
REFUSALS = {
    True: _of_function("AwsRefused", _REFUSAL),
    False: ("StepFunctions.AccessDeniedException", "is not authorized to perform that"),
}
TIMED_OUT = ("States.Timeout", "Task timed out")
CRASHED = _of_function("KeyError", "'it'")
KILLED = _of_function("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed")


def troubles(kind: str, resource: str, scope: str) -> Iterator[str]:
    """The faults that can befall a state of that type, with that resource, in an execution of that machine
    (`scope`: `RollOut/roll-back`)."""
    if kind == "Task":
        yield from (THROTTLED, FOR_GOOD, REFUSED, LATE, LATE_DONE)
    if "lambda" in resource:
        yield from (CRASH, CRASH_DONE)
    yield STOPPED
    if "lambda" in resource:
        yield from (STOPPED_DONE, STOPPED_LATE)
    if scope.partition("/")[0] not in ("Release", "CleanUp", "JoinHost") and scope != "CheckDrift":
        yield ALONE


def trouble(fault: str, mark: str, nth: int, resource: str) -> Fault | Stop:
    """What the engine is asked for."""
    function = "lambda" in resource
    made: Mapping[str, Fault | Stop] = {
        THROTTLED: Fault(mark, *THROTTLES[function], calls=2, nth=nth),
        FOR_GOOD: Fault(mark, *THROTTLES[function], calls=None, nth=nth),
        REFUSED: Fault(mark, *REFUSALS[function], calls=None, nth=nth),
        LATE: Fault(mark, *TIMED_OUT, nth=nth),
        LATE_DONE: Fault(mark, *TIMED_OUT, nth=nth, done=True),
        CRASH: Fault(mark, *CRASHED, nth=nth),
        CRASH_DONE: Fault(mark, *KILLED, nth=nth, done=True),
        STOPPED: Stop(mark, nth=nth),
        STOPPED_DONE: Stop(mark, call="made", nth=nth),
        STOPPED_LATE: Stop(mark, call="late", nth=nth),
        ALONE: Stop(mark, alone=True, nth=nth),
    }
    return made[fault]
