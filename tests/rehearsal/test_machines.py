"""The data plane on its own: in namespaces that nothing can leave, and that leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal import host
from rehearsal.machines import build_image, cgroups, namespace
from rehearsal.machines.commands import execute

HERE = Path(__file__).parent
MODULE = "tests.rehearsal.inside_machines"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="real servers need Linux and root"
)


@pytest.fixture(scope="module")
def image() -> Path:
    """The servers' image, built if it is not there yet."""
    return build_image(host.Paths().cache, print)


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """A listening socket of the host for the region to serve."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def links() -> list[str]:
    return [link["ifname"] for link in json.loads(execute(["ip", "-j", "link"]))]


def mounts_below(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]


def living(run: Path) -> list[str]:
    """Processes of the region's servers, by their control groups."""
    return [
        pid
        for root in cgroups.roots()
        for file in (root / cgroups.family(run)).rglob("cgroup.procs")
        for pid in members(file)
    ]


def members(group: Path) -> list[str]:
    """The processes of a control group; none of one that went away while we were looking."""
    try:
        return group.read_text().split()
    except OSError:
        return []


def answer(door: socket.socket, seconds: float = 60) -> int:
    """The status with which the region's load balancer answers through the host's socket."""
    address, port = door.getsockname()
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}:{port}/", timeout=30) as answered:
                return int(answered.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def wait_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def test_everything_inside(image: Path, tmp_path: Path) -> None:
    """Run inside_machines.py within a region's namespaces; the host sees none of it."""
    before = links()
    process = namespace.enter(
        "pytest",
        [
            str(HERE / "inside_machines.py"),
            "-rP",
            "-p",
            "no:cacheprovider",
            f"--basetemp={tmp_path / 'inside'}",
        ],
        env={"SLIPWAY_TEST_IMAGE": str(image)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _nothing = process.communicate()
    print(said.decode())
    assert process.returncode == 0
    assert links() == before
    assert mounts_below(tmp_path) == []


def test_a_region_serves_the_hosts_socket_and_ends_in_order(
    image: Path, tmp_path: Path, door: socket.socket
) -> None:
    process = namespace.enter(MODULE, [str(tmp_path), str(image)], [door], stdout=subprocess.PIPE)
    wait_ready(process)
    assert answer(door) == 503
    assert living(tmp_path)
    inside = namespace.nsenter_command(namespace.leader_pid(process), ["ip", "-j", "address", "show", "lo"])
    assert "169.254.169.254" in execute(inside)
    assert namespace.stop(process) == 0
    assert not [folder for root in cgroups.roots() for folder in root.glob(cgroups.family(tmp_path))]
    assert list((tmp_path / "servers").iterdir()) == []


def test_a_killed_starter_takes_everything_along(image: Path, tmp_path: Path, door: socket.socket) -> None:
    """SIGKILL to whoever started the region: no process, mount, link or namespace file of it remains."""
    before = links()
    program = (
        "import socket, sys; from rehearsal.machines import namespace;"
        f"door = socket.socket(fileno={door.fileno()});"
        f"namespace.enter({MODULE!r}, sys.argv[1:], [door]).wait()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(image)],
        stdout=subprocess.PIPE,
        pass_fds=[door.fileno()],
    )
    wait_ready(starter)
    assert living(tmp_path)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 60
    while living(tmp_path):
        assert time.monotonic() < deadline, "servers outlive their region"
        time.sleep(0.1)
    assert links() == before
    assert mounts_below(tmp_path) == []

    # What the kernel keeps is empty, and the next start in the same folder removes it.
    process = namespace.enter(MODULE, [str(tmp_path), str(image)], [door], stdout=subprocess.PIPE)
    try:
        wait_ready(process)
        assert answer(door) == 503
    finally:
        assert namespace.stop(process) == 0
    assert not [folder for root in cgroups.roots() for folder in root.glob(cgroups.family(tmp_path))]


def test_two_regions_cannot_share_a_folder(image: Path, tmp_path: Path, door: socket.socket) -> None:
    arguments = [str(tmp_path), str(image)]
    first = namespace.enter(MODULE, arguments, [door], stdout=subprocess.PIPE)
    with contextlib.ExitStack() as after:
        after.callback(namespace.stop, first)
        wait_ready(first)
        second = namespace.enter(MODULE, arguments, [door], stderr=subprocess.PIPE)
        said = second.communicate()[1].decode()
        assert second.returncode != 0
        assert f"another region lives in {tmp_path}" in said
        assert answer(door) == 503, "the first one is unharmed"
