"""Names: what the world, and each server, sees of Route 53, of other providers, and of AWS itself.

Two files in the region's run folder stand for what lies outside the account; both are read anew for
each question, and both may be absent.

``delegations``: the zones that their registrar has pointed at Route 53, one a line, optionally with the
id of the hosted zone (``arable.example Z0123456789``). Without the file every zone is delegated.

``elsewhere.zone``: names that another DNS provider serves, one record a line (``name TYPE value``). A
name with an NS record in it is a zone of that provider, whatever Route 53 holds for it::

    arable.example        NS     ns1.provider.example
    www.arable.example    CNAME  slipway-arable-1a2b3c4d.eu-central-1.elb.amazonaws.com
"""

from __future__ import annotations

import functools
import ipaddress
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, scope, wrap_type

RELIES_ON = (
    ("services.route53", "_zones"),
    ("services.route53", "_records"),
    ("services.route53", "_default_records"),
    ("services.route53", "_build_delegation_set_el"),
    ("services.route53", "_get_hosted_zone"),
    ("services.route53", "_build_zone_location_el"),
    ("services.route53", "_find"),
    ("services.ec2", "_vpcs"),
)

DELEGATIONS = "delegations"
ELSEWHERE = "elsewhere.zone"

MAXIMUM_CHAIN = 8
"""CNAMEs and aliases followed for one question before it is given up as a loop."""

NAME_SERVER_DOMAINS = ("com", "net", "org", "co.uk")
"""Every hosted zone gets one name server in each of these. Source: Route 53 developer guide, NS records."""


@dataclass(frozen=True)
class Record:
    """One record set: a name without final dot in lower case, and either values or an alias's target."""

    name: str
    type: str
    values: tuple[str, ...] = ()
    alias: str | None = None


@dataclass(frozen=True)
class Zone:
    """A zone with all that it holds."""

    name: str
    records: tuple[Record, ...]


def install(region: Region) -> None:
    """Answer the region's DNS questions; give every zone name servers of its own."""
    _own_name_servers()
    names = _Names(region)
    region.lookups.insert(0, names.lookup)


def plain(name: str) -> str:
    """A name as we compare it: lower case, no final dot, Route 53's escaped asterisk undone."""
    return name.lower().rstrip(".").replace("\\052", "*")


class _Names:
    """Lookups over the state of the moment."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._chain = threading.local()

    def lookup(self, name: str, kind: str, source: str) -> list[str] | None:
        """Answers of a type ("A", "CNAME", "NS", …) as `source` (an address) sees them; None for a name
        that is in no zone."""
        with scope(self._region):
            zones = [*self._private(source), *self._elsewhere(), *self._delegated()]
        zone = serving(name, zones)
        if zone is None:
            return None
        found = find(name, kind, zone)
        target = further(name, kind, zone)
        if found is None and target is not None:
            return self._follow(target, kind, source)
        return list(found.values) if found is not None else []

    def _follow(self, target: str, kind: str, source: str) -> list[str]:
        """What an alias or a CNAME leads to; a loop ends with nothing."""
        depth = getattr(self._chain, "depth", 0)
        if depth >= MAXIMUM_CHAIN:
            return []
        self._chain.depth = depth + 1
        try:
            return self._region.look_up(target, kind, source)
        finally:
            self._chain.depth = depth

    def _delegated(self) -> Iterator[Zone]:
        route53 = ministack("services.route53")
        public = {zone["id"]: plain(zone["name"]) for zone in route53._zones.values() if not zone["private"]}
        for zone_id in delegated(public, _lines(self._region.run / DELEGATIONS)):
            yield Zone(public[zone_id], records(route53._records.get(zone_id, ())))

    def _private(self, source: str) -> Iterator[Zone]:
        route53, vpcs = ministack("services.route53"), ministack("services.ec2")._vpcs
        for zone in route53._zones.values():
            if not zone["private"]:
                continue
            networks = [
                vpcs[vpc["VPCId"]]["CidrBlock"] for vpc in zone.get("vpcs", ()) if vpc["VPCId"] in vpcs
            ]
            if any(_inside(source, cidr) for cidr in networks):
                yield Zone(plain(zone["name"]), records(route53._records.get(zone["id"], ())))

    def _elsewhere(self) -> Iterator[Zone]:
        yield from elsewhere(_lines(self._region.run / ELSEWHERE))


def _inside(address: str, cidr: str) -> bool:
    return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False)


def _lines(path: Path) -> list[list[str]] | None:
    """The words of each line of a file, comments (#) and empty lines left out; None without the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    words = [line.partition("#")[0].split() for line in text.splitlines()]
    return [line for line in words if line]


def delegated(public: Mapping[str, str], lines: Sequence[Sequence[str]] | None) -> list[str]:
    """Ids of the zones that the world sees: `public` maps id → name, in the order of creation.

    Of several zones of one name only one can be delegated: the one whose id the file names, otherwise
    the oldest, as a registrar keeps pointing at the name servers it was told first.
    """
    chosen: dict[str, str] = {}
    named = {plain(line[0]): line[1] if len(line) > 1 else None for line in lines or ()}
    for zone_id, name in public.items():
        if lines is not None and name not in named:
            continue
        if named.get(name) in (None, zone_id):
            chosen.setdefault(name, zone_id)
    return list(chosen.values())


def elsewhere(lines: Sequence[Sequence[str]] | None) -> list[Zone]:
    """The zones of another provider, by the records of its file. A line is ``name TYPE value…``."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for line in lines or ():
        if len(line) >= 3:
            grouped.setdefault((plain(line[0]), line[1].upper()), []).append(" ".join(line[2:]))
    found = tuple(Record(name, kind, tuple(values)) for (name, kind), values in grouped.items())
    return [Zone(record.name, found) for record in found if record.type == "NS"]


def records(record_sets: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    """Route 53's record sets. Of weighted or otherwise routed ones all are listed, the first is answered."""
    return tuple(
        Record(
            plain(one["Name"]),
            one["Type"],
            tuple(one.get("ResourceRecords", ())),
            plain(one["AliasTarget"]["DNSName"]) if "AliasTarget" in one else None,
        )
        for one in record_sets
    )


def serving(name: str, zones: Sequence[Zone]) -> Zone | None:
    """The zone that answers for a name: the one with the longest matching name, the first of equals."""
    best: Zone | None = None
    for zone in zones:
        matches = name == zone.name or name.endswith("." + zone.name)
        if matches and (best is None or len(zone.name) > len(best.name)):
            best = zone
    return best


def find(name: str, kind: str, zone: Zone) -> Record | None:
    """The record with values of a name and type."""
    return next((r for r in candidates(name, zone) if r.type == kind and r.alias is None), None)


def further(name: str, kind: str, zone: Zone) -> str | None:
    """Where the answer for a name and type is to be looked for: an alias's target, or a CNAME's."""
    for record in candidates(name, zone):
        if record.alias is not None and record.type == kind:
            return record.alias
        if record.type == "CNAME" and record.values and kind != "CNAME":
            return plain(record.values[0])
    return None


def candidates(name: str, zone: Zone) -> list[Record]:
    """The records of a name; a wildcard answers for names that do not exist at all (RFC 4592)."""
    parent = name.partition(".")[2]
    own = [record for record in zone.records if record.name == name]
    return own or [record for record in zone.records if record.name == f"*.{parent}"]


def name_servers(choose: Callable[[int], int] = random.randrange) -> list[str]:
    """Four fresh name servers in AWS's pattern, so that each zone's delegation can be told apart."""
    return [
        f"ns-{512 * index + choose(512)}.awsdns-{choose(64):02d}.{domain}."
        for index, domain in enumerate(NAME_SERVER_DOMAINS)
    ]


def of_zone(zone_id: str) -> list[str]:
    """The name servers of a hosted zone, from its own NS record, without final dots as AWS lists them."""
    route53 = ministack("services.route53")
    zone = route53._zones[zone_id]
    for record in route53._records.get(zone_id, ()):
        if record["Type"] == "NS" and record["Name"] == zone["name"]:
            return [value.rstrip(".") for value in record["ResourceRecords"]]
    return []


def _own_name_servers() -> None:
    """As shipped, all zones share four name servers, and a stack's zone answers two others."""
    route53 = ministack("services.route53")
    replace(route53, "_default_records", _fresh_records)
    replace(route53, "_build_zone_location_el", _delegation_set)
    replace(route53, "_get_hosted_zone", _with_delegation_set)
    wrap_type("AWS::Route53::HostedZone", "create", _stack_zone)
    wrap_type("AWS::Route53::HostedZone", "update", _stack_zone)
    wrap_type("AWS::Route53::HostedZone", "delete", _only_empty)


def _fresh_records(original: Handler) -> Handler:
    def made(zone_name: str) -> list[dict[str, Any]]:
        servers = name_servers()
        record_sets: list[dict[str, Any]] = original(zone_name)
        for record in record_sets:
            if record["Type"] == "NS":
                record["ResourceRecords"] = servers
            if record["Type"] == "SOA":
                rest = record["ResourceRecords"][0].partition(" ")[2]
                record["ResourceRecords"] = [f"{servers[0]} {rest}"]
        return record_sets

    return made


def _write_servers(parent: Any, zone_id: str) -> None:
    route53 = ministack("services.route53")
    listed = route53._find(parent, "NameServers")
    for element, server in zip(list(listed), of_zone(zone_id), strict=True):
        element.text = server


def _delegation_set(original: Handler) -> Handler:
    """CreateHostedZone's answer."""

    def build(parent: Any, zone: dict[str, Any]) -> None:
        original(parent, zone)
        located = ministack("services.route53")._find(parent, "DelegationSet")
        if located is not None:
            _write_servers(located, zone["id"])

    return build


def _with_delegation_set(original: Handler) -> Handler:
    """GetHostedZone's answer: its builder is told the zone's name only, so the servers are put in after."""
    route53 = ministack("services.route53")

    def answer(zone_id: str) -> Any:
        build = route53._build_delegation_set_el
        known = zone_id in route53._zones

        def own(parent: Any, zone_name: str) -> None:
            build(parent, zone_name)
            if known:
                _write_servers(route53._find(parent, "DelegationSet"), zone_id)

        route53._build_delegation_set_el = own
        try:
            return original(zone_id)
        finally:
            route53._build_delegation_set_el = build

    return answer


def _stack_zone(original: Handler) -> Handler:
    """A stack's hosted zone: GetAtt NameServers are the zone's own."""

    @functools.wraps(original)
    def handler(*args: Any, **kwargs: Any) -> Any:
        zone_id, attributes = original(*args, **kwargs)
        return zone_id, attributes | {"NameServers": of_zone(zone_id)}

    return handler


def _only_empty(original: Handler) -> Handler:
    """A stack cannot delete a zone with records of others in it, as on AWS."""

    @functools.wraps(original)
    def handler(zone_id: str, props: dict[str, Any]) -> Any:
        route53 = ministack("services.route53")
        zone = route53._zones.get(zone_id)
        own = [r for r in route53._records.get(zone_id, ()) if r["Type"] in ("SOA", "NS")]
        if zone is not None and len(own) < len(route53._records.get(zone_id, ())):
            raise ValueError(
                "The specified hosted zone contains non-required resource record sets and so "
                "cannot be deleted. (Service: Route53, Status Code: 400)"
            )
        return original(zone_id, props)

    return handler
