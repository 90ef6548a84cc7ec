"""The wait for a certificate, explained: which record is missing, and who has to do what about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slipway import dns
from slipway.aws import acm, cloudformation, route53
from slipway.errors import CertificateRefused

Record = dict[str, str]
LookUp = Callable[[str, str], list[str] | None]

ENDED = frozenset({"FAILED", "VALIDATION_TIMED_OUT", "REVOKED", "EXPIRED", "INACTIVE"})


def check(environment: Mapping[str, Any], stack: str, look_up: LookUp = dns.look_up) -> dict[str, Any]:
    """{"status": "pending" | "issued", "missing": [{"name", "type", "value"}], "detail": what is to be done
    by whom}.

    Raises CertificateRefused.
    """
    resources = cloudformation.resources(stack)
    arn = _physical_id(resources, "AWS::CertificateManager::Certificate")
    if not arn.startswith("arn:"):
        return _pending([], "the certificate has not been requested yet")
    certificate = acm.certificate(arn)
    if certificate["Status"] == "ISSUED":
        return {"status": "issued", "missing": [], "detail": f"the certificate {arn} is issued"}
    if certificate["Status"] in ENDED:
        raise _refused(certificate, arn)
    records = validation_records(certificate)
    missing = [record for record in records if not _visible(record, look_up)]
    if environment["domain"]["dns"] == "elsewhere":
        return _pending(missing, explained_elsewhere(environment["domain"]["name"], records, missing))
    zone_id = environment["domain"]["hostedZoneId"] or _physical_id(resources, "AWS::Route53::HostedZone")
    if not zone_id:
        return _pending(missing, "the hosted zone has not been created yet")
    zone, servers = route53.zone(zone_id)
    return _pending(missing, explained(zone, servers, look_up(zone, "NS"), records, missing))


def validation_records(certificate: Mapping[str, Any]) -> list[Record]:
    """The records that prove that the domain is the user's; ACM names them some seconds after the request."""
    records = [
        {
            "name": option["ResourceRecord"]["Name"].rstrip("."),
            "type": option["ResourceRecord"]["Type"],
            "value": option["ResourceRecord"]["Value"].rstrip("."),
        }
        for option in certificate.get("DomainValidationOptions", [])
        if option.get("ResourceRecord") and option.get("ValidationStatus") != "SUCCESS"
    ]
    return [record for number, record in enumerate(records) if record not in records[:number]]


def explained(
    zone: str,
    servers: Sequence[str],
    delegated: Sequence[str] | None,
    records: Sequence[Record],
    missing: Sequence[Record],
) -> str:
    """What holds the certificate up, when Route 53 answers for the domain."""
    if not records:
        return "ACM has not named the validation records yet"
    if delegated is not None and not set(delegated) & set(servers):
        now = (
            f"it is delegated to {', '.join(sorted(delegated))}"
            if delegated
            else "it is not delegated to anybody"
        )
        return (
            f"the domain {zone} is not delegated to its hosted zone: {now}; set its name servers at the "
            f"registrar to {', '.join(servers)}"
        )
    if missing:
        return (
            f"the validation records are not visible in the zone {zone} yet; CloudFormation puts them there"
        )
    return "the validation records are visible; ACM looks for them every few minutes"


def explained_elsewhere(domain: str, records: Sequence[Record], missing: Sequence[Record]) -> str:
    """What holds the certificate up, when another provider answers for the domain."""
    if not records:
        return "ACM has not named the validation records yet"
    if missing:
        wanted = "; ".join(f"{record['name']} {record['type']} {record['value']}" for record in missing)
        return f"set these records where the DNS of {domain} is kept, and leave them there: {wanted}"
    return "the validation records are visible; ACM looks for them every few minutes"


def _visible(record: Record, look_up: LookUp) -> bool:
    found = look_up(record["name"], record["type"])
    return found is not None and record["value"].lower() in found


def _pending(missing: list[Record], detail: str) -> dict[str, Any]:
    return {"status": "pending", "missing": missing, "detail": detail}


def _physical_id(resources: Sequence[Mapping[str, Any]], kind: str) -> str:
    ids = [
        resource.get("PhysicalResourceId", "") for resource in resources if resource["ResourceType"] == kind
    ]
    return ids[0] if ids else ""


def _refused(certificate: Mapping[str, Any], arn: str) -> CertificateRefused:
    reason = certificate.get("FailureReason", "no reason given")
    return CertificateRefused(
        f"ACM will not issue the certificate: it is {certificate['Status']} ({reason})",
        arn,
        "see what ACM says of that reason; once it is removed, start the release again",
    )
