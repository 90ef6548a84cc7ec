"""The edge: every call to AWS that the functions make, a module a service, each a small function.

Calls have the literal form `client("service").operation(…)`, so that a test can read from the source which
calls a function can reach, and hold them against its role.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def client(service: str) -> Any:
    """The client of a service; made once in a function's life, because making one takes ~50 ms.

    Standard retries: 5 attempts, with back-off, of what is throttled, out of order or not reached. The
    time-outs are such that a call that hangs does not use up the function's 60 s.
    """
    import boto3  # noqa: PLC0415  (a function that calls nothing does not pay for it)
    from botocore.config import Config  # noqa: PLC0415

    settings = Config(
        retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=3, read_timeout=15
    )
    make: Any = boto3.client  # the stubs know only literal names
    return make(service, config=settings)
