"""Security groups: the emulator's records become the rules that packets meet."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import Handler, notify, scope, wrap_action, wrap_type
from rehearsal.machines import Rule, SecurityGroup

RELIES_ON = (
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_security_groups"),
    ("services.ec2", "_prefix_lists"),
    ("services.ec2", "_is_aws_managed_prefix_id"),
    ("services.ec2", "_parse_ip_permissions"),
    ("services.ec2", "_parse_member_list"),
    ("services.ec2", "_error"),
    ("services.ec2", "_xml"),
    ("services.ec2", "_p"),
    ("services.ec2", "_describe_security_group_rules"),
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

DIRECTIONS = {"Ingress": "IpPermissions", "Egress": "IpPermissionsEgress"}

PEERS = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "UserIdGroupPairs": "GroupId",
    "PrefixListIds": "PrefixListId",
}
"""List of an IpPermission → what identifies a peer in it."""

Atom = tuple[str, int, int, str, str]
"""Protocol, first port, last port, kind of peer, peer: what EC2 calls a security group rule."""


def install(region: Region) -> None:
    """Apply the groups whenever a group, a rule or a member changes."""
    firewall = _Firewall(region)
    region.security_changed.connect(firewall.agree)
    region.instances_changed.connect(firewall.agree)
    for direction, permissions in DIRECTIONS.items():
        wrap_action(
            ministack("services.ec2"),
            f"RevokeSecurityGroup{direction}",
            functools.partial(_revoke, permissions),
        )
    wrap_action(ministack("services.ec2"), "DescribeSecurityGroupRules", _one_by_one)
    wrap_action(ministack("services.ec2"), "DeleteSecurityGroup", functools.partial(_unused_by_api, region))
    wrap_type("AWS::EC2::SecurityGroup", "delete", functools.partial(_unused_by_stack, region))
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
    for peer in peers(permission, prefix_list):
        yield Rule(*service(permission), peer)


def service(permission: Mapping[str, Any]) -> tuple[str, int, int]:
    """Protocol, first and last port of an IpPermission."""
    given = str(permission.get("IpProtocol", "-1"))
    protocol = PROTOCOLS.get(given, given)
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if protocol == "all" or first is None or last is None or int(first) < 0:
        return (protocol, *ALL_PORTS)
    return protocol, int(first), int(last)


def peers(permission: Mapping[str, Any], prefix_list: Any) -> Iterator[str]:
    """CIDRs and group ids that an IpPermission names."""
    for entry in permission.get("IpRanges", ()):
        yield entry["CidrIp"]
    for pair in permission.get("UserIdGroupPairs", ()):
        if pair.get("GroupId"):
            yield pair["GroupId"]
    for entry in permission.get("PrefixListIds", ()):
        yield from prefix_list(entry["PrefixListId"])


def atoms(permission: Mapping[str, Any]) -> set[Atom]:
    """The single rules that an IpPermission stands for. Descriptions do not count."""
    return {
        (*service(permission), kind, str(entry[name]))
        for kind, name in PEERS.items()
        for entry in permission.get(kind, ())
        if entry.get(name)
    }


def without(permission: Mapping[str, Any], revoked: set[Atom]) -> dict[str, Any] | None:
    """An IpPermission less the revoked rules; None when nothing is left of it."""
    kept = dict(permission)
    for kind, name in PEERS.items():
        kept[kind] = [
            entry
            for entry in permission.get(kind, ())
            if (*service(permission), kind, str(entry.get(name))) not in revoked
        ]
    return kept if any(kept[kind] for kind in PEERS) else None


def singles(permission: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An IpPermission as one a peer, each of which has an id of its own."""
    kinds = [(kind, entry) for kind in PEERS for entry in permission.get(kind, ())]
    if len(kinds) < 2:
        return [dict(permission)]
    plain = {name: value for name, value in permission.items() if name not in (*PEERS, "SecurityGroupRuleId")}
    return [{**plain, **{kind: [] for kind in PEERS}, kind: [entry]} for kind, entry in kinds]


def _one_by_one(original: Handler) -> Handler:
    """DescribeSecurityGroupRules. As shipped, rules that were added together have one id, and revoking one of
    them by its id revokes all."""
    ec2 = ministack("services.ec2")

    @functools.wraps(original)
    def described(params: dict[str, Any]) -> Any:
        for group in ec2._security_groups.values():
            for permissions in DIRECTIONS.values():
                group[permissions][:] = [
                    single for permission in group[permissions] for single in singles(permission)
                ]
        return original(params)

    return described


def _revoke(permissions: str, original: Handler) -> Handler:
    """Revoke… by IpPermissions. As shipped it compares descriptions, and what it does not find it passes
    over: a group that was to be closed stays open, and the answer is success."""
    ec2 = ministack("services.ec2")

    @functools.wraps(original)
    def revoke(params: dict[str, Any]) -> Any:
        group = ec2._security_groups.get(ec2._p(params, "GroupId"))
        if group is None or ec2._parse_member_list(params, "SecurityGroupRuleId"):
            return original(params)
        given = ec2._parse_ip_permissions(params, "IpPermissions")
        revoked = {atom for permission in given for atom in atoms(permission)}
        present = {atom for permission in group[permissions] for atom in atoms(permission)}
        if not revoked <= present:
            return ec2._error(
                "InvalidPermission.NotFound", "The specified rule does not exist in this security group.", 400
            )
        remaining = [without(permission, revoked) for permission in group[permissions]]
        group[permissions] = [permission for permission in remaining if permission is not None]
        return ec2._xml(200, f"{ec2._p(params, 'Action')}Response", "<return>true</return>")

    return revoke


def _in_use(region: Region, group_id: str) -> str | None:
    """Why a group cannot be deleted: something holds it, or a rule of another group names it."""
    held = any(group_id in groups for groups in region.all_members().values())
    named = any(
        pair.get("GroupId") == group_id
        for group in ministack("services.ec2")._security_groups.values()
        if group["GroupId"] != group_id
        for permission in (*group["IpPermissions"], *group["IpPermissionsEgress"])
        for pair in permission.get("UserIdGroupPairs", ())
    )
    return f"resource {group_id} has a dependent object" if held or named else None


def _unused_by_api(region: Region, original: Handler) -> Handler:
    ec2 = ministack("services.ec2")

    @functools.wraps(original)
    def delete(params: dict[str, Any]) -> Any:
        problem = _in_use(region, ec2._p(params, "GroupId"))
        return ec2._error("DependencyViolation", problem, 400) if problem else original(params)

    return delete


def _unused_by_stack(region: Region, original: Handler) -> Handler:
    def delete(physical_id: str, props: dict[str, Any]) -> Any:
        if problem := _in_use(region, physical_id):
            raise ValueError(problem)
        return original(physical_id, props)

    return delete
