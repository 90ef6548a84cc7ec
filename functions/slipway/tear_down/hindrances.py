"""What others have put into the environment's network, and what of others holds on to it.

CloudFormation cannot remove a network that is not empty, nor a security group that another one's rules name.
Pure, but for `look`.

A hindrance is {"check", "where", "what", "next"}, as the preflight's problems are; `next` is the command.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.aws import ec2

Json = Mapping[str, Any]
Hindrance = dict[str, str]

# What AWS's services write as the description of the interfaces that they make.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
OF_FUNCTIONS = "AWS Lambda VPC ENI-"
IN_OUR_GROUPS = ("ELB ", "RDSNetworkInterface")
WITH_OUR_IDS = ("Interface for NAT Gateway ", "VPC Endpoint Interface ")
MOST = 20  # of each kind are told


@dataclass(frozen=True)
class Network:
    """What there is in the environment's network, as EC2 describes it; `own`: the ids of all that the
    environment's stacks consist of, and of its servers."""

    environment: str
    vpc: str
    own: frozenset[str]
    interfaces: Sequence[Json] = ()
    groups: Sequence[Json] = ()
    subnets: Sequence[Json] = ()


def look(environment: str, resources: Mapping[str, Sequence[Json]]) -> list[Hindrance]:
    """What is in the way of removing the environment's network; nothing if it has none. `resources`: what the
    stacks that are there consist of, by tier."""
    vpc = next(
        (
            str(one.get("PhysicalResourceId") or "")
            for one in resources.get("network", ())
            if one["LogicalResourceId"] == "Vpc" and one["ResourceStatus"] != "DELETE_COMPLETE"
        ),
        "",
    )
    if not vpc:
        return []
    ids = {str(one.get("PhysicalResourceId") or "") for some in resources.values() for one in some}
    own = frozenset({*ids, *ec2.of_environment(environment)} - {""})
    return found(Network(environment, vpc, own, ec2.interfaces(vpc), ec2.security_groups(), ec2.subnets(vpc)))


def found(network: Network) -> list[Hindrance]:
    return [
        *list(_interfaces(network))[:MOST],
        *list(_rules(network))[:MOST],
        *list(_groups(network))[:MOST],
        *list(_subnets(network))[:MOST],
    ]


def _interfaces(network: Network) -> Iterator[Hindrance]:
    for interface in network.interfaces:
        if is_own(interface, network):
            continue
        identifier = interface["NetworkInterfaceId"]
        server = interface.get("Attachment", {}).get("InstanceId")
        said = interface.get("Description") or "no description"
        owner = interface.get("RequesterId") or interface.get("OwnerId") or "somebody"
        used = f"instance {server}" if server else f"nobody's instance; made by {owner}"
        command = (
            f"aws ec2 terminate-instances --instance-ids {server}"
            if server
            else f"aws ec2 delete-network-interface --network-interface-id {identifier}"
        )
        yield _hindrance(
            "network interface",
            f"{identifier} in {interface.get('SubnetId', network.vpc)}",
            f"a network interface of {used} ({said})",
            f"move it elsewhere, or, if nobody needs it: {command}",
        )


def is_own(interface: Json, network: Network) -> bool:
    """Whether the interface goes when the environment's own resources do, be it a little later."""
    server = interface.get("Attachment", {}).get("InstanceId")
    if server:
        return server in network.own
    said = str(interface.get("Description") or "")
    if said.startswith(OF_FUNCTIONS):
        return said.startswith(f"{OF_FUNCTIONS}slipway-{network.environment}-create-database")
    if said.startswith(IN_OUR_GROUPS):
        return bool(network.own & {group["GroupId"] for group in interface.get("Groups", ())})
    return any(said.startswith(mark) and said.removeprefix(mark) in network.own for mark in WITH_OUR_IDS)


def _rules(network: Network) -> Iterator[Hindrance]:
    """Rules of others' groups that name one of ours."""
    for group in network.groups:
        if group["GroupId"] in network.own:
            continue
        for kind, verb in (("IpPermissions", "ingress"), ("IpPermissionsEgress", "egress")):
            for permission in group.get(kind, ()):
                pairs = permission.get("UserIdGroupPairs", ())
                ours = [pair["GroupId"] for pair in pairs if pair.get("GroupId") in network.own]
                for named in ours:
                    yield _rule(group, permission, named, verb)


def _rule(group: Json, permission: Json, named: str, verb: str) -> Hindrance:
    ports = {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission}
    text = json.dumps([{**ports, "UserIdGroupPairs": [{"GroupId": named}]}], separators=(",", ":"))
    return _hindrance(
        "foreign rule",
        f"security group {group['GroupId']} ({group.get('GroupName', '')})",
        f"a rule ({verb}) names {named}, which is to go",
        f"aws ec2 revoke-security-group-{verb} --group-id {group['GroupId']} --ip-permissions "
        + shlex.quote(text),
    )


def _groups(network: Network) -> Iterator[Hindrance]:
    for group in network.groups:
        foreign = group.get("VpcId") == network.vpc and group["GroupId"] not in network.own
        if foreign and group.get("GroupName") != "default":
            yield _hindrance(
                "foreign security group",
                f"security group {group['GroupId']} ({group.get('GroupName', '')})",
                f"it is in {network.vpc}, and was not made by a release",
                f"if nobody needs it: aws ec2 delete-security-group --group-id {group['GroupId']}",
            )


def _subnets(network: Network) -> Iterator[Hindrance]:
    for subnet in network.subnets:
        if subnet["SubnetId"] not in network.own:
            yield _hindrance(
                "foreign subnet",
                f"subnet {subnet['SubnetId']}",
                f"it is in {network.vpc}, and was not made by a release",
                f"if nobody needs it: aws ec2 delete-subnet --subnet-id {subnet['SubnetId']}",
            )


def _hindrance(check: str, where: str, what: str, following: str) -> Hindrance:
    return {"check": check, "where": where, "what": what, "next": following}
