"""Databases: a DB instance is a MariaDB on a server of its own, in a subnet of its subnet group.

The emulator keeps the record; the status in it is what the server shows: `creating` until the master
user can log in, `available`, `rebooting`, `deleting` until the server is gone. What has nothing behind it
here (clusters, replicas, restores, other engines) is refused in so many words rather than pretended.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
import shutil
import string
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.emulator import provisioning
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, notify, scope, wrap_action, wrap_type
from rehearsal.machines import Authority, Database

RELIES_ON = (
    ("services.rds", "_ACTION_MAP"),
    ("services.rds", "_instances"),
    ("services.rds", "_snapshots"),
    ("services.rds", "_subnet_groups"),
    ("services.rds", "_param_groups"),
    ("services.rds", "_instance_xml"),
    ("services.rds", "_single_instance_response"),
    ("services.rds", "_create_snapshot_internal"),
    ("services.rds", "_resolve_instance"),
    ("services.rds", "_error"),
    ("services.rds", "_p"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_vpcs"),
    ("services.secretsmanager", "_store_new_secret"),
    ("services.secretsmanager", "_secrets"),
    ("services.cloudformation.provisioners", "_rds_db_instance_attrs"),
    ("services.cloudformation.provisioners", "_snapshot_id"),
)

TYPE = "AWS::RDS::DBInstance"

ENGINES = ("mysql", "mariadb")
"""Both are served by MariaDB: no MySQL is packaged for the servers' system."""

NOT_OFFERED = (
    "CreateDBInstanceReadReplica",
    "RestoreDBInstanceFromDBSnapshot",
    "CreateDBCluster",
    "CreateGlobalCluster",
    "CreateDBProxy",
    "StartDBInstance",
    "StopDBInstance",
)
NOT_OFFERED_TYPES = ("AWS::RDS::DBCluster",)

ACCEPTING_SECONDS = 180.0
"""After that a database that does not accept its master user has failed. A cold start takes 10 s."""

PASSWORD_LENGTH = 28
"""Length of the passwords that RDS generates for a managed master user."""


PREPARED = "_prepared"
"""Key in a record that this module has taken over: from then on its status is the server's."""


class NotOffered(ValueError):
    """The rehearsal has nothing real for this."""


def install(region: Region) -> None:
    """Put a server behind every DB instance, made through the API or in a stack."""
    rds = ministack("services.rds")
    databases = _Databases(region, Authority(region.run))
    region.members.append(databases.members)
    region.lookups.insert(0, databases.lookup)
    region.closing.append(databases.close)
    replace(rds, "_instance_xml", _instance_xml)
    for action in NOT_OFFERED:
        rds._ACTION_MAP[action] = _refuse(action)
    for resource_type in NOT_OFFERED_TYPES:
        wrap_type(resource_type, "create", lambda _original: _refuse_type)
    wrap_action(rds, "CreateDBInstance", lambda original: _create_by_api(databases, original))
    wrap_action(rds, "DeleteDBInstance", lambda original: _delete_by_api(databases, original))
    wrap_action(rds, "ModifyDBInstance", lambda original: _modify_by_api(databases, original))
    wrap_action(rds, "CreateDBSnapshot", _snapshot_by_api)
    wrap_action(rds, "DeleteDBSnapshot", lambda original: _delete_snapshot(region, original))
    rds._ACTION_MAP["RebootDBInstance"] = _reboot_by_api(databases)
    notify(
        rds,
        ("ModifyDBParameterGroup", "ResetDBParameterGroup"),
        ("AWS::RDS::DBParameterGroup",),
        databases.parameters_changed,
    )
    provisioning.on_a_thread(TYPE)
    replace(ministack("services.cloudformation.provisioners"), "_rds_db_instance_attrs", _attributes)
    wrap_type(TYPE, "create", lambda original: _create_by_stack(databases, original))
    wrap_type(TYPE, "update", lambda original: _update_by_stack(databases, original))
    wrap_type(TYPE, "delete", lambda original: _delete_by_stack(databases, original))
    wrap_type(TYPE, "snapshot", lambda _original: databases.keep_data)


# --- the databases themselves ---------------------------------------------------------------------


@dataclass
class _Running:
    """What stands behind a DB instance. `snapshot`: keep the data under this name when it is deleted."""

    identifier: str
    address: str
    data: Path
    server: Database | None = None
    snapshot: str | None = None
    gone: threading.Event = field(default_factory=threading.Event)


class _Databases:
    """All databases of the region. Thread-safe."""

    def __init__(self, region: Region, authority: Authority) -> None:
        self.region = region
        self._authority = authority
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}

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
        with self._lock:
            one = self._running.get(name.partition(".")[0])
        return [one.address] if one is not None and kind == "A" else []

    def begin(self, instance: dict[str, Any], password: str) -> None:
        """Start the server of a new instance on a thread; its record becomes available, or failed."""
        identifier = instance["DBInstanceIdentifier"]
        instance["DBInstanceStatus"] = "creating"
        cidr = subnet_cidr(instance)
        one = _Running(identifier, self.region.addresses.take(cidr), self._folder("databases") / identifier)
        with self._lock:
            self._running[identifier] = one
        self.region.security_changed()
        self.region.background(self._start, one, instance, password, name=f"rds-{identifier}")

    def _start(self, one: _Running, instance: dict[str, Any], password: str) -> None:
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

    def _settle(self, one: _Running, instance: dict[str, Any]) -> None:
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
            time.sleep(provisioning.POLL_SECONDS)

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
        """The next deletion leaves a snapshot with the name that CloudFormation gives it."""
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
        one.gone.set()
        self.region.security_changed()

    def _snapshot(self, instance: dict[str, Any], one: _Running) -> None:
        """The data folder of the stopped server is the snapshot."""
        assert one.snapshot is not None
        kept = self._folder("snapshots") / one.snapshot
        if one.data.exists():
            shutil.move(one.data, kept)
        snapshot = ministack("services.rds")._create_snapshot_internal(one.snapshot, instance)
        snapshot["VpcId"] = instance["DBSubnetGroup"]["VpcId"]
        snapshot["Status"] = "available" if kept.exists() else "failed"

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

    def _get(self, identifier: str) -> _Running:
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


# --- DescribeDBInstances --------------------------------------------------------------------------


def _instance_xml(original: Handler) -> Handler:
    """An instance as AWS shows it: no endpoint while creating, and the managed secret."""

    @functools.wraps(original)
    def rendered(instance: dict[str, Any]) -> str:
        if not instance.get(PREPARED):
            # The emulator has just written the record, as available; ours has not taken it over yet.
            instance = instance | {"DBInstanceStatus": "creating"}
        xml = str(original(instance))
        if instance["DBInstanceStatus"] in ("creating", "failed"):
            xml = re.sub(r"<Endpoint>.*?</Endpoint>", "", xml, count=1, flags=re.DOTALL)
        return xml + secret_xml(instance.get("MasterUserSecret"))

    return rendered


def secret_xml(secret: Mapping[str, str] | None) -> str:
    """The element MasterUserSecret."""
    if secret is None:
        return ""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in secret.items() if value)
    return f"<MasterUserSecret>{inner}</MasterUserSecret>"


# --- the API --------------------------------------------------------------------------------------


def _refuse(action: str) -> Handler:
    def refused(_params: Mapping[str, Any]) -> Any:
        return ministack("services.rds")._error(
            "InvalidParameterCombination", f"{action} is not offered by the rehearsal", 400
        )

    return refused


def _refuse_type(_logical_id: str, _props: Mapping[str, Any], _stack_name: str) -> Any:
    raise NotOffered("Aurora clusters are not offered by the rehearsal")


def refusal(engine: str, has_subnet_group: bool) -> str | None:
    """Why the rehearsal cannot make this instance, if it cannot."""
    if engine not in ENGINES:
        return f"the rehearsal offers the engines {' and '.join(ENGINES)}, not {engine!r}"
    if not has_subnet_group:
        return "a DB instance needs an existing DBSubnetGroupName: the rehearsal has no default one"
    return None


def _create_by_api(databases: _Databases, original: Handler) -> Handler:
    rds = ministack("services.rds")

    @functools.wraps(original)
    def create(params: dict[str, Any]) -> Any:
        identifier = rds._p(params, "DBInstanceIdentifier")
        managed = rds._p(params, "ManageMasterUserPassword") == "true"
        password = rds._p(params, "MasterUserPassword")
        known_group = rds._p(params, "DBSubnetGroupName") in rds._subnet_groups
        problem = refusal(rds._p(params, "Engine"), known_group)
        if not problem and managed == bool(password):
            problem = "either MasterUserPassword or ManageMasterUserPassword has to be given"
        if problem:
            return rds._error("InvalidParameterCombination", problem, 400)
        response = original(params)
        if response[0] >= 400:
            return response
        instance = rds._instances[identifier]
        instance["DBName"] = rds._p(params, "DBName")
        secret = prepare(instance, password, managed, rds._p(params, "MasterUserSecretKmsKeyId"))
        databases.begin(instance, secret)
        return rds._single_instance_response("CreateDBInstanceResponse", "CreateDBInstanceResult", instance)

    return create


def _unready(instance: Mapping[str, Any]) -> Any:
    """The answer to an operation on an instance that is not available, None for one that is."""
    if instance["DBInstanceStatus"] == "available":
        return None
    return ministack("services.rds")._error(
        "InvalidDBInstanceState",
        f"Instance {instance['DBInstanceIdentifier']} is in state {instance['DBInstanceStatus']}.",
        400,
    )


def _delete_by_api(databases: _Databases, original: Handler) -> Handler:
    rds = ministack("services.rds")

    def delete(params: dict[str, Any]) -> Any:
        instance = rds._resolve_instance(rds._p(params, "DBInstanceIdentifier"))
        if (
            instance is None
            or instance["DeletionProtection"]
            or not databases.known(instance["DBInstanceIdentifier"])
        ):
            return original(params)
        if instance["DBInstanceStatus"] == "deleting":
            return _unready(instance)
        final = rds._p(params, "FinalDBSnapshotIdentifier")
        if (rds._p(params, "SkipFinalSnapshot") == "true") == bool(final):
            return rds._error(
                "InvalidParameterCombination",
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.",
                400,
            )
        if final in rds._snapshots:
            return rds._error("DBSnapshotAlreadyExists", f"Snapshot {final} already exists.", 400)
        if final:
            databases.set_snapshot(instance["DBInstanceIdentifier"], final)
        instance["DBInstanceStatus"] = "deleting"

        def finish() -> None:
            with scope(databases.region):
                databases.end(instance)
                rds._instances.pop(instance["DBInstanceIdentifier"], None)

        databases.region.background(finish, name=f"rds-delete-{instance['DBInstanceIdentifier']}")
        return rds._single_instance_response("DeleteDBInstanceResponse", "DeleteDBInstanceResult", instance)

    return delete


def _modify_by_api(databases: _Databases, original: Handler) -> Handler:
    rds = ministack("services.rds")

    @functools.wraps(original)
    def modify(params: dict[str, Any]) -> Any:
        identifier = rds._p(params, "DBInstanceIdentifier")
        instance = rds._resolve_instance(identifier)
        if instance is not None and (answer := _unready(instance)) is not None:
            return answer
        password = params.pop("MasterUserPassword", None)
        if instance is not None and password is not None:
            databases.set_password(
                instance["DBInstanceIdentifier"], password[0] if isinstance(password, list) else password
            )
        response = original(params)
        if instance is not None:
            for group in instance["DBParameterGroups"]:
                if group["ParameterApplyStatus"] == "applying":
                    # Nothing here changes a running server's settings: a reboot does.
                    group["ParameterApplyStatus"] = "pending-reboot"
            databases.region.security_changed()
        return response

    return modify


def _reboot_by_api(databases: _Databases) -> Handler:
    rds = ministack("services.rds")

    def reboot(params: dict[str, Any]) -> Any:
        identifier = rds._p(params, "DBInstanceIdentifier")
        instance = rds._resolve_instance(identifier)
        if instance is None:
            return rds._error("DBInstanceNotFound", f"DBInstance {identifier} not found.", 404)
        if (answer := _unready(instance)) is not None:
            return answer
        databases.reboot(instance)
        return rds._single_instance_response("RebootDBInstanceResponse", "RebootDBInstanceResult", instance)

    return reboot


def _snapshot_by_api(original: Handler) -> Handler:
    """Snapshots of a running instance: not yet behind anything, so refused."""
    rds = ministack("services.rds")

    @functools.wraps(original)
    def snapshot(params: dict[str, Any]) -> Any:
        if rds._resolve_instance(rds._p(params, "DBInstanceIdentifier")) is None:
            return original(params)
        return _refuse("CreateDBSnapshot of a running instance")(params)

    return snapshot


def _delete_snapshot(region: Region, original: Handler) -> Handler:
    rds = ministack("services.rds")

    @functools.wraps(original)
    def delete(params: dict[str, Any]) -> Any:
        name = rds._p(params, "DBSnapshotIdentifier")
        if name in rds._snapshots:
            shutil.rmtree(region.run / "rds" / "snapshots" / name, ignore_errors=True)
        return original(params)

    return delete


# --- stacks ---------------------------------------------------------------------------------------


def _attributes(original: Handler) -> Handler:
    """Fn::GetAtt of a DB instance, with the managed secret."""

    @functools.wraps(original)
    def attributes(instance: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = original(instance)
        if "MasterUserSecret" in instance:
            found["MasterUserSecret.SecretArn"] = instance["MasterUserSecret"]["SecretArn"]
        return found

    return attributes


def _create_by_stack(databases: _Databases, original: Handler) -> Handler:
    """AWS::RDS::DBInstance: complete once the instance is available."""
    rds = ministack("services.rds")

    @functools.wraps(original)
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        known_group = props.get("DBSubnetGroupName", "") in rds._subnet_groups
        if problem := refusal(props.get("Engine", ""), known_group):
            raise NotOffered(problem)
        managed = str(props.get("ManageMasterUserPassword", "false")).lower() == "true"
        identifier, _stale = original(logical_id, props, stack_name)
        instance = rds._instances[identifier]
        instance["DBName"] = props.get("DBName", "")
        kms_key = (props.get("MasterUserSecret") or {}).get("KmsKeyId", "")
        password = prepare(instance, props.get("MasterUserPassword", ""), managed, kms_key)
        try:
            databases.begin(instance, password)
            provisioning.initiated(
                stack_name, logical_id, TYPE, identifier, props, "Resource creation Initiated"
            )
            provisioning.wait(databases.region, stack_name, lambda: _available(instance))
        except BaseException:
            provisioning.abandoned(stack_name, logical_id)
            _take_back(databases, instance)
            raise
        return identifier, _attributes_of(instance)

    return create


def _attributes_of(instance: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = ministack("services.cloudformation.provisioners")._rds_db_instance_attrs(instance)
    return found


def _available(instance: Mapping[str, Any]) -> bool:
    if instance["DBInstanceStatus"] == "failed":
        raise RuntimeError(f"DB instance {instance['DBInstanceIdentifier']} did not become available")
    return bool(instance["DBInstanceStatus"] == "available")


def _take_back(databases: _Databases, instance: dict[str, Any]) -> None:
    """Remove a half-made instance: what a failed create leaves, nobody else would delete."""
    if databases.known(instance["DBInstanceIdentifier"]):
        databases.end(instance)
    ministack("services.rds")._instances.pop(instance["DBInstanceIdentifier"], None)


def _update_by_stack(databases: _Databases, original: Handler) -> Handler:
    """In place, what the record says; a new password and new groups take effect on the server."""
    rds = ministack("services.rds")

    @functools.wraps(original)
    def update(
        identifier: str,
        old: dict[str, Any],
        new: dict[str, Any],
        stack_name: str,
        logical_id: str | None = None,
    ) -> Any:
        physical_id, attributes = original(identifier, old, new, stack_name, logical_id)
        instance = rds._instances.get(physical_id)
        if physical_id != identifier or instance is None:
            return physical_id, attributes  # replaced: the create above has done everything
        instance.pop("_MasterUserPassword", None)
        password = new.get("MasterUserPassword")
        if password and password != old.get("MasterUserPassword"):
            databases.set_password(physical_id, password)
        databases.region.security_changed()
        return physical_id, _attributes_of(instance)

    return update


def _delete_by_stack(databases: _Databases, original: Handler) -> Handler:
    """Waits until the server is gone. A protected instance stays, and the stack says why."""
    rds = ministack("services.rds")

    @functools.wraps(original)
    def delete(identifier: str, props: dict[str, Any]) -> Any:
        instance = rds._instances.get(identifier)
        if instance is None:
            return original(identifier, props)
        if instance["DeletionProtection"]:
            raise ValueError(
                "Cannot delete protected DB Instance, please disable deletion protection and try again."
            )
        if databases.known(identifier):
            databases.end(instance)
        return original(identifier, props)

    return delete
