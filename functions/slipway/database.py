"""Whether the DB instance can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.aws import rds
from slipway.errors import DatabaseRefused
from slipway.patience import DEFAULT, Patience, linger

# Statuses that do not end by waiting (Amazon RDS User Guide, "Viewing DB instance status").
LOST = frozenset(
    {
        "deleting",
        "failed",
        "inaccessible-encryption-credentials",
        "inaccessible-encryption-credentials-recoverable",
        "incompatible-create",
        "incompatible-network",
        "incompatible-option-group",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-capacity",
        "restore-error",
        "stopped",
        "storage-full",
    }
)

# The instance answers, while RDS is at something that does not take it away.
USABLE = frozenset({"available", "backing-up", "storage-optimization", "configuring-enhanced-monitoring"})


def check(identifier: str, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "ready" | "waiting", "detail"}; raises DatabaseRefused for a status that waiting does not
    end."""
    status = linger(lambda: _status(identifier), lambda seen: seen in USABLE or seen in LOST, patience)
    if status in LOST:
        raise DatabaseRefused(
            f"the database is {status}",
            f"DB instance {identifier}",
            "see its events in RDS; waiting does not help",
        )
    return {"status": "ready" if status in USABLE else "waiting", "detail": f"{identifier} is {status}"}


def _status(identifier: str) -> str:
    instance: Mapping[str, Any] | None = rds.instance(identifier)
    return str(instance["DBInstanceStatus"]) if instance else "not there"
