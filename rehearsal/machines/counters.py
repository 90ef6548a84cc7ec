"""What a load balancer has counted since it was made, whatever became of the processes that counted. Pure.

HAProxy's counters begin anew with each process, that is with each reload, and end with the server that they
belong to: only differences between two readings of one process are added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rehearsal.machines.haproxy import Reading


@dataclass(frozen=True)
class Count:
    """requests: those for which a target was chosen; errors: 5xx that targets answered."""

    requests: int = 0
    errors: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.requests + other.requests, self.errors + other.errors)

    def __sub__(self, other: Count) -> Count:
        return Count(self.requests - other.requests, self.errors - other.errors)


@dataclass(frozen=True)
class Counted:
    """groups: target group (ARN) → its count; all: of all groups that ever were; own: 5xx that the load
    balancer answered itself; states: target group (ARN) → the states of its targets in ELBv2's words."""

    groups: Mapping[str, Count] = field(default_factory=dict)
    all: Count = Count()
    own: int = 0
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Counters:
    """Adds readings up."""

    def __init__(self) -> None:
        self.own = 0
        self._backends: dict[str, Count] = {}
        self._process = ""
        self._servers: dict[tuple[str, str], Count] = {}
        self._own_of_process = 0

    @property
    def all(self) -> Count:
        """Of all backends that ever were."""
        return sum(self._backends.values(), Count())

    def of(self, backend: str) -> Count:
        """Of one backend."""
        return self._backends.get(backend, Count())

    def take(self, reading: Reading) -> None:
        """Another reading. A server that it has no more keeps what was read of it last."""
        if reading.process != self._process:
            self._process, self._servers, self._own_of_process = reading.process, {}, 0
        for key, line in reading.servers.items():
            count = Count(line.requests, line.errors)
            self._backends[key[0]] = self.of(key[0]) + count - self._servers.get(key, Count())
            self._servers[key] = count
        # A target's 5xx is counted when it arrives, the listener's when it has been handed on: between the
        # two this is too small. It is never too large.
        own = reading.errors - sum(count.errors for count in self._servers.values())
        self.own += max(0, own - self._own_of_process)
        self._own_of_process = max(own, self._own_of_process)
