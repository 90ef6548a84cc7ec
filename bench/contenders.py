"""Two ways to bring an archive into service on the same servers: Slipway, and Capistrano as its users use it.

Capistrano is Debian's, on this machine, run inside the region's network, from where it reaches the servers by
SSH (bench/capistrano). What it needs there is installed into the running servers, which end with the region.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from bench import added
from rehearsal import host, release
from rehearsal.machines.places import CONTROL_PLANE_MARK, ENDPOINT_ADDRESS, ENDPOINT_PORT

HERE = Path(__file__).parent / "capistrano"
ON_HOST = ("capistrano", "openssh-client")
ON_SERVERS = ("openssh-server", "sudo")


@dataclass(frozen=True)
class Fleet:
    """The region's web servers, in the order of their names, and what reaches them."""

    paths: host.Paths
    outputs: Mapping[str, str]
    servers: Sequence[str]
    addresses: Sequence[str]
    targets: str
    """ARN of the target group that they are in."""

    def on(self, server: str, argv: Sequence[str], given: bytes = b"") -> bytes:
        """Run something on a server, past both contenders. Raises Unable."""
        command = host.on_server(self.paths, server, list(argv))
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise host.Unable(f"{server}: {' '.join(argv)[:80]} failed: {said[-1500:]}")
        return done.stdout

    def script(self, name: str, *arguments: str) -> None:
        """Run a script of bench/capistrano on all servers at once."""
        text = (HERE / name).read_bytes()
        with ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(lambda one: self.on(one, ["bash", "-s", "--", *arguments], text), self.servers))


def tier(name: str) -> dict[str, str]:
    """Outputs of a tier's stack."""
    stacks = boto3.client("cloudformation").describe_stacks(StackName=f"slipway-arable-{name}")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}


def fleet(paths: host.Paths, outputs: Mapping[str, str]) -> Fleet:
    """The servers of the environment's Auto Scaling group."""
    web = tier("web")
    groups = boto3.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[web["AutoScalingGroupName"]]
    )["AutoScalingGroups"]
    names = sorted(one["InstanceId"] for one in groups[0]["Instances"])
    found = boto3.client("ec2").describe_instances(InstanceIds=names)["Reservations"]
    addresses = {one["InstanceId"]: one["PrivateIpAddress"] for each in found for one in each["Instances"]}
    return Fleet(paths, outputs, names, [addresses[name] for name in names], web["TargetGroupArn"])


@dataclass(frozen=True)
class Course:
    """What is known of a deployment in detail. `shares`: whose the time was; `balanced`: seconds in which
    servers waited for the load balancer to let go of them, and to call them healthy."""

    shares: Sequence[added.Share] = ()
    balanced: float = 0.0


@dataclass(frozen=True)
class Slipway:
    """Releases by an execution of the state machine. `rollout`: what differs from the defaults."""

    fleet: Fleet
    rollout: Mapping[str, Any]

    def serve(self) -> None:
        """Its application is the one that nginx serves."""
        self.fleet.script("serve.sh", "slipway")

    def deploy(self, artifact: release.Artifact, name: str) -> Course:
        """Upload, release, see it to its end. Raises Failed."""
        outputs = self.fleet.outputs
        place = release.upload(artifact, outputs["ArtifactBucket"])
        given = release.first_input(name, place, artifact.sha256)
        given["rollout"] |= self.rollout
        arn = release.start(outputs["ReleaseStateMachineArn"], given)
        ended(arn)
        receipt = release.receipt_of(arn)
        return Course(added.shares(arn, receipt["states"]), balanced(receipt["servers"]))


def balanced(servers: Sequence[Mapping[str, Any]]) -> float:
    """The receipt's servers, released one after another: seconds that were the load balancer's."""
    return sum(float(one["seconds"]["drain"]) + float(one["seconds"]["healthy"]) for one in servers)


def ended(arn: str) -> None:
    """Wait for the end of an execution. Not more is asked meanwhile: looking on is no part of a release."""
    states = boto3.client("stepfunctions")
    while states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        time.sleep(0.5)


@dataclass(frozen=True)
class Capistrano:
    """Releases by `cap production deploy`. `restart`: parallel, sequence, or drained (in sequence, each
    server out of the load balancer meanwhile)."""

    fleet: Fleet
    restart: str

    def serve(self) -> None:
        """Its application is the one that nginx serves."""
        self.fleet.script("serve.sh", "capistrano")

    def deploy(self, artifact: release.Artifact, name: str) -> Course:
        """Run it to its end; nothing is known in detail. Raises Failed with the end of its output."""
        keys = self.fleet.paths.run / "capistrano"
        variables = {
            "HOME": str(keys),
            "LC_ALL": "C.UTF-8",
            "SERVERS": ",".join(self.fleet.addresses),
            "INSTANCES": ",".join(self.fleet.servers),
            "TARGET_GROUP": self.fleet.targets,
            "PYTHON": sys.executable,
            # The operator's variables have the region's API as the host sees it; this is inside.
            "AWS_ENDPOINT_URL": f"http://{ENDPOINT_ADDRESS}:{ENDPOINT_PORT}",
            "ARCHIVE": str(artifact.file),
            "RESTART": self.restart,
            "KEY": str(keys / "key"),
            "KNOWN_HOSTS": str(keys / "known_hosts"),
        }
        settings = [f"{variable}={value}" for variable, value in variables.items()]
        argv = ["env", "-u", "RUBYOPT", f"--chdir={HERE}", *settings, "cap", "production", "deploy"]
        log = self.fleet.paths.state / "capistrano.log"
        with log.open("ab") as written:
            done = subprocess.run(
                host.inside(self.fleet.paths, argv),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                check=False,
            )
        if done.returncode != 0:
            raise release.Failed(
                f"cap production deploy of {name} failed; the end of {log}:\n{host.tail(log)}"
            )
        return Course()


def install_capistrano() -> None:
    """Debian's packages of Capistrano on this machine. Raises Unable."""
    done = subprocess.run([host.ROOT / "tools" / "apt-install.sh", *ON_HOST], check=False)
    if done.returncode != 0:
        raise host.Unable("Capistrano could not be installed (see above).")


def let_capistrano_in(fleet: Fleet) -> None:
    """A key, the way to port 22, and on every server what Capistrano needs. Raises Unable."""
    folder = fleet.paths.run / "capistrano"
    folder.mkdir()
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", str(key)], check=True)
    open_ssh(fleet)
    packed = packages(fleet, folder / "packages")
    public = key.with_suffix(".pub").read_text().strip()
    unpack = ["bash", "-c", "mkdir -p /run/capistrano && tar -xf - -C /run/capistrano"]
    for server in fleet.servers:
        fleet.on(server, unpack, packed)
    fleet.script("prepare.sh", "/run/capistrano", public)


def open_ssh(fleet: Fleet) -> None:
    """From the region's own address to port 22: the deploying machine belongs to the servers' security group,
    so to say. Ends with the region's network."""
    rules = f"""
        table inet bench {{
          chain output {{
            type route hook output priority mangle;
            tcp dport 22 meta mark set {CONTROL_PLANE_MARK:#x}
          }}
        }}
    """
    subprocess.run(host.inside(fleet.paths, ["nft", "-f", "-"]), input=rules.encode(), check=True)


def packages(fleet: Fleet, folder: Path) -> bytes:
    """The packages for the servers with all that these lack of what they depend on, as a tar of .deb files.

    Downloaded here: no server reaches a mirror. Raises Unable.
    """
    (folder / "partial").mkdir(parents=True)
    status = folder / "status"
    status.write_bytes(fleet.on(fleet.servers[0], ["cat", "/var/lib/dpkg/status"]))
    options = {"Dir::State::status": status, "Dir::Cache::archives": folder, "Debug::NoLocking": "true"}
    command = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    command += ["--yes", "--download-only", "--no-install-recommends", "install", *ON_SERVERS]
    for attempt in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        if attempt == 2:
            raise host.Unable(f"{' '.join(ON_SERVERS)} could not be downloaded: {done.stderr.strip()}")
        time.sleep(5)
    with io.BytesIO() as written:
        with tarfile.open(fileobj=written, mode="w") as tar:
            for file in sorted(folder.glob("*.deb")):
                tar.add(file, arcname=file.name)
        return written.getvalue()
