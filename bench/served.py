"""Which release each server serves, and since when, seen past the load balancer.

    python -m bench.served ADDRESS…   (inside the region; ends when its standard input does)

Asks every server ten times a second, through its nginx, and prints a line of JSON whenever another release
than before answers: {"address", "release" (null: no answer), "time"}.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rehearsal import host
from rehearsal.machines.places import CONTROL_PLANE_MARK

EVERY = 0.1  # seconds
PATIENCE = 2.0


class Seen:
    """What the servers of these addresses serve now."""

    def __init__(self, process: subprocess.Popen[str], addresses: Sequence[str]) -> None:
        self._process = process
        self._serves: dict[str, tuple[str | None, float]] = dict.fromkeys(addresses, (None, 0.0))
        threading.Thread(target=self._read, daemon=True).start()

    def since(self, release: str) -> float | None:
        """When the last server began to serve this release (time.time()); None while one does not."""
        now = list(self._serves.values())
        return max(since for _, since in now) if all(serves == release for serves, _ in now) else None

    def wait(self, release: str, seconds: float) -> float:
        """`since`, as soon as all serve it. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while (since := self.since(release)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not every server serves {release} after {seconds} s: {self._serves}")
            time.sleep(0.02)
        return since

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self._serves[told["address"]] = (told["release"], told["time"])


@contextmanager
def seen(paths: host.Paths, addresses: Sequence[str]) -> Iterator[Seen]:
    """Looks at the servers while this block runs."""
    process = subprocess.Popen(
        host.inside(paths, [sys.executable, "-m", "bench.served", *addresses]),
        cwd=host.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Seen(process, addresses)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Marked(http.client.HTTPConnection):
    """A connection that security groups let through, as the region's own checks are."""

    def connect(self) -> None:
        """Mark the socket before it is used."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CONTROL_PLANE_MARK)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((self.host, self.port))


def served(address: str) -> str | None:
    """The release that a server answers with now, by the application's own word."""
    connection = Marked(address, 3000)
    try:
        connection.request("GET", "/up", headers={"Host": "arable.example", "X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        answer.read()
        return answer.headers["X-Release"] if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def follow(address: str, stop: threading.Event) -> None:
    """Tell of every change until `stop`."""
    known: str | None = ""
    while not stop.wait(EVERY):
        release = served(address)
        if release != known:
            known = release
            told = {"address": address, "release": release, "time": time.time()}
            sys.stdout.write(f"{json.dumps(told)}\n")
            sys.stdout.flush()


def main() -> None:
    """Follow all of them until standard input ends."""
    stop = threading.Event()
    for address in sys.argv[1:]:
        threading.Thread(target=follow, args=(address, stop), daemon=True).start()
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
