"""A user of a region: clients with the operator's keys, tiers as stacks, HTTPS through the front door."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from rehearsal import host

ROOT = Path(__file__).resolve().parents[2]
STACK_SECONDS = 300


@contextmanager
def private_region(state: Path) -> Iterator[Account]:
    """A region of its own below `state`, on free ports, with the servers' image that is there already."""
    paths = host.Paths(state)
    image_cache = host.Paths().cache
    image_cache.mkdir(parents=True, exist_ok=True)
    paths.cache.symlink_to(image_cache)
    with host.region(paths, print, host.Ports(0, 0, 0)):
        variables = host.environment(paths)
        session = boto3.Session(
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=variables["AWS_REGION"],
        )
        yield Account(paths, session, variables["AWS_ENDPOINT_URL"])


def until(question: Callable[[], Any], seconds: float, pause: float = 0.2) -> Any:
    """The first true answer within `seconds`, else the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(pause)
    return answer


@dataclass(frozen=True)
class Account:
    """An account in a region that is up."""

    paths: host.Paths
    session: boto3.Session
    endpoint: str

    def client(self, service: str) -> Any:
        """A client of a service, as the operator."""
        return self.session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def begin(self, tier: str, parameters: Mapping[str, str], environment: str = "test") -> str:
        """Start to deploy a tier; the stack's name."""
        name = f"slipway-{environment}-{tier.replace('_', '-')}"
        given = {"Environment": environment, **parameters}
        self.client("cloudformation").create_stack(
            StackName=name,
            TemplateBody=(ROOT / "tiers" / f"{tier}.yaml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        return name

    def status(self, stack: str) -> str:
        """A stack's status."""
        return str(self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])

    def outputs(self, stack: str) -> dict[str, str]:
        """Wait for a stack; its outputs. AssertionError with its events when it failed."""
        until(lambda: not self.status(stack).endswith("IN_PROGRESS"), STACK_SECONDS)
        assert self.status(stack) == "CREATE_COMPLETE", self.reasons(stack)
        found = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}

    def reasons(self, stack: str) -> list[str]:
        """What CloudFormation gave as reasons, oldest first."""
        events = self.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
        return [event["ResourceStatusReason"] for event in events[::-1] if event.get("ResourceStatusReason")]

    def deploy(self, tier: str, parameters: Mapping[str, str], environment: str = "test") -> dict[str, str]:
        """Deploy a tier; its outputs."""
        return self.outputs(self.begin(tier, parameters, environment))

    def upload(self, bucket: str, key: str, files: Mapping[str, str]) -> None:
        """Put a zip of text files into a bucket, which is made if it is not there."""
        s3 = self.client("s3")
        if bucket not in [one["Name"] for one in s3.list_buckets()["Buckets"]]:
            place = {"LocationConstraint": self.session.region_name}
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            for name, text in files.items():
                zipped.writestr(name, text)
        s3.put_object(Bucket=bucket, Key=key, Body=archive.getvalue())

    def on_servers(self, servers: list[str], script: str) -> None:
        """Run a script on servers through SSM; AssertionError with its output when it fails."""
        ssm = self.client("ssm")
        until(
            lambda: len(ssm.describe_instance_information()["InstanceInformationList"]) >= len(servers), 120
        )
        sent = ssm.send_command(
            InstanceIds=servers, DocumentName="AWS-RunShellScript", Parameters={"commands": [script]}
        )["Command"]["CommandId"]
        for server in servers:
            found = until(partial(self._ended, ssm, sent, server), 120)
            assert found, f"{server}: the command did not end"
            assert found["Status"] == "Success", found

    def _ended(self, ssm: Any, command: str, server: str) -> dict[str, Any] | None:
        found: dict[str, Any] = ssm.get_command_invocation(CommandId=command, InstanceId=server)
        return None if found["Status"] in ("Pending", "InProgress", "Delayed") else found

    def get(self, name: str, path: str, timeout: float = 60) -> http.client.HTTPResponse:
        """GET over HTTPS through the region's front door, the certificate checked against its authority."""
        wire = socket.create_connection(("127.0.0.1", host.opened_ports(self.paths).https), timeout)
        trusted = ssl.create_default_context(cafile=str(self.paths.authority))
        connection = http.client.HTTPConnection(name, timeout=timeout)
        connection.sock = trusted.wrap_socket(wire, server_hostname=name)
        connection.request("GET", path)
        return connection.getresponse()
