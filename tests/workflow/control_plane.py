"""The orchestrator as it is shipped, in the region's control plane alone: IAM enforced, no servers.

`sam build` and `sam deploy` as a user runs them; the functions run as processes with AWS's own runtime
client, each with its own role. What needs a server says truthfully that there is none.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from rehearsal import users
from tests.workflow.engine import ROOT

BIN = Path(sys.executable).parent
PARAMETERS = ("FunctionRuntime=provided.al2023", "FunctionArchitecture=x86_64", "PollSeconds=1")


class ControlPlane:
    """A deployed orchestrator and its clients."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._session = boto3.Session(
            aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
            region_name=settings["AWS_REGION"],
        )
        self.endpoint = settings["AWS_ENDPOINT_URL"]
        [stack] = self.client("cloudformation").describe_stacks(StackName="slipway")["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def client(self, service: str) -> Any:
        # By its keyword alone mypy would ask for the stubs of every service.
        return getattr(self._session, "client")(service, endpoint_url=self.endpoint)  # noqa: B009

    def start(self, given: Any, name: str, machine: str = "Release") -> str:
        """The ARN of a new release, or of a new execution of another machine of the outputs."""
        machine = self.outputs[f"{machine}StateMachineArn"]
        text = given if isinstance(given, str) else json.dumps(given)
        started = self.client("stepfunctions").start_execution(stateMachineArn=machine, name=name, input=text)
        return str(started["executionArn"])

    def ended(self, arn: str, within: float = 300) -> dict[str, Any]:
        """The execution once it has ended."""
        give_up = time.monotonic() + within
        while (execution := self._describe(arn))["status"] == "RUNNING":
            if time.monotonic() > give_up:
                raise TimeoutError(f"{arn} still runs: {self.path(arn)}")
            time.sleep(0.2)
        return execution

    def reaches(self, arn: str, state: str, within: float = 180) -> None:
        """Returns once the execution has entered the state."""
        give_up = time.monotonic() + within
        while state not in self.path(arn):
            if time.monotonic() > give_up:
                raise TimeoutError(f"{arn} has not come to {state}: {self.path(arn)}")
            time.sleep(0.1)

    def _describe(self, arn: str) -> dict[str, Any]:
        return dict(self.client("stepfunctions").describe_execution(executionArn=arn))

    def path(self, arn: str) -> list[str]:
        """The states that the execution has entered."""
        history = self.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)
        entered = [event.get("stateEnteredEventDetails") for event in history["events"]]
        return [details["name"] for details in entered if details]

    def child(self, release: str, machine: str, name: str) -> str:
        """The ARN of an execution that a release started."""
        prefix, _, parent = release.replace(":slipway-release:", f":slipway-{machine}:").rpartition(":")
        return f"{prefix}:{parent}-{name}"

    def clean_ups(self, number: int, of: str, within: float = 120) -> list[str]:
        """The ARNs of the clean-ups that the end of an execution started, once there are so many."""
        machine = self.outputs["ReleaseStateMachineArn"].replace("-release", "-clean-up")
        give_up = time.monotonic() + within
        while True:
            listed = self.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
            arns = [str(execution["executionArn"]) for execution in listed]
            found = [arn for arn in arns if self._cleans_up_after(arn) == of]
            if len(found) >= number:
                return found
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(found)} clean-ups of {of}")
            time.sleep(0.2)

    def _cleans_up_after(self, clean_up: str) -> str | None:
        event = json.loads(self._describe(clean_up)["input"])
        found: str | None = event.get("detail", {}).get("executionArn")  # none of a release that waits for it
        return found

    def item(self, environment: str, kind: str) -> dict[str, Any]:
        """An item of the table, plain."""
        key = {"pk": {"S": f"ENVIRONMENT#{environment}"}, "sk": {"S": kind}}
        found = self.client("dynamodb").get_item(
            TableName=self.outputs["TableName"], Key=key, ConsistentRead=True
        )
        return {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}

    def freed(self, environment: str, within: float = 180) -> dict[str, Any]:
        """The lock's item once nobody holds it."""
        give_up = time.monotonic() + within
        while "holder" in (lock := self.item(environment, "LOCK")):
            if time.monotonic() > give_up:
                raise TimeoutError(f"{environment} is held by {lock['holder']}")
            time.sleep(0.2)
        return lock

    def receipt(self, environment: str, name: str) -> dict[str, Any]:
        key = f"receipts/{environment}/{name}.json"
        found = self.client("s3").get_object(Bucket=self.outputs["ArtifactBucket"], Key=key)
        receipt: dict[str, Any] = json.loads(found["Body"].read())
        return receipt


@contextmanager
def deployed(folder: Path, *parameters: str) -> Iterator[ControlPlane]:
    """A control plane with the orchestrator in it; `folder` takes its state and the build; `parameters` are
    given to its stack besides."""
    with _region(folder / "region") as settings:
        _sam(settings, "build", "--build-dir", str(folder / "build"))
        iam: Any = boto3.client(
            "iam",
            endpoint_url=settings["AWS_ENDPOINT_URL"],
            region_name=settings["AWS_REGION"],
            aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        )
        place = {"REGION": settings["AWS_REGION"], "ACCOUNT": "000000000000"}
        _sam(
            {**settings, **users.make(iam, "deploy", place)},
            *("deploy", "--template-file", str(folder / "build" / "template.yaml")),
            *(
                "--config-file",
                str(ROOT / "samconfig.toml"),
                "--parameter-overrides",
                *PARAMETERS,
                *parameters,
            ),
        )
        yield ControlPlane(settings)


@contextmanager
def _region(folder: Path) -> Iterator[Mapping[str, str]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        descriptor = listening.fileno()
        folder.mkdir(parents=True)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "rehearsal.region", "--state", str(folder)),
                    *("--api-fd", str(descriptor), "--control-plane-only"),
                ],
                pass_fds=[descriptor],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError((folder / "log").read_text()[-4000:])
        lines = (folder / "run" / "environment").read_text().splitlines()
        yield dict(line.split("=", 1) for line in lines if "=" in line)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sam(settings: Mapping[str, str], *arguments: str) -> None:
    environment = {**os.environ, **settings, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(BIN / "sam"), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"sam {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
