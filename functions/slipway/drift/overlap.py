"""What two looks have both found is told once, by the one that says what it means. Pure.

CloudFormation's drift detection and slipway.drift.rules look at the same resources: a database that was made
public is a property that differs for the one, and a public database for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.drift.finding import Finding

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Overlap:
    """A finding of this kind says what CloudFormation says of a resource (its `where`), or of one of its
    properties, by the beginning of the path. `added`: only of what was added to it."""

    kind: str
    where: str
    property: str = ""
    added: bool = False


OVERLAPS: Sequence[Overlap] = (
    Overlap("database_public", "database/Instance", "/PubliclyAccessible"),
    Overlap("database_reachable", "database/Instance", "/VPCSecurityGroups"),
    Overlap("backups_off", "database/Instance", "/BackupRetentionPeriod"),
    Overlap("redirect_missing", "load_balancer/RedirectListener"),
    Overlap("alias_elsewhere", "load_balancer/DomainRecord"),
    Overlap("alias_elsewhere", "load_balancer/WwwRecord"),
    *(
        Overlap("security_group_open", f"network/{group}SecurityGroup", "/SecurityGroup", added=True)
        for group in ("LoadBalancer", "Web", "Database", "Function", "Endpoint", "Bastion")
    ),
    Overlap("bucket_public", "storage/ImageBucket", "/PublicAccessBlockConfiguration"),
    Overlap("role_policy_added", "web/Role", "/Policies", added=True),
)


def told_once(of_stacks: Sequence[Finding], of_standing: Iterable[Finding]) -> list[Finding]:
    """Those of CloudFormation that no other finding tells of."""
    said = list(of_standing)
    return [one for one in of_stacks if not any(_same(one, other) for other in said)]


def _same(stack: Finding, standing: Finding) -> bool:
    return any(
        standing["kind"] == overlap.kind and _covers(overlap, stack) and _there(overlap, standing)
        for overlap in OVERLAPS
    )


def _covers(overlap: Overlap, stack: Finding) -> bool:
    kind, where, path = stack["key"].split("|", 2)
    return (
        kind in ("stack_resource_modified", "stack_resource_deleted")
        and where == overlap.where
        and path.startswith(overlap.property)
        and (not overlap.added or stack["expected"] == "nothing")
    )


def _there(overlap: Overlap, standing: Finding) -> bool:
    """Whether a finding of several security groups is of this one."""
    group = overlap.where.partition("/")[2]
    return not group.endswith("SecurityGroup") or f" {group} " in standing["where"]
