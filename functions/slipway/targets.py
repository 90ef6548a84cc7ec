"""Servers as targets of the load balancer: out of it, back into it, healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.aws import elb
from slipway.patience import DEFAULT, Patience, linger

Target = dict[str, str]


def drain(group: str, servers: Sequence[str], seconds: int, patience: Patience = DEFAULT) -> dict[str, Any]:
    """Takes servers out; connections that they have may go on for `seconds`. Answers what `check_drained`
    answers."""
    if elb.drain_seconds(group) != seconds:
        elb.set_drain_seconds(group, seconds)
    elb.deregister(group, servers)
    return check_drained(group, servers, patience)


def check_drained(group: str, servers: Sequence[str], patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "drained" | "draining"}."""
    draining = linger(lambda: _draining(group, servers), lambda seen: not seen, patience)
    return {"status": "draining" if draining else "drained"}


def _draining(group: str, servers: Sequence[str]) -> list[str]:
    """Those that the load balancer has not let go of: a target that is out is listed no more, or as
    unused."""
    listed = {target["server"]: target["state"] for target in states(elb.health(group))}
    return [server for server in servers if listed.get(server, "unused") != "unused"]


def restore(group: str, servers: Sequence[str], patience: Patience = DEFAULT) -> dict[str, Any]:
    """Puts servers back; those that are in stay in. Answers what `check` answers."""
    elb.register(group, servers)
    return check(group, servers, patience)


def check(group: str, servers: Sequence[str], patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "healthy" | "waiting", "targets": [{"server", "state", "reason"}]} of these servers."""
    targets = linger(lambda: _of(group, servers), healthy, patience)
    return {"status": "healthy" if healthy(targets) else "waiting", "targets": targets}


def all_targets(group: str) -> list[Target]:
    """Every target of the group that is not on its way out."""
    return [target for target in states(elb.health(group)) if target["state"] not in ("draining", "unused")]


def healthy(targets: Sequence[Target]) -> bool:
    return bool(targets) and all(target["state"] == "healthy" for target in targets)


def _of(group: str, servers: Sequence[str]) -> list[Target]:
    listed = {target["server"]: target for target in states(elb.health(group))}
    absent = {"state": "unused", "reason": "not registered"}
    return [listed.get(server, {"server": server, **absent}) for server in servers]


def states(descriptions: Sequence[Mapping[str, Any]]) -> list[Target]:
    """[{"server", "state", "reason"}] of what Elastic Load Balancing says."""
    return [
        {
            "server": description["Target"]["Id"],
            "state": description["TargetHealth"]["State"],
            "reason": description["TargetHealth"].get("Description")
            or description["TargetHealth"].get("Reason", ""),
        }
        for description in descriptions
    ]
