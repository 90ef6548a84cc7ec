"""Initialisation of the functions: importing a handler and making one client, over a bare boto3 with one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

from bench.number import Number
from rehearsal.host import ROOT

FUNCTIONS = ROOT / "functions"
RUNS = 9  # of each import, alternating; the median of an odd number is a run that happened


def measured() -> Iterator[Number]:
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
