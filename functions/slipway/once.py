"""A command is sent once, although the task that sends it may be tried again.

Run Command knows no token of the caller. So a token is written into the table before the command is sent, and
marks the command's comment: who finds the token in the table looks among the commands for the mark, and sends
only if there is none after a while.
"""

from __future__ import annotations

import hashlib

from slipway import commands, records
from slipway.aws import ssm
from slipway.patience import DEFAULT, Patience, linger


def mark(token: str | None) -> str:
    """What a command of this token has in its comment; 16 hexadecimal digits, because a comment has at most
    100 characters."""
    return f" #{hashlib.sha256(token.encode()).hexdigest()[:16]}" if token else ""


def sent(
    environment: str, token: str | None, document: str, portions: int = 1, patience: Patience = DEFAULT
) -> str:
    """The ids of the commands that were sent for the token before; empty if they are fewer than `portions`:
    then the step is begun on all its servers, and those that have done it already change nothing.

    The first call for a token claims it, and is told so at once.
    """
    if token is None or records.claim(environment, token):
        return ""
    found = linger(lambda: ssm.commands(document, mark(token)), lambda seen: len(seen) >= portions, patience)
    return commands.SEPARATOR.join(found) if len(found) >= portions else ""
