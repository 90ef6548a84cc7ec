from collections.abc import Sequence
from pathlib import Path


class Network:
    """Wires of the region: a network namespace for each server, addresses of VPCs, no way out."""

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def add_vpc(self, vpc_id: str, cidr: str) -> None:
        raise NotImplementedError

    def remove_vpc(self, vpc_id: str) -> None:
        raise NotImplementedError

    def plug(self, name: str, addresses: Sequence[str]) -> Path:
        """A network namespace with these /32 addresses (the first is the source of its own traffic).

        Usable without a server too: run a program in it by `nsenter --net=<path> -- …`.
        """
        raise NotImplementedError

    def unplug(self, name: str) -> None:
        raise NotImplementedError
