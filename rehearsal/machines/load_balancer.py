from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rehearsal.machines.machines import Machines


@dataclass(frozen=True)
class Target:
    id: str
    address: str
    port: int
    draining: bool = False


@dataclass(frozen=True)
class TargetGroup:
    """Times in seconds. matcher as ELBv2 writes it: "200", "200,302", "200-299"."""

    arn: str
    health_path: str
    matcher: str
    interval: float
    healthy: int
    unhealthy: int
    timeout: float
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Listener:
    """certificate_pem: key and chain in one PEM, None = plain HTTP. default: a target group's arn or REDIRECT."""

    port: int
    certificate_pem: str | None
    default: str


REDIRECT = "redirect-to-https"


class LoadBalancer:
    """HAProxy on a server of its own."""

    @classmethod
    def start(cls, machines: Machines, name: str, addresses: Sequence[str]) -> LoadBalancer:
        raise NotImplementedError

    def apply(self, listeners: Sequence[Listener], groups: Sequence[TargetGroup]) -> None:
        """Put this configuration in force; a change of targets alone breaks no connection."""
        raise NotImplementedError

    def health(self, arn: str) -> Mapping[str, tuple[str, str]]:
        """Target id → (state, reason) in ELBv2's words; reason is "" when healthy."""
        raise NotImplementedError

    def sessions(self, arn: str, target: str) -> int:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError
