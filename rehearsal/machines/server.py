"""One server: a systemd-nspawn machine from the image, with an overlay, a network and a cgroup of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.machines import cgroups

REBOOT = 133
"""systemd-nspawn's exit code when the machine inside asked for a reboot."""
SHUTDOWN_SECONDS = 20
STOP_SECONDS = 2  # between SIGTERM and SIGKILL for a command that ran out of time
GRACE = 10  # seconds beyond a command's own time in which systemd must have ended it
UP = {"running", "degraded"}


@dataclass(frozen=True)
class Result:
    """How a command ended. `timed_out`: it was killed, with all its children, for taking too long."""

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool


@dataclass(frozen=True)
class Disk:
    """What a server is made of: the mounted root, its network namespace, folders bound into it."""

    run: Path
    root: Path
    network: Path
    console: Path
    binds: Mapping[str, Path] = field(default_factory=dict)
    """Path inside → folder outside."""


class Server:
    """A machine with systemd as PID 1. Made by Machines.boot. Thread-safe."""

    def __init__(self, name: str, addresses: Sequence[str], disk: Disk) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self.rebooted: Callable[[], None] = lambda: None
        self._disk = disk
        self.turn = threading.RLock()
        """Held while the server is booted or ended, so that the one waits for the other."""
        self._up = False
        self._ending = False
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def start(self) -> None:
        """Boot; returns when PID 1 runs. Raises RuntimeError with the console's last words."""
        self._launch()
        threading.Thread(target=self._attend, name=f"server-{self.name}", daemon=True).start()

    def alive(self) -> bool:
        """PID 1 of the server lives."""
        process = self._process
        return process is not None and process.poll() is None and Path(f"/proc/{self._leader}/ns").exists()

    def running(self) -> bool:
        """systemd reached `running` or `degraded`."""
        if not self._up and self.alive():
            said = subprocess.run(
                [*self._enter(), "systemctl", "is-system-running"],
                capture_output=True,
                check=False,
                timeout=60,
            )
            self._up = said.stdout.decode().strip() in UP
        return self._up and self.alive()

    def wait_running(self, timeout: float = 240) -> None:
        """Return as soon as `running()`. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self.running():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not come up in {timeout} s: {self.console()}")
            time.sleep(0.05)

    def active(self, unit: str, timeout: float = 30) -> bool:
        """Whether this unit of the server is active; it is asked often. Raises subprocess.TimeoutExpired."""
        asked = [*self._enter(), "systemctl", "is-active", "--quiet", unit]
        return self.alive() and subprocess.run(asked, check=False, timeout=timeout).returncode == 0

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes = b"",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run as root in a transient unit; the whole process tree dies on time-out (seconds).

        Arguments and `env` can be read by any process of the region: give secrets on `stdin`.
        Raises RuntimeError when the server is gone.
        """
        if not self.alive():
            raise RuntimeError(f"{self.name} is not running")
        command = [*self._enter(), *transient_unit(argv, timeout, env or {})]
        started = time.monotonic()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout + STOP_SECONDS + GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                stdout, stderr = process.communicate()
        late = time.monotonic() - started >= timeout
        return Result(process.returncode, stdout, stderr, late and process.returncode != 0)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file of root's, in place of any there, its folders made. Raises RuntimeError."""
        done = self.run(["install", "-D", f"-m{mode:o}", "/dev/stdin", path], data)
        if done.code != 0:
            raise RuntimeError(f"{self.name}: writing {path} failed: {done.stderr.decode()}")

    def socket_path(self, path: str) -> str:
        """A path of the server (no absolute symlink in it) as a process of the region opens it."""
        return f"/proc/{self._leader}/root{path}"

    def console(self) -> str:
        """The last that the machine said on its console."""
        return self._disk.console.read_text(errors="replace")[-2000:] if self._disk.console.exists() else ""

    def shutdown(self) -> None:
        """Power off in order, as a stopped instance does; killed if it takes over 20 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Lose the machine at once, as when its host fails."""
        self._ending = True
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self._ending = True
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._up = False

    def _launch(self) -> None:
        folders = cgroups.create(self._disk.run, self.name)
        with self._disk.console.open("ab") as console:
            self._process = subprocess.Popen(
                [*cgroups.joining(folders), *nspawn_command(self.name, self._disk)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._leader = self._find_leader(self._process)

    def _find_leader(self, process: subprocess.Popen[bytes], timeout: float = 20) -> int:
        """The machine's PID 1 as seen from here: the child that is number 1 in a deeper PID namespace."""
        deadline = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < deadline:
            for child in _children(process.pid):
                if _command(child) in {"systemd", "init"}:
                    return child
            time.sleep(0.01)
        process.kill()
        process.wait()
        raise RuntimeError(f"{self.name} did not start: {self.console()}")

    def _attend(self) -> None:
        """Start again after a reboot; otherwise the server is gone when its process is."""
        while True:
            process = self._process
            assert process is not None
            code = process.wait()
            self._up = False
            if code != REBOOT or self._ending:
                return
            self._launch()
            self.rebooted()

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._leader), "--all", "--"]


def transient_unit(argv: Sequence[str], timeout: float, env: Mapping[str, str]) -> list[str]:
    """The systemd-run command line. systemd would expand `$` in arguments, so each is doubled."""
    limits = {"RuntimeMaxSec": f"{timeout:g}", "TimeoutStopSec": str(STOP_SECONDS)}
    settings = [f"--property={name}={value}" for name, value in limits.items()]
    variables = [f"--setenv={name}={value}" for name, value in {"HOME": "/root", **env}.items()]
    words = [word.replace("$", "$$") for word in argv]
    return ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *settings, *variables, "--", *words]


def nspawn_command(name: str, disk: Disk) -> list[str]:
    """The machine's command line. --keep-unit and --register=no: the host's systemd need not exist."""
    return [
        "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={disk.root}",
        f"--machine={name}", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        f"--network-namespace-path={disk.network}", "--console=pipe",
        *(f"--bind={outside}:{inside}" for inside, outside in disk.binds.items()),
        "--boot",
    ]  # fmt: skip


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
