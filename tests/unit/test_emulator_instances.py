"""Instances and groups: routes that lead out, user data, which servers go first."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rehearsal.emulator import autoscaling, ec2
from rehearsal.emulator.ec2 import Routes, leads_out

PUBLIC, PRIVATE, LONELY = "subnet-public", "subnet-private", "subnet-lonely"
TABLES: list[dict[str, Any]] = [
    {"VpcId": "vpc", "Associations": [{"Main": True}], "Routes": [{"DestinationCidrBlock": "10.0.0.0/16"}]},
    {
        "VpcId": "vpc",
        "Associations": [{"SubnetId": PUBLIC}],
        "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"}],
    },
    {
        "VpcId": "vpc",
        "Associations": [{"SubnetId": PRIVATE}],
        "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}],
    },
]
NAT = {"nat-1": {"State": "available", "SubnetId": PUBLIC}}


def endpoint(service: str, kind: str = "Interface") -> dict[str, Any]:
    return {"VpcId": "vpc", "VpcEndpointType": kind, "ServiceName": f"com.amazonaws.eu-central-1.{service}"}


@pytest.mark.parametrize(
    ("subnet", "public", "routes", "reaches"),
    [
        (PUBLIC, True, Routes(TABLES, {}, []), True),
        (PUBLIC, False, Routes(TABLES, {}, []), False),  # the gateway translates public addresses only
        (PRIVATE, False, Routes(TABLES, NAT, []), True),
        (PRIVATE, False, Routes(TABLES, {}, []), False),
        (PRIVATE, False, Routes(TABLES, {"nat-1": NAT["nat-1"] | {"State": "deleted"}}, []), False),
        (PRIVATE, False, Routes(TABLES, {"nat-1": NAT["nat-1"] | {"SubnetId": LONELY}}, []), False),
        (LONELY, True, Routes(TABLES, NAT, []), False),
        (LONELY, False, Routes(TABLES, {}, [endpoint("ssm"), endpoint("ssmmessages")]), True),
        (LONELY, False, Routes(TABLES, {}, [endpoint("ssm")]), False),
        (LONELY, False, Routes(TABLES, {}, [endpoint("s3", "Gateway")]), False),
    ],
)
def test_the_way_from_a_subnet_to_systems_manager(
    subnet: str, public: bool, routes: Routes, reaches: bool
) -> None:
    assert leads_out(subnet, "vpc", public, routes) is reaches


def record(user_data: str = "") -> dict[str, Any]:
    return {"PrivateDnsName": "ip-10-0-0-5.eu-central-1.compute.internal", "UserData": user_data}


def test_user_data_is_a_script_that_runs_at_the_first_start() -> None:
    given = record(base64.b64encode(b"#!/bin/sh\ntrue\n").decode())
    assert ec2.start_units(given) == ("user-data",)
    assert (
        ec2.server_files(given, "eu-central-1")["/var/lib/cloud/instance/user-data"] == b"#!/bin/sh\ntrue\n"
    )


def test_without_user_data_the_image_starts_the_agent() -> None:
    assert ec2.start_units(record()) == ("amazon-ssm-agent",)
    assert "/var/lib/cloud/instance/user-data" not in ec2.server_files(record(), "eu-central-1")


def test_a_servers_services_get_no_hint_of_the_region() -> None:
    files = ec2.server_files(record(), "eu-central-1")
    assert b"AWS_ENDPOINT_URL" not in b"".join(files.values())
    assert b"AWS_REGION" not in files["/etc/systemd/system.conf.d/trust.conf"]


def instance(name: str, zone: str, age: float, protected: bool = False) -> dict[str, Any]:
    return {
        "InstanceId": name,
        "AvailabilityZone": zone,
        "_launched": age,
        "ProtectedFromScaleIn": protected,
    }


def test_the_oldest_of_the_fullest_zone_goes_first() -> None:
    group = [instance("a1", "a", 1), instance("b1", "b", 2), instance("a2", "a", 3), instance("b2", "b", 4)]
    group.append(instance("b3", "b", 5))
    assert [i["InstanceId"] for i in autoscaling.oldest_of_fullest_zone(group, 3)] == ["b1", "a1", "b2"]


def test_a_protected_instance_stays() -> None:
    group = [instance("a1", "a", 1, protected=True), instance("a2", "a", 2)]
    assert [i["InstanceId"] for i in autoscaling.oldest_of_fullest_zone(group, 2)] == ["a2"]


@pytest.mark.parametrize(("given", "public"), [("true", True), (False, False), (None, None)])
def test_a_launch_template_says_what_is_started(given: Any, public: bool | None) -> None:
    interface = {"Groups": ["sg-1"]} | ({} if given is None else {"AssociatePublicIpAddress": given})
    launch = autoscaling.from_template({"NetworkInterfaces": [interface]}, "subnet-1", None, {"k": "v"})
    assert (launch.subnet, launch.groups, launch.public, launch.tags) == (
        "subnet-1",
        ("sg-1",),
        public,
        {"k": "v"},
    )
