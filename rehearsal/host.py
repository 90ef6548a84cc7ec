"""The host's side of a region: what it needs, bringing it up, taking it down, cleaning up after a killed one.

Everything of a region lives in namespaces of its own and in `.rehearsal/run`; the host lends it three
listening sockets on the loopback address. So going down is: end one process, delete one folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rehearsal.machines import cgroups, namespace

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".rehearsal"

PACKAGES = (
    "mmdebstrap",
    "systemd-container",
    "squashfs-tools",
    "nftables",
    "iproute2",
    "util-linux",
    "ca-certificates",
)

READY_SECONDS = 120  # the control plane takes 2 s, the data plane opens in under 1 s; the rest is a slow disk
DOWN_SECONDS = (
    45  # servers shut down in parallel within 10 s, on a busy machine 30; then the namespaces are killed
)

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a program that a person has started."""

SERVER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What root's PATH is on Debian; nothing of this machine's environment goes to a server."""

Log = Callable[[str], None]


class Unable(Exception):
    """The host cannot do this; the message is the sentence for the user."""


@dataclass(frozen=True)
class Ports:
    """Ports on 127.0.0.1; 0 is any free one."""

    api: int = 4566
    """AWS's API."""
    https: int = 8443
    """Leads to port 443 of the load balancer."""
    http: int = 8080
    """Leads to port 80 of the load balancer."""


@dataclass(frozen=True)
class Paths:
    """Where a region keeps its things."""

    state: Path = STATE

    @property
    def cache(self) -> Path:
        """Kept: the servers' image."""
        return self.state / "cache"

    @property
    def run(self) -> Path:
        """Deleted when the region goes down."""
        return self.state / "run"

    @property
    def leader(self) -> Path:
        """File with the PID of the region's first process and when that process began."""
        return self.run / "leader.pid"

    @property
    def ports(self) -> Path:
        """File with the ports that were opened."""
        return self.run / "ports.json"

    @property
    def environment(self) -> Path:
        """File with the operator's variables, KEY=value."""
        return self.run / "environment"

    @property
    def log(self) -> Path:
        """What the region wrote; the former region's is kept beside the run folder."""
        return self.state / "region.log"

    @property
    def authority(self) -> Path:
        """The certificate authority that signs the region's certificates."""
        return self.run / "ca.pem"


def require(argv: list[str]) -> None:
    """Linux and root; becomes root through sudo (and says so) where it is not. Raises Unable."""
    if platform.system() != "Linux":
        raise Unable(f"The rehearsal needs Linux and root; this is {platform.system()}.")
    if os.geteuid() == 0:
        return
    sudo = shutil.which("sudo")
    if sudo is None:
        raise Unable("The rehearsal needs root for its servers' namespaces, and there is no sudo here.")
    print(f"The rehearsal needs root for its servers' namespaces: sudo {' '.join(argv)}", flush=True)
    os.execv(sudo, [sudo, "--preserve-env=PATH,TERM", *argv])


def install_packages() -> None:
    """Debian's packages that the servers need; those missing are installed and named. Raises Unable."""
    done = subprocess.run([ROOT / "tools" / "apt-install.sh", *PACKAGES], check=False)
    if done.returncode != 0:
        raise Unable("The packages that the rehearsal needs could not be installed (see above).")


# The leader: the first process of the region, as the host sees it


def began(pid: int) -> str:
    """The kernel's start time of a process (clock ticks since boot), which tells it from a later one
    with the same PID; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]  # field 22 of proc(5), 3 of them before the ")"


def leader(paths: Paths) -> int | None:
    """PID of the living region's first process, or None."""
    try:
        pid, since = paths.leader.read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if since and began(int(pid)) == since else None


def end_leader(pid: int, log: Log, patience: float = DOWN_SECONDS) -> None:
    """Ask the region to go down in order; kill its namespaces if it does not within `patience` seconds."""
    since = began(pid)
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 30.0)):
        if not since or began(pid) != since:
            return
        if number == signal.SIGKILL:
            log("the region did not go down in order: killing it")
        os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and began(pid) == since:
            time.sleep(0.05)
    if began(pid) == since:
        raise Unable(f"The region's first process ({pid}) does not end.")


def down(paths: Paths, log: Log) -> bool:
    """End the region if one runs, and delete what a killed one left. Returns whether there was any."""
    pid = leader(paths)
    there = pid is not None or paths.run.exists()
    if pid is not None:
        end_leader(pid, log)
    if paths.run.exists():
        cgroups.sweep(paths.run)
        delete(paths.run)
    return there


def delete(folder: Path) -> None:
    """Delete a folder of which a process that is just ending may still hold a part."""
    for attempt in range(20):
        try:
            shutil.rmtree(folder)
            return
        except FileNotFoundError:
            return
        except OSError:
            if attempt == 19:
                raise
            time.sleep(0.1)


# Up


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1. Raises Unable when the port is taken."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(("127.0.0.1", port))
    except OSError as error:
        opened.close()
        raise Unable(f"127.0.0.1:{port} is taken by another process ({error.strerror}).") from error
    opened.listen(256)
    return opened


def start(paths: Paths, log: Log, stay: bool, ports: Ports = Ports()) -> None:
    """Start a region and return when it answers. `stay`: it outlives this process. Raises Unable."""
    paths.state.mkdir(parents=True, exist_ok=True)
    with alone(paths):
        if leader(paths) is not None:
            raise Unable("A region is up already; `make region-down` ends it.")
        if down(paths, log):
            log("cleaned up after a region that was killed")
        try:
            launch(paths, stay, ports)
        except BaseException:
            with deaf():
                down(paths, log)
            raise


@contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """Within this block no other process starts a region here. Raises Unable when one does already."""
    with (paths.state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unable("Another process is just starting a region here.") from error
        yield


def launch(paths: Paths, stay: bool, ports: Ports) -> None:
    """Open the sockets, start the region's first process, wait until it is ready. Raises Unable."""
    paths.run.mkdir()
    paths.cache.mkdir(exist_ok=True)
    sockets = {name: listen(port) for name, port in asdict(ports).items()}
    paths.ports.write_text(json.dumps({name: one.getsockname()[1] for name, one in sockets.items()}))
    numbers = [word for name, one in sockets.items() for word in (f"--{name}-fd", str(one.fileno()))]
    with paths.log.open("wb") as written:
        process = namespace.enter(
            "rehearsal.region",
            ["--state", str(paths.state), *numbers],
            list(sockets.values()),
            die_with_parent=not stay,
            stdout=subprocess.PIPE,
            stderr=written,
        )
    for one in sockets.values():
        one.close()
    pid = namespace.leader_pid(process)
    paths.leader.write_text(f"{pid} {began(pid)}\n")
    if not wait_ready(process):
        raise Unable(f"The region did not come up. The end of {paths.log}:\n{tail(paths.log)}")


def wait_ready(process: subprocess.Popen[bytes]) -> bool:
    """Whether the region said `ready` in time."""
    assert process.stdout is not None
    deadline = time.monotonic() + READY_SECONDS
    with selectors.DefaultSelector() as waiting, process.stdout as lines:
        waiting.register(lines, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if waiting.select(left):
                line = lines.readline()
                if line.strip() == b"ready":
                    return True
                if not line:
                    return False
    return False


def tail(file: Path, lines: int = 25) -> str:
    """The last lines of a text file."""
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


@contextmanager
def region(paths: Paths, log: Log, ports: Ports = Ports()) -> Iterator[None]:
    """A region that is up within this block, and wholly gone after it, Ctrl-C and failures included."""
    start(paths, log, stay=False, ports=ports)
    try:
        yield
    finally:
        with deaf():
            down(paths, log)


@contextmanager
def deaf() -> Iterator[None]:
    """Going down is not to be interrupted half-way, by a second Ctrl-C for example."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def environment(paths: Paths) -> dict[str, str]:
    """The operator's variables. Raises Unable when no region is up."""
    if leader(paths) is None:
        raise Unable("No region is up; `make region` starts one.")
    pairs = (line.partition("=") for line in paths.environment.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def opened_ports(paths: Paths) -> Ports:
    """The ports of the region that is up."""
    return Ports(**json.loads(paths.ports.read_text()))


def inside(paths: Paths, argv: list[str]) -> list[str]:
    """The command line that runs `argv` in the region's namespaces. Raises Unable."""
    pid = leader(paths)
    if pid is None:
        raise Unable("No region is up; `make region` starts one.")
    return namespace.nsenter_command(pid, argv)


def servers(paths: Paths) -> dict[str, int]:
    """Name → PID of the first process, as the host sees it, of each server of the region that is up."""
    first = leader(paths)
    if first is None:
        return {}
    found: dict[str, int] = {}
    for pid in descendants(first):
        words = command_line(pid)
        if words and words[0].endswith("systemd-nspawn"):
            name = next(word.removeprefix("--machine=") for word in words if word.startswith("--machine="))
            inner = [child for child in children(pid) if process_name(child) in ("systemd", "init")]
            if inner:
                found[name] = inner[0]
    return dict(sorted(found.items()))


def on_server(paths: Paths, name: str, argv: list[str]) -> list[str]:
    """The command line that runs `argv` on a server of the region. Raises Unable for an unknown one."""
    there = servers(paths)
    if name not in there:
        raise Unable(f"No server {name}. There are: {', '.join(there) or 'none'}.")
    environment = ["env", "-i", "HOME=/root", f"TERM={os.environ.get('TERM', 'dumb')}", f"PATH={SERVER_PATH}"]
    settings = ["sh", "-c", 'set -a; [ ! -f /etc/environment ] || . /etc/environment; exec "$@"', "sh"]
    return ["nsenter", "--target", str(there[name]), "--all", "--", *environment, *settings, *argv]


def descendants(pid: int) -> Iterator[int]:
    """All processes below one."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def children(pid: int) -> list[int]:
    """The processes that a process started (by any of its threads); none when it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread may end meanwhile, and so may the process
                found += map(int, task.read_text().split())
    return found


def command_line(pid: int) -> list[str]:
    """A process's arguments; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def process_name(pid: int) -> str:
    """A process's name; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def terminate_like_interrupt() -> None:
    """SIGTERM and SIGHUP end this process as Ctrl-C does, through every `finally`; ignored ones stay so."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in ENDINGS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, interrupt)


def say(text: str) -> None:
    """A line for the user, at once."""
    print(text, flush=True)


def complain(text: str) -> None:
    """A line about what went wrong."""
    print(text, file=sys.stderr, flush=True)
