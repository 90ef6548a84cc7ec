"""What the tier network lets through: the rules of its security groups, and what opens a group wider. Pure.

The rules stand here once more because a function has no reader of YAML; a test compares them with
tiers/network.yaml.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

EVERYBODY = "0.0.0.0/0"
NOBODY = "127.0.0.1/32"
ALL_PORTS = (0, 65535)

LOAD_BALANCER = "LoadBalancerSecurityGroup"
WEB = "WebSecurityGroup"
DATABASE = "DatabaseSecurityGroup"
FUNCTION = "FunctionSecurityGroup"
ENDPOINT = "EndpointSecurityGroup"
BASTION = "BastionSecurityGroup"


# Whose ids are outputs of the tier.
NAMED = (LOAD_BALANCER, WEB, DATABASE, FUNCTION, BASTION)


@dataclass(frozen=True)
class Opening:
    """Who may pass. `peer`: a range of addresses, a prefix list, or a security group: by its logical id in
    the template where it is declared, by its id where it is in force. `protocol`: tcp, udp, icmp, …, or -1
    for all."""

    egress: bool
    protocol: str
    first: int
    last: int
    peer: str

    def __str__(self) -> str:
        ports = "all ports" if (self.first, self.last) == ALL_PORTS else f"port {self.first}"
        ports += f"-{self.last}" if self.last != self.first and ports != "all ports" else ""
        protocol = "everything" if self.protocol == "-1" else f"{self.protocol} {ports}"
        return f"{protocol} {'to' if self.egress else 'from'} {self.peer}"


def _in(port: int, peer: str) -> Opening:
    return Opening(False, "tcp", port, port, peer)


def _out(port: int, peer: str) -> Opening:
    return Opening(True, "tcp", port, port, peer)


_NOTHING_ELSE_OUT = Opening(True, "-1", *ALL_PORTS, NOBODY)


def declared(network: Json) -> dict[str, list[Opening]]:
    """The rules of each group that the tier has, by logical id. `network`: of the environment's
    description."""
    rules = {
        LOAD_BALANCER: [_in(80, EVERYBODY), _in(443, EVERYBODY), _NOTHING_ELSE_OUT, _out(3000, WEB)],
        WEB: [_out(443, EVERYBODY), _out(80, EVERYBODY), _in(3000, LOAD_BALANCER), _out(3306, DATABASE)],
        DATABASE: [_NOTHING_ELSE_OUT, _in(3306, WEB), _in(3306, FUNCTION)],
        FUNCTION: [_out(443, EVERYBODY), _out(3306, DATABASE)],
    }
    if network["natGateways"] == "none":
        rules[ENDPOINT] = [_NOTHING_ELSE_OUT, _in(443, WEB), _in(443, FUNCTION)]
    if network["bastion"]["allowedCidrs"]:
        ssh = [_in(22, cidr) for cidr in network["bastion"]["allowedCidrs"]]
        rules[BASTION] = [*ssh, _out(443, EVERYBODY), _out(22, WEB)]
        rules[WEB].append(_in(22, BASTION))
    return rules


def groups(network: Json, outputs: Mapping[str, str], listed: Callable[[], Sequence[Json]]) -> dict[str, str]:
    """Id of each group of the tier by logical id. `outputs`: of its stack; `listed`: what it consists of, for
    the group that no output names."""
    found = {name: outputs.get(f"{name}Id", "") for name in NAMED}
    if network["natGateways"] == "none":
        physical = {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in listed()}
        found[ENDPOINT] = physical.get(ENDPOINT, "")
    return {name: group for name, group in found.items() if group}


def in_force(rule: Json) -> Opening:
    """A rule as DescribeSecurityGroupRules says it."""
    protocol = str(rule.get("IpProtocol", "-1"))
    first, last = int(rule.get("FromPort", -1)), int(rule.get("ToPort", -1))
    ports = ALL_PORTS if protocol == "-1" or first < 0 else (first, last)
    peer = (
        rule.get("CidrIpv4")
        or rule.get("CidrIpv6")
        or rule.get("PrefixListId")
        or (rule.get("ReferencedGroupInfo") or {}).get("GroupId")
        or "nobody"
    )
    return Opening(bool(rule.get("IsEgress")), protocol, *ports, str(peer))


def wider(
    network: Json, groups: Mapping[str, str], rules: Sequence[Json]
) -> Iterator[tuple[str, Json, Opening]]:
    """(logical id of the group, the rule, what it opens) of every rule that lets through more than the tier
    declares for its group. `groups`: id of each group by logical id."""
    names = {group: name for name, group in groups.items()}
    for name, openings in declared(network).items():
        allowed = [_with_ids(opening, groups) for opening in openings]
        for rule in rules:
            opening = in_force(rule)
            if names.get(rule["GroupId"]) == name and not any(_covers(one, opening) for one in allowed):
                yield name, rule, opening


def _with_ids(opening: Opening, groups: Mapping[str, str]) -> Opening:
    peer = groups.get(opening.peer, opening.peer)
    return Opening(opening.egress, opening.protocol, opening.first, opening.last, peer)


def _covers(allowed: Opening, opening: Opening) -> bool:
    """Whether everything that the second lets through the first does, too."""
    return (
        allowed.egress == opening.egress
        and allowed.protocol in ("-1", opening.protocol)
        and allowed.first <= opening.first
        and opening.last <= allowed.last
        and (allowed.peer == opening.peer or _within(opening.peer, allowed.peer))
    )


def _within(inner: str, outer: str) -> bool:
    try:
        return ipaddress.IPv4Network(inner, False).subnet_of(ipaddress.IPv4Network(outer, False))
    except ValueError:  # one of them is no range of IPv4 addresses
        return False
