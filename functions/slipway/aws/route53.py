"""Route 53."""

from __future__ import annotations

from typing import Any

from slipway.aws import client


def zone(zone_id: str) -> tuple[str, list[str]]:
    """The hosted zone's name and its name servers, both without the final dot."""
    answer = client("route53").get_hosted_zone(Id=zone_id)
    servers = answer.get("DelegationSet", {}).get("NameServers", [])
    return answer["HostedZone"]["Name"].rstrip("."), [server.rstrip(".").lower() for server in servers]


def record(zone_id: str, name: str, kind: str) -> dict[str, Any] | None:
    """The zone's record of that name and type, None if it has none."""
    answer = client("route53").list_resource_record_sets(
        HostedZoneId=zone_id, StartRecordName=name, StartRecordType=kind, MaxItems="1"
    )
    found = [
        one for one in answer["ResourceRecordSets"] if one["Name"].rstrip(".") == name and one["Type"] == kind
    ]
    return dict(found[0]) if found else None
