"""Scale: a release to 50 and to 1,000 simulated servers, in waves of a tenth, beside what AWS allows.

1,000 is the most that an input may ask for. simulation.py says what is simulated and what is real.
Limits: Step Functions' quotas (25,000 history events an execution, 256 KiB a payload and a variable, 10 MiB
all variables of an execution), its API reference (a failure's cause has at most 32,768 characters), Systems
Manager's SendCommand (50 servers), DynamoDB's quotas (400 KB an item), and the memory that template.yaml
gives a function.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench.number import Number
from rehearsal.host import ROOT

KIB = 1024
MIB = 1024 * KIB
FEW, MANY = 50, 1000
ENVIRONMENT = {
    "PYTHONPATH": f"{ROOT / 'functions'}{os.pathsep}{ROOT}",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "TABLE_NAME": "table",
    "ARTIFACT_BUCKET": "bucket",
    "TOPIC_ARN": "topic",
    "DOCUMENT_PREFIX": "slipway",
    "COMMAND_LOG_GROUP": "/slipway/commands",
}


def measured() -> Iterator[Number]:
    """Sizes of a release by the number of its servers."""
    few, many, failed = simulated(FEW), simulated(MANY), simulated(MANY, "--failing")
    for told, servers in ((few, FEW), (many, MANY)):
        if told["status"] != "SUCCEEDED":
            raise RuntimeError(f"the simulated release to {servers} servers ended {told['status']}")
    yield from small(few)
    yield from limited(many, idle())
    yield Number("  longest cause when all but one fail at once", failed["cause"], "characters", 32768)


def simulated(servers: int, *options: str) -> dict[str, Any]:
    """What bench.simulation measured: `Measured` as an object."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.simulation", str(servers), *options],
        env={"PATH": os.environ["PATH"], **ENVIRONMENT},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the simulation of {servers} servers failed: {done.stderr.strip()[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def small(told: dict[str, Any]) -> Iterator[Number]:
    """The rows that grow, for a fleet of a usual size."""
    yield Number(f"{FEW} servers in {told['waves']} waves: history events", events(told), "events", 5000)
    yield Number("  state transitions", told["transitions"], "transitions")
    yield Number(f"  largest payload of a function ({told['payload_of']})", told["payload"] / KIB, "KiB", 256)
    yield Number("  receipt", told["receipt"] / KIB, "KiB")


def limited(told: dict[str, Any], idle_bytes: int) -> Iterator[Number]:
    """All rows, beside what AWS allows."""
    yield Number(f"{MANY:,} servers in {told['waves']} waves: history events", events(told), "events", 5000)
    yield Number("  of these the largest execution's", max(told["events"].values()), "events", 25000)
    yield Number("  state transitions", told["transitions"], "transitions")
    yield Number(f"  largest payload of a function ({told['payload_of']})", told["payload"] / KIB, "KiB", 256)
    yield Number(f"  largest variable ({told['variable_of']})", told["variable"] / KIB, "KiB", 256)
    yield Number("  all variables of an execution", told["variables"] / KIB, "KiB", 10 * KIB)
    yield Number("  largest input or output of an execution", told["output"] / KIB, "KiB", 256)
    yield Number("  servers in one call of SendCommand", told["instances"], "servers", 50)
    needed = (idle_bytes + told["memory"]) / MIB
    yield Number(f"  memory that {told['memory_of']} needs, the most of all", needed, "MiB", granted())
    yield Number("  receipt", told["receipt"] / KIB, "KiB")
    yield Number("  largest item of the table", told["item"] / 1000, "KB", 400)


def events(told: dict[str, Any]) -> int:
    """History events of all executions of a release together."""
    return int(sum(told["events"].values()))


def idle() -> int:
    """Bytes that a function holds before its first call: interpreter, boto3, a client of three services."""
    script = (
        "import record_release.app, resource; from slipway.aws import client;"
        " [client(name) for name in ('dynamodb', 's3', 'stepfunctions')];"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) * KIB


def granted() -> int:
    """MiB that template.yaml gives a function that says nothing else."""
    found = re.search(r"^    MemorySize: (\d+)$", (ROOT / "template.yaml").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1))
