"""RDS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.aws import client


def instance(identifier: str) -> dict[str, Any] | None:
    """The DB instance, or None if there is none of that name."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        answer = client("rds").describe_db_instances(DBInstanceIdentifier=identifier)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("DBInstanceNotFound", "DBInstanceNotFoundFault"):
            return None
        raise
    return dict(answer["DBInstances"][0]) if answer["DBInstances"] else None


def create_snapshot(identifier: str, name: str, tags: Mapping[str, str]) -> str:
    """Begins a snapshot: "begun", "taken" (there is one of that name) or "busy" (the instance is)."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client("rds").create_db_snapshot(
            DBInstanceIdentifier=identifier,
            DBSnapshotIdentifier=name,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
    except ClientError as error:
        if answer := _REFUSALS.get(error.response["Error"]["Code"]):
            return answer
        raise
    return "begun"


# In the spelling of the API and in that of boto3's exceptions.
_REFUSALS = {
    "DBSnapshotAlreadyExists": "taken",
    "DBSnapshotAlreadyExistsFault": "taken",
    "InvalidDBInstanceState": "busy",
    "InvalidDBInstanceStateFault": "busy",
}


def snapshot(name: str) -> dict[str, Any] | None:
    """The DB snapshot, or None if there is none of that name."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        answer = client("rds").describe_db_snapshots(DBSnapshotIdentifier=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("DBSnapshotNotFound", "DBSnapshotNotFoundFault"):
            return None
        raise
    return dict(answer["DBSnapshots"][0]) if answer["DBSnapshots"] else None


def manual_snapshots() -> int:
    """How many DB snapshots the account keeps in this region that do not go by themselves."""
    found = client("rds").describe_account_attributes()["AccountQuotas"]
    return int(next(one["Used"] for one in found if one["AccountQuotaName"] == "ManualSnapshots"))


def maintenance(arn: str) -> list[dict[str, Any]]:
    """What RDS is going to do to the DB instance: {"Action", "CurrentApplyDate"?, "ForcedApplyDate"?, …}."""
    answer = client("rds").describe_pending_maintenance_actions(ResourceIdentifier=arn)
    found = answer["PendingMaintenanceActions"]
    return [dict(action) for resource in found for action in resource["PendingMaintenanceActionDetails"]]


def unprotect(identifier: str) -> None:
    """Lifts the DB instance's protection from deletion."""
    client("rds").modify_db_instance(
        DBInstanceIdentifier=identifier, DeletionProtection=False, ApplyImmediately=True
    )


def delete_with_snapshot(identifier: str, name: str) -> str:
    """Begins to delete the DB instance, which RDS does when its final snapshot is whole: "begun", "taken"
    (there is a snapshot of that name) or "busy" (the instance is). Its automated backups are kept for as long
    as they would have been."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client("rds").delete_db_instance(
            DBInstanceIdentifier=identifier,
            SkipFinalSnapshot=False,
            FinalDBSnapshotIdentifier=name,
            DeleteAutomatedBackups=False,
        )
    except ClientError as error:
        if answer := _REFUSALS.get(error.response["Error"]["Code"]):
            return answer
        raise
    return "begun"


def snapshots_of(identifier: str) -> list[dict[str, Any]]:
    """The snapshots of the DB instance that do not go by themselves, the oldest first; those of an instance
    that is gone, too."""
    pages = (
        client("rds")
        .get_paginator("describe_db_snapshots")
        .paginate(DBInstanceIdentifier=identifier, SnapshotType="manual")
    )
    found = [dict(one) for page in pages for one in page["DBSnapshots"]]
    return sorted(found, key=lambda one: str(one.get("SnapshotCreateTime", "")))


def automated_snapshots(identifier: str) -> list[dict[str, Any]]:
    """The backups that RDS has taken of the instance by itself."""
    pages = (
        client("rds")
        .get_paginator("describe_db_snapshots")
        .paginate(DBInstanceIdentifier=identifier, SnapshotType="automated")
    )
    return [dict(snapshot) for page in pages for snapshot in page["DBSnapshots"]]
