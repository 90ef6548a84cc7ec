"""Control groups of the servers: each its own folder, all below one that belongs to a run folder.

systemd needs a cgroup of its own in the hierarchies where it manages units. These folders are the only
thing of a region that the kernel keeps when everything is killed; they are empty then, and `sweep`
removes them at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

MOUNTS = Path("/sys/fs/cgroup")
HYBRID = ("systemd", "unified")
"""The hierarchies that systemd uses where version 1 controllers are mounted beside version 2."""


def roots() -> list[Path]:
    """Where folders for servers are made: one on version 2, two on a hybrid machine."""
    if (MOUNTS / "cgroup.procs").exists():
        return [MOUNTS]
    return [MOUNTS / name for name in HYBRID if (MOUNTS / name / "cgroup.procs").exists()]


def family(run: Path) -> str:
    """The name of the folder for all servers of the region with this run folder."""
    return "slipway-" + hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:12]


def create(run: Path, name: str) -> list[Path]:
    """Folders for one server."""
    folders = [root / family(run) / name for root in roots()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def joining(folders: list[Path]) -> list[str]:
    """The beginning of a command line whose rest runs in these folders."""
    script = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
    return ["sh", "-ec", script, "sh", *map(str, folders), "--"]


def remove(run: Path, name: str) -> None:
    """Remove one server's folders; they must be empty of processes."""
    for root in roots():
        _remove_tree(root / family(run) / name)


def sweep(run: Path) -> None:
    """Remove all folders of this run folder's region: its own, or what a killed one has left."""
    for root in roots():
        _remove_tree(root / family(run))


def _remove_tree(folder: Path, patience: float = 2) -> None:
    """rmdir, deepest first. A process that is just dying keeps its folder busy for a moment."""
    deadline = time.monotonic() + patience
    while folder.exists():
        for path, _folders, _files in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        if time.monotonic() > deadline:
            return
        if folder.exists():
            time.sleep(0.02)
