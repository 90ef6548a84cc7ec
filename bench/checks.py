"""Checks for drift, and CloudFormation's own drift detection of the same stacks alone, in a made-up account.

    python -m bench.checks FEW MANY [--detection SECONDS]

The shipped state machine runs on the emulator's interpreter, with the shipped functions, on the account of
account.py. What starting a function and a state take on AWS is not in it. Prints a JSON object
for each of the two numbers of environments: {"check": {"seconds", "calls", "looks"}, "floor": {…}}.

Runs in a process of its own (drift.py), with a function's environment variables and `functions` on its path.
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
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from bench.account import ACCOUNT, REGION, Account, fetch, look_up
from slipway import tiers
from slipway.aws import cloudformation
from slipway.drift import looks
from slipway.patience import linger
from tests.workflow.engine import Answer, Engine, Functions

FUNCTIONS = {
    "BeginCheck": "begin_check",
    "DetectDrift": "detect_drift",
    "CheckStacks": "check_stacks",
    "AskServers": "ask_servers",
    "CheckReports": "check_reports",
    "CheckStanding": "check_standing",
    "RecordDrift": "record_drift",
}
"""Those of a check that finds nothing."""

DETECTION_SECONDS = 10.0
LOOK = "DescribeStackDriftDetectionStatus"


@dataclass(frozen=True)
class Cost:
    """`looks`: those of the calls that ask whether a detection has ended; they are the more the longer it
    takes."""

    seconds: float
    calls: int
    looks: int


def compared(number: int, detection: float) -> dict[str, Any]:
    """A check of so many environments, and the floor; a stack's detection takes so many seconds."""
    environments = [f"e{one:02}" for one in range(number)]
    account = Account(environments, detection)
    account.open()
    return {
        "check": asdict(cost(account, partial(check, environments))),
        "floor": asdict(cost(account, partial(detect, environments))),
    }


def cost(account: Account, work: Callable[[], None]) -> Cost:
    """What the work takes."""
    before, began = account.calls.copy(), time.monotonic()
    work()
    made = account.calls - before
    return Cost(time.monotonic() - began, made.total(), made[LOOK])


def check(environments: Sequence[str]) -> None:
    """By the state machine: of one by its name, of several as the schedule starts it."""
    one = len(environments) == 1
    functions = Functions({name: shipped(folder) for name, folder in FUNCTIONS.items()})
    with Engine(functions, as_on_aws=True).running() as engine:
        ended = engine.run({"environment": environments[0]} if one else {}, "CheckDrift", within=500)
    found = [ended.output] if one else ended.output
    if [each["status"] for each in found or []] != ["clean"] * len(environments):
        raise RuntimeError(f"not every check found nothing: {ended.status} {ended.error} {found}")


def shipped(folder: str) -> Answer:
    """The function itself."""
    work = importlib.import_module(f"{folder}.app").handler
    context = SimpleNamespace(invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{folder}")
    return lambda payload: work(payload, context)


def detect(environments: Sequence[str]) -> None:
    """By CloudFormation alone: begin all detections, look after those that have not ended, as often as a
    check does, ask for what differs."""
    stacks = [tiers.stack_name(name, tier) for name in environments for tier in tiers.TIERS]
    left = {stack: str(cloudformation.detect_drift(stack)) for stack in stacks}

    def look() -> dict[str, str]:
        for stack, detection in list(left.items()):
            if cloudformation.drift_detection(detection)["DetectionStatus"] == "DETECTION_COMPLETE":
                del left[stack]
        return left

    while linger(look, lambda seen: not seen):
        pass
    for stack in stacks:
        cloudformation.drifted(stack)


def main() -> int:
    """Measure both, print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m bench.checks")
    parser.add_argument("numbers", type=int, nargs=2, metavar="ENVIRONMENTS")
    parser.add_argument("--detection", type=float, default=DETECTION_SECONDS)
    given = parser.parse_args()
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "CRITICAL")
    logging.disable(logging.CRITICAL)
    # Names are not looked up, and the site is not asked, in the world outside.
    setattr(looks, "look", partial(looks.look, look_up=look_up, fetch=fetch))  # noqa: B010
    with contextlib.redirect_stdout(io.StringIO()):
        found = [compared(number, given.detection) for number in given.numbers]
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
