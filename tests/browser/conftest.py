"""One Chromium for all tests of pages. It is Debian's, installed here if it is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Page, browser

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path; skips loudly where it cannot be had. (As root on Linux that is a failure.)"""
    if not (found := shutil.which("chromium")):
        done = subprocess.run([ROOT / "tools" / "apt-install.sh", "chromium"], check=False)
        found = shutil.which("chromium")
        if done.returncode or not found:
            pytest.skip(
                "pages cannot be looked at: needs the package chromium, and it cannot be installed here"
            )
    return found


@pytest.fixture(scope="session")
def page(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened
