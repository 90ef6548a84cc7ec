"""How much is tried with made-up values, and values that servers and users could make up.

The same cases each time, so that a failure is one of the change and not of chance. More, and other ones, are
tried with `SLIPWAY_FUZZ=100 pytest tests/unit/test_fuzz_*.py`: that many times as many examples.
"""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("SLIPWAY_FUZZ", "1"))


def tried(examples: int) -> settings:
    """So many examples of a test."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def any_json(leaves: int = 12) -> st.SearchStrategy[Any]:
    """Anything that a reader of JSON can return, Infinity and halves of surrogate pairs among it."""
    texts = st.text(st.characters(), max_size=20)
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | texts
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=leaves,
    )


Path = tuple[str | int, ...]


def paths(value: Any, path: Path = ()) -> list[Path]:
    """Where a value has values."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*path, key))
    if isinstance(value, list):
        for number, item in enumerate(value):
            found += paths(item, (*path, number))
    return found


def with_change(value: Any, path: Path, how: str, new: Any) -> Any:
    """A copy in which what is at the path is replaced, taken away, or stands beside something else."""
    copy: Any = json.loads(json.dumps(value))
    if not path:
        return new
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    if how == "take away":
        del holder[path[-1]]
    elif how == "beside" and isinstance(holder, dict):
        holder[str(new)] = holder[path[-1]]
    else:
        holder[path[-1]] = new
    return copy


@st.composite
def changed(draw: st.DrawFn, values: list[Any], news: st.SearchStrategy[Any]) -> Any:
    """One of the values with up to three changes anywhere in it."""
    value = draw(st.sampled_from(values))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(value)))
        value = with_change(
            value, path, draw(st.sampled_from(["replace", "take away", "beside"])), draw(news)
        )
        if not isinstance(value, dict | list):
            break
        value = json.loads(json.dumps(value))
    return value
