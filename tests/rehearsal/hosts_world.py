"""A web server, a database and S3 with Secrets Manager, for tests of the documents in hosts/ alone.

Runs inside a region's namespaces (`rehearsal.machines.namespace.enter`) and is worked from outside through a
socket in the file system. The server and the database are real; the two AWS services are MiniStack's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from rehearsal.emulator import documents
from rehearsal.machines.database import Database
from rehearsal.machines.firewall import Rule, SecurityGroup
from rehearsal.machines.image import build_image
from rehearsal.machines.machines import Machines
from rehearsal.machines.metadata import Credentials, Instance
from rehearsal.machines.places import CONTROL_PLANE_MARK, ENDPOINT_ADDRESS, ENDPOINT_PORT
from rehearsal.machines.server import Result, Server

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
WEB = "10.77.10.11"
DATABASE = "10.77.20.11"
DATABASE_NAME = "db.hosts.example"
MASTER_PASSWORD = "only-for-this-test"
SERVER = "i-0123456789abcdef0"
MADE_UP = {
    "Ruby": "3.1",
    "Release": "none",
    "Artifact": "s3://none/none",
    "Sha256": "0" * 64,
    "Environment": "none",
    "DatabaseHost": "none",
    "DatabasePort": "1",
    "DatabaseName": "none",
    "DatabaseSecret": "none",
    "SecretKeyBase": "none",
    "Bucket": "none",
    "Region": REGION,
    "PendingOn": SERVER,
}


@dataclass(frozen=True)
class Ran:
    """What a document left: its first line as JSON, the log after it, exit code, seconds."""

    result: dict[str, Any]
    log: str
    code: int
    seconds: float


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class World:
    """Everything the tests ask for. Thread-safe as far as the servers are."""

    def __init__(self, run: Path) -> None:
        self._asked: list[str] = []
        self.machines = Machines(run, build_image(ROOT / ".rehearsal" / "cache", print), lookup=self._names)
        self.machines.open()
        self.api = _start_api(run)
        self.machines.network.add_vpc("vpc-hosts", "10.77.0.0/16")
        self.machines.metadata.who = _instance
        self.open_database(True)
        self.web: Server = self.machines.boot("web", [WEB])
        self.database = Database.start(
            self.machines, "db", DATABASE, 3306, "master", MASTER_PASSWORD, "arable", run / "data"
        )
        self.web.wait_running()
        self.database.server.wait_running()
        _until(self.database.accepting)
        _until(self._api_answers)

    def open_database(self, let_in: bool) -> None:
        """The database's security group: with or without the web server."""
        everybody = "0.0.0.0/0"
        groups = {
            "web": SecurityGroup((Rule("tcp", 3000, 3000, everybody),), (Rule("all", 0, 0, everybody),)),
            "db": SecurityGroup((Rule("tcp", 3306, 3306, "web"),) if let_in else ()),
        }
        self.machines.firewall.apply(groups, {WEB: ["web"], DATABASE: ["db"]})

    def document(self, step: str, parameters: Mapping[str, str]) -> Ran:
        """Run one step of the documents in hosts/ on the web server, as the agent does."""
        return run_document(self.web, step, parameters)

    def shell(self, script: str) -> Result:
        """Any bash on the web server, as root."""
        return self.web.run(["bash", "-s"], script.encode())

    def reboot(self) -> None:
        """Start the web server anew; returns when it is up again."""
        again = threading.Event()
        self.web.rebooted = again.set
        with contextlib.suppress(RuntimeError):  # the server may be gone before it answers
            self.web.run(["systemctl", "reboot"])
        if not again.wait(120):
            raise TimeoutError("the server did not start again")
        self.web.wait_running()

    def sql(self, statements: str) -> str:
        """As administrator on the database server."""
        done = self.database.server.run(["mariadb", "--batch", "--skip-column-names"], statements.encode())
        if done.code:
            raise RuntimeError(done.stderr.decode())
        return done.stdout.decode()

    def http(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request to port 3000 of the web server, from outside it."""
        connection = HTTPConnection(WEB, 3000, timeout=60)
        connection.sock = _past_the_security_groups(WEB, 3000)
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        pairs = [(name.lower(), value) for name, value in answer.getheaders()]
        joined = {name: "\n".join(v for n, v in pairs if n == name) for name, _ in pairs}
        body = answer.read()
        connection.close()
        return Answer(answer.status, joined, body)

    def tls(self) -> None:
        """The database offers TLS from now on, with a certificate of its own making, as RDS does."""
        key, certificate = "/etc/mysql/private.pem", "/etc/mysql/certificate.pem"
        make = (
            f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=db"
        )
        settings = f"[mysqld]\nssl_cert={certificate}\nssl_key={key}\n"
        done = self.database.server.run(["sh", "-c", f"{make} && chown mysql {key} {certificate}"])
        assert done.code == 0, done.stderr
        self.database.server.write("/etc/mysql/mariadb.conf.d/95-tls.cnf", settings.encode())
        self.database.server.run(["systemctl", "restart", "mariadb"])
        _until(self.database.accepting)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """An object; the bucket is made when it is not there."""
        s3 = self._client("s3")
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=bucket, Key=key, Body=data)

    def objects(self, bucket: str) -> list[bytes]:
        """All contents of a bucket."""
        s3 = self._client("s3")
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found]

    def secret(self, name: str, value: str) -> None:
        """A secret with this value, new or changed."""
        manager = self._client("secretsmanager")
        try:
            manager.create_secret(Name=name, SecretString=value)
        except manager.exceptions.ResourceExistsException:
            manager.put_secret_value(SecretId=name, SecretString=value)

    def close(self) -> None:
        """End servers and services."""
        self.machines.close()
        self.api.kill()
        self.api.wait()

    def _api_answers(self) -> bool:
        try:
            self._client("s3").list_buckets()
        except BotoCoreError:
            return False
        return True

    def _client(self, service: str) -> Any:
        make: Any = boto3.client  # its stubs want each service's name as a literal
        return make(
            service,
            region_name=REGION,
            endpoint_url=f"http://{ENDPOINT_ADDRESS}:{ENDPOINT_PORT}",
            aws_access_key_id="AKIAHOSTS",
            aws_secret_access_key="only-for-this-test",
        )

    def names(self) -> list[str]:
        """Every name that was asked for, in order."""
        return list(self._asked)

    def _names(self, name: str, kind: str, source: str) -> list[str]:
        self._asked.append(name.rstrip("."))
        return [DATABASE] if name.rstrip(".") == DATABASE_NAME and kind == "A" else []


def run_document(server: Server, step: str, parameters: Mapping[str, str]) -> Ran:
    """Check the parameters as SSM does, put them in, run the step's script by its shebang.

    What the document's other step takes, and this one is not given, is made up.
    """
    every = [documents.read(path.read_text()) for path in (ROOT / "hosts").glob("*.yaml")]
    document = next(one for one in every if step in [each["name"] for each in one["mainSteps"]])
    made_up = {key: value for key, value in MADE_UP.items() if key in document["parameters"]}
    bound = documents.bind(document, {**made_up, **parameters})
    (command,) = [one for one in documents.steps(document, bound) if one.name == step]
    server.write("/var/lib/ssm/_script.sh", documents.script(command.inputs).encode(), 0o700)
    started = time.monotonic()
    done = server.run(
        ["sh", "-c", "/var/lib/ssm/_script.sh"],
        timeout=command.timeout,
        env={"AWS_SSM_INSTANCE_ID": SERVER, "AWS_SSM_REGION_NAME": REGION},
    )
    seconds = time.monotonic() - started
    first, _, log = done.stdout.decode().partition("\n")
    if done.stderr:
        raise AssertionError(f"{step} wrote to standard error: {done.stderr.decode()}")
    return Ran(json.loads(first), log, done.code, seconds)


def _past_the_security_groups(address: str, port: int) -> socket.socket:
    wire = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CONTROL_PLANE_MARK)
    wire.settimeout(60)
    wire.connect((address, port))
    return wire


def _start_api(run: Path) -> subprocess.Popen[bytes]:
    """S3 and Secrets Manager at the address that the servers' image knows. Anybody may do anything there."""
    (run / "api").mkdir(parents=True, exist_ok=True)
    settings = {"BIND_HOST": ENDPOINT_ADDRESS, "GATEWAY_PORT": str(ENDPOINT_PORT), "TMPDIR": str(run / "api")}
    settings |= {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
    with (run / "api.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ministack"], env={**os.environ, **settings}, stdout=log, stderr=log
        )


def _instance(source: str) -> Instance | None:
    return Instance(
        id=SERVER,
        zone=f"{REGION}a",
        region=REGION,
        private_address=source,
        role="web",
        credentials=_credentials,
    )


def _credentials() -> Credentials:
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Credentials("ASIAHOSTS", "only-for-this-test", "token", until)


def _until(condition: Any, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(str(condition))
        time.sleep(0.1)


class Door(BaseManager):
    """How tests reach the world: `Door(address=…, authkey=…).connect()`, then `.world()`."""


def main() -> None:
    """Build the world, serve it on the socket `argv[1]` with everything else below the folder `argv[2]`."""
    world = World(Path(sys.argv[2]))
    Door.register("world", callable=lambda: world)
    server = Door(address=sys.argv[1], authkey=b"hosts").get_server()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopped.wait()
    world.close()


if __name__ == "__main__":
    # By its own name: what goes through the socket must be of classes that the other side knows.
    from tests.rehearsal import hosts_world

    hosts_world.main()
