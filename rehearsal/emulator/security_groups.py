"""Security groups: the emulator's records become the rules that packets meet."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import notify, scope
from rehearsal.machines import Rule, SecurityGroup

RELIES_ON = (
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_security_groups"),
    ("services.ec2", "_prefix_lists"),
    ("services.ec2", "_is_aws_managed_prefix_id"),
)

CHANGES = (
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "RevokeSecurityGroupEgress",
    "ModifySecurityGroupRules",
    "CreateSecurityGroup",
    "DeleteSecurityGroup",
    "CreateVpc",
    "DeleteVpc",
)

TYPES = ("AWS::EC2::SecurityGroup", "AWS::EC2::VPC")

PROTOCOLS = {"-1": "all", "6": "tcp", "17": "udp", "1": "icmp"}
"""IpProtocol by number. Source: EC2 API reference, IpPermission."""

ALL_PORTS = (0, 65535)


def install(region: Region) -> None:
    """Apply the groups whenever a group, a rule or a member changes."""
    firewall = _Firewall(region)
    region.security_changed.connect(firewall.agree)
    region.instances_changed.connect(firewall.agree)
    notify(ministack("services.ec2"), CHANGES, TYPES, region.security_changed)


class _Firewall:
    """What was applied last; applies again only when it differs."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._lock = threading.Lock()
        self._applied: object = None

    def agree(self) -> None:
        """Put the groups on record and their members in force. Can be repeated."""
        machines = self._region.machines
        if machines is None:
            return
        with self._lock, scope(self._region):
            ec2 = ministack("services.ec2")
            prefixes = _PrefixLists(self._region)
            groups = {
                group_id: security_group(group, prefixes.cidrs)
                for group_id, group in ec2._security_groups.items()
            }
            members = {
                address: frozenset(ids) & groups.keys() for address, ids in self._region.all_members().items()
            }
            if (groups, members) != self._applied:
                machines.firewall.apply(groups, members)
                self._applied = (groups, members)


class _PrefixLists:
    """The CIDRs of a prefix list. AWS's own (S3, DynamoDB) stand for the region's endpoint."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def cidrs(self, list_id: str) -> list[str]:
        ec2 = ministack("services.ec2")
        if ec2._is_aws_managed_prefix_id(list_id):
            return [f"{self._region.address}/32"]
        entries = (ec2._prefix_lists.get(list_id) or {}).get("Entries", ())
        return [entry["Cidr"] for entry in entries if ":" not in entry["Cidr"]]


def security_group(record: Mapping[str, Any], prefix_list: Any) -> SecurityGroup:
    """A group as EC2 records it → as the firewall takes it. `prefix_list`: id → its CIDRs."""
    return SecurityGroup(
        ingress=tuple(r for p in record.get("IpPermissions", ()) for r in rules(p, prefix_list)),
        egress=tuple(r for p in record.get("IpPermissionsEgress", ()) for r in rules(p, prefix_list)),
    )


def rules(permission: Mapping[str, Any], prefix_list: Any) -> Iterator[Rule]:
    """One rule for each peer of an IpPermission. IPv6 peers are left out: the region has IPv4 only."""
    given = str(permission.get("IpProtocol", "-1"))
    protocol = PROTOCOLS.get(given, given)
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if protocol == "all" or first is None or last is None or int(first) < 0:
        first, last = ALL_PORTS
    for peer in peers(permission, prefix_list):
        yield Rule(protocol, int(first), int(last), peer)


def peers(permission: Mapping[str, Any], prefix_list: Any) -> Iterator[str]:
    """CIDRs and group ids that an IpPermission names."""
    for entry in permission.get("IpRanges", ()):
        yield entry["CidrIp"]
    for pair in permission.get("UserIdGroupPairs", ()):
        if pair.get("GroupId"):
            yield pair["GroupId"]
    for entry in permission.get("PrefixListIds", ()):
        yield from prefix_list(entry["PrefixListId"])
