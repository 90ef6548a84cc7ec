"""The rehearsal's main job, as a user does it on AWS: build and deploy the orchestrator with `sam`, upload
a release, start the execution, watch it. The region's particulars are parameters of the deployment and
values of the input; the product is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from rehearsal import users
from rehearsal.host import ROOT, Log, Paths, Unable
from rehearsal.machines import build_image, gemfile_lock
from tools.watch import Watcher, watch

STACK = "slipway"
SAM = Path(sys.executable).with_name("sam")
APPLICATION = ROOT / "examples" / "arable"
FIRST_RELEASE = ROOT / "events" / "first-release.json"

PARAMETERS = {
    # Functions run as processes with the virtual environment's Python: rehearsal/emulator/functions.py.
    "FunctionRuntime": "provided.al2023",
    "FunctionArchitecture": "x86_64",
    # What takes minutes on AWS takes seconds here.
    "PollSeconds": "1",
}

WEB_HERE = {"operatingSystem": "debian-12", "ruby": "3.1"}
"""What the region's servers are: rehearsal/machines/image.py."""


DRAIN_SECONDS = 2
"""AWS shows a target as draining for all of this time, and so does the region. The sample application answers
in milliseconds."""


class Failed(Exception):
    """The rehearsed thing failed; the message says what and where."""


@dataclass
class Stopwatch:
    """How long each part took, in seconds."""

    parts: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time this block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.monotonic() - began

    def total(self) -> float:
        """Seconds since this watch was made."""
        return time.monotonic() - self.began

    def summary(self) -> str:
        """One line."""
        parts = " · ".join(f"{name} {seconds:.1f} s" for name, seconds in self.parts.items())
        return f"{parts} · in all {self.total():.1f} s"


def clean_environment(operator: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the operator's AWS settings and nobody else's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **operator, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def become_operator(operator: Mapping[str, str]) -> None:
    """From here on this process's clients are the region's operator."""
    chosen = clean_environment(operator)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(chosen)


_released_by: list[boto3.Session] = []
"""Who releases, as soon as there is something to release with."""


def client(service: str) -> Any:
    """A client of the user who may release and nothing else, once `deploy` has made that user."""
    make: Any = _released_by[-1].client if _released_by else boto3.client
    return make(service)


_takes_down: list[boto3.Session] = []
"""Who takes environments down, and may do nothing else."""


def run_sam(log_file: Path, *arguments: str, user: Mapping[str, str] | None = None) -> None:
    """Run `sam` with its output in a file. Raises Failed with the end of it."""
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "PATH": f"{SAM.parent}:{os.environ['PATH']}"}
    environment |= user or {}
    with log_file.open("wb") as output:
        done = subprocess.run(
            [SAM, *arguments], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        end = "\n".join(log_file.read_text(errors="replace").splitlines()[-25:])
        raise Failed(f"sam {arguments[0]} failed; the end of {log_file}:\n{end}")


def build(paths: Paths) -> None:
    """`sam build`. Needs no region."""
    paths.state.mkdir(exist_ok=True)
    run_sam(paths.state / "sam-build.log", "build", "--cached", "--parallel")


def deploy(paths: Paths) -> dict[str, str]:
    """`sam deploy` of what was built, by a user who may do that and nothing else; then make the one who may
    release and nothing else, and the one who may take down (docs/policies). Returns the stack's outputs.
    """
    iam, session = boto3.client("iam"), boto3.Session()
    account = boto3.client("sts").get_caller_identity()["Account"]
    names = {"REGION": str(session.region_name), "ACCOUNT": account}
    overrides = [f"{name}={value}" for name, value in PARAMETERS.items()]
    arguments = ("deploy", "--no-progressbar", "--parameter-overrides", *overrides)
    run_sam(paths.state / "sam-deploy.log", *arguments, user=users.make(iam, "deploy", names))
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    for name, sessions in (("release", _released_by), ("tear-down", _takes_down)):
        key = users.make(iam, name, {**names, "BUCKET": outputs["ArtifactBucket"]})
        sessions.append(
            boto3.Session(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"], region_name=names["REGION"])
        )
    return outputs


@dataclass(frozen=True)
class Artifact:
    """A packaged release."""

    file: Path
    sha256: str


def package(release: str, folder: Path, overlay: Path | None = None) -> Artifact:
    """Package the sample application with its own command, for the servers' image in the cache. `overlay`:
    files that change it. Raises Failed."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{release}.tar.gz"
    environment = {
        **os.environ,
        "OVERLAY": "" if overlay is None else str(overlay),
        "LOCK": str(gemfile_lock(Paths().cache)),
    }
    done = subprocess.run(
        [APPLICATION / "bin" / "package", release, file],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"packaging {APPLICATION} failed: {done.stderr.strip()}")
    return Artifact(file, hashlib.sha256(file.read_bytes()).hexdigest())


def upload(artifact: Artifact, bucket: str) -> str:
    """Put a release where servers fetch it. Returns its s3:// address."""
    key = f"releases/{APPLICATION.name}/{artifact.file.name}"
    client("s3").upload_file(str(artifact.file), bucket, key)
    return f"s3://{bucket}/{key}"


def first_input(release: str, artifact: str, sha256: str) -> dict[str, Any]:
    """The published example of a first release, for this artifact and the region's servers."""
    given: dict[str, Any] = json.loads(FIRST_RELEASE.read_text())
    given["environment"]["web"] |= WEB_HERE
    given["rollout"] = {**given.get("rollout", {}), "drainSeconds": DRAIN_SECONDS}
    given["release"] |= {"id": release, "artifact": artifact, "sha256": sha256}
    return given


def start(machine: str, given: Mapping[str, Any]) -> str:
    """Start an execution. Returns its ARN."""
    name = f"{given['release']['id']}-{time.strftime('%H%M%S')}"
    started = client("stepfunctions").start_execution(
        stateMachineArn=machine, name=name, input=json.dumps(given)
    )
    return str(started["executionArn"])


def tear_down(outputs: Mapping[str, str], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take an environment down, as the user who may do that and nothing else: the execution once it has
    ended."""
    make: Any = _takes_down[-1].client
    states = make("stepfunctions")
    started = states.start_execution(
        stateMachineArn=outputs["TearDownStateMachineArn"], name=name, input=json.dumps(given)
    )
    while (execution := states.describe_execution(executionArn=started["executionArn"]))[
        "status"
    ] == "RUNNING":
        time.sleep(0.2)
    return dict(execution)


def receipt_of(arn: str) -> dict[str, Any]:
    """The output of an execution that has ended. Raises Failed with its explanation."""
    ended = client("stepfunctions").describe_execution(executionArn=arn)
    if ended["status"] == "SUCCEEDED":
        receipt: dict[str, Any] = json.loads(ended["output"])
        return receipt
    raise Failed(explained(ended.get("error", ended["status"]), ended.get("cause", "")))


def explained(error: str, cause: str) -> str:
    """An ending's explanation as lines."""
    try:
        told = json.loads(cause)
    except ValueError:
        return f"{error}: {cause}"
    if not isinstance(told, dict):
        return f"{error}: {cause}"
    return "\n".join([error, *(f"  {name}: {value}" for name, value in told.items())])


@dataclass(frozen=True)
class Released:
    """A release that succeeded; of a plan, `receipt` is the plan."""

    execution: str
    receipt: dict[str, Any]
    watched: Watcher


def release(outputs: Mapping[str, str], name: str, paths: Paths) -> Released:
    """Package, upload, start, watch to the end. Raises Failed."""
    artifact = package(name, paths.run / "releases")
    place = upload(artifact, outputs["ArtifactBucket"])
    arn = start(outputs["ReleaseStateMachineArn"], first_input(name, place, artifact.sha256))
    watched = watch(client("stepfunctions"), arn)
    return Released(arn, receipt_of(arn), watched)


def plan(outputs: Mapping[str, str], given: Mapping[str, Any]) -> Released:
    """Ask what a release would do, and show it. `given`: that release's input. Raises Failed."""
    arn = start(outputs["ReleaseStateMachineArn"], {**given, "plan": True})
    watched = watch(client("stepfunctions"), arn)
    answer = receipt_of(arn)
    print(f"\n{answer['text']}", end="", flush=True)
    return Released(arn, answer, watched)


def need_cache(paths: Paths, log: Log) -> None:
    """Build the servers' image if it is not in the cache. Raises Unable."""
    try:
        build_image(paths.cache, log)
    except RuntimeError as error:
        raise Unable(f"The servers' image could not be built: {error}") from error
