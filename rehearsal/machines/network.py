"""Wires of the region: a network namespace for each server, addresses of VPCs, no way out.

Every server hangs on a veth of its own whose other end is in the region's root namespace, which
routes between them by /32 routes. There is no default route: what is not in the region is nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import threading
from collections.abc import Sequence
from pathlib import Path

from rehearsal.machines.commands import ToolFailed, execute
from rehearsal.machines.places import (
    ENDPOINT_ADDRESS,
    GATEWAY_ADDRESS,
    GATEWAY_MAC,
    INTERNET_ADDRESS,
    METADATA_ADDRESS,
    PUBLIC_RANGE,
    RESOLVER_ADDRESS,
    RESOLVER_OFFSET,
)

SETTINGS = {
    "net/ipv4/ip_forward": "1",
    # A server can only speak with its own addresses.
    "net/ipv4/conf/all/rp_filter": "1",
    "net/ipv4/conf/default/rp_filter": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    # Each attempt to leave the region is refused at once, not only one a second.
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}


class Network:
    """The region's wires. `folder` holds the files on which server namespaces are mounted. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._vpcs: dict[str, ipaddress.IPv4Network] = {}
        self._plugged: dict[str, tuple[str, ...]] = {}

    def open(self) -> None:
        """Prepare the root namespace: forwarding on, the region's own addresses on `lo`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, value in SETTINGS.items():
            path = Path("/proc/sys") / name
            if path.exists():
                path.write_text(value)
        own = [ENDPOINT_ADDRESS, METADATA_ADDRESS, RESOLVER_ADDRESS, INTERNET_ADDRESS]
        _ip_batch(
            ["link set lo up"]
            + [f"address add {address}/32 dev lo" for address in own]
            + [f"route add unreachable {PUBLIC_RANGE}"]
        )

    def close(self) -> None:
        """Take everything away that this object has made."""
        for name in list(self._plugged):
            self.unplug(name)
        for vpc_id in list(self._vpcs):
            self.remove_vpc(vpc_id)

    def add_vpc(self, vpc_id: str, cidr: str) -> None:
        """Make a VPC's range known; its resolver answers at +2. Ranges of two VPCs may not overlap."""
        network = ipaddress.IPv4Network(cidr)
        with self._lock:
            for other_id, other in self._vpcs.items():
                if other.overlaps(network):
                    raise ValueError(
                        f"{vpc_id} {cidr} overlaps {other_id} {other}: one region routes them all"
                    )
            _ip_batch([f"route add unreachable {network}", f"address add {_resolver_of(network)}/32 dev lo"])
            self._vpcs[vpc_id] = network

    def remove_vpc(self, vpc_id: str) -> None:
        """Forget a VPC; an unknown one is ignored."""
        with self._lock:
            network = self._vpcs.pop(vpc_id, None)
            if network is not None:
                _ip_batch(
                    [f"route del unreachable {network}", f"address del {_resolver_of(network)}/32 dev lo"]
                )

    def resolver_for(self, address: str) -> str:
        """The resolver that a server with this address is told of."""
        wanted = ipaddress.IPv4Address(address)
        with self._lock:
            return next(
                (_resolver_of(network) for network in self._vpcs.values() if wanted in network),
                RESOLVER_ADDRESS,
            )

    def plug(self, name: str, addresses: Sequence[str]) -> Path:
        """A network namespace with these /32 addresses (the first is the source of its own traffic).

        Usable without a server too: run a program in it by `nsenter --net=<path> -- …`.
        """
        path = self._folder / name
        link = link_name(name)
        with self._lock:
            if name in self._plugged:
                raise ValueError(f"{name} is plugged in already")
            path.touch()
            execute(["unshare", f"--net={path}", "true"])
            self._plugged[name] = tuple(addresses)
            try:
                _ip_batch(region_side(link, str(path), addresses))
                _ip_batch(server_side(addresses), inside=path)
            except ToolFailed:
                self.unplug(name)
                raise
        return path

    def unplug(self, name: str) -> None:
        """Remove the namespace and its wire; an unknown name is ignored."""
        with self._lock:
            if self._plugged.pop(name, None) is None:
                return
            _quietly(["ip", "link", "delete", link_name(name)])
            _quietly(["umount", str(self._folder / name)])
            (self._folder / name).unlink(missing_ok=True)


def link_name(name: str) -> str:
    """The region's end of a server's wire: interface names hold 15 characters, server names more."""
    return "v" + hashlib.sha256(name.encode()).hexdigest()[:12]


def region_side(link: str, namespace: str, addresses: Sequence[str]) -> list[str]:
    """Lines for `ip -batch`: the wire, and a route to each address of its far end."""
    return [
        f"link add {link} address {GATEWAY_MAC} type veth peer name eth0 netns {namespace}",
        f"link set {link} up",
        *(f"route add {address}/32 dev {link} src {INTERNET_ADDRESS}" for address in addresses),
    ]


def server_side(addresses: Sequence[str]) -> list[str]:
    """Lines for `ip -batch` within the server's namespace: its addresses and the way to the region."""
    return [
        "link set lo up",
        *(f"address add {address}/32 dev eth0" for address in addresses),
        "link set eth0 up",
        f"neighbour add {GATEWAY_ADDRESS} lladdr {GATEWAY_MAC} dev eth0 nud permanent",
        f"route add {GATEWAY_ADDRESS} dev eth0 scope link",
        f"route add default via {GATEWAY_ADDRESS} src {addresses[0]}",
    ]


def _resolver_of(network: ipaddress.IPv4Network) -> str:
    return str(network.network_address + RESOLVER_OFFSET)


def _ip_batch(lines: Sequence[str], inside: Path | None = None) -> None:
    entering = ["nsenter", f"--net={inside}", "--"] if inside else []
    execute([*entering, "ip", "-batch", "-"], stdin="\n".join(lines) + "\n")


def _quietly(argv: Sequence[str]) -> None:
    with contextlib.suppress(ToolFailed):  # it is gone already: the end that was wanted
        execute(argv)
