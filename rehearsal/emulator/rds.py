"""Databases: a DB instance is a MariaDB on a server of its own, in a subnet of its subnet group.

The emulator keeps the record; the status in it is what the server shows: `creating` until the master
user can log in, `available`, `rebooting`, `deleting` until the server is gone. What has nothing behind it
here (clusters, replicas, restores, other engines) is refused in so many words rather than pretended.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.emulator import provisioning
from rehearsal.emulator.context import Region
from rehearsal.emulator.databases import PREPARED, Databases, NotOffered, prepare
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, notify, scope, wrap_action, wrap_type
from rehearsal.machines import Authority

RELIES_ON = (
    ("services.rds", "_ACTION_MAP"),
    ("services.rds", "_instances"),
    ("services.rds", "_snapshots"),
    ("services.rds", "_subnet_groups"),
    ("services.rds", "_param_groups"),
    ("services.rds", "_instance_xml"),
    ("services.rds", "_single_instance_response"),
    ("services.rds", "_create_snapshot_internal"),
    ("services.rds", "_snapshot_xml"),
    ("services.rds", "_xml"),
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


def install(region: Region) -> None:
    """Put a server behind every DB instance, made through the API or in a stack."""
    rds = ministack("services.rds")
    databases = Databases(region, Authority(region.run))
    region.members.append(databases.members)
    region.interfaces.append(lambda: dict.fromkeys(databases.members(), "RDSNetworkInterface"))
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
    wrap_action(rds, "CreateDBSnapshot", lambda original: _snapshot_by_api(databases, original))
    wrap_action(rds, "DeleteDBSnapshot", lambda original: _delete_snapshot(region, original))
    rds._ACTION_MAP["RebootDBInstance"] = _reboot_by_api(databases)
    rds._ACTION_MAP["DescribePendingMaintenanceActions"] = _pending_maintenance(region)
    rds._ACTION_MAP["DescribeAccountAttributes"] = _account_attributes
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


def _create_by_api(databases: Databases, original: Handler) -> Handler:
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


def _delete_by_api(databases: Databases, original: Handler) -> Handler:
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


def _modify_by_api(databases: Databases, original: Handler) -> Handler:
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


def _reboot_by_api(databases: Databases) -> Handler:
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


def _snapshot_by_api(databases: Databases, original: Handler) -> Handler:
    """A copy of a running instance's data; the snapshot is `creating` until the copy is whole."""
    rds = ministack("services.rds")

    @functools.wraps(original)
    def snapshot(params: dict[str, Any]) -> Any:
        instance = rds._resolve_instance(rds._p(params, "DBInstanceIdentifier"))
        name = rds._p(params, "DBSnapshotIdentifier")
        known = instance is not None and databases.known(instance["DBInstanceIdentifier"])
        if not known or not name or name in rds._snapshots:
            return original(params)
        if (answer := _unready(instance)) is not None:
            return answer
        if not re.fullmatch(r"(?!.*--)[A-Za-z][A-Za-z0-9-]{0,253}[A-Za-z0-9]", name):
            return rds._error("InvalidParameterValue", f"{name} is not a name for a snapshot", 400)
        # Before the record exists: nobody may see it as available.
        instance["DBInstanceStatus"] = "backing-up"
        response = original(params)
        if response[0] >= 400:
            instance["DBInstanceStatus"] = "available"
            return response
        record = rds._snapshots[name]
        record |= {"Status": "creating", "PercentProgress": 0, "VpcId": instance["DBSubnetGroup"]["VpcId"]}
        databases.copy(instance, record)
        return rds._xml(
            200,
            "CreateDBSnapshotResponse",
            f"<CreateDBSnapshotResult><DBSnapshot>{rds._snapshot_xml(record)}</DBSnapshot>"
            "</CreateDBSnapshotResult>",
        )

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


# --- maintenance ----------------------------------------------------------------------------------


def _pending_maintenance(region: Region) -> Handler:
    """What AWS is going to do to an instance: nothing, unless a file ``maintenance`` in the run folder, which
    stands for AWS's decision, says so (``<DB instance> <action> <when, ISO 8601>``, one a line)."""
    rds = ministack("services.rds")

    def described(params: dict[str, Any]) -> Any:
        arn = rds._p(params, "ResourceIdentifier")
        path = region.run / "maintenance"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return rds._xml(200, "DescribePendingMaintenanceActionsResponse", maintenance_xml(arn, lines))

    return described


def _account_attributes(_params: dict[str, Any]) -> Any:
    """What the account has, counted; of the many quotas that RDS answers, those that somebody asks for."""
    rds = ministack("services.rds")
    kept = [one for one in rds._snapshots.values() if one.get("SnapshotType", "manual") == "manual"]
    quota = (
        "<AccountQuota><AccountQuotaName>ManualSnapshots</AccountQuotaName>"
        f"<Used>{len(kept)}</Used><Max>100</Max></AccountQuota>"
    )
    result = "DescribeAccountAttributesResult"
    inner = f"<{result}><AccountQuotas>{quota}</AccountQuotas></{result}>"
    return rds._xml(200, "DescribeAccountAttributesResponse", inner)


def maintenance_xml(arn: str, lines: Sequence[Sequence[str]]) -> str:
    """The result of DescribePendingMaintenanceActions for one instance."""
    actions = "".join(
        f"<PendingMaintenanceAction><Action>{line[1]}</Action><CurrentApplyDate>{line[2]}</CurrentApplyDate>"
        "</PendingMaintenanceAction>"
        for line in lines
        if arn.endswith(f":db:{line[0]}")
    )
    resource = (
        f"<ResourcePendingMaintenanceActions><ResourceIdentifier>{arn}</ResourceIdentifier>"
        f"<PendingMaintenanceActionDetails>{actions}</PendingMaintenanceActionDetails>"
        "</ResourcePendingMaintenanceActions>"
    )
    return (
        "<DescribePendingMaintenanceActionsResult><PendingMaintenanceActions>"
        f"{resource if actions else ''}</PendingMaintenanceActions></DescribePendingMaintenanceActionsResult>"
    )


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


def _create_by_stack(databases: Databases, original: Handler) -> Handler:
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


def _take_back(databases: Databases, instance: dict[str, Any]) -> None:
    """Remove a half-made instance: what a failed create leaves, nobody else would delete."""
    if databases.known(instance["DBInstanceIdentifier"]):
        databases.end(instance)
    ministack("services.rds")._instances.pop(instance["DBInstanceIdentifier"], None)


def _update_by_stack(databases: Databases, original: Handler) -> Handler:
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


def _delete_by_stack(databases: Databases, original: Handler) -> Handler:
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
