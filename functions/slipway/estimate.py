"""How long a release would take and what it would cost, as far as that can be said beforehand. Pure.

Prices are list prices of US East (N. Virginia) in USD, those of README's table and the sizes next to them; a
month has 730 hours. Most regions cost the same or up to half more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

HOURS = 730

# https://aws.amazon.com/step-functions/pricing/ (Standard): us-east-1, eu-central-1 and most others.
USD_PER_TRANSITION = 0.025 / 1000

# Transitions of a release to two servers whose tiers stay as they are (statemachine/release.asl.yaml counts
# them), and seconds that one takes on small servers; both only until there is a receipt to go by.
TRANSITIONS, SECONDS = 51, 180

# A look at something that is waited for lingers 20 s and costs three transitions.
SECONDS_PER_LOOK, TRANSITIONS_PER_LOOK = 20, 3

# Seconds that AWS takes for what takes it long, by type and kind of change. Rules of thumb, within README's
# 15 to 25 minutes for a first release: AWS publishes no such figures.
TAKES: Mapping[tuple[str, str], int] = {
    ("AWS::RDS::DBInstance", "+"): 720,
    ("AWS::RDS::DBInstance", "-/+"): 900,
    ("AWS::RDS::DBInstance", "~"): 600,
    ("AWS::ElasticLoadBalancingV2::LoadBalancer", "+"): 180,
    ("AWS::ElasticLoadBalancingV2::LoadBalancer", "-/+"): 240,
    ("AWS::EC2::NatGateway", "+"): 120,
    ("AWS::EC2::NatGateway", "-"): 60,
    ("AWS::CertificateManager::Certificate", "+"): 180,
    ("AWS::CertificateManager::Certificate", "-/+"): 180,
    ("AWS::AutoScaling::AutoScalingGroup", "+"): 120,
    ("AWS::EC2::VPCEndpoint", "+"): 60,
}
# Any other change of a tier: making, executing and watching its change set.
OTHERWISE = 30
RESTORE_POINT_SECONDS = 180

# USD an hour, by type: https://aws.amazon.com/vpc/pricing/ (NAT gateway, public address),
# https://aws.amazon.com/elasticloadbalancing/pricing/ (with the two public addresses that it has).
HOURLY: Mapping[str, float] = {
    "AWS::EC2::NatGateway": 0.045,
    "AWS::EC2::EIP": 0.005,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": 0.0225 + 2 * 0.005,
}
# USD a month: https://aws.amazon.com/secrets-manager/pricing/, https://aws.amazon.com/route53/pricing/
MONTHLY: Mapping[str, float] = {"AWS::SecretsManager::Secret": 0.40, "AWS::Route53::HostedZone": 0.50}

# USD an hour, on demand, Linux: https://aws.amazon.com/ec2/pricing/on-demand/
SERVERS: Mapping[str, float] = {
    "t3.micro": 0.0104,
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "t3.large": 0.0832,
    "t4g.micro": 0.0084,
    "t4g.small": 0.0168,
    "t4g.medium": 0.0336,
    "t4g.large": 0.0672,
}
# USD an hour, MySQL, one zone: https://aws.amazon.com/rds/mysql/pricing/
DATABASES: Mapping[str, float] = {
    "db.t3.micro": 0.017,
    "db.t3.small": 0.034,
    "db.t3.medium": 0.068,
    "db.t4g.micro": 0.016,
    "db.t4g.small": 0.032,
    "db.t4g.medium": 0.065,
}
# USD a GiB and month: https://aws.amazon.com/ebs/pricing/ (gp3; a server's volume has 16 GiB); RDS' as above.
VOLUME, VOLUME_GIB, DATABASE_STORAGE, SNAPSHOT = 0.08, 16, 0.115, 0.095

NOT_INCLUDED = (
    "traffic and requests",
    "the functions' time (a few hundredths of a cent)",
    "capacity units of the load balancer",
    "logs and alarms",
    "what the table of prices in slipway/estimate.py does not have",
)


def estimate(
    request: Json, tiers: Sequence[Json], waves: int, restore_point: bool, last: Json | None
) -> dict[str, Any]:
    """{"seconds", "secondsOf", "transitions", "usd", "usdOf", "monthly", "monthlyOf", "notIncluded"}.

    `tiers`: rows of slipway.plan; `last`: the newest receipt of a success that was a whole release, or None.
    `seconds` is of the release, `usd` what it costs once, `monthly` what a month costs more than before.
    """
    base_seconds, base_transitions, of = _base(last, request, waves)
    more = _tier_seconds(tiers) + (RESTORE_POINT_SECONDS if restore_point else 0)
    transitions = base_transitions + more // SECONDS_PER_LOOK * TRANSITIONS_PER_LOOK
    usd = transitions * USD_PER_TRANSITION
    monthly = list(_monthly(request["environment"], tiers))
    kept = _kept(request["environment"]["database"]["storageGiB"]) if restore_point else ""
    return {
        "seconds": base_seconds + more,
        "secondsOf": of + (f"; {more} s more for what changes, by rule of thumb" if more else ""),
        "transitions": transitions,
        "usd": round(usd, 6),
        "usdOf": f"{transitions} state transitions at $0.025 for 1,000{kept}",
        "monthly": round(sum(usd for usd, _ in monthly), 2),
        "monthlyOf": [said for _, said in monthly],
        "notIncluded": list(NOT_INCLUDED),
    }


def _kept(storage: int) -> str:
    """Backups of a region are free up to the size of its databases."""
    return (
        f"; the restore point at most USD {storage * SNAPSHOT:.2f} a month while kept: {storage} GiB at "
        f"{SNAPSHOT}, free as far as all backups together are smaller than the databases"
    )


def newest(history: Sequence[Json]) -> Json | None:
    """The newest receipt of a success that was a whole release; `history` has the oldest first."""
    whole = (one for one in reversed(history) if one["ending"] == "Succeeded" and not one.get("unchanged"))
    return next((one for one in whole if one.get("seconds") and one.get("transitions")), None)


def _base(last: Json | None, request: Json, waves: int) -> tuple[int, int, str]:
    bake = request["rollout"]["bakeSeconds"] * waves
    # Most of a first release is the building of the tiers, which is reckoned apart.
    if last is None or last.get("before") is None:
        baking = f" and {bake} s to bake" if bake else ""
        return SECONDS + bake, TRANSITIONS, f"{SECONDS} s for the servers{baking}, by rule of thumb"
    taken = round(last["seconds"])
    seconds = max(0, taken - last.get("bakeSeconds", 0)) + bake
    return seconds, int(last["transitions"]), f"release {last['release']['id']} took {taken} s"


def _tier_seconds(tiers: Sequence[Json]) -> int:
    """Of the longest way through them: the network, then four at once, then the load balancer."""
    by_tier = {one["tier"]: _row_seconds(one) for one in tiers}
    middle = [by_tier.get(name, 0) for name in ("database", "certificate", "storage", "web")]
    return by_tier.get("network", 0) + max(middle) + by_tier.get("load_balancer", 0)


def _row_seconds(one: Json) -> int:
    if one["status"] not in ("new", "changed"):
        return 0
    known = [TAKES.get((change["type"], _kind(change)), 0) for change in one["changes"]]
    return OTHERWISE + max(known, default=0)


def _kind(change: Json) -> str:
    if change["action"] == "Modify":
        return "-/+" if change["replacement"] in ("True", "Conditional") else "~"
    return "+" if change["action"] == "Add" else "-"


def _monthly(environment: Json, tiers: Iterable[Json]) -> Iterator[tuple[float, str]]:
    """(USD a month more, in words) of what is added, removed, and made larger or smaller."""
    for one in tiers:
        for change in one["changes"]:
            factor = {"Add": 1, "Remove": -1}.get(change["action"], 0)
            priced = _price(change["type"], environment)
            if factor and priced is not None:
                yield factor * priced, f"{change['resource']} {factor * priced:+.2f}"
        was = {parameter["name"]: parameter["before"] for parameter in one["parameters"]}
        if one["status"] == "changed" and was:
            yield from _difference(one["tier"], environment, was)


def _price(kind: str, environment: Json) -> float | None:
    """USD a month; None if there is none in the tables."""
    if kind in HOURLY:
        return HOURLY[kind] * HOURS
    if kind == "AWS::AutoScaling::AutoScalingGroup":
        return _web(environment["web"]["instanceType"], environment["web"]["desired"])
    if kind == "AWS::RDS::DBInstance":
        database = environment["database"]
        return _database(database["instanceClass"], database["storageGiB"], database["multiAz"])
    return MONTHLY.get(kind)


def _web(kind: str, servers: int) -> float | None:
    return None if kind not in SERVERS else servers * (SERVERS[kind] * HOURS + VOLUME_GIB * VOLUME)


def _database(kind: str, storage: int, standby: bool) -> float | None:
    """With the secret of its master user, which RDS makes."""
    if kind not in DATABASES:
        return None
    secret = MONTHLY["AWS::SecretsManager::Secret"]
    return (DATABASES[kind] * HOURS + storage * DATABASE_STORAGE) * (2 if standby else 1) + secret


def _difference(tier: str, environment: Json, was: Mapping[str, str]) -> Iterator[tuple[float, str]]:
    """Of the servers' or the database's size, from the parameters as they were."""
    kinds = {"web": "AWS::AutoScaling::AutoScalingGroup", "database": "AWS::RDS::DBInstance"}
    if tier not in kinds:
        return
    before, after = _price(kinds[tier], _as_it_was(environment, was)), _price(kinds[tier], environment)
    if before is not None and after is not None and round(after - before, 2):
        yield after - before, f"{tier} {after - before:+.2f}"


def _as_it_was(environment: Json, was: Mapping[str, str]) -> dict[str, Any]:
    """The servers and the database as the parameters said before."""
    web, database = environment["web"], environment["database"]
    return {
        "web": {
            "instanceType": was.get("InstanceType", web["instanceType"]),
            "desired": int(was.get("DesiredCapacity", web["desired"])),
        },
        "database": {
            "instanceClass": was.get("InstanceClass", database["instanceClass"]),
            "storageGiB": int(was.get("StorageGiB", database["storageGiB"])),
            "multiAz": was.get("MultiAz", str(database["multiAz"]).lower()) == "true",
        },
    }
