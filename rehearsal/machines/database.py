from __future__ import annotations

from pathlib import Path

from rehearsal.machines.machines import Machines


class Database:
    """MariaDB on a server of its own, as RDS would run it. The data folder outlives the server."""

    @classmethod
    def start(
        cls,
        machines: Machines,
        name: str,
        address: str,
        port: int,
        master_user: str,
        master_password: str,
        database: str | None,
        data: Path,
    ) -> Database:
        """Boot the server; returns at once, `accepting()` tells when the master user can log in."""
        raise NotImplementedError

    def accepting(self) -> bool:
        raise NotImplementedError

    def set_master_password(self, password: str) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Orderly; the data stay."""
        raise NotImplementedError
