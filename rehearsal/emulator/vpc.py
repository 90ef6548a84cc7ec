"""VPCs and subnets: each VPC is a network of the region, each subnet counts its addresses."""

from __future__ import annotations

import functools
import ipaddress
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import Handler, notify, scope, wrap_action, wrap_type

RELIES_ON = (
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_vpcs"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_subnet_fields_xml"),
    ("services.ec2", "_error"),
    ("services.ec2", "_p"),
)

KEPT_BY_AWS = 5
"""Addresses of every subnet that AWS keeps. Source: VPC user guide, "Subnet sizing"."""

CHANGES = ("CreateVpc", "CreateDefaultVpc", "DeleteVpc")


def install(region: Region) -> None:
    """Make networks of VPCs, refuse what one routing table cannot hold, count addresses."""
    ec2 = ministack("services.ec2")
    networks = _Networks(region)
    wrap_action(ec2, "CreateVpc", refuse_overlap_by_api)
    wrap_type("AWS::EC2::VPC", "create", refuse_overlap_by_stack)
    wrap_action(ec2, "DeleteSubnet", lambda original: _keep_used_subnet_by_api(region, original))
    wrap_type("AWS::EC2::Subnet", "delete", lambda original: _keep_used_subnet_by_stack(region, original))
    notify(ec2, CHANGES, ("AWS::EC2::VPC",), networks.agree)
    region.open_vpc = lambda _vpc_id: networks.agree()
    original = ec2._subnet_fields_xml

    def counted(subnet: dict[str, Any], tag: str = "item") -> str:
        free = available(subnet["CidrBlock"], region.addresses.taken_in(subnet["CidrBlock"]))
        return str(original(subnet | {"AvailableIpAddressCount": free}, tag=tag))

    ec2._subnet_fields_xml = counted
    networks.agree()


def available(cidr: str, taken: int) -> int:
    """Free addresses of a subnet that already gave `taken` away."""
    return ipaddress.ip_network(cidr).num_addresses - KEPT_BY_AWS - taken


def overlapping(cidr: str, vpcs: Iterable[Mapping[str, Any]]) -> str | None:
    """The id of a VPC whose addresses overlap with `cidr`, if any."""
    wanted = ipaddress.ip_network(cidr, strict=False)
    for vpc in vpcs:
        if ipaddress.ip_network(vpc["CidrBlock"], strict=False).overlaps(wanted):
            return str(vpc["VpcId"])
    return None


def _refusal(cidr: str) -> str | None:
    """Why no VPC of this CIDR can be made here. AWS would allow it: VPCs there are worlds apart."""
    other = overlapping(cidr, ministack("services.ec2")._vpcs.values())
    if other is None:
        return None
    return f"{cidr} overlaps with {other}: the rehearsal has one routing table for all VPCs"


def refuse_overlap_by_api(original: Handler) -> Handler:
    """CreateVpc that answers InvalidVpcRange for a CIDR that is in use."""
    ec2 = ministack("services.ec2")

    @functools.wraps(original)
    def create(params: dict[str, Any]) -> Any:
        try:
            refusal = _refusal(ec2._p(params, "CidrBlock"))
        except ValueError:
            return original(params)  # not a CIDR: the emulator says so in AWS's words
        return ec2._error("InvalidVpcRange", refusal, 400) if refusal else original(params)

    return create


def refuse_overlap_by_stack(original: Handler) -> Handler:
    """AWS::EC2::VPC that fails for a CIDR that is in use."""

    @functools.wraps(original)
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        if refusal := _refusal(props.get("CidrBlock", "")):
            raise ValueError(refusal)
        return original(logical_id, props, stack_name)

    return create


def _in_use(region: Region, subnet_id: str) -> str | None:
    subnet = ministack("services.ec2")._subnets.get(subnet_id)
    if subnet is None or not region.addresses.taken_in(subnet["CidrBlock"]):
        return None
    return f"The subnet '{subnet_id}' has dependencies and cannot be deleted."


def _keep_used_subnet_by_api(region: Region, original: Handler) -> Handler:
    ec2 = ministack("services.ec2")

    def delete(params: dict[str, Any]) -> Any:
        problem = _in_use(region, ec2._p(params, "SubnetId"))
        return ec2._error("DependencyViolation", problem, 400) if problem else original(params)

    return delete


def _keep_used_subnet_by_stack(region: Region, original: Handler) -> Handler:
    def delete(physical_id: str, props: dict[str, Any]) -> Any:
        if problem := _in_use(region, physical_id):
            raise ValueError(problem)
        return original(physical_id, props)

    return delete


class _Networks:
    """Keeps the networks of the machines in agreement with the VPCs on record."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._lock = threading.Lock()
        self._known: set[str] = set()

    def agree(self) -> None:
        """Add what is missing, remove what is gone. Can be repeated."""
        machines = self._region.machines
        if machines is None:
            return
        with self._lock, scope(self._region):
            wanted = {
                vpc_id: str(vpc["CidrBlock"]) for vpc_id, vpc in ministack("services.ec2")._vpcs.items()
            }
            for vpc_id in self._known - wanted.keys():
                machines.network.remove_vpc(vpc_id)
                self._known.discard(vpc_id)
            for vpc_id in wanted.keys() - self._known:
                machines.network.add_vpc(vpc_id, wanted[vpc_id])
                self._known.add(vpc_id)
