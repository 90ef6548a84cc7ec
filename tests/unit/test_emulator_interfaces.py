"""Network interfaces of the emulated region, and what stays while they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.emulator import interfaces
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import scope

SUBNET = {
    "SubnetId": "subnet-1",
    "VpcId": "vpc-1",
    "CidrBlock": "10.20.0.0/24",
    "AvailabilityZone": "eu-central-1a",
}


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    """One subnet in which a database has an address, and two security groups."""
    made, ec2 = Region(run=tmp_path), ministack("services.ec2")
    made.members.append(lambda: {"10.20.0.9": ["sg-db"], "203.0.113.7": ["sg-lb"]})
    made.interfaces.append(lambda: {"10.20.0.9": "RDSNetworkInterface"})
    with scope(made):
        ec2._subnets["subnet-1"] = dict(SUBNET)
        ec2._vpcs["vpc-1"] = {"VpcId": "vpc-1", "DefaultSecurityGroupId": "sg-default"}
        for name in ("sg-db", "sg-web", "sg-free"):
            ec2._security_groups[name] = {"GroupId": name, "GroupName": name, "VpcId": "vpc-1"}
        ec2._security_groups["sg-db"]["IpPermissions"] = [{"UserIdGroupPairs": [{"GroupId": "sg-web"}]}]
        yield made
        for store in (ec2._subnets, ec2._vpcs, ec2._security_groups, ec2._network_interfaces):
            store.clear()


def ids(answer: Any) -> list[str]:
    assert answer[0] == 200, answer
    return [part.split("<")[0] for part in answer[2].decode().split("<networkInterfaceId>")[1:]]


def test_what_a_service_runs_has_an_interface_with_its_description(region: Region) -> None:
    described = interfaces._Interfaces(region).describe({})
    assert len(ids(described)) == 1
    assert b"RDSNetworkInterface" in described[2]
    assert b"10.20.0.9" in described[2]


def test_one_that_somebody_makes_has_an_address_of_its_subnet_until_it_goes(region: Region) -> None:
    ec2, ours = ministack("services.ec2"), interfaces._Interfaces(region)
    [made] = ids(ours.creates(ec2._create_network_interface)({"SubnetId": ["subnet-1"]}))
    record = ec2._network_interfaces[made]
    assert record["PrivateIpAddress"].startswith("10.20.0.")
    assert record["Groups"][0]["GroupId"] == "sg-default"
    assert region.addresses.taken_in("10.20.0.0/24") == 1
    assert len(ids(ours.describe({}))) == 2
    assert ours.deletes(ec2._delete_network_interface)({"NetworkInterfaceId": [made]})[0] == 200
    assert region.addresses.taken_in("10.20.0.0/24") == 0


@pytest.mark.parametrize(
    ("name", "value", "number"), [("vpc-id", "vpc-1", 1), ("vpc-id", "vpc-2", 0), ("group-id", "sg-db", 1)]
)
def test_filters_are_minded(region: Region, name: str, value: str, number: int) -> None:
    asked = {"Filter.1.Name": [name], "Filter.1.Value.1": [value]}
    assert len(ids(interfaces._Interfaces(region).describe(asked))) == number


def test_a_filter_that_is_not_known_is_refused_and_not_ignored(region: Region) -> None:
    asked = {"Filter.1.Name": ["tag:Name"], "Filter.1.Value.1": ["x"]}
    assert interfaces._Interfaces(region).describe(asked)[0] == 400


def test_an_interface_of_a_service_is_not_deleted(region: Region) -> None:
    ours = interfaces._Interfaces(region)
    [identifier] = ids(ours.describe({}))
    answer = ours.deletes(ministack("services.ec2")._delete_network_interface)(
        {"NetworkInterfaceId": [identifier]}
    )
    assert answer[0] == 400


@pytest.mark.parametrize(("group", "stays"), [("sg-db", True), ("sg-web", True), ("sg-free", False)])
def test_a_group_stays_while_an_interface_or_a_rule_has_it(region: Region, group: str, stays: bool) -> None:
    gone: list[str] = []
    delete = interfaces._Interfaces(region).keeps_used_group_by_stack(lambda name, _props: gone.append(name))
    if stays:
        with pytest.raises(ValueError, match="has a dependent object"):
            delete(group, {})
    else:
        delete(group, {})
    assert gone == ([] if stays else [group])


@pytest.mark.parametrize("objects", [{}, {"a.png": {}}])
def test_a_bucket_that_holds_anything_stays(region: Region, objects: dict[str, Any]) -> None:
    s3, gone = ministack("services.s3"), list[str]()
    s3._buckets["b"] = {"objects": objects}
    try:
        delete = interfaces.keep_full_bucket(lambda name, _props: gone.append(name))
        if objects:
            with pytest.raises(ValueError, match="is not empty"):
                delete("b", {})
        else:
            delete("b", {})
        assert gone == ([] if objects else ["b"])
    finally:
        s3._buckets.pop("b")
