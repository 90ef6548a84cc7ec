"""For all tests: the marker of the folder, and no quiet skipping where everything can run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

LEVELS = ("unit", "contract", "browser", "workflow", "rehearsal")
EVERYTHING_RUNS_HERE = sys.platform == "linux" and os.geteuid() == 0
HERE = Path(__file__).parent

skipped: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's level is its folder."""
    for item in items:
        level = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if level in LEVELS:
            item.add_marker(level)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured, whether they passed or not: record_property("measured", …)."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    told = [value for report in calls for name, value in report.user_properties if name == "measured"]
    if told:
        terminalreporter.section("measured")
        for value in told:
            terminalreporter.line(str(value))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """As root on Linux a skipped test is a failure: nothing is missing there that could excuse it."""
    if skipped and EVERYTHING_RUNS_HERE and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"\nskipped though everything can run here: {', '.join(skipped)}\n")
