"""What CloudFormation and the checks of what must hold both find is told once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from slipway.drift.finding import Finding, finding
from slipway.drift.overlap import OVERLAPS, told_once
from tests.unit.test_standing import TIERS, Loader


def of_stack(where: str, path: str, expected: Any = None, kind: str = "stack_resource_modified") -> Finding:
    tier = where.partition("/")[0]
    return finding(kind, tier, where, "", expected=expected, found="x", remedy="", detail=path)


def of_standing(kind: str, where: str) -> Finding:
    return finding(kind, "network", where, "", expected="", found="", remedy="")


WEB = "security group WebSecurityGroup (sg-1)"


@pytest.mark.parametrize(
    ("stack", "standing", "once"),
    [
        (
            of_stack("database/Instance", "/PubliclyAccessible", "false"),
            of_standing("database_public", "x"),
            True,
        ),
        (
            of_stack("database/Instance", "/DBInstanceClass", "db.t4g.micro"),
            of_standing("database_public", "x"),
            False,
        ),
        (
            of_stack("network/WebSecurityGroup", "/SecurityGroupEgress/2"),
            of_standing("security_group_open", WEB),
            True,
        ),
        (
            of_stack("network/WebSecurityGroup", "/SecurityGroupEgress/0/CidrIp", "0.0.0.0/0"),
            of_standing("security_group_open", WEB),
            False,
        ),
        (
            of_stack("network/BastionSecurityGroup", "/SecurityGroupIngress/1"),
            of_standing("security_group_open", WEB),
            False,
        ),
        (
            of_stack("load_balancer/RedirectListener", "", kind="stack_resource_deleted"),
            of_standing("redirect_missing", "x"),
            True,
        ),
        (
            of_stack("load_balancer/Listener", "", kind="stack_resource_deleted"),
            of_standing("redirect_missing", "x"),
            False,
        ),
        (
            of_stack("load_balancer/RedirectListener", "x", kind="stack_differs"),
            of_standing("redirect_missing", "x"),
            False,
        ),
        (of_stack("web/Role", "/Policies/2"), of_standing("role_policy_added", "role x"), True),
        (
            of_stack("web/Role", "/Policies/0/PolicyDocument", "{}"),
            of_standing("role_policy_added", "x"),
            False,
        ),
    ],
)
def test_told_once(stack: Finding, standing: Finding, once: bool) -> None:
    assert told_once([stack], [standing]) == ([] if once else [stack])
    assert told_once([stack], []) == [stack]


def test_every_overlap_is_of_a_resource_of_its_tier() -> None:
    for overlap in OVERLAPS:
        tier, _, name = overlap.where.partition("/")
        resources = yaml.load((TIERS / f"{tier}.yaml").read_text(), Loader)["Resources"]  # noqa: S506
        assert name in resources
        path = overlap.property.strip("/")
        assert not path or any(key.startswith(path) for key in resources[name]["Properties"])
