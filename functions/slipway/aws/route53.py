"""Route 53."""

from __future__ import annotations

from slipway.aws import client


def zone(zone_id: str) -> tuple[str, list[str]]:
    """The hosted zone's name and its name servers, both without the final dot."""
    answer = client("route53").get_hosted_zone(Id=zone_id)
    servers = answer.get("DelegationSet", {}).get("NameServers", [])
    return answer["HostedZone"]["Name"].rstrip("."), [server.rstrip(".").lower() for server in servers]
