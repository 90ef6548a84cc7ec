"""Network interfaces: those that somebody made, those of what runs here, and what cannot go before them.

AWS refuses to delete a subnet, a security group or a VPC in which an interface is, and a security group that
another one's rules name (DependencyViolation). The emulator keeps records of interfaces that were made
through the API alone, with an address from nowhere.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import Handler, scope, wrap_action, wrap_type

RELIES_ON = (
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_eni_fields_xml"),
    ("services.ec2", "_error"),
    ("services.ec2", "_instances"),
    ("services.ec2", "_network_interfaces"),
    ("services.ec2", "_p"),
    ("services.ec2", "_parse_filters"),
    ("services.ec2", "_parse_member_list"),
    ("services.ec2", "_security_groups"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_vpcs"),
    ("services.ec2", "_xml"),
    ("services.s3", "_bucket_has_versions"),
    ("services.s3", "_buckets"),
)

Record = dict[str, Any]

FILTERS = {
    "vpc-id": lambda one: [one["VpcId"]],
    "subnet-id": lambda one: [one["SubnetId"]],
    "network-interface-id": lambda one: [one["NetworkInterfaceId"]],
    "group-id": lambda one: [group["GroupId"] for group in one["Groups"]],
    "private-ip-address": lambda one: [one["PrivateIpAddress"]],
}
"""Those that are understood; another one is refused rather than ignored."""


def install(region: Region) -> None:
    """Give interfaces their address, list all of them, and keep what they are in."""
    ec2 = ministack("services.ec2")
    interfaces = _Interfaces(region)
    wrap_action(ec2, "CreateNetworkInterface", interfaces.creates)
    wrap_action(ec2, "DeleteNetworkInterface", interfaces.deletes)
    ec2._ACTION_MAP["DescribeNetworkInterfaces"] = interfaces.describe
    wrap_action(ec2, "DeleteSecurityGroup", interfaces.keeps_used_group_by_api)
    wrap_type("AWS::EC2::SecurityGroup", "delete", interfaces.keeps_used_group_by_stack)
    wrap_type("AWS::S3::Bucket", "delete", keep_full_bucket)


class _Interfaces:
    def __init__(self, region: Region) -> None:
        self._region = region

    # Those that were made through the API

    def creates(self, original: Handler) -> Handler:
        """An interface in a subnet: with an address of it, and the VPC's default group if none is given."""
        ec2 = ministack("services.ec2")

        @functools.wraps(original)
        def create(params: dict[str, Any]) -> Any:
            subnet = ec2._subnets.get(ec2._p(params, "SubnetId"))
            if subnet is None:
                return ec2._error(
                    "InvalidSubnetID.NotFound",
                    f"The subnet ID '{ec2._p(params, 'SubnetId')}' does not exist",
                    400,
                )
            known = set(ec2._network_interfaces.keys())
            answer = original(params)
            [made] = set(ec2._network_interfaces.keys()) - known
            record = ec2._network_interfaces[made]
            record["PrivateIpAddress"] = self._region.addresses.take(subnet["CidrBlock"])
            if not ec2._parse_member_list(params, "SecurityGroupId"):
                default = (ec2._vpcs.get(subnet["VpcId"]) or {}).get("DefaultSecurityGroupId", "")
                record["Groups"] = [{"GroupId": default, "GroupName": "default"}]
            return ec2._xml(
                answer[0],
                "CreateNetworkInterfaceResponse",
                ec2._eni_fields_xml(record, tag="networkInterface"),
            )

        return create

    def deletes(self, original: Handler) -> Handler:
        """Gives the address back; an interface that is attached, or somebody's, stays."""
        ec2 = ministack("services.ec2")

        @functools.wraps(original)
        def delete(params: dict[str, Any]) -> Any:
            identifier = ec2._p(params, "NetworkInterfaceId")
            record = ec2._network_interfaces.get(identifier)
            used = record is None and any(one["NetworkInterfaceId"] == identifier for one in self._running())
            if used or (record is not None and record.get("Attachment")):
                return ec2._error(
                    "InvalidParameterValue", f"Network interface '{identifier}' is currently in use.", 400
                )
            answer = original(params)
            if record is not None and answer[0] < 400:
                self._region.addresses.release(record["PrivateIpAddress"])
            return answer

        return delete

    # All of them

    def describe(self, params: dict[str, Any]) -> Any:
        """DescribeNetworkInterfaces."""
        ec2 = ministack("services.ec2")
        wanted = ec2._parse_member_list(params, "NetworkInterfaceId")
        filters = ec2._parse_filters(params)
        if unknown := filters.keys() - FILTERS.keys():
            return ec2._error(
                "InvalidParameterValue", f"the rehearsal does not know the filter {sorted(unknown)[0]}", 400
            )
        found = [one for one in self.all() if not wanted or one["NetworkInterfaceId"] in wanted]
        chosen = [one for one in found if fits(one, filters)]
        items = "".join(ec2._eni_fields_xml(one) for one in chosen)
        return ec2._xml(
            200,
            "DescribeNetworkInterfacesResponse",
            f"<networkInterfaceSet>{items}</networkInterfaceSet>",
        )

    def all(self) -> list[Record]:
        return [*ministack("services.ec2")._network_interfaces.values(), *self._running()]

    def _running(self) -> Iterator[Record]:
        """Of servers, and of what a service runs in a subnet, as AWS describes its own."""
        ec2 = ministack("services.ec2")
        descriptions = self._region.all_interfaces()
        servers = {one["PrivateIpAddress"]: one for one in ec2._instances.values()}
        for address, groups in sorted(self._region.all_members().items()):
            subnet = subnet_of(address, ec2._subnets.values())
            if subnet is None:
                continue  # a public address
            yield self._record(address, subnet, groups, descriptions.get(address, ""), servers.get(address))

    def _record(
        self,
        address: str,
        subnet: Mapping[str, Any],
        groups: Collection[str],
        description: str,
        server: Mapping[str, Any] | None,
    ) -> Record:
        known = ministack("services.ec2")._security_groups
        digest = hashlib.sha256(f"{subnet['SubnetId']} {address}".encode()).hexdigest()
        attachment = {
            "AttachmentId": f"eni-attach-{digest[20:37]}",
            "InstanceId": server["InstanceId"] if server else "",
            "AttachTime": server["LaunchTime"] if server else "",
        }
        return {
            "NetworkInterfaceId": f"eni-{digest[:17]}",
            "SubnetId": subnet["SubnetId"],
            "VpcId": subnet["VpcId"],
            "AvailabilityZone": subnet["AvailabilityZone"],
            "Description": description,
            "OwnerId": self._region.account,
            "Status": "in-use",
            "PrivateIpAddress": address,
            "InterfaceType": "interface",
            "MacAddress": ":".join(["0a", *(digest[at : at + 2] for at in range(0, 10, 2))]),
            "Groups": [
                {"GroupId": group, "GroupName": known.get(group, {}).get("GroupName", group)}
                for group in sorted(groups)
            ],
            "Attachment": attachment if server else None,
        }

    # What stays while they do

    def keeps_used_group_by_api(self, original: Handler) -> Handler:
        ec2 = ministack("services.ec2")

        @functools.wraps(original)
        def delete(params: dict[str, Any]) -> Any:
            problem = self._group_in_use(ec2._p(params, "GroupId"))
            return ec2._error("DependencyViolation", problem, 400) if problem else original(params)

        return delete

    def keeps_used_group_by_stack(self, original: Handler) -> Handler:
        @functools.wraps(original)
        def delete(physical_id: str, props: dict[str, Any]) -> Any:
            if problem := self._group_in_use(physical_id):
                raise ValueError(problem)
            return original(physical_id, props)

        return delete

    def _group_in_use(self, group: str) -> str | None:
        with scope(self._region):
            groups = ministack("services.ec2")._security_groups
            used = any(group in [one["GroupId"] for one in each["Groups"]] for each in self.all())
            named = any(names(record, group) for identifier, record in groups.items() if identifier != group)
        return f"resource {group} has a dependent object" if used or named else None


def names(record: Mapping[str, Any], group: str) -> bool:
    """Whether a rule of a security group names another group."""
    rules = [*record.get("IpPermissions", ()), *record.get("IpPermissionsEgress", ())]
    return any(pair.get("GroupId") == group for rule in rules for pair in rule.get("UserIdGroupPairs", ()))


def fits(record: Record, filters: Mapping[str, Collection[str]]) -> bool:
    return all(set(FILTERS[name](record)) & set(values) for name, values in filters.items())


def subnet_of(address: str, subnets: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The subnet that an address is in."""
    wanted = ipaddress.ip_address(address)
    return next((one for one in subnets if wanted in ipaddress.ip_network(one["CidrBlock"])), None)


def keep_full_bucket(original: Handler) -> Handler:
    """AWS::S3::Bucket: S3 does not delete a bucket that holds anything."""

    @functools.wraps(original)
    def delete(physical_id: str, props: dict[str, Any]) -> Any:
        s3 = ministack("services.s3")
        bucket = s3._buckets.get(physical_id)
        if bucket is not None and (bucket["objects"] or s3._bucket_has_versions(physical_id)):
            raise ValueError("The bucket you tried to delete is not empty (Status Code: 409)")
        return original(physical_id, props)

    return delete
