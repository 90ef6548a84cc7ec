"""Draws docs/pictures/network.svg from tiers/network.yaml (and what the other tiers put into it).

    python -m tools.draw_network [--check]

Left the VPC: zones, subnets with ranges and ways out, as a release computes them for the default range. Right
who may talk to whom: every rule of every security group. What has no place in the picture fails the drawing.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.draw_svg import QUIET, ROOT, Canvas, write_or_check

Template = Mapping[str, Any]

TIERS = ROOT / "tiers"
ROWS = {
    # prefix of the subnets' names: fill
    "Public": "#e8f5ea",
    "Web": "#e3effb",
    "Database": "#ece6fa",
}
PLACES = {
    # where each peer of a rule stands in the right half: column, row
    "internet": (1, 0),
    "LoadBalancer": (1, 1),
    "Web": (1, 2),
    "Database": (1, 3),
    "Bastion": (0, 1),
    "Function": (0, 3),
    "Endpoint": (0, 2),
    "allowed addresses": (0, 0),
}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` becomes {"Ref": "X"}, `!Sub …` {"Fn::Sub": …}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path) -> Template:
    template: Template = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    return template


def of_type(template: Template, kind: str) -> dict[str, Mapping[str, Any]]:
    return {name: r for name, r in template["Resources"].items() if r["Type"] == f"AWS::{kind}"}


@dataclass(frozen=True)
class Subnet:
    name: str
    zone: int
    cidr: str
    way_out: str


def subnets(template: Template) -> list[Subnet]:
    """The subnets with the ranges that a release gives them: an eighth of the VPC each."""
    vpc = ipaddress.ip_network(template["Parameters"]["Cidr"]["Default"])
    parts = list(vpc.subnets(prefixlen_diff=3))
    return [
        Subnet(
            name,
            int(subnet["Properties"]["AvailabilityZone"]["Fn::Select"][0]),
            str(parts[int(subnet["Properties"]["CidrBlock"]["Fn::Select"][0])]),
            way_out(template, name),
        )
        for name, subnet in of_type(template, "EC2::Subnet").items()
    ]


def way_out(template: Template, subnet: str) -> str:
    [table] = [
        link["Properties"]["RouteTableId"]["Ref"]
        for link in of_type(template, "EC2::SubnetRouteTableAssociation").values()
        if link["Properties"]["SubnetId"]["Ref"] == subnet
    ]
    routes = [
        route["Properties"]
        for route in of_type(template, "EC2::Route").values()
        if route["Properties"]["RouteTableId"]["Ref"] == table
    ]
    if any("GatewayId" in route for route in routes):
        return "to the internet gateway"
    if routes:
        return "to a NAT gateway, or nowhere"
    return "no way out of the VPC"


@dataclass(frozen=True)
class Rule:
    source: str
    target: str
    ports: str
    optional: bool


def group_of(reference: Any) -> str:
    return str(reference["Fn::GetAtt"][0]).removesuffix("SecurityGroup")


def ports(rule: Mapping[str, Any]) -> str:
    return (
        str(rule["FromPort"])
        if rule["FromPort"] == rule["ToPort"]
        else f"{rule['FromPort']}-{rule['ToPort']}"
    )


def inline_rules(template: Template) -> Iterator[Rule]:
    """Rules that name addresses; `127.0.0.1/32` is the placeholder for "none"."""
    for name, resource in of_type(template, "EC2::SecurityGroup").items():
        group, optional = name.removesuffix("SecurityGroup"), "Condition" in resource
        for rule in resource["Properties"].get("SecurityGroupIngress", []):
            if "Fn::If" in rule:
                continue  # further addresses, same port
            open_to_all = rule["CidrIp"] == "0.0.0.0/0"
            yield Rule("internet" if open_to_all else "allowed addresses", group, ports(rule), optional)
        for rule in resource["Properties"].get("SecurityGroupEgress", []):
            if rule["CidrIp"] != "127.0.0.1/32":
                yield Rule(group, "internet", ports(rule), optional)


def paired_rules(template: Template) -> Iterator[Rule]:
    """Rules between groups. Only where one side lets out what the other lets in does a packet pass."""
    ways_in = {
        (group_of(p["SourceSecurityGroupId"]), group_of(p["GroupId"]), ports(p)): "Condition" in r
        for r in of_type(template, "EC2::SecurityGroupIngress").values()
        for p in [r["Properties"]]
    }
    ways_out = {
        (group_of(p["GroupId"]), group_of(p["DestinationSecurityGroupId"]), ports(p))
        for r in of_type(template, "EC2::SecurityGroupEgress").values()
        for p in [r["Properties"]]
    }
    to_anywhere = {(rule.source, rule.ports) for rule in inline_rules(template) if rule.target == "internet"}
    for (source, target, port), optional in sorted(ways_in.items()):
        if (source, target, port) in ways_out or (source, port) in to_anywhere:
            yield Rule(source, target, port, optional)
        else:
            raise ValueError(f"{source} may not leave for {target}:{port}, which would let it in")
    for way in sorted(ways_out - set(ways_in)):
        raise ValueError(f"{way} leaves, but is not let in")


def gathered(rules: Iterator[Rule]) -> list[Rule]:
    """One rule for each pair of peers, with all its ports."""
    found: dict[tuple[str, str], Rule] = {}
    for rule in rules:
        known = found.get((rule.source, rule.target))
        listed = f"{known.ports}, {rule.ports}" if known else rule.ports
        found[rule.source, rule.target] = Rule(rule.source, rule.target, listed, rule.optional)
    return list(found.values())


def contents(kind: str, zone: int, network: Template) -> list[tuple[str, bool]]:
    """What stands in a subnet: (label, whether it is optional)."""
    if kind == "Public":
        nats = of_type(network, "EC2::NatGateway")
        bastion = [
            ("bastion", True)
            for machine in of_type(network, "EC2::Instance").values()
            if machine["Properties"]["NetworkInterfaces"][0]["SubnetId"]["Ref"] == f"PublicSubnet{zone + 1}"
        ]
        gateways = [
            ("NAT gateway", True)
            for nat in nats.values()
            if nat["Properties"]["SubnetId"]["Ref"] == f"PublicSubnet{zone + 1}"
        ]
        return [("load balancer", False)] * present(
            "load_balancer", "ElasticLoadBalancingV2::LoadBalancer"
        ) + (gateways + bastion)
    if kind == "Web":
        servers = [("web servers", False)] * present("web", "AutoScaling::AutoScalingGroup")
        return servers + [("create-database", False)] * present("database", "Lambda::Function")
    label = "database" if zone == 0 else "standby"
    return [(label, zone == 1)] * present("database", "RDS::DBInstance")


def present(tier: str, kind: str) -> bool:
    return bool(of_type(load(TIERS / f"{tier}.yaml"), kind))


def draw_vpc(canvas: Canvas, network: Template, left: float, top: float) -> None:
    cidr = network["Parameters"]["Cidr"]["Default"]
    canvas.box(left, top, 560, 430, stroke="#3b6ea5")
    canvas.text(left + 14, top + 20, f"VPC {cidr}", size=12, bold=True, anchor="start")
    for zone in (0, 1):
        canvas.box(left + 14 + zone * 270, top + 32, 262, 384, fill="#fbfcfd", dashed=True)
        canvas.text(
            left + 26 + zone * 270, top + 50, f"availability zone {zone + 1}", colour=QUIET, anchor="start"
        )
    for subnet in subnets(network):
        kind, separator, _ = subnet.name.partition("Subnet")
        if not separator or kind not in ROWS:
            raise ValueError(f"{subnet.name} has no place in the picture")
        x, y = left + 24 + subnet.zone * 270, top + 60 + list(ROWS).index(kind) * 118
        canvas.box(x, y, 242, 108, fill=ROWS[kind])
        canvas.text(x + 10, y + 18, f"{kind.lower()} {subnet.cidr}", bold=True, anchor="start")
        canvas.text(x + 10, y + 34, subnet.way_out, size=10.5, colour=QUIET, anchor="start")
        for number, (label, optional) in enumerate(contents(kind, subnet.zone, network)):
            canvas.box(x + 8 + (number % 2) * 114, y + 42 + (number // 2) * 32, 111, 27, dashed=optional)
            canvas.text(x + 63 + (number % 2) * 114, y + 59.5 + (number // 2) * 32, label, size=10.5)


def draw_rules(canvas: Canvas, network: Template, left: float, top: float) -> None:
    def centre(name: str) -> tuple[float, float]:
        column, row = PLACES[name]
        return left + 85 + column * 270, top + 40 + row * 118

    rules = gathered(iter([*inline_rules(network), *paired_rules(network)]))
    for rule in rules:
        between_groups = rule.target != "internet"
        if between_groups:
            draw_rule(canvas, rule, centre(rule.source), centre(rule.target))
    optional = {
        n.removesuffix("SecurityGroup")
        for n, r in of_type(network, "EC2::SecurityGroup").items()
        if "Condition" in r
    }
    out = {rule.source: rule.ports for rule in rules if rule.target == "internet"}
    peers = {name for rule in rules for name in (rule.source, rule.target)}
    for name in sorted(peers):
        x, y = centre(name)
        outside = name in {"internet", "allowed addresses"}
        canvas.box(
            x - 72,
            y - 24,
            144,
            48,
            fill="#eef1f4" if outside else "#ffffff",
            dashed=name in optional,
            radius=24 if outside else 6,
        )
        words = out.get(name)
        canvas.text(x, y + (-2 if words else 4), LABELS.get(name, name), size=12, bold=True)
        if words:
            canvas.text(x, y + 13, f"out to anywhere: {words}", size=10, colour=QUIET)


LABELS = {
    "LoadBalancer": "load balancer",
    "Web": "web servers",
    "Database": "database",
    "Bastion": "bastion",
    "Function": "create-database",
    "Endpoint": "secrets endpoint",
}


def draw_rule(canvas: Canvas, rule: Rule, source: tuple[float, float], target: tuple[float, float]) -> None:
    (x1, y1), (x2, y2) = source, target
    if x1 == x2:
        down = 1 if y2 > y1 else -1
        start, end = (x1, y1 + 24 * down), (x2, y2 - 24 * down)
    else:
        right = 1 if x2 > x1 else -1
        start, end = (x1 + 72 * right, y1), (x2 - 72 * right, y2)
    canvas.arrow([start, end], dashed=rule.optional)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    width = 8 + 6.4 * len(rule.ports)
    canvas.box(x - width / 2, y - 9, width, 18, fill="#f7f9fb", stroke="#f7f9fb", radius=3)
    canvas.text(x, y + 4, rule.ports, size=11, bold=True)


def draw() -> str:
    network = load(TIERS / "network.yaml")
    canvas = Canvas("The network of an environment")
    canvas.text(24, 34, "The network of an environment", size=18, bold=True, anchor="start")
    canvas.text(24, 54, "Dashed: optional, or not in every zone.", size=12, colour=QUIET, anchor="start")
    draw_vpc(canvas, network, 24, 74)
    canvas.text(628, 62, "Who may open a connection to whom (TCP ports)", size=12, bold=True, anchor="start")
    draw_rules(canvas, network, 628, 74)
    return canvas.svg()


if __name__ == "__main__":
    sys.exit(write_or_check({"network.svg": draw}))
