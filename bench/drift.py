"""Drift: a check of one and of 20 environments, beside CloudFormation's detection in the same stacks alone.

What differs between the two is what Slipway adds: the record, the servers, what must hold whatever the
templates say, the report. checks.py and account.py say what is simulated and what is real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench.number import Number
from bench.scale import ENVIRONMENT
from rehearsal.host import ROOT

FEW, MANY = 1, 20
SURROUNDINGS = {
    **ENVIRONMENT,
    "AUTOMATIC_REMEDY": "false",
    "CONSECUTIVE_CHECKS": "1",
    "METRICS_NAMESPACE": "slipway",
}


def measured() -> Iterator[Number]:
    """Time and calls of a check, and both over those of the floor, by the number of environments."""
    for number, told in zip((FEW, MANY), simulated(FEW, MANY), strict=True):
        yield from rows(number, told)


def simulated(few: int, many: int, *options: str) -> list[dict[str, Any]]:
    """What bench.checks measured, for each of the two numbers of environments."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.checks", str(few), str(many), *options],
        env={"PATH": os.environ["PATH"], **SURROUNDINGS},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the simulated checks failed: {done.stderr.strip()[-2000:]}")
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def rows(number: int, told: dict[str, Any]) -> Iterator[Number]:
    """The design sets no bound to any of them."""
    check, floor = told["check"], told["floor"]
    environments = f"{number} environment{'s' if number > 1 else ''}"
    yield Number(f"check of {environments}, simulated: time", check["seconds"], "s")
    yield Number("  drift detection of its stacks alone", floor["seconds"], "s")
    yield Number("  over it", check["seconds"] / floor["seconds"], "×")
    yield Number("  calls of AWS", check["calls"], "calls")
    yield Number("  drift detection of its stacks alone", floor["calls"], "calls")
    yield Number("  over it", check["calls"] / floor["calls"], "×")
    yield Number("  calls without the looks whether a detection has ended", _others(check), "calls")
    yield Number("  drift detection of its stacks alone", _others(floor), "calls")
    yield Number("  over it", _others(check) / _others(floor), "×")


def _others(cost: dict[str, Any]) -> int:
    return int(cost["calls"] - cost["looks"])
