"""EC2: what there is of a kind, counted; whether instances run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from slipway.aws import client


def vpcs() -> int:
    """How many VPCs the region has."""
    pages = client("ec2").get_paginator("describe_vpcs").paginate()
    return sum(len(page["Vpcs"]) for page in pages)


def addresses() -> int:
    """How many elastic addresses the region has."""
    return len(client("ec2").describe_addresses()["Addresses"])


def running() -> list[dict[str, Any]]:
    """The instances of the region that run or are about to."""
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = client("ec2").get_paginator("describe_instances").paginate(Filters=states)
    groups = [group for page in pages for group in page["Reservations"]]
    return [instance for group in groups for instance in group["Instances"]]


def processors(instance_types: Collection[str]) -> dict[str, int]:
    """How many virtual processors an instance of each of these types has (at most 100 types)."""
    answer = client("ec2").describe_instance_types(InstanceTypes=sorted(instance_types))
    return {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in answer["InstanceTypes"]}


def states(servers: Sequence[str]) -> dict[str, str]:
    """The state of each instance (pending, running, stopped, …); one that EC2 has forgotten is absent."""
    found: dict[str, str] = {}
    for start in range(0, len(servers), 100):  # a filter takes up to 200 values
        filters = [{"Name": "instance-id", "Values": list(servers[start : start + 100])}]
        pages = client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        reservations = [reservation for page in pages for reservation in page["Reservations"]]
        found |= {
            one["InstanceId"]: one["State"]["Name"] for group in reservations for one in group["Instances"]
        }
    return found


def of_environment(environment: str) -> list[str]:
    """Ids of the instances that carry the environment's tag, whatever their state."""
    filters = [{"Name": "tag:slipway:environment", "Values": [environment]}]
    pages = client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    return [
        one["InstanceId"] for page in pages for group in page["Reservations"] for one in group["Instances"]
    ]


def interfaces(vpc: str) -> list[dict[str, Any]]:
    """The network interfaces in a VPC."""
    filters = [{"Name": "vpc-id", "Values": [vpc]}]
    pages = client("ec2").get_paginator("describe_network_interfaces").paginate(Filters=filters)
    return [one for page in pages for one in page["NetworkInterfaces"]]


def security_groups() -> list[dict[str, Any]]:
    """The security groups of the region, with their rules."""
    pages = client("ec2").get_paginator("describe_security_groups").paginate()
    return [one for page in pages for one in page["SecurityGroups"]]


def subnets(vpc: str) -> list[dict[str, Any]]:
    """The subnets of a VPC."""
    filters = [{"Name": "vpc-id", "Values": [vpc]}]
    pages = client("ec2").get_paginator("describe_subnets").paginate(Filters=filters)
    return [one for page in pages for one in page["Subnets"]]


def instances(servers: Sequence[str]) -> list[dict[str, Any]]:
    """What EC2 says of each instance; one that it has forgotten is absent."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(servers), 100):  # a filter takes up to 200 values
        filters = [{"Name": "instance-id", "Values": list(servers[start : start + 100])}]
        pages = client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        found += [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    return found


def security_group_rules(groups: Sequence[str]) -> list[dict[str, Any]]:
    """Every rule of these groups, whoever has added it."""
    filters = [{"Name": "group-id", "Values": list(groups)}]
    pages = client("ec2").get_paginator("describe_security_group_rules").paginate(Filters=filters)
    return [rule for page in pages for rule in page["SecurityGroupRules"]]


def revoke(rule: Mapping[str, Any]) -> None:
    """Takes a rule, as `security_group_rules` tells it, out of its group.

    By what it says and not by its id: so IAM is asked for the group alone, whose tags tell whose it is.
    """
    peers = {
        "IpRanges": ("CidrIp", rule.get("CidrIpv4")),
        "Ipv6Ranges": ("CidrIpv6", rule.get("CidrIpv6")),
        "PrefixListIds": ("PrefixListId", rule.get("PrefixListId")),
        "UserIdGroupPairs": ("GroupId", (rule.get("ReferencedGroupInfo") or {}).get("GroupId")),
    }
    permission = {
        **{name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in rule},
        **{kind: [{name: value}] for kind, (name, value) in peers.items() if value},
    }
    if rule["IsEgress"]:
        client("ec2").revoke_security_group_egress(GroupId=rule["GroupId"], IpPermissions=[permission])
    else:
        client("ec2").revoke_security_group_ingress(GroupId=rule["GroupId"], IpPermissions=[permission])
