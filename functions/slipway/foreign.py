"""JSON that others wrote (servers, causes of executions), of which nothing may be taken for granted. Pure."""

from __future__ import annotations

import json
from typing import Any

# Ours goes no deeper than ten; what goes deeper cannot be passed on, for it is put into more and more shells.
MOST_DEPTH = 40
# Beyond it, JSON's readers disagree about what a number is.
MOST_NUMBER = 2**53


def read(text: object) -> Any:
    """The value. Raises ValueError if it is no JSON, or none that every reader takes: NaN and Infinity,
    numbers beyond 2^53, half of a surrogate pair, and more than MOST_DEPTH levels are refused."""
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error
    _assure(value, MOST_DEPTH)
    return value


def _assure(value: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError("too deep")
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair raises UnicodeEncodeError, which is a ValueError
    elif isinstance(value, int | float):
        if not abs(value) <= MOST_NUMBER:  # NaN is not, either
            raise ValueError("no number for everybody")
    elif isinstance(value, list):
        for item in value:
            _assure(item, depth - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _assure(key, depth)
            _assure(item, depth - 1)


def passable(text: str, most: int) -> str:
    """A text of at most so many characters, that can be encoded: halves of surrogate pairs become question
    marks."""
    return text[:most].encode(errors="replace").decode()
