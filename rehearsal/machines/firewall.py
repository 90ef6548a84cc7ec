from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """protocol: tcp, udp, icmp or all; ports inclusive (ignored for icmp and all); peer: CIDR or group id."""

    protocol: str
    from_port: int
    to_port: int
    peer: str


@dataclass(frozen=True)
class SecurityGroup:
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()


class Firewall:
    def apply(self, groups: Mapping[str, SecurityGroup], members: Mapping[str, Collection[str]]) -> None:
        """Put these groups in force at once; `members` maps an address to the ids of its groups."""
        raise NotImplementedError
