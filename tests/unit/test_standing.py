"""What must hold whatever the templates say: judged by golden cases, looked up in a region of fakes."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.drift import looks, openings, rules
from slipway.preflight import Unknown
from slipway.verification import Answer
from tests.unit.golden import Case, cases

TIERS = Path(__file__).parents[2] / "tiers"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
GROUPS = {
    openings.LOAD_BALANCER: "sg-balancer",
    openings.WEB: "sg-web",
    openings.DATABASE: "sg-database",
    openings.FUNCTION: "sg-function",
}
NETWORK: dict[str, Any] = {"natGateways": "one", "bastion": {"allowedCidrs": []}}


def rule(group: str, opening: openings.Opening, number: int) -> dict[str, Any]:
    """As EC2 describes it."""
    peer = GROUPS.get(opening.peer, opening.peer)
    every = opening.protocol == "-1"
    return {
        "GroupId": group,
        "SecurityGroupRuleId": f"sgr-{number}",
        "IsEgress": opening.egress,
        "IpProtocol": opening.protocol,
        "FromPort": -1 if every else opening.first,
        "ToPort": -1 if every else opening.last,
        **({"ReferencedGroupInfo": {"GroupId": peer}} if peer.startswith("sg-") else {"CidrIpv4": peer}),
    }


def sound() -> dict[str, Any]:
    """The facts of an environment in which all is well."""
    declared = openings.declared(NETWORK)
    return {
        "now": NOW,
        "remedy": "the remedy",
        "environment": {
            "name": "arable",
            "domain": {"name": "arable.example", "www": True},
            "database": {"backupDays": 7},
            "network": NETWORK,
        },
        "role": "arable-role",
        "balancer": "lb-1.elb.amazonaws.com",
        "database": {
            "id": "slipway-db",
            "public": False,
            "groups": ["sg-database"],
            "retention": 7,
            "created": NOW - timedelta(days=9),
            "restorable": NOW - timedelta(minutes=5),
        },
        "group": {
            "AutoScalingGroupName": "group",
            "Instances": [{"InstanceId": name, "LifecycleState": "InService"} for name in ("i-1", "i-2")]
            + [{"InstanceId": "i-4", "LifecycleState": "Pending:Wait"}],
            "SuspendedProcesses": [],
        },
        "suspended": {"group": "group", "processes": []},
        "targets": [{"server": name, "state": "healthy", "reason": ""} for name in ("i-1", "i-2")],
        "instances": [
            {
                "id": name,
                "groups": ["sg-web"],
                "metadata": {
                    "HttpTokens": "required",
                    "HttpPutResponseHopLimit": 1,
                    "HttpEndpoint": "enabled",
                },
            }
            for name in ("i-1", "i-2")
        ],
        "certificate": {
            "arn": "arn:certificate",
            "until": NOW + timedelta(days=100),
            "eligible": "ELIGIBLE",
            "renewal": "",
            "reason": "",
        },
        "zone": {"zone": "arable.example", "servers": ["ns-1.aws", "ns-2.aws"], "delegated": ["ns-1.aws"]},
        "aliases": {
            name: {"zone": "Z1", "target": "dualstack.lb-1.elb.amazonaws.com."}
            for name in ("arable.example", "www.arable.example")
        },
        "site": None,
        "listeners": [
            {
                "Port": 80,
                "ListenerArn": "arn:plain",
                "DefaultActions": [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS"}}],
            },
            {"Port": 443, "ListenerArn": "arn:tls", "DefaultActions": [{"Type": "forward"}]},
        ],
        "plain": Answer(301, location="https://arable.example:443/"),
        "groups": dict(GROUPS),
        "rules": [
            rule(GROUPS[name], opening, number)
            for name, own in declared.items()
            for number, opening in enumerate(own)
        ],
        "buckets": {
            "images": {"open": [], "public": False},
            "artifacts": {"open": [], "public": False},
        },
        "images": "images",
        "policies": {"attached": [], "inline": ["release-and-application", "systems-manager-agent"]},
    }


def written(value: Any, name: str) -> Any:
    """What a case writes for a fact: times are relative to now."""
    if isinstance(value, dict) and value.keys() <= {"hours", "days"}:
        return NOW + timedelta(**value)
    if isinstance(value, dict) and "unknown" in value:
        return Unknown(value["unknown"])
    return Answer(**value) if name in ("plain", "site") else value


def changed(case: Case) -> dict[str, Any]:
    facts = sound()
    for path, value in case["change"].items():
        if path == "rules.added":
            facts["rules"] += value
            continue
        *way, last = path.split(".")
        holder: Any = facts
        for step in way:
            holder = holder[int(step) if step.isdigit() else step]
        holder[last] = written(value, path)
    return facts


@cases("standing")
def test_what_must_hold(case: Case) -> None:
    facts = changed(case)
    before = copy.deepcopy(facts)
    found = rules.judged(facts)
    told = [
        {name: one[name] for name in ("kind", "where", "found", "severity", "remediable")} for one in found
    ]
    expected = [{name: value for name, value in one.items() if name != "remedy"} for one in case["findings"]]
    assert told == expected
    for one, wanted in zip(found, case["findings"], strict=True):
        assert wanted["remedy"] in one["remedy"]
    assert len({one["key"] for one in found}) == len(found)
    missing = rules.unchecked(facts)
    assert missing == case["unchecked"]
    assert facts == before
    json.dumps(found)


def test_the_days_of_the_certificate_are_whole() -> None:
    facts = sound()
    assert rules.certificate_days(facts) == 100
    facts["certificate"]["until"] = NOW + timedelta(days=11, hours=23)
    assert rules.certificate_days(facts) == 11
    facts["certificate"] = Unknown("refused")
    assert rules.certificate_days(facts) is None


# --- what the tier network declares -------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """CloudFormation's short forms, as {name: value}."""


def _short(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix: value}


Loader.add_multi_constructor("!", _short)


def template(tier: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((TIERS / f"{tier}.yaml").read_text(), Loader)  # noqa: S506
    return loaded


def written_in_the_template(network: dict[str, Any]) -> dict[str, set[openings.Opening]]:
    """The rules of every group that the template makes with these parameters, separate ones among them."""
    cidrs = network["bastion"]["allowedCidrs"]
    holds = {
        "NoNat": network["natGateways"] == "none",
        "HasBastion": len(cidrs) > 0,
        **{f"HasBastionCidr{number}": len(cidrs) >= number for number in range(2, 6)},
    }
    found: dict[str, set[openings.Opening]] = {}
    for name, resource in template("network")["Resources"].items():
        props = resource.get("Properties", {})
        kind = resource["Type"].removeprefix("AWS::EC2::SecurityGroup")
        if not holds.get(resource.get("Condition"), "Condition" not in resource):
            continue
        if kind in ("Ingress", "Egress"):
            group = props["GroupId"]["GetAtt"].partition(".")[0]
            found.setdefault(group, set()).add(opening(props, kind == "Egress", cidrs))
        if kind == "":
            rules_of_group = [
                opening(one, egress, cidrs)
                for direction, egress in (("SecurityGroupIngress", False), ("SecurityGroupEgress", True))
                for one in decided(props.get(direction, []), holds)
            ]
            found.setdefault(name, set()).update(rules_of_group)
    return found


def decided(given: list[Any], holds: dict[str, bool]) -> list[Any]:
    """The rules of a list of which some hang on a condition."""
    pairs = [one["Fn::If"][:2] if "Fn::If" in one else ("", one) for one in given]
    return [one for condition, one in pairs if not condition or holds[condition]]


def opening(props: dict[str, Any], egress: bool, cidrs: list[str]) -> openings.Opening:
    names = ("CidrIp", "SourceSecurityGroupId", "DestinationSecurityGroupId")
    peer = next(props[name] for name in names if name in props)
    if isinstance(peer, dict):
        peer = cidrs[int(peer["Select"][0])] if "Select" in peer else peer["GetAtt"].partition(".")[0]
    first, last = (props["FromPort"], props["ToPort"]) if "FromPort" in props else openings.ALL_PORTS
    return openings.Opening(egress, props["IpProtocol"], first, last, peer)


@pytest.mark.parametrize("gateways", ["none", "one"])
@pytest.mark.parametrize("cidrs", [[], ["192.0.2.0/24"], [f"192.0.2.{n}/32" for n in range(5)]])
def test_the_openings_are_those_of_the_template(gateways: str, cidrs: list[str]) -> None:
    network = {"natGateways": gateways, "bastion": {"allowedCidrs": cidrs}}
    declared = {name: set(own) for name, own in openings.declared(network).items()}
    assert declared == written_in_the_template(network)


def test_what_is_looked_at_are_outputs_of_the_tiers() -> None:
    for tier, output in looks.OUTPUTS.values():
        assert output in template(tier)["Outputs"]
    named = template("network")["Outputs"]
    assert all(f"{group}Id" in named for group in openings.NAMED)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"IpProtocol": "-1", "CidrIpv4": "0.0.0.0/0"}, "everything from 0.0.0.0/0"),
        (
            {"IpProtocol": "udp", "FromPort": 1, "ToPort": 9, "PrefixListId": "pl-1"},
            "udp port 1-9 from pl-1",
        ),
        ({"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IsEgress": True}, "tcp all ports to nobody"),
    ],
)
def test_an_opening_in_words(given: dict[str, Any], told: str) -> None:
    assert str(openings.in_force(given)) == told
