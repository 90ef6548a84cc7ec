from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rehearsal.machines.firewall import Firewall
from rehearsal.machines.metadata import Instance, Metadata
from rehearsal.machines.network import Network
from rehearsal.machines.resolver import Resolver
from rehearsal.machines.server import Server


class Machines:
    network: Network
    firewall: Firewall
    resolver: Resolver
    metadata: Metadata

    def __init__(
        self,
        run: Path,
        image: Path,
        lookup: Callable[[str, str, str], list[str]] | None = None,
        who: Callable[[str], Instance | None] | None = None,
        trusted: Sequence[Path] = (),
        log: Callable[[str], None] = print,
    ) -> None:
        """`run`: folder for everything that servers write; `trusted`: CA files that every server trusts.

        `lookup` (name, type, source address) → answers, and `who` (source address) → instance may also be set
        later: `machines.resolver.lookup = …`, `machines.metadata.who = …`.
        """
        raise NotImplementedError

    def open(self) -> None:
        """Network, firewall (deny all), resolver, metadata. Needs a region namespace (namespace.enter)."""
        raise NotImplementedError

    def boot(
        self,
        name: str,
        addresses: Sequence[str],
        services: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
    ) -> Server:
        """Start a server; returns when its PID 1 runs. Ask `.running()` whether it is up."""
        raise NotImplementedError

    def end(self, name: str, orderly: bool = True) -> None:
        """Shut the server down (or kill it), unplug it, delete its disk. Unknown names are ignored."""
        raise NotImplementedError

    def get(self, name: str) -> Server | None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
