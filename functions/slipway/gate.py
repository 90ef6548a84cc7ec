"""The gate: no change that replaces or removes something stateful passes unless the input allows exactly
it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.errors import DestructiveChange

Change = Mapping[str, Any]

# What holds data, or an address or identity that others hold on to.
STATEFUL = frozenset(
    {
        "AWS::CertificateManager::Certificate",
        "AWS::DynamoDB::Table",
        "AWS::EC2::EIP",
        "AWS::EC2::Subnet",
        "AWS::EC2::VPC",
        "AWS::EC2::Volume",
        "AWS::EFS::FileSystem",
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::KMS::Key",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance",
        "AWS::RDS::DBSubnetGroup",
        "AWS::Route53::HostedZone",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
    }
)


def change(resource_change: Mapping[str, Any]) -> dict[str, Any]:
    """A change of a change set as Slipway passes it on."""
    details = resource_change.get("Details", [])
    names = {detail.get("Target", {}).get("Name") for detail in details}
    return {
        "action": resource_change["Action"],
        "resource": resource_change["LogicalResourceId"],
        "type": resource_change.get("ResourceType", ""),
        "replacement": resource_change.get("Replacement", "False"),
        "properties": sorted(name for name in names if name),
    }


def check(tier: str, changes: Sequence[Change], allow: Iterable[str]) -> None:
    """Raises DestructiveChange with the entries of `allow` that would let the changes pass."""
    refused = destructive(tier, changes, allow)
    if not refused:
        return
    entries = [f"{tier}/{item['resource']}" for item in refused]
    raise DestructiveChange(
        "; ".join(_said(item) for item in refused),
        f"tier {tier}",
        "nothing of this tier was changed; take the change back, or allow it by adding to the input's allow: "
        + ", ".join(f'"{entry}"' for entry in entries),
        allow=entries,
        changes=[dict(item) for item in refused],
    )


def destructive(tier: str, changes: Sequence[Change], allow: Iterable[str]) -> list[Change]:
    """The changes that replace, might replace, or remove something stateful that is not allowed to go."""
    allowed = set(allow)
    return [item for item in changes if _destroys(item) and f"{tier}/{item['resource']}" not in allowed]


def _destroys(item: Change) -> bool:
    if item["type"] not in STATEFUL:
        return False
    return item["action"] in ("Remove", "Dynamic") or item["replacement"] in ("True", "Conditional")


def _said(item: Change) -> str:
    verb = {"True": "would be replaced", "Conditional": "might be replaced"}.get(
        item["replacement"], "would be removed"
    )
    because = f" (because of {', '.join(item['properties'])})" if item["properties"] else ""
    return f"{item['resource']} ({item['type']}) {verb}{because}"
