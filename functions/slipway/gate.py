"""The gate: no change that replaces or removes something stateful passes unless the input allows exactly
it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from slipway.errors import DestructiveChange

Change = Mapping[str, Any]

# What holds data, or an address or identity that others hold on to; and what is lost with it.
STATEFUL: Mapping[str, str] = {
    "AWS::CertificateManager::Certificate": "the certificate; another one has to be validated again",
    "AWS::DynamoDB::Table": "the table's items",
    "AWS::EC2::EIP": "the public address, which others may have allowed",
    "AWS::EC2::Subnet": "the subnet with everything that stands in it",
    "AWS::EC2::VPC": "the network with everything that stands in it",
    "AWS::EC2::Volume": "the data on the volume",
    "AWS::EFS::FileSystem": "the files on it",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "the name and the addresses under which the site is reached",
    "AWS::ElasticLoadBalancingV2::TargetGroup": "the registrations of the servers that serve",
    "AWS::KMS::Key": "what was encrypted under the key",
    "AWS::RDS::DBCluster": "the databases in it; a new one begins empty",
    "AWS::RDS::DBInstance": "the databases in it; a new one begins empty",
    "AWS::RDS::DBSubnetGroup": "the place of the database in the network, and with it the database",
    "AWS::Route53::HostedZone": "the records of the domain and the name servers that it is delegated to",
    "AWS::S3::Bucket": "the objects in it; a new one begins empty",
    "AWS::SecretsManager::Secret": "the secret's value",
}

# Of CloudFormation's PolicyAction: what it does with the old resource all the same.
KEPT: Mapping[str, str] = {
    "Snapshot": "a final snapshot is made",
    "ReplaceAndSnapshot": "a final snapshot is made",
    "Retain": "the old one is kept beside the stack",
    "ReplaceAndRetain": "the old one is kept beside the stack",
}

DRIFTED = ("MODIFIED", "DELETED")

# Properties that a release or scaling moves, by the resource's type. Where nothing else differs, a change set
# that sees drift has nothing to put back.
MOVES: Mapping[str, frozenset[str]] = {
    "AWS::AutoScaling::AutoScalingGroup": frozenset({"DesiredCapacity"}),
    "AWS::ElasticLoadBalancingV2::TargetGroup": frozenset({"TargetGroupAttributes"}),
}

RECREATION = ("Never", "Conditionally", "Always")


def change(resource_change: Mapping[str, Any]) -> dict[str, Any]:
    """A change of a change set as Slipway passes it on: {"action", "resource", "type", "replacement",
    "properties", "policy", "why": [{"property", "recreation", "causes"}], "drift"?}.

    `recreation`: whether a change of that property alone replaces the resource (Never, Conditionally,
    Always). `drift`: MODIFIED or DELETED, of a change set that sees what was done without CloudFormation.
    """
    details = resource_change.get("Details", [])
    names = {detail.get("Target", {}).get("Name") for detail in details}
    drift = resource_change.get("ResourceDriftStatus")
    drifted = {"drift": drift} if drift in DRIFTED else {}
    return {
        "action": resource_change["Action"],
        "resource": resource_change["LogicalResourceId"],
        "type": resource_change.get("ResourceType", ""),
        "replacement": resource_change.get("Replacement", "False"),
        "properties": sorted(name for name in names if name),
        "policy": resource_change.get("PolicyAction", ""),
        "why": _why(details),
        **drifted,
    }


def moves_by_itself(item: Change) -> bool:
    """Whether all that differs is what a release or scaling moves."""
    moved = MOVES.get(item["type"], frozenset())
    return item["action"] == "Modify" and bool(item["properties"]) and set(item["properties"]) <= moved


def _why(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry a property; CloudFormation names a property once for each cause."""
    found: dict[str, dict[str, Any]] = {}
    for detail in details:
        target = detail.get("Target", {})
        name = target.get("Name") or target.get("Attribute", "")
        entry = found.setdefault(name, {"property": name, "recreation": "Never", "causes": []})
        recreation = target.get("RequiresRecreation") or "Never"
        entry["recreation"] = max(entry["recreation"], recreation, key=RECREATION.index)
        entry["causes"] = sorted({*entry["causes"], *_cause(detail)})
    return [found[name] for name in sorted(found)]


def _cause(detail: Mapping[str, Any]) -> Iterator[str]:
    """In words. DirectModification also stands beside the reference that it comes from: that says more."""
    entity = detail.get("CausingEntity", "")
    source = detail.get("ChangeSource", "")
    words = {"ParameterReference": "parameter ", "ResourceReference": "", "ResourceAttribute": ""}
    if entity and source in words:
        yield words[source] + entity


def check(tier: str, changes: Sequence[Change], allow: Iterable[str]) -> None:
    """Raises DestructiveChange with the entries of `allow` that would let the changes pass."""
    refused = destructive(tier, changes, allow)
    if not refused:
        return
    entries = [entry(tier, item) for item in refused]
    raise DestructiveChange(
        "; ".join(_said(item) for item in refused),
        f"tier {tier}",
        "nothing of this tier was changed; take the change back, or allow it by adding to the input's allow: "
        + ", ".join(f'"{entry}"' for entry in entries),
        allow=entries,
        changes=[dict(item) for item in refused],
    )


def findings(tier: str, changes: Sequence[Change], allow: Iterable[str]) -> list[dict[str, str]]:
    """What the gate would refuse: [{"resource", "type", "what", "allow"}]."""
    return [
        {
            "resource": item["resource"],
            "type": item["type"],
            "what": _said(item),
            "allow": entry(tier, item),
        }
        for item in destructive(tier, changes, allow)
    ]


def entry(tier: str, item: Change) -> str:
    """What the input's `allow` has to hold for this change."""
    return f"{tier}/{item['resource']}"


def destructive(tier: str, changes: Sequence[Change], allow: Iterable[str]) -> list[Change]:
    """The changes that replace, might replace, or remove something stateful that is not allowed to go; and
    those that make anew, empty, what was deleted without CloudFormation."""
    allowed = set(allow)
    return [item for item in changes if _destroys(item) and entry(tier, item) not in allowed]


def _destroys(item: Change) -> bool:
    if item["type"] not in STATEFUL:
        return False
    if item["action"] == "Add":
        return item.get("drift") == "DELETED"
    return item["action"] in ("Remove", "Dynamic") or item["replacement"] in ("True", "Conditional")


def _said(item: Change) -> str:
    verb = {"True": "would be replaced", "Conditional": "might be replaced"}.get(
        item["replacement"], "would be removed"
    )
    if item["action"] == "Add":
        verb = "was deleted without Slipway and would be made anew"
    because = f" (because of {', '.join(item['properties'])})" if item["properties"] else ""
    kept = f" ({KEPT[item['policy']]})" if item["policy"] in KEPT else ""
    return (
        f"{item['resource']} ({item['type']}) {verb}{because}: lost would be {STATEFUL[item['type']]}{kept}"
    )
