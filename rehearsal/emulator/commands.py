"""Run Command on real servers: what the agent does with a document, step by step.

The agent's own calls (output to CloudWatch Logs and S3, downloads) are made with the credentials of the
server's role, so that a missing permission shows here as it would there.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.emulator import documents
from rehearsal.emulator.context import Region
from rehearsal.emulator.documents import Step

if TYPE_CHECKING:
    from rehearsal.machines import Server

logger = logging.getLogger("ssm")

ORCHESTRATION = "/var/lib/amazon/ssm/{instance}/document/orchestration/{command}/{step}"
"""Where the agent keeps the script and the downloads of a step."""

WRAPPER = """
install -D -m 700 /dev/stdin "$1/_script.sh" && chmod 700 "$1" || exit 1
echo $$ >"$1/pid"
cd "$2" || exit 1
exec sh -c "$1/_script.sh"
"""
"""Puts the script of a step, its standard input, into the first folder, and runs it in the second."""

STOPPED_CODE = 137
"""Exit code of a plugin that was killed at its time-out or cancelled (agent: CommandStoppedPreemptively)."""

POLL_SECONDS = 0.25

FINAL = ("Success", "Failed", "TimedOut", "Cancelled")


@dataclass
class Plugin:
    """What one step did on one server. Times in epoch seconds, None while it has not begun or ended."""

    step: Step
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: float | None = None
    ended: float | None = None

    def end(self, status: str, details: str, code: int) -> None:
        """The step is over; the status is set last, since readers look at it first."""
        self.ended = time.time()
        self.code, self.details = code, details
        self.status = status


@dataclass
class Invocation:
    """A command on one server."""

    instance: str
    plugins: list[Plugin]
    status: str = "Pending"
    details: str = "Pending"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in FINAL

    def end(self, status: str, details: str) -> None:
        """The invocation is over, and with it every step that did not run."""
        for plugin in self.plugins:
            if plugin.status not in FINAL:
                plugin.end(status, details, plugin.code)
        self.details = details
        self.status = status


@dataclass
class Command:
    """A sent command. `delivery` is TimeoutSeconds: how long a server may take to come online."""

    id: str
    document: str
    version: str
    steps: Sequence[Step]
    request: dict[str, Any]
    invocations: dict[str, Invocation]
    requested: float
    delivery: float
    concurrency: int
    errors_allowed: int
    cancelled: set[str] = field(default_factory=set)

    @property
    def log_group(self) -> str | None:
        """The CloudWatch Logs group for output, or None."""
        config = self.request.get("CloudWatchOutputConfig") or {}
        if str(config.get("CloudWatchOutputEnabled")).lower() != "true":
            return None
        return str(config.get("CloudWatchLogGroupName") or f"/aws/ssm/{self.document}")

    def status(self) -> tuple[str, str]:
        """Status and details of the whole command, from its invocations."""
        states = [invocation.status for invocation in self.invocations.values()]
        if not states:
            return "Failed", "NoInstancesInTag"
        if not all(state in FINAL for state in states):
            begun = any(state != "Pending" for state in states)
            if self.cancelled and begun:
                return "Cancelling", "Cancelling"
            return ("InProgress", "InProgress") if begun else ("Pending", "Pending")
        for state, details in (("Failed", "Failed"), ("TimedOut", "TimedOut"), ("Cancelled", "Cancelled")):
            if state in states:
                return state, details
        return "Success", "Success"

    def failed(self) -> int:
        """How many servers ended with an error."""
        return sum(i.status in ("Failed", "TimedOut") for i in self.invocations.values())


class Runner:
    """Carries commands out."""

    def __init__(self, region: Region, listens: Any) -> None:
        """`listens`: instance id → whether its agent can be reached now."""
        self._region = region
        self._listens = listens
        self._clients: dict[tuple[str, str], Any] = {}
        self._making = threading.Lock()

    def start(self, command: Command) -> None:
        """Begin, on threads of its own."""
        self._region.background(self._run, command, name=f"ssm-{command.id[:8]}")

    def cancel(self, command: Command, instances: Sequence[str]) -> None:
        """Stop the command on `instances` (all if empty): what waits does not begin, what runs is killed."""
        chosen = list(instances) or list(command.invocations)
        command.cancelled.update(chosen)
        for instance in chosen:
            server = self._region.server(instance)
            invocation = command.invocations.get(instance)
            if server is None or invocation is None or invocation.status != "InProgress":
                continue
            for plugin in invocation.plugins:
                if plugin.status == "InProgress":
                    folder = _folder(command, instance, plugin.step)
                    server.run(["sh", "-c", f"kill -KILL -$(cat {folder}/pid)"], timeout=10)

    def _run(self, command: Command) -> None:
        with ThreadPoolExecutor(max_workers=command.concurrency) as pool:
            list(pool.map(lambda each: self._guarded(command, each), command.invocations.values()))

    def _guarded(self, command: Command, invocation: Invocation) -> None:
        try:
            self._invoke(command, invocation)
        except Exception:
            logger.exception("command %s on %s", command.id, invocation.instance)
            invocation.end("Failed", "Undeliverable")

    def _invoke(self, command: Command, invocation: Invocation) -> None:
        if command.failed() > command.errors_allowed:
            invocation.end("Cancelled", "Terminated")
            return
        server = self._deliver(command, invocation)
        if server is None:
            return
        invocation.status = invocation.details = "InProgress"
        stop = False
        for plugin in invocation.plugins:
            if invocation.instance in command.cancelled:
                break
            if stop and not plugin.step.always:
                plugin.end("Success", "Success", 0)
                continue
            self._step(command, invocation.instance, server, plugin)
            stop = stop or (
                plugin.status != "Success" and plugin.step.on_failure in ("exit", "successAndExit")
            )
        if self._hear(invocation, server):
            invocation.end(*_ending(command, invocation))

    def _hear(self, invocation: Invocation, server: Server) -> bool:
        """Wait until the agent tells how it went; whether it did.

        Steps go on without their agent (its unit has `KillMode=process`), but nobody hears of them until it
        runs again, and after the time that the steps had, Systems Manager does not wait any more.
        """
        deadline = time.time() + sum(plugin.step.timeout for plugin in invocation.plugins)
        while server.alive() and not self._listens(invocation.instance):
            if time.time() > deadline:
                for plugin in invocation.plugins:
                    plugin.stdout = plugin.stderr = ""
                    plugin.end("TimedOut", "ExecutionTimedOut", -1)
                invocation.end("TimedOut", "ExecutionTimedOut")
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _deliver(self, command: Command, invocation: Invocation) -> Server | None:
        """Wait until the server's agent is online; None when that came to nothing."""
        deadline = command.requested + command.delivery
        while invocation.instance not in command.cancelled:
            server = self._region.server(invocation.instance)
            if server is not None and self._listens(invocation.instance):
                return server
            if time.time() > deadline:
                invocation.end("TimedOut", "DeliveryTimedOut")
                return None
            time.sleep(POLL_SECONDS)
        invocation.end("Cancelled", "Cancelled")
        return None

    def _step(self, command: Command, instance: str, server: Server, plugin: Plugin) -> None:
        plugin.started = time.time()
        if not plugin.step.for_linux:
            plugin.stdout = "Step execution skipped due to unsatisfied preconditions"
            plugin.end("Success", "Success", 0)
            return
        plugin.status = plugin.details = "InProgress"
        if plugin.step.action == "aws:downloadContent":
            self._download(command, instance, server, plugin)
        else:
            self._shell(command, instance, server, plugin)
        self._keep_output(command, instance, plugin)

    def _shell(self, command: Command, instance: str, server: Server, plugin: Plugin) -> None:
        step = plugin.step
        folder = _folder(command, instance, step)
        where = str(step.inputs.get("workingDirectory") or folder)
        # setsid makes the script the leader of a group that CancelCommand can kill as a whole.
        result = server.run(
            ["setsid", "--wait", "sh", "-c", WRAPPER, "sh", folder, where],
            documents.script(step.inputs).encode(),
            timeout=step.timeout,
            env={"AWS_SSM_INSTANCE_ID": instance, "AWS_SSM_REGION_NAME": self._region.name},
        )
        plugin.stdout = result.stdout.decode("utf-8", "replace")
        plugin.stderr = result.stderr.decode("utf-8", "replace")
        if instance in command.cancelled:
            plugin.end("Cancelled", "Cancelled", STOPPED_CODE)
        elif not server.alive():
            plugin.end("Failed", "Undeliverable", -1)
        elif result.timed_out:
            plugin.end("TimedOut", "ExecutionTimedOut", STOPPED_CODE)
        elif result.code == 0:
            plugin.end("Success", "Success", 0)
        else:
            plugin.stderr += f"failed to run commands: exit status {result.code}"
            plugin.end("Failed", "Failed", result.code)

    def _download(self, command: Command, instance: str, server: Server, plugin: Plugin) -> None:
        inputs = plugin.step.inputs
        folder = _folder(command, instance, plugin.step).rsplit("/", 1)[0] + "/downloads"
        try:
            if inputs.get("sourceType") != "S3":
                raise ValueError(f"sourceType {inputs.get('sourceType')!r}: only S3 is known")
            source = inputs["sourceInfo"]
            path = (json.loads(source) if isinstance(source, str) else source)["path"]
            bucket, key = s3_place(path)
            body = self._client(instance, "s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            target = str(inputs.get("destinationPath") or "") or folder
            if target.endswith("/") or not target.startswith("/") or target == folder:
                target = f"{target.rstrip('/')}/{key.rsplit('/', 1)[-1]}"
            if not target.startswith("/"):
                target = f"{folder}/{target}"
            server.run(["mkdir", "-p", target.rsplit("/", 1)[0]], timeout=30)
            server.write(target, body)
        except (ValueError, KeyError, BotoCoreError, ClientError) as error:
            plugin.stderr = f"failed to download content: {error}"
            plugin.end("Failed", "Failed", 1)
            return
        plugin.stdout = f"Content downloaded to {target}"
        plugin.end("Success", "Success", 0)

    def _keep_output(self, command: Command, instance: str, plugin: Plugin) -> None:
        """Output to CloudWatch Logs and S3, if asked for; as with the agent, a failure fails no command."""
        for name, text in (("stdout", plugin.stdout), ("stderr", plugin.stderr)):
            try:
                if text and command.log_group:
                    self._to_logs(command, instance, f"{plugin.step.name}/{name}", text)
                if text and command.request.get("OutputS3BucketName"):
                    self._to_s3(command, instance, plugin.step, name, text)
            except (BotoCoreError, ClientError) as error:
                logger.warning("%s of command %s on %s is lost: %s", name, command.id, instance, error)

    def _to_logs(self, command: Command, instance: str, name: str, text: str) -> None:
        logs = self._client(instance, "logs")
        stream = f"{command.id}/{instance}/{name}"
        try:
            logs.create_log_stream(logGroupName=command.log_group, logStreamName=stream)
        except logs.exceptions.ResourceNotFoundException:
            logs.create_log_group(logGroupName=command.log_group)
            logs.create_log_stream(logGroupName=command.log_group, logStreamName=stream)
        now = int(time.time() * 1000)
        lines = [line for line in text.splitlines() if line]
        for start in range(0, len(lines), 1000):
            events = [{"timestamp": now, "message": line[:250_000]} for line in lines[start : start + 1000]]
            logs.put_log_events(logGroupName=command.log_group, logStreamName=stream, logEvents=events)

    def _to_s3(self, command: Command, instance: str, step: Step, name: str, text: str) -> None:
        prefix = command.request.get("OutputS3KeyPrefix") or ""
        action = step.action.replace(":", "")
        key = "/".join(filter(None, [prefix, command.id, instance, action, step.name, name]))
        bucket = command.request["OutputS3BucketName"]
        self._client(instance, "s3").put_object(Bucket=bucket, Key=key, Body=text.encode())

    def _client(self, instance: str, service: str) -> Any:
        """A client of the region with the role of the server: one for as long as its credentials stay, as an
        agent has that runs all the time."""
        credentials = self._region.instance_credentials(instance) or {}
        known = (service, credentials.get("AccessKeyId", "none"))
        with self._making:
            if known not in self._clients:
                self._clients[known] = self._new_client(service, credentials)
            return self._clients[known]

    def _new_client(self, service: str, credentials: Mapping[str, str]) -> Any:
        session = boto3.Session(
            aws_access_key_id=credentials.get("AccessKeyId", "none"),
            aws_secret_access_key=credentials.get("SecretAccessKey", "none"),
            aws_session_token=credentials.get("Token"),
            region_name=self._region.name,
        )
        make: Any = session.client
        return make(service, endpoint_url=self._region.endpoint)


def _folder(command: Command, instance: str, step: Step) -> str:
    return ORCHESTRATION.format(instance=instance, command=command.id, step=step.name)


def _ending(command: Command, invocation: Invocation) -> tuple[str, str]:
    """Status and details of an invocation whose steps are over."""
    if invocation.instance in command.cancelled:
        return "Cancelled", "Cancelled"
    for status in ("TimedOut", "Failed"):
        for plugin in invocation.plugins:
            if plugin.status == status and plugin.step.on_failure != "successAndExit":
                return status, plugin.details
    return "Success", "Success"


def s3_place(path: str) -> tuple[str, str]:
    """Bucket and key of an S3 path as the plugin takes it: s3://…, or an https address of S3."""
    rest = path.split("://", 1)[-1]
    if path.startswith("s3://"):
        bucket, _, key = rest.partition("/")
        return bucket, key
    host, _, rest = rest.partition("/")
    if host.startswith(("s3.", "s3-")):
        bucket, _, key = rest.partition("/")
        return bucket, key
    return host.split(".s3", 1)[0], rest
