"""The way back: which servers take it, in which order, and which cannot any more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from slipway import servers as fleet
from slipway import waves
from slipway.errors import CapacityMissing
from slipway.patience import Patience, linger

Waves = Sequence[Mapping[str, Any]]

# Of a server that just ended Systems Manager may know before EC2 says so. Once a second: a look at a large
# fleet is many calls.
UNTIL_TOLD = Patience(seconds=5, first=1)


def plan(
    cut: Waves, begun: int | None, idle: Collection[str] = (), patience: Patience = UNTIL_TOLD
) -> dict[str, Any]:
    """{"waves": [{"servers"}] that go back, in order, "lost": [ids] that run no more}.

    `cut`: all waves of the rollout; `begun`: how many of them had begun, None if that is not known.
    `idle`: whom the load balancer sends nobody to. A wave of such servers goes first: taking another one out
    beside it might leave nobody in.
    """
    back = sorted(waves.back(cut, begun), key=lambda wave: not set(idle).issuperset(wave["servers"]))

    def look() -> tuple[set[str], set[str]]:
        lost = fleet.lost(servers(cut))
        return lost, fleet.silent(servers(back)) - lost

    lost, silent = linger(look, lambda seen: not seen[1], patience)
    return {"waves": around(back, lost, silent), "lost": sorted(lost)}


def assure_somebody(cut: Waves, lost: Collection[str]) -> None:
    """Raises CapacityMissing if no server is left that could serve."""
    everybody = servers(cut)
    if not everybody or set(everybody) - set(lost):
        return
    raise CapacityMissing(
        f"none of the servers runs any more: {', '.join(everybody[:20])}",
        "servers",
        "see why in EC2; Auto Scaling replaces them: start a release as soon as the new ones are in service",
        targets=everybody[:20],
    )


def around(back: Waves, lost: Collection[str], silent: Collection[str]) -> list[waves.Wave]:
    """The waves without what is lost; what is silent comes last, so that it keeps nobody else's wave from
    going back (unless that made more waves than the roll-out has time for)."""
    running = [[server for server in wave["servers"] if server not in lost] for wave in back]
    apart = [server for wave in running for server in wave if server in silent]
    if apart and len(running) < waves.MOST_WAVES:
        running = [[server for server in wave if server not in silent] for wave in running] + [apart]
    return [{"servers": wave} for wave in running if wave]


def servers(cut: Waves) -> list[str]:
    """All servers of the waves."""
    return [server for wave in cut for server in wave["servers"]]
