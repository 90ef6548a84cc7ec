"""The region's own world: new network, mount and PID namespaces around one Python module.

Nothing that is plugged, mounted or started inside can be seen or stay outside: when the first process
ends, in whatever way, the kernel ends the others and drops mounts, links, routes and rules with them.
The host reaches the inside only through listening sockets that are handed in.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from rehearsal.machines.commands import execute
from rehearsal.machines.places import RESOLVER_ADDRESS

SOCKETS_VARIABLE = "SLIPWAY_SOCKETS"
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
UNSHARE += ["--propagation", "private"]


def enter(
    module: str,
    argv: Sequence[str] = (),
    sockets: Sequence[socket.socket] = (),
    die_with_parent: bool = True,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Run `python -m module argv…` in new network, mount and PID namespaces, with listening `sockets`.

    Everything inside dies with the process returned, and also with the calling *thread* if
    `die_with_parent`. It has a session of its own: a terminal's Ctrl-C reaches only the caller, which
    ends the region in order with `stop()` (it ignores SIGTERM itself). `env` is added to the environment;
    `stdout` and `stderr` are as for subprocess.Popen. Inside, `inherited_sockets()` gives the sockets,
    under the same numbers as outside. Needs root.
    """
    descriptors = [listening.fileno() for listening in sockets]
    inside = [sys.executable, "-m", "rehearsal.machines.namespace", module, *argv]
    dying = ["setpriv", "--pdeathsig", "KILL", "--"] if die_with_parent else []
    return subprocess.Popen(
        [*dying, *UNSHARE, *inside],
        pass_fds=descriptors,
        env={**os.environ, **(env or {}), SOCKETS_VARIABLE: ",".join(map(str, descriptors))},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def inherited_sockets() -> list[socket.socket]:
    """The sockets that were given to `enter`, in that order. They are not passed on to children."""
    numbers = os.environ.get(SOCKETS_VARIABLE, "")
    sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]
    for inherited in sockets:
        inherited.set_inheritable(False)
    return sockets


def leader_pid(process: subprocess.Popen[bytes], timeout: float = 60) -> int:
    """The host's PID of the namespaces' first process. Raises RuntimeError if there is none in time."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        pids = children.read_text().split()
        if pids:
            return int(pids[0])
        time.sleep(0.01)
    raise RuntimeError("the region's first process did not start")


def nsenter_command(leader: int, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` inside a living region, in the present folder."""
    entering = ["nsenter", "--target", str(leader), "--net", "--mount", "--pid"]
    return [*entering, "--", "env", f"--chdir={Path.cwd()}", *argv]


def stop(process: subprocess.Popen[bytes], timeout: float = 60) -> int:
    """Ask the module inside to end (SIGTERM), kill everything after `timeout` seconds; its exit code."""
    if process.poll() is None:
        try:
            os.kill(leader_pid(process), signal.SIGTERM)
        except (RuntimeError, ProcessLookupError):
            process.kill()
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main() -> None:
    """First process inside: settle the names, run the module as a child, bury orphans, end with it."""
    module, *argv = sys.argv[1:]
    _use_the_regions_resolver()
    execute(["ip", "link", "set", "lo", "up"])
    child = os.fork()
    if child == 0:
        sys.argv = [module, *argv]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    # Whoever interrupts also interrupts the module, which then closes in order; this process outwaits it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(child, signal.SIGTERM))
    sys.stdout.flush()
    os._exit(_bury_until(child))


def _bury_until(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _use_the_regions_resolver() -> None:
    """Names are resolved by the region alone: the host's resolver configuration is covered, not changed."""
    _cover(Path("/etc/resolv.conf"), f"nameserver {RESOLVER_ADDRESS}\noptions timeout:1 attempts:2\n")
    services = Path("/etc/nsswitch.conf")
    if services.exists():
        # "resolve" and "mdns" would ask the host's daemons through sockets in the file system.
        others = [line for line in services.read_text().splitlines() if not line.startswith("hosts:")]
        _cover(services, "\n".join([*others, "hosts: files dns", ""]))


def _cover(path: Path, text: str) -> None:
    if not path.exists():
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        Path(file.name).chmod(0o644)
        execute(["mount", "--bind", file.name, str(path.resolve())])
    # The file's name is gone, its content lives as long as the mount does.


if __name__ == "__main__":
    main()
