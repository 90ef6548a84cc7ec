"""Set-up: `make rehearse` in a fresh clone of the last commit, in a temporary folder.

It downloads what a fresh machine downloads (Debian's packages that `apt` has installed already excepted).
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.number import Number
from rehearsal import host
from rehearsal.host import ROOT


def measured() -> Iterator[Number]:
    """Seconds of the first and of the second `make rehearse` in a fresh clone."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        clone = Path(folder) / "slipway"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
        for what, reach in (("make rehearse, fresh clone", 300.0), ("make rehearse, second time", 90.0)):
            began = time.monotonic()
            with (host.STATE / "bench-setup.log").open("ab") as log:
                done = subprocess.run(["make", "rehearse"], cwd=clone, stdout=log, stderr=log, check=False)
            if done.returncode != 0:
                raise SystemExit(f"make rehearse failed in a fresh clone: see {log.name}")
            yield Number(what, time.monotonic() - began, "s", reach)
