"""Addresses of the region: private ones from their subnets, public ones from a documentation range.

Pure bookkeeping; nothing here touches a network.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Collection

PUBLIC_RANGE = ipaddress.IPv4Network("203.0.113.0/24")
"""TEST-NET-3 (RFC 5737): never routed, so a mistake cannot reach anybody."""

RESERVED_AT_START = 4
"""AWS keeps the network address, the router (+1), the resolver (+2) and +3 of every subnet, and the
last address. Source: VPC user guide, "Subnet sizing"."""


class NoFreeAddress(Exception):
    """The subnet or the public range is exhausted (AWS: InsufficientFreeAddressesInSubnet)."""


class AddressBook:
    """Who holds which address. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, cidr: str, wanted: str | None = None, avoid: Collection[str] = ()) -> str:
        """A free address of `cidr`, the `wanted` one if given.

        Addresses are given in turn rather than the lowest first, so that the address of an ended
        server is not at once another's.
        """
        network = ipaddress.IPv4Network(cidr)
        with self._lock:
            if wanted is not None:
                return self._claim(self._check(network, wanted))
            usable = network.num_addresses - RESERVED_AT_START - 1
            start = self._last.get(cidr, -1) + 1
            for step in range(usable):
                offset = (start + step) % usable
                address = str(network[RESERVED_AT_START + offset])
                if address not in self._taken and address not in avoid:
                    self._last[cidr] = offset
                    return self._claim(address)
        raise NoFreeAddress(f"no free address in {cidr}")

    def take_public(self) -> str:
        """A free public address of the region."""
        return self.take(str(PUBLIC_RANGE))

    def release(self, address: str) -> None:
        """Give an address back; one that nobody holds is ignored."""
        with self._lock:
            self._taken.discard(address)

    def taken_in(self, cidr: str) -> int:
        """How many addresses of `cidr` are held."""
        network = ipaddress.IPv4Network(cidr)
        with self._lock:
            return sum(ipaddress.IPv4Address(address) in network for address in self._taken)

    def _check(self, network: ipaddress.IPv4Network, wanted: str) -> str:
        address = ipaddress.IPv4Address(wanted)
        if address not in network or address in list(network)[:RESERVED_AT_START] or address == network[-1]:
            raise NoFreeAddress(f"{wanted} is not a usable address of {network}")
        if wanted in self._taken:
            raise NoFreeAddress(f"{wanted} is in use")
        return wanted

    def _claim(self, address: str) -> str:
        self._taken.add(address)
        return address
