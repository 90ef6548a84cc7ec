"""Golden cases: one readable file each, a folder a subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "cases"


def cases(subject: str) -> pytest.MarkDecorator:
    """Runs a test with `case` for each file of the subject's folder."""
    files = sorted((FOLDER / subject).glob("*.json"))
    assert files, f"no cases of {subject}"
    return pytest.mark.parametrize(
        "case", [json.loads(file.read_text()) for file in files], ids=[file.stem for file in files]
    )


Case = dict[str, Any]
