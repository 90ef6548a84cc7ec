"""What the benchmark says of what it measured."""

from __future__ import annotations

import pytest

from bench.__main__ import MEASURES, arguments
from bench.number import Number, table
from bench.scale import limited, small


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (Number("a release", 80, "transitions", 80), "a release 80.00 transitions ≤ 80 transitions reached"),
        (Number("a release", 80.5, "s", 80), "a release 80.50 s ≤ 80 s MISSED"),
        (Number("a release", 3, "s"), "a release 3.00 s"),
    ],
)
def test_a_row_says_what_was_wanted_and_whether_it_was_reached(number: Number, words: str) -> None:
    assert " ".join(number.line().split()) == words
    assert number.missed == ("MISSED" in words)


def test_columns_stand_below_each_other() -> None:
    rows = list(table([Number("short", 1, "s", 2), Number("  " + "long " * 12, 12345.678, "transitions", 2)]))
    assert rows[0].index("≤") == rows[1].index("≤")


def test_everything_is_measured_unless_numbers_are_named() -> None:
    assert arguments([]) == list(MEASURES)
    assert arguments(["--no-setup"]) == [name for name in MEASURES if name != "setup"]
    assert arguments(["scale", "initialisation"]) == ["scale", "initialisation"]
    with pytest.raises(SystemExit):
        arguments(["size"])


def test_sizes_stand_beside_their_limits() -> None:
    told = {
        "events": {"Release": 100, "RollOut/roll-out": 26000},
        "transitions": 383,
        "waves": 11,
        "payload": 300 * 1024,
        "payload_of": "Notify",
        "variable": 1024,
        "variable_of": "online at VerifyRelease",
        "variables": 2048,
        "output": 1024,
        "instances": 50,
        "memory": 1024,
        "memory_of": "RecordRelease",
        "receipt": 1024,
        "item": 400_000,
    }
    missed = [number.what.strip() for number in limited(told, 0) if number.missed]
    assert missed == [
        "1,000 servers in 11 waves: history events",
        "of these the largest execution's",
        "largest payload of a function (Notify)",
    ]
    assert [number.value for number in small(told)][:2] == [26100, 383]
