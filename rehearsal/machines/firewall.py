"""Security groups as nftables rules: stateful, default deny, the union of an address's groups.

A packet from A to B passes when a rule of A's groups lets it out and one of B's groups lets it in;
connections that stand survive a change, as tracked ones do on AWS. What is dropped is dropped
silently. Always reachable from servers, whatever their groups say: instance metadata and the resolver
(as on AWS), and the region's endpoint (on AWS: the services' public endpoints).
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from rehearsal.machines.commands import execute
from rehearsal.machines.places import (
    CONTROL_PLANE_MARK,
    ENDPOINT_ADDRESS,
    ENDPOINT_PORT,
    ENDPOINT_TLS_PORT,
    METADATA_ADDRESS,
    PUBLIC_RANGE,
)

TABLE = "inet region"


@dataclass(frozen=True)
class Rule:
    """protocol: tcp, udp, icmp or all; ports inclusive (ignored for icmp and all); peer: CIDR or group id."""

    protocol: str
    from_port: int
    to_port: int
    peer: str


@dataclass(frozen=True)
class SecurityGroup:
    """What may come in and what may go out; empty means nothing."""

    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()


class Firewall:
    """The rules in force. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def open(self) -> None:
        """Nothing passes but what every region allows."""
        self.apply({}, {})

    def apply(self, groups: Mapping[str, SecurityGroup], members: Mapping[str, Collection[str]]) -> None:
        """Put these groups in force at once; `members` maps an address to the ids of its groups.

        An address without a group neither sends nor receives. A rule whose peer is a group without
        members matches nobody.
        """
        text = ruleset(groups, members)
        with self._lock:
            execute(["nft", "-f", "-"], stdin=text)


def ruleset(groups: Mapping[str, SecurityGroup], members: Mapping[str, Collection[str]]) -> str:
    """The whole table as nft reads it; one load replaces the former one atomically."""
    holders = _holders(members)
    return "\n".join(
        [
            f"table {TABLE}",  # so that the deletion below finds one the first time too
            f"delete table {TABLE}",
            f"table {TABLE} {{",
            *_base_chains(),
            "chain egress {",
            *_rules(groups, holders, egress=True),
            "}",
            "chain ingress {",
            *_rules(groups, holders, egress=False),
            "}",
            "}",
            "",
        ]
    )


def _base_chains() -> list[str]:
    return [
        "chain forward {",
        "type filter hook forward priority filter; policy drop;",
        "ct state established,related accept",
        "jump egress",  # a match goes on to the ingress chain; whoever comes back is dropped
        "}",
        "chain input {",
        "type filter hook input priority filter; policy drop;",
        'iifname "lo" accept',
        "ct state established,related accept",
        f"ip daddr {METADATA_ADDRESS} tcp dport 80 accept",
        f"ip daddr {ENDPOINT_ADDRESS} tcp dport {{ {ENDPOINT_PORT}, {ENDPOINT_TLS_PORT} }} accept",
        "udp dport 53 accept",
        "tcp dport 53 accept",
        "}",
        "chain output {",
        "type filter hook output priority filter; policy drop;",
        # AWS answers nothing for an address that nobody holds; the router's own word would tell.
        'oifname != "lo" icmp type destination-unreachable icmp code host-unreachable drop',
        'oifname "lo" accept',
        "ct state established,related accept",
        f"meta mark {CONTROL_PLANE_MARK:#x} accept",
        f"ip daddr {PUBLIC_RANGE} goto ingress",
        "}",
    ]


def _holders(members: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Group id → the addresses that hold it."""
    holders: dict[str, list[str]] = {}
    for address, group_ids in sorted(members.items()):
        for group_id in group_ids:
            holders.setdefault(group_id, []).append(address)
    return holders


def _rules(
    groups: Mapping[str, SecurityGroup], holders: Mapping[str, list[str]], egress: bool
) -> Iterator[str]:
    own, other, verdict = ("saddr", "daddr", "goto ingress") if egress else ("daddr", "saddr", "accept")
    for group_id, group in sorted(groups.items()):
        if group_id not in holders:
            continue
        mine = _addresses(holders[group_id])
        for rule in group.egress if egress else group.ingress:
            peer = _peer(rule.peer, holders)
            if peer is not None:
                parts = [f"ip {own} {mine}", peer and f"ip {other} {peer}", _service(rule), verdict]
                yield " ".join(part for part in parts if part)


def _peer(peer: str, holders: Mapping[str, list[str]]) -> str | None:
    """The peer as nft writes it: "" for everybody, None for nobody."""
    if "/" not in peer:
        return _addresses(holders[peer]) if peer in holders else None
    network = ipaddress.ip_network(peer, strict=False)
    if network.version != 4:  # the region has no IPv6
        return None
    return "" if network.prefixlen == 0 else str(network)


def _service(rule: Rule) -> str:
    match rule.protocol.lower():
        case "all" | "-1":
            return ""
        case "icmp" | "1":
            return "meta l4proto icmp"
        case "tcp" | "udp" | "6" | "17" as protocol:
            name = {"6": "tcp", "17": "udp"}.get(protocol, protocol)
            return f"{name} dport {rule.from_port}-{rule.to_port}"
    raise ValueError(f"security group rule with protocol {rule.protocol!r}: tcp, udp, icmp or all is offered")


def _addresses(addresses: Collection[str]) -> str:
    return "{ " + ", ".join(addresses) + " }"
