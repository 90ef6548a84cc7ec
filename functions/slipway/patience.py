"""How a check lingers: it looks again for a few seconds, so that a short wait costs no state transitions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Patience:
    """Looks for up to `seconds`; the pauses grow from `first` to `longest` seconds. With a growth of 1.1 each
    is a tenth of what has passed, and so much later, at most, is an end seen.

    20 s: a function's time-out is 60 s, of which botocore's own retries of the last look may need the rest.
    """

    seconds: float = 20.0
    first: float = 0.1
    longest: float = 1.0
    growth: float = 1.1
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


DEFAULT = Patience()
# While servers are out of the load balancer: each late look keeps them out for longer.
OUT_OF_SERVICE = Patience(longest=0.25)
# The servers' steps are most of a release, and many of them take no longer than a second or two.
AT_WORK = Patience(growth=1.05)


def linger(look: Callable[[], Seen], enough: Callable[[Seen], bool], patience: Patience = DEFAULT) -> Seen:
    """The first thing seen that is enough, or the last thing seen."""
    ends = patience.clock() + patience.seconds
    pause = patience.first
    while True:
        seen = look()
        if enough(seen) or patience.clock() + pause > ends:
            return seen
        patience.sleep(pause)
        pause = min(pause * patience.growth, patience.longest)
