"""The servers behind the DB instances on record, and what the records get wrong or lack.

A MariaDB on a server of its own, with an address of the instance's subnet group. The record's status
follows the server; the master password is with Secrets Manager or with the caller, never in the record.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import string
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import POLL_SECONDS, scope
from rehearsal.machines import Authority, Database

ACCEPTING_SECONDS = 180.0
"""After that a database that does not accept its master user has failed. A start takes 1 to 2 s."""

SNAPSHOT_SECONDS = 600.0
"""For the dump of an instance; one of the rehearsal takes less than a second."""

DUMP_FILE = "snapshot.sql"
# Consistent without keeping anybody from writing: InnoDB reads as of one moment, as a snapshot of the volume.
DUMP = (
    "umask 077 && mariadb-dump --all-databases --single-transaction --routines --events --triggers"
    f" >/var/lib/mysql/{DUMP_FILE}"
)

PASSWORD_LENGTH = 28
"""Length of the passwords that RDS generates for a managed master user."""


PREPARED = "_prepared"
"""Key in a record that this module has taken over: from then on its status is the server's."""


class NotOffered(ValueError):
    """The rehearsal has nothing real for this."""


@dataclass
class Running:
    """What stands behind a DB instance. `snapshot`: keep the data under this name when it is deleted."""

    identifier: str
    address: str
    data: Path
    server: Database | None = None
    snapshot: str | None = None


class Databases:
    """All databases of the region. Thread-safe."""

    def __init__(self, region: Region, authority: Authority) -> None:
        self.region = region
        self._authority = authority
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}

    def members(self) -> dict[str, Collection[str]]:
        """For the firewall: address → security groups."""
        with self._lock, scope(self.region):
            return {
                one.address: groups_of(instance)
                for one in self._running.values()
                if (instance := ministack("services.rds")._instances.get(one.identifier)) is not None
            }

    def lookup(self, name: str, kind: str, _source: str) -> list[str] | None:
        """For the DNS: an endpoint's address, known as soon as there is one."""
        if not name.endswith(f".{self.region.name}.rds.amazonaws.com"):
            return None
        with self._lock, scope(self.region):
            one = self._running.get(name.partition(".")[0])
            instance = ministack("services.rds")._instances.get(one.identifier) if one else None
        known = instance is not None and instance["Endpoint"]["Address"] == name
        return [one.address] if one and known and kind == "A" else []

    def begin(self, instance: dict[str, Any], password: str) -> None:
        """Start the server of a new instance on a thread; its record becomes available, or failed."""
        identifier = instance["DBInstanceIdentifier"]
        instance["DBInstanceStatus"] = "creating"
        cidr = subnet_cidr(instance)
        one = Running(identifier, self.region.addresses.take(cidr), self._folder("databases") / identifier)
        with self._lock:
            self._running[identifier] = one
        self.region.security_changed()
        self.region.background(self._start, one, instance, password, name=f"rds-{identifier}")

    def _start(self, one: Running, instance: dict[str, Any], password: str) -> None:
        machines = self.region.machines
        if machines is None:
            self.region.log(f"{one.identifier} stays in creation: there are no servers in this region")
            return
        try:
            with scope(self.region):
                self.region.open_vpc(instance["DBSubnetGroup"]["VpcId"])
            one.server = Database.start(
                machines,
                f"rds-{one.identifier}",
                one.address,
                int(instance["Endpoint"]["Port"]),
                instance["MasterUsername"],
                password,
                instance["DBName"] or None,
                one.data,
                self._authority.issue([instance["Endpoint"]["Address"]]),
            )
            self._settle(one, instance)
        except Exception:
            instance["DBInstanceStatus"] = "failed"
            raise

    def _settle(self, one: Running, instance: dict[str, Any]) -> None:
        """Wait until the database accepts its master user."""
        server = one.server
        assert server is not None
        deadline = time.monotonic() + ACCEPTING_SECONDS
        while not self.region.stopping.is_set() and instance["DBInstanceStatus"] != "deleting":
            if server.accepting():
                self._set_parameters(server, instance)
                if instance["DBInstanceStatus"] != "deleting":
                    instance["DBInstanceStatus"] = "available"
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{one.identifier} does not accept its master user")
            time.sleep(POLL_SECONDS)

    def _set_parameters(self, server: Database, instance: dict[str, Any]) -> None:
        """Put the parameter group in force. What the server does not take stays `pending-reboot`."""
        with scope(self.region):
            wanted = parameters(instance)
        names = sorted(wanted)
        done = server.server.run(["mariadb", "--force", "--batch"], statements(wanted).encode())
        refused = [names[line - 1] for line in refused_lines(done.stderr.decode(errors="replace"))]
        if refused:
            self.region.log(f"{server.server.name} does not take the parameters {', '.join(refused)}")
        for group in instance["DBParameterGroups"]:
            group["ParameterApplyStatus"] = "pending-reboot" if refused else "in-sync"

    def parameters_changed(self) -> None:
        """Dynamic parameters take effect at once on the instances that run."""
        self.region.background(self._set_all_parameters, name="rds-parameters")

    def _set_all_parameters(self) -> None:
        with scope(self.region):
            instances = list(ministack("services.rds")._instances.values())
        for instance in instances:
            if instance["DBInstanceStatus"] == "available" and instance.get(PREPARED):
                server = self._get(instance["DBInstanceIdentifier"]).server
                assert server is not None
                self._set_parameters(server, instance)

    def reboot(self, instance: dict[str, Any]) -> None:
        """Restart the database; pending parameters take effect."""
        one = self._get(instance["DBInstanceIdentifier"])
        server = one.server
        assert server is not None
        instance["DBInstanceStatus"] = "rebooting"

        def restart() -> None:
            try:
                done = server.server.run(["systemctl", "restart", "mariadb"], timeout=ACCEPTING_SECONDS)
                if done.code != 0:
                    raise RuntimeError(f"{one.identifier} did not restart: {done.stderr.decode()}")
                self._settle(one, instance)
            except Exception:
                instance["DBInstanceStatus"] = "failed"
                raise

        self.region.background(restart, name=f"rds-reboot-{one.identifier}")

    def set_password(self, identifier: str, password: str) -> None:
        """Change the master user's password on the server."""
        server = self._get(identifier).server
        if server is None:
            raise NotOffered(f"{identifier} is not available")
        server.set_master_password(password)

    def keep_data(self, identifier: str, _props: Mapping[str, Any] | None = None) -> None:
        """The next deletion leaves a snapshot with the name that CloudFormation gives it.

        Of an instance that is gone already there is nothing to keep: RDS answers DBInstanceNotFound, which
        CloudFormation takes for deleted.
        """
        if not self.known(identifier):
            return
        snapshot_id = ministack("services.cloudformation.provisioners")._snapshot_id
        self._get(identifier).snapshot = snapshot_id(identifier)

    def end(self, instance: dict[str, Any]) -> None:
        """Stop the server in order, keep the data as a snapshot if asked for, free the address."""
        identifier = instance["DBInstanceIdentifier"]
        one = self._get(identifier)
        instance["DBInstanceStatus"] = "deleting"
        if one.server is not None:
            one.server.stop()
        if one.snapshot is not None:
            self._snapshot(instance, one)
        shutil.rmtree(one.data, ignore_errors=True)
        forget_secret(instance)
        with self._lock:
            del self._running[identifier]
        self.region.addresses.release(one.address)
        self.region.security_changed()

    def _snapshot(self, instance: dict[str, Any], one: Running) -> None:
        """The data folder of the stopped server is the snapshot."""
        assert one.snapshot is not None
        kept = self._folder("snapshots") / one.snapshot
        if one.data.exists():
            shutil.move(one.data, kept)
        snapshot = ministack("services.rds")._create_snapshot_internal(one.snapshot, instance)
        snapshot["VpcId"] = instance["DBSubnetGroup"]["VpcId"]
        snapshot["Status"] = "available" if kept.exists() else "failed"

    def copy(self, instance: dict[str, Any], snapshot: dict[str, Any]) -> None:
        """Fill a snapshot of a running instance on a thread: a dump of all its data at one moment.

        The instance is `backing-up` meanwhile and serves, the snapshot `creating`, then available or failed.
        """
        one = self._get(instance["DBInstanceIdentifier"])
        name = snapshot["DBSnapshotIdentifier"]

        def finish() -> None:
            try:
                self._dump(one, self._folder("snapshots") / name)
                snapshot.update(Status="available", PercentProgress=100)
            except Exception:
                snapshot["Status"] = "failed"
                raise
            finally:
                if instance["DBInstanceStatus"] == "backing-up":
                    instance["DBInstanceStatus"] = "available"

        self.region.background(finish, name=f"rds-snapshot-{name}")

    def _dump(self, one: Running, kept: Path) -> None:
        """Write all databases of a running server into `kept`. Raises RuntimeError."""
        assert one.server is not None
        done = one.server.server.run(["sh", "-c", DUMP], timeout=SNAPSHOT_SECONDS)
        if done.code != 0:
            raise RuntimeError(f"{one.identifier} was not copied: {done.stderr.decode(errors='replace')}")
        kept.mkdir(parents=True)
        shutil.move(one.data / DUMP_FILE, kept / DUMP_FILE)

    def set_snapshot(self, identifier: str, name: str) -> None:
        """The next deletion leaves a snapshot of this name."""
        self._get(identifier).snapshot = name

    def known(self, identifier: str) -> bool:
        """Whether a server stands, or is being made, for the instance."""
        with self._lock:
            return identifier in self._running

    def close(self) -> None:
        """The servers end with the machines; here is only the book-keeping to leave."""
        with self._lock:
            self._running.clear()

    def _get(self, identifier: str) -> Running:
        with self._lock:
            return self._running[identifier]

    def _folder(self, name: str) -> Path:
        folder = self.region.run / "rds" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


# --- reading the emulator's records ---------------------------------------------------------------


def groups_of(instance: Mapping[str, Any]) -> list[str]:
    """Security groups of an instance: its own, or the default one of its VPC."""
    own = [group["VpcSecurityGroupId"] for group in instance.get("VpcSecurityGroups", ())]
    if own:
        return own
    vpc = ministack("services.ec2")._vpcs.get(instance["DBSubnetGroup"]["VpcId"]) or {}
    return [vpc["DefaultSecurityGroupId"]] if vpc else []


def subnet_cidr(instance: dict[str, Any]) -> str:
    """The CIDR of the subnet where the instance lives: the one of its zone, else the group's first.

    The record's zone is corrected to the subnet's. Raises NotOffered for a group without subnets.
    """
    subnets = ministack("services.ec2")._subnets
    members = [
        subnets[one["SubnetIdentifier"]]
        for one in instance["DBSubnetGroup"].get("Subnets", ())
        if one["SubnetIdentifier"] in subnets
    ]
    if not members:
        raise NotOffered("a DB instance needs a DB subnet group: the rehearsal has no default one")
    chosen = next((s for s in members if s["AvailabilityZone"] == instance["AvailabilityZone"]), members[0])
    instance["AvailabilityZone"] = chosen["AvailabilityZone"]
    return str(chosen["CidrBlock"])


def parameters(instance: Mapping[str, Any]) -> dict[str, str]:
    """What the instance's parameter group sets itself (not the family's defaults)."""
    groups = ministack("services.rds")._param_groups
    found: dict[str, str] = {}
    for membership in instance["DBParameterGroups"]:
        group = groups.get(membership["DBParameterGroupName"]) or {}
        found |= changed(group.get("Parameters", {}))
    return found


def changed(recorded: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name → value of a parameter group's own entries; one without a value is left to the server."""
    return {
        name: str(one["ParameterValue"])
        for name, one in recorded.items()
        if one.get("ParameterValue") not in (None, "")
    }


def statements(wanted: Mapping[str, str]) -> str:
    """SQL that sets parameters, one a line, in the order of their names."""
    lines = []
    for name, value in sorted(wanted.items()):
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(f"{name!r} is no name of a parameter")
        number = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value)
        quoted = value if number else "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
        lines.append(f"SET GLOBAL {name} = {quoted};\n")
    return "".join(lines)


def refused_lines(errors: str) -> list[int]:
    """Numbers of the lines that the server refused, from the client's messages."""
    return [int(number) for number in re.findall(r"^ERROR \d+ \(\w+\) at line (\d+)", errors, re.MULTILINE)]


# --- the managed master password ------------------------------------------------------------------


def new_password() -> str:
    """A password that RDS would accept and that needs no quoting anywhere."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(PASSWORD_LENGTH))


def manage_password(instance: dict[str, Any], kms_key: str) -> str:
    """Generate the master password, keep it in Secrets Manager, name the secret in the record."""
    password = new_password()
    arn, _version = ministack("services.secretsmanager")._store_new_secret(
        f"rds!{instance['DbiResourceId'].lower()}",
        secret_string=json.dumps({"username": instance["MasterUsername"], "password": password}),
        description=f"Secret associated with primary RDS DB instance: {instance['DBInstanceArn']}",
        kms_key_id=kms_key or None,
        tags=[
            {"Key": "aws:rds:primaryDBInstanceArn", "Value": instance["DBInstanceArn"]},
            {"Key": "aws:secretsmanager:owningService", "Value": "rds"},
        ],
    )
    instance["MasterUserSecret"] = {"SecretArn": arn, "SecretStatus": "active", "KmsKeyId": kms_key}
    return password


def forget_secret(instance: Mapping[str, Any]) -> None:
    """Delete the managed secret; RDS does it with the instance, without a recovery window."""
    if "MasterUserSecret" not in instance:
        return
    stored = ministack("services.secretsmanager")._secrets
    for name, secret in stored.items():
        if secret["ARN"] == instance["MasterUserSecret"]["SecretArn"]:
            stored.pop(name, None)


def prepare(instance: dict[str, Any], password: str, managed: bool, kms_key: str) -> str:
    """What the emulator's record gets wrong or lacks; returns the master password.

    The password is in the secret or with the caller, never in the record.
    """
    instance["DBInstanceStatus"] = "creating"
    instance[PREPARED] = True
    instance.pop("_MasterUserPassword", None)
    identifier = instance["DBInstanceIdentifier"]
    unique = instance["DbiResourceId"][-12:].lower()
    region = instance["DBInstanceArn"].split(":")[3]
    instance["Endpoint"]["Address"] = f"{identifier}.{unique}.{region}.rds.amazonaws.com"
    return manage_password(instance, kms_key) if managed else password
