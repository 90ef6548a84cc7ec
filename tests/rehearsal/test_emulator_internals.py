"""The pinned emulator is installed and has inside what we rely on; otherwise a clear sentence says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.emulator import internals

ROOT = Path(__file__).resolve().parents[2]

MODULES = internals.modules()


def inside(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own: the emulator keeps its settings from when it is imported."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_installed_version_has_every_name_we_rely_on() -> None:
    done = inside("from rehearsal.emulator import internals; internals.check()")
    assert done.returncode == 0, done.stderr


def test_every_module_is_there() -> None:
    assert [module.__name__.rsplit(".", 1)[-1] for module in MODULES] == list(internals.SERVICE_MODULES)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__.rsplit(".", 1)[-1]))
def test_every_module_says_what_it_relies_on(module: object) -> None:
    assert getattr(module, "RELIES_ON", ())


def test_a_name_that_is_gone_is_named_with_who_needs_it() -> None:
    done = inside(
        "from rehearsal.emulator import ec2, internals\n"
        "ec2.RELIES_ON = (('services.ec2', '_instances'), ('services.ec2', '_no_such'))\n"
        "internals.check()"
    )
    assert "has no ministack.services.ec2._no_such (relied on by rehearsal.emulator.ec2)" in done.stderr
    assert "_instances" not in done.stderr.splitlines()[-1]


def test_another_version_is_refused() -> None:
    done = inside("from rehearsal.emulator import internals; internals.VERSION = '9.9'; internals.check()")
    assert done.returncode != 0
    assert "the rehearsal was written for 9.9" in done.stderr
