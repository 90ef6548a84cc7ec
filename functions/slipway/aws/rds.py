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


def maintenance(arn: str) -> list[dict[str, Any]]:
    """What RDS is going to do to the DB instance: {"Action", "CurrentApplyDate"?, "ForcedApplyDate"?, …}."""
    answer = client("rds").describe_pending_maintenance_actions(ResourceIdentifier=arn)
    found = answer["PendingMaintenanceActions"]
    return [dict(action) for resource in found for action in resource["PendingMaintenanceActionDetails"]]
