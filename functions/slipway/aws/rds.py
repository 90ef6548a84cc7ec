"""RDS."""

from __future__ import annotations

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
