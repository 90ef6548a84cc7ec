"""Running the tools of the operating system, with their own words when they refuse."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class ToolFailed(RuntimeError):
    """A tool such as ip, nft or mount exited with an error; the message carries what it printed."""


def execute(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> str:
    """Run `argv` to its end and return what it printed. Raises ToolFailed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ToolFailed(f"{' '.join(argv)} exited with {done.returncode}: {said}")
    return done.stdout
