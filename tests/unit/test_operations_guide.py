"""The operations guide speaks of every finding, and of each as bad as it is."""

from __future__ import annotations

import re
from pathlib import Path

from slipway.drift.finding import SEVERITIES

GUIDE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
DRIFT = GUIDE[GUIDE.index("\n## Drift\n") :].split("\n## ")[1]


def test_every_kind_of_finding_is_explained_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+)[ ;]", DRIFT, re.M))
    assert rows == dict(SEVERITIES)
