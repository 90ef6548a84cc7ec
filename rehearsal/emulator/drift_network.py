"""What EC2 has now of what the stacks made: from the records that packets, routes and servers follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.emulator.drift_shapes import Properties, Reader, Readers, taken
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.security_groups import PEERS, Atom, atoms

RELIES_ON = (
    ("services.cloudformation", "_stacks"),
    ("services.cloudformation.provisioners", "_ec2_sg_permissions"),
    ("services.ec2", "_addresses"),
    ("services.ec2", "_instances"),
    ("services.ec2", "_internet_gateways"),
    ("services.ec2", "_launch_templates"),
    ("services.ec2", "_nat_gateways"),
    ("services.ec2", "_route_tables"),
    ("services.ec2", "_security_groups"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_tags"),
    ("services.ec2", "_vpc_endpoints"),
    ("services.ec2", "_vpcs"),
)

GONE = ("deleting", "deleted", "shutting-down", "terminated")

ROUTE_TARGETS = ("GatewayId", "NatGatewayId", "InstanceId", "NetworkInterfaceId", "VpcPeeringConnectionId")

SIDES = {
    "SecurityGroupIngress": ("IpPermissions", "AWS::EC2::SecurityGroupIngress", "Source"),
    "SecurityGroupEgress": ("IpPermissionsEgress", "AWS::EC2::SecurityGroupEgress", "Destination"),
}
"""Property of a security group → its list in EC2, the type of a single rule, what a peer is called after."""


def _store(name: str) -> Mapping[str, dict[str, Any]]:
    found: Mapping[str, dict[str, Any]] = getattr(ministack("services.ec2"), name)
    return found


def _tags(identifier: str) -> list[dict[str, str]]:
    return list(ministack("services.ec2")._tags.get(identifier) or ())


def _vpc(identifier: str, props: Properties) -> dict[str, Any] | None:
    found = _store("_vpcs").get(identifier)
    if found is None:
        return None
    return taken(
        props,
        {
            "CidrBlock": found["CidrBlock"],
            "InstanceTenancy": found.get("InstanceTenancy"),
            "EnableDnsSupport": found.get("EnableDnsSupport", True),
            "EnableDnsHostnames": found.get("EnableDnsHostnames", False),
            "Tags": _tags(identifier),
        },
    )


def _of(store: str, *members: str) -> Reader:
    """Members of a record that are named as in the template, and its tags."""

    def read(identifier: str, props: Properties) -> dict[str, Any] | None:
        found = _store(store).get(identifier)
        if found is None or found.get("State") in GONE:
            return None
        return taken(props, {**{name: found.get(name) for name in members}, "Tags": _tags(identifier)})

    return read


def _attachment(_identifier: str, props: Properties) -> dict[str, Any] | None:
    gateway = _store("_internet_gateways").get(str(props.get("InternetGatewayId"))) or {}
    attached = [one["VpcId"] for one in gateway.get("Attachments", ())]
    if props.get("VpcId") not in attached:
        return None
    return taken(props, {name: props.get(name) for name in ("VpcId", "InternetGatewayId")})


def _address(public: str, props: Properties) -> dict[str, Any] | None:
    found = next((one for one in list(_store("_addresses").values()) if one["PublicIp"] == public), None)
    if found is None:
        return None
    return taken(props, {"Domain": found.get("Domain", "vpc"), "Tags": _tags(found["AllocationId"])})


def _route(identifier: str, props: Properties) -> dict[str, Any] | None:
    table, _, destination = identifier.partition("|")
    routes = (_store("_route_tables").get(table) or {}).get("Routes", ())
    found = next((one for one in routes if one.get("DestinationCidrBlock") == destination), None)
    if found is None:
        return None
    targets = {name: found.get(name) or None for name in ROUTE_TARGETS}
    return taken(props, {"RouteTableId": table, "DestinationCidrBlock": destination, **targets})


def _association(identifier: str, props: Properties) -> dict[str, Any] | None:
    for table in list(_store("_route_tables").values()):
        for one in table["Associations"]:
            if one["RouteTableAssociationId"] == identifier:
                there = {"RouteTableId": table["RouteTableId"], "SubnetId": one.get("SubnetId")}
                return taken(props, there)
    return None


def _instance(identifier: str, props: Properties) -> dict[str, Any] | None:
    found = _store("_instances").get(identifier)
    if found is None or found["State"]["Name"] in GONE:
        return None
    groups = [one["GroupId"] for one in found.get("SecurityGroups", ())]
    return taken(
        props,
        {
            "ImageId": found.get("ImageId"),
            "InstanceType": found.get("InstanceType"),
            "SubnetId": found.get("SubnetId"),
            "SecurityGroupIds": groups,
            "Tags": _tags(identifier),
        },
    )


# Security groups


def _security_group(identifier: str, props: Properties) -> dict[str, Any] | None:
    group = _store("_security_groups").get(identifier)
    if group is None:
        return None
    sides = {side: _inline(identifier, group, side) for side in SIDES}
    return taken({}, {
        "GroupName": group["GroupName"],
        "GroupDescription": group["Description"],
        "VpcId": group["VpcId"],
        "Tags": _tags(identifier),
        **sides,
    })  # fmt: skip


def _inline(identifier: str, group: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    """The rules of a side without those that are resources of the same stack: CloudFormation knows such
    attachments, and only within one stack (user guide, "Considerations when detecting drift")."""
    permissions, kind, peer = SIDES[side]
    own = {atom for rule in attached(identifier, kind) for atom in atoms(rule)}
    return [
        one
        for permission in group[permissions]
        for one in rules(permission, peer)
        if not atoms(_permission(one)) <= own
    ]


def attached(group: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """The rules, as EC2 has them, that are resources of the stack that made the group."""
    for stack in list(ministack("services.cloudformation")._stacks.values()):
        resources = list((stack.get("_resources") or {}).values())
        if not any(one.get("PhysicalResourceId") == group for one in resources):
            continue
        for one in resources:
            if one["ResourceType"] == kind and (one.get("Properties") or {}).get("GroupId") == group:
                yield _permission(one["Properties"])


def _permission(rule: Properties) -> Mapping[str, Any]:
    [found] = ministack("services.cloudformation.provisioners")._ec2_sg_permissions([rule])
    return dict(found)


def rules(permission: Mapping[str, Any], peer: str) -> Iterator[dict[str, Any]]:
    """The single rules of an IpPermission in a template's shape. `peer`: Source or Destination."""
    names = {
        "IpRanges": "CidrIp",
        "Ipv6Ranges": "CidrIpv6",
        "UserIdGroupPairs": f"{peer}SecurityGroupId",
        "PrefixListIds": f"{peer}PrefixListId",
    }
    protocol = str(permission.get("IpProtocol", "-1"))
    ports = {name: permission[name] for name in ("FromPort", "ToPort") if permission.get(name) is not None}
    for kind, member in PEERS.items():
        for one in permission.get(kind, ()):
            said = {"Description": one["Description"]} if one.get("Description") else {}
            if one.get(member):
                yield {"IpProtocol": protocol, **ports, names[kind]: one[member], **said}


def _rule(side: str) -> Reader:
    """A rule that is a resource of its own."""
    permissions, _, peer = SIDES[side]

    def read(_identifier: str, props: Properties) -> dict[str, Any] | None:
        group = _store("_security_groups").get(str(props.get("GroupId")))
        wanted: set[Atom] = atoms(_permission(props))
        for permission in (group or {}).get(permissions, ()):
            for one in rules(permission, peer):
                if atoms(_permission(one)) == wanted:
                    return taken(props, {"GroupId": props["GroupId"], **one})
        return None

    return read


def _launch_template(identifier: str, props: Properties) -> dict[str, Any] | None:
    """All of LaunchTemplateData is write-only (schema of the type): a new version by hand is not seen."""
    found = _store("_launch_templates").get(identifier)
    return None if found is None else taken(props, {"LaunchTemplateName": found["LaunchTemplateName"]})


RULE = frozenset(
    {
        *("GroupId", "IpProtocol", "FromPort", "ToPort", "CidrIp", "CidrIpv6", "Description"),
        *("SourceSecurityGroupId", "DestinationSecurityGroupId"),
        *("SourcePrefixListId", "DestinationPrefixListId"),
    }
)

READERS: Readers = {
    "AWS::EC2::VPC": (
        _vpc,
        frozenset({"CidrBlock", "InstanceTenancy", "EnableDnsSupport", "EnableDnsHostnames", "Tags"}),
    ),
    "AWS::EC2::Subnet": (
        _of("_subnets", "VpcId", "CidrBlock", "AvailabilityZone", "MapPublicIpOnLaunch"),
        frozenset({"VpcId", "CidrBlock", "AvailabilityZone", "MapPublicIpOnLaunch", "Tags"}),
    ),
    "AWS::EC2::InternetGateway": (_of("_internet_gateways"), frozenset({"Tags"})),
    "AWS::EC2::VPCGatewayAttachment": (_attachment, frozenset({"VpcId", "InternetGatewayId"})),
    "AWS::EC2::EIP": (_address, frozenset({"Domain", "Tags"})),
    "AWS::EC2::NatGateway": (
        _of("_nat_gateways", "SubnetId", "AllocationId", "ConnectivityType"),
        frozenset({"SubnetId", "AllocationId", "ConnectivityType", "Tags"}),
    ),
    "AWS::EC2::RouteTable": (_of("_route_tables", "VpcId"), frozenset({"VpcId", "Tags"})),
    "AWS::EC2::Route": (_route, frozenset({"RouteTableId", "DestinationCidrBlock", *ROUTE_TARGETS})),
    "AWS::EC2::SubnetRouteTableAssociation": (_association, frozenset({"RouteTableId", "SubnetId"})),
    "AWS::EC2::VPCEndpoint": (
        _of(
            "_vpc_endpoints",
            *("VpcId", "VpcEndpointType", "ServiceName", "RouteTableIds", "SubnetIds"),
            *("SecurityGroupIds", "PrivateDnsEnabled"),
        ),
        frozenset(
            {
                *("VpcId", "VpcEndpointType", "ServiceName", "RouteTableIds", "SubnetIds"),
                *("SecurityGroupIds", "PrivateDnsEnabled", "Tags"),
            }
        ),
    ),
    "AWS::EC2::SecurityGroup": (
        _security_group,
        frozenset({"GroupName", "GroupDescription", "VpcId", "Tags", *SIDES}),
    ),
    "AWS::EC2::SecurityGroupIngress": (_rule("SecurityGroupIngress"), RULE),
    "AWS::EC2::SecurityGroupEgress": (_rule("SecurityGroupEgress"), RULE),
    "AWS::EC2::Instance": (
        _instance,
        frozenset({"ImageId", "InstanceType", "SubnetId", "SecurityGroupIds", "Tags"}),
    ),
    "AWS::EC2::LaunchTemplate": (_launch_template, frozenset({"LaunchTemplateName"})),
}
