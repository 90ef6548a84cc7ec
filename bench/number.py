"""One measured number, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """One measured number. `reach`: the most that it may be."""

    what: str
    value: float
    unit: str
    reach: float | None = None

    @property
    def missed(self) -> bool:
        """Whether it is more than it may be."""
        return self.reach is not None and self.value > self.reach

    def line(self) -> str:
        """A row of the table."""
        wanted = "" if self.reach is None else f"≤ {self.reach:g} {self.unit}"
        verdict = "" if self.reach is None else "MISSED" if self.missed else "reached"
        return f"{self.what:<74} {self.value:>9.2f} {self.unit:<12} {wanted:<20} {verdict}".rstrip()


def table(numbers: Iterable[Number]) -> Iterator[str]:
    """A line a number."""
    return (number.line() for number in numbers)
