"""Lingering: until enough was seen, or for as long as there is patience."""

from __future__ import annotations

from slipway.patience import linger
from tests.unit.fakes import Clock, patience


def test_enough_at_once() -> None:
    clock = Clock()
    assert linger(lambda: 1, lambda seen: True, patience(clock)) == 1
    assert clock.now == 0


def test_as_soon_as_it_is_enough() -> None:
    clock = Clock()
    looks = iter(range(100))
    assert linger(lambda: next(looks), lambda seen: seen == 3, patience(clock)) == 3
    assert 0 < clock.now < 2


def test_not_for_longer_than_20_seconds() -> None:
    clock = Clock()
    looks = iter(range(100))
    last = linger(lambda: next(looks), lambda seen: False, patience(clock))
    assert 17 < clock.now <= 20
    assert last < 36, "some thirty looks, not hundreds"
