"""How a check lingers: it looks again for a few seconds, so that a short wait costs no state transitions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Patience:
    """Looks for up to `seconds`; the pauses grow from `first` to `longest` seconds, each a tenth of what
    has passed: so much later, at most, is an end seen.

    20 s: a function's time-out is 60 s, of which botocore's own retries of the last look may need the rest.
    """

    seconds: float = 20.0
    first: float = 0.1
    longest: float = 1.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


DEFAULT = Patience()
# While servers are out of the load balancer: each late look keeps them out for longer.
OUT_OF_SERVICE = Patience(longest=0.25)


def linger(look: Callable[[], Seen], enough: Callable[[Seen], bool], patience: Patience = DEFAULT) -> Seen:
    """The first thing seen that is enough, or the last thing seen."""
    ends = patience.clock() + patience.seconds
    pause = patience.first
    while True:
        seen = look()
        if enough(seen) or patience.clock() + pause > ends:
            return seen
        patience.sleep(pause)
        pause = min(pause * 1.1, patience.longest)
