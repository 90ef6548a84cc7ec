"""Which servers get a release together: the canary first, then batches. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from slipway import foreign
from slipway.schema import Problem

# What the roll-out's time-out is reckoned for.
MOST_WAVES = 25

Server = Mapping[str, Any]
Wave = dict[str, list[str]]


def cut(servers: Sequence[Server], rollout: Mapping[str, Any], idle: Collection[str] = ()) -> list[Wave]:
    """[{"servers": [ids]}] of servers [{"id", "zone"}], in the order in which they get the release.

    Each wave is spread over the zones. With `drain` one server at least stays in service, unless there is
    but one. Those that are `idle` (they serve nobody now) come first: nobody misses them meanwhile, and the
    others can be spared once they serve.
    """
    ids = sorted((server["id"] for server in _alternating(servers)), key=lambda server: server not in idle)
    sizes = _sizes(len(ids), rollout)
    return [{"servers": wave} for wave in _slices(ids, sizes)]


def back(waves: Sequence[Mapping[str, Any]], begun: int | None = None) -> list[Wave]:
    """The way back: the last wave first. `begun`: how many waves had begun; None if that is not known."""
    return [{"servers": list(wave["servers"])} for wave in reversed(waves[:begun])]


def begun(cause: str) -> int | None:
    """How many waves a roll-out that failed had begun; None if its cause does not say so.

    On AWS the cause is the description of the execution, whose own cause is in it as text.
    """
    try:
        value = foreign.read(cause)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("wavesBegun"), int):
        return int(value["wavesBegun"])
    inner = value.get("Cause")
    return begun(inner) if isinstance(inner, str) else None


def problems(environment: Mapping[str, Any], rollout: Mapping[str, Any]) -> Iterator[Problem]:
    """A batch that is too small for the largest fleet that the environment may have."""
    most = environment["web"]["max"]
    sizes = list(_sizes(most, rollout))
    if len(sizes) > MOST_WAVES:
        least = -(-(most - sizes[0]) // (MOST_WAVES - 1))
        what = (
            f"is {rollout['batch']}, which makes {len(sizes)} waves of {most} servers (environment.web.max)"
        )
        yield Problem("rollout.batch", what, f"at least {least}: {MOST_WAVES} waves are the most")


def _alternating(servers: Sequence[Server]) -> list[Server]:
    """One of each zone after another."""
    seen: Counter[str] = Counter()
    ranked = []
    for server in sorted(servers, key=lambda one: (one["zone"], one["id"])):
        ranked.append(((seen[server["zone"]], server["zone"], server["id"]), server))
        seen[server["zone"]] += 1
    return [server for _, server in sorted(ranked, key=lambda pair: pair[0])]


def _sizes(servers: int, rollout: Mapping[str, Any]) -> list[int]:
    batch = _batch(servers, rollout["batch"])
    most = max(1, servers - 1) if rollout["strategy"] == "drain" else max(1, servers)
    canary = min(rollout["canary"], most) if rollout["canary"] else min(batch, most)
    sizes: list[int] = []
    left = servers
    while left > 0:
        size = min(left, most, batch if sizes else canary)
        sizes.append(size)
        left -= size
    return sizes


def _batch(servers: int, batch: int | str) -> int:
    if isinstance(batch, int):
        return batch
    return max(1, servers * int(batch.rstrip("%")) // 100)


def _slices(ids: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
    start = 0
    for size in sizes:
        yield list(ids[start : start + size])
        start += size
