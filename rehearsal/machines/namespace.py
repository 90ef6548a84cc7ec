import socket
import subprocess
from collections.abc import Mapping, Sequence


def enter(
    module: str,
    argv: Sequence[str] = (),
    sockets: Sequence[socket.socket] = (),
    die_with_parent: bool = True,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Run `python -m module argv…` in new network, mount and PID namespaces, with listening `sockets`.

    Everything inside dies with the process returned. Inside, `inherited_sockets()` gives the sockets.
    """
    raise NotImplementedError


def inherited_sockets() -> list[socket.socket]:
    raise NotImplementedError


def leader_pid(process: subprocess.Popen[bytes]) -> int:
    """The host's PID of the namespaces' first process, for nsenter_command."""
    raise NotImplementedError


def nsenter_command(leader: int, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` inside a living region."""
    raise NotImplementedError
