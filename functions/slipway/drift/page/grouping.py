"""Which findings are one entry of the page, in which order, and where in the environment each belongs.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

SEVERITIES = ("high", "medium", "low")

# In the order in which a request of a visitor comes by; `environment` takes what belongs nowhere else.
PLACES = (
    "environment",
    "dns",
    "certificate",
    "network",
    "load_balancer",
    "web",
    "database",
    "storage",
)

# A kind that says more of the place than its tier does.
PLACE_OF_KIND: Mapping[str, str] = {
    "alias_elsewhere": "dns",
    "delegation_elsewhere": "dns",
    "certificate_expires": "certificate",
    "certificate_not_renewing": "certificate",
    "redirect_missing": "load_balancer",
    "target_unhealthy": "web",
    "imds_open": "web",
    "role_policy_added": "web",
    "scaling_suspended": "web",
    "database_public": "database",
    "database_reachable": "database",
    "backups_off": "database",
    "backups_old": "database",
    "bucket_public": "storage",
}

# What stands in a tier's stack and belongs to another part of the picture, by logical id (or its beginning).
PLACE_OF_RESOURCE: Mapping[str, str] = {
    "LoadBalancerSecurityGroup": "load_balancer",
    "LoadBalancerTo": "load_balancer",
    "WebSecurityGroup": "web",
    "WebFrom": "web",
    "WebTo": "web",
    "DatabaseSecurityGroup": "database",
    "DatabaseFrom": "database",
    "HostedZone": "dns",
    "DomainRecord": "dns",
    "WwwRecord": "dns",
}
RESOURCE = re.compile(rf"\b(?:{'|'.join(PLACE_OF_RESOURCE)})")

INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b")


@dataclass(frozen=True)
class Entry:
    """Findings that differ only in the server or resource that they are about; `number` is their badge's."""

    number: int
    place: str
    findings: tuple[Json, ...]
    where: tuple[str, ...]  # what it is about, each once
    names: frozenset[str]  # the same, and the ids of servers in it

    @property
    def first(self) -> Json:
        return self.findings[0]

    @property
    def severity(self) -> str:
        return severity(self.first)


def said(item: Json, key: str) -> str:
    """A value as a text; empty if it is not there."""
    value = item.get(key)
    return "" if value is None else str(value)


def severity(finding: Json) -> str:
    """One that is not known counts as the worst."""
    given = said(finding, "severity")
    return given if given in SEVERITIES else SEVERITIES[0]


def place(finding: Json) -> str:
    """Where in the picture it is: by the resource, the kind, or the tier, whichever says most."""
    kind, tier = said(finding, "kind"), said(finding, "tier")
    resource = RESOURCE.search(said(finding, "where"))
    if resource and tier in PLACES:
        return PLACE_OF_RESOURCE[resource.group()]
    if tier == "servers":
        return "web"
    return PLACE_OF_KIND.get(kind) or (tier if tier in PLACES else PLACES[0])


def entries(findings: Iterable[Json]) -> list[Entry]:
    """The worst first, then along a request's way; equal findings about several servers are one entry."""
    together: dict[tuple[str, ...], list[Json]] = {}
    for finding in sorted(findings, key=_rank):
        together.setdefault(_sameness(finding), []).append(finding)
    return [_entry(number, equal) for number, equal in enumerate(together.values(), start=1)]


def _entry(number: int, findings: Sequence[Json]) -> Entry:
    where = tuple(dict.fromkeys(said(finding, "where") for finding in findings))
    names = frozenset(name for one in where for name in (one, *INSTANCE.findall(one)))
    return Entry(number, place(findings[0]), tuple(findings), where, names)


def _rank(finding: Json) -> tuple[int, int, str, str]:
    return (
        SEVERITIES.index(severity(finding)),
        PLACES.index(place(finding)),
        said(finding, "kind"),
        said(finding, "where"),
    )


def _sameness(finding: Json) -> tuple[str, ...]:
    where = said(finding, "where")
    texts = (said(finding, key) for key in ("what", "expected", "found", "remedy"))
    return (
        said(finding, "kind"),
        severity(finding),
        place(finding),
        # kind|where|property: a name may hold a bar itself.
        said(finding, "key").removeprefix(f"{said(finding, 'kind')}|{where}|").replace(where or "\0", "\0"),
        *(without(where, text) for text in texts),
    )


def without(where: str, text: str) -> str:
    """The text with a blank in the place of what it is about."""
    return INSTANCE.sub("\0", text.replace(where, "\0") if where else text)


def worst(found: Sequence[Entry]) -> str:
    """The worst severity of some; empty if there are none."""
    return min((entry.severity for entry in found), key=SEVERITIES.index, default="")
