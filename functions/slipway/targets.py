"""Servers as targets of the load balancer: out of it, back into it, healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway import servers as fleet
from slipway.aws import elb
from slipway.errors import CapacityMissing, VerificationFailed
from slipway.patience import OUT_OF_SERVICE, Patience, linger

Target = dict[str, str]

# Targets that an answer names: enough to know what is wrong, few enough for a payload.
MOST_TOLD = 20


def drain(
    group: str, servers: Sequence[str], seconds: int, patience: Patience = OUT_OF_SERVICE
) -> dict[str, Any]:
    """Takes servers out; connections that they have may go on for `seconds`. Answers what `check_drained`
    answers; raises CapacityMissing if nobody would be left to serve."""
    _assure_others(states(elb.health(group)), servers)
    if elb.drain_seconds(group) != seconds:
        elb.set_drain_seconds(group, seconds)
    elb.deregister(group, servers)
    return check_drained(group, servers, patience)


def _assure_others(found: Sequence[Target], servers: Sequence[str]) -> None:
    """Taking these out must leave a healthy one in, unless they are all that there is, or nobody serves."""
    serving = {target["server"] for target in found if target["state"] == "healthy"}
    others = [target for target in found if target["server"] not in servers]
    if not others or not serving & set(servers) or serving - set(servers):
        return
    told = ", ".join(f"{one['server']} is {one['state']} ({one['reason']})" for one in others)
    raise CapacityMissing(
        f"no other server is healthy, so that taking {', '.join(servers)} out would end the site: {told}",
        "load balancer",
        "see why the others are not healthy",
        targets=others[:20],
    )


def check_drained(group: str, servers: Sequence[str], patience: Patience = OUT_OF_SERVICE) -> dict[str, Any]:
    """{"status": "drained" | "draining"}."""
    draining = linger(lambda: _draining(group, servers), lambda seen: not seen, patience)
    return {"status": "draining" if draining else "drained"}


def _draining(group: str, servers: Sequence[str]) -> list[str]:
    """Those that the load balancer has not let go of: a target that is out is listed no more, or as
    unused."""
    listed = {target["server"]: target["state"] for target in states(elb.health(group))}
    return [server for server in servers if listed.get(server, "unused") != "unused"]


def restore(group: str, servers: Sequence[str], patience: Patience = OUT_OF_SERVICE) -> dict[str, Any]:
    """Puts servers back; those that are in stay in. Answers what `check` answers; raises VerificationFailed
    if some do not run any more, with the others back."""
    gone = fleet.gone(servers)
    staying = [server for server in servers if server not in gone]
    lost = _register(group, staying) if staying else []
    if lost:
        raise VerificationFailed(
            f"the load balancer does not take {', '.join(lost[:MOST_TOLD])} back: not running any more",
            f"server {lost[0]}",
            "see in EC2 what became of it; Auto Scaling replaces it",
            servers=lost[:MOST_TOLD],
        )
    return check(group, servers, patience)


def _register(group: str, servers: Sequence[str]) -> list[str]:
    """Those that could not be registered, because they do not run. Elastic Load Balancing refuses all that
    it is asked for if one does not: then each is registered by itself."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        elb.register(group, servers)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("InvalidTarget", "InvalidTargetException"):
            raise
    else:
        return []
    if len(servers) == 1:
        return list(servers)
    return [lost for server in servers for lost in _register(group, [server])]


def check(group: str, servers: Sequence[str], patience: Patience = OUT_OF_SERVICE) -> dict[str, Any]:
    """{"status": "healthy" | "waiting", "targets": [{"server", "state", "reason"}] of these servers that are
    not healthy}; of those that have left their group since nothing is expected."""
    found = linger(lambda: _unhealthy(group, servers), lambda seen: not seen, patience)
    gone = fleet.gone([target["server"] for target in found])
    found = [target for target in found if target["server"] not in gone]
    return {"status": "waiting" if found else "healthy", "targets": found[:MOST_TOLD]}


def all_targets(group: str) -> list[Target]:
    """Every target of the group that is not on its way out."""
    return [target for target in states(elb.health(group)) if target["state"] not in ("draining", "unused")]


def _unhealthy(group: str, servers: Sequence[str]) -> list[Target]:
    listed = {target["server"]: target for target in states(elb.health(group))}
    absent = {"state": "unused", "reason": "not registered"}
    found = [listed.get(server, {"server": server, **absent}) for server in servers]
    return [target for target in found if target["state"] != "healthy"]


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
