"""Which findings a check puts right, and that it does not try for ever."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import lock, records
from slipway.drift import beginning, record
from slipway.errors import InvalidInput


def found(remediable: bool = True, seen: int = 1, **more: Any) -> dict[str, Any]:
    return {"key": "k", "remediable": remediable, "seen": seen, **more}


BEFORE = "arn:check-1"
CASES = {
    "nobody asked": ("", found(), False),
    "asked": ("asked", found(), True),
    "automatically": ("automatic", found(), True),
    "it cannot be put right": ("asked", found(remediable=False), False),
    "not confirmed yet": ("automatic", found(seen=1), False),
    "tried before": ("automatic", found(seen=2, remedied=BEFORE), False),
    "tried before, and asked for again": ("asked", found(seen=2, remedied=BEFORE), True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_put_right(name: str) -> None:
    remedy, one, expected = CASES[name]
    consecutive = 2 if name == "not confirmed yet" else 1
    [marked] = record.remedied([one], remedy, "arn:check-2", consecutive)
    assert (marked.get("remedied") == "arn:check-2") is expected
    assert {**marked, "remedied": None} == {**one, "remedied": None}


@pytest.mark.parametrize(
    ("given", "automatic", "remedy"),
    [
        ({"environment": "arable"}, False, ""),
        ({"environment": "arable"}, True, beginning.AUTOMATIC),
        ({"environment": "arable", "remedy": True}, False, beginning.ASKED),
        ({"detail": {"environment": "arable"}}, True, beginning.AUTOMATIC),
    ],
)
def test_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], automatic: bool, remedy: str
) -> None:
    monkeypatch.setattr(records, "current", lambda _name: {"release": {}})
    monkeypatch.setattr(lock, "seen", lambda _name: {"holder": None, "fence": 3})
    assert beginning.begin(given, "arn:check", automatic)["remedy"] == remedy


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"enviroment": "arable"}, "enviroment"),
        ({"environment": {"name": "arable"}}, "environment"),
        ({"environment": "arable", "remedy": "yes"}, "remedy"),
        ({"remedy": True}, "remedy"),
    ],
)
def test_what_was_misspelt_checks_nothing_else(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], path: str
) -> None:
    monkeypatch.setattr(beginning, "released", lambda: pytest.fail("it was looked for environments"))
    with pytest.raises(InvalidInput) as refused:
        beginning.begin(given, "arn:check")
    assert refused.value.where == path
