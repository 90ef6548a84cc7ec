from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool


class Server:
    name: str
    addresses: tuple[str, ...]

    def running(self) -> bool:
        """systemd reached `running` or `degraded`."""
        raise NotImplementedError

    def alive(self) -> bool:
        """PID 1 of the server lives."""
        raise NotImplementedError

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes = b"",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run as root in a transient unit; the whole process tree dies on time-out (seconds)."""
        raise NotImplementedError

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        raise NotImplementedError

    def shutdown(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError
