"""Certificates: pending until the validation record is in the DNS, then signed by the region's authority.

A certificate in a stack waits as on AWS: CloudFormation writes the records itself if the template names
the hosted zone of each domain, and otherwise says in an event which record it waits for.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cryptography import x509

from rehearsal.emulator import provisioning
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, scope, wrap_type
from rehearsal.emulator.route53 import plain
from rehearsal.machines import Authority

RELIES_ON = (
    ("services.acm", "_certificates"),
    ("services.acm", "_request_certificate"),
    ("services.acm", "_validation_options"),
    ("services.acm", "_cert_shape"),
    ("services.acm", "_get_certificate"),
    ("services.acm", "_renew_certificate"),
    ("services.acm", "_delete_certificate"),
    ("services.route53", "_zones"),
    ("services.route53", "_records"),
    ("services.route53", "_lock"),
    ("services.alb", "_listeners"),
    ("core.responses", "error_response_json"),
    ("core.responses", "now_iso"),
)

TYPE = "AWS::CertificateManager::Certificate"
ENDS = "certificate_ends"

CHECK_SECONDS = 1.0
"""How often the DNS is asked for missing records. ACM takes minutes; the rehearsal need not."""

SERVED_ONLY_WHEN_ISSUED = ("IssuedAt", "NotBefore", "NotAfter", "SignatureAlgorithm", "Serial", "Issuer")

VALIDATION_TTL = "300"
"""Seconds, as in the records that CloudFormation writes."""


def install(region: Region) -> None:
    """Request, validate and issue truthfully, through the API and in stacks."""
    acm = ministack("services.acm")
    authority = Authority(region.run)
    if region.certificates is None:
        region.certificates = authority.root
    validator = _Validator(region, authority)
    replace(acm, "_validation_options", lambda _original: pending_option)
    replace(acm, "_request_certificate", _pending_request)
    replace(acm, "_cert_shape", lambda original: _shape(region, original))
    replace(acm, "_get_certificate", _only_issued)
    replace(acm, "_delete_certificate", _only_unused)
    provisioning.on_a_thread(TYPE)
    wrap_type(TYPE, "create", lambda original: _stack_create(region, original))
    wrap_type(TYPE, "delete", _stack_delete)
    region.background(validator.run, name="acm-validation")


def pending_option(domain: str, method: str) -> dict[str, Any]:
    """A domain's entry of DomainValidationOptions before validation.

    A wildcard and its base domain share one record, as in ACM. The record depends on the account's
    domain alone, so that a later certificate for the same domain finds it in place, again as in ACM.
    """
    base = domain.removeprefix("*.")
    digest = hashlib.sha256(f"slipway-rehearsal {base}".encode()).hexdigest()
    option: dict[str, Any] = {
        "DomainName": domain,
        "ValidationDomain": domain,
        "ValidationMethod": method,
        "ValidationStatus": "PENDING_VALIDATION",
    }
    if method == "DNS":
        option["ResourceRecord"] = {
            "Name": f"_{digest[:32]}.{base}.",
            "Type": "CNAME",
            "Value": f"_{digest[32:]}.acm-validations.aws.",
        }
    return option


def _make_pending(certificate: dict[str, Any]) -> None:
    certificate["Status"] = "PENDING_VALIDATION"
    for name in ("IssuedAt", "NotBefore", "NotAfter"):
        certificate.pop(name, None)
    for name in ("_pem_body", "_pem_chain", "_private_key"):
        certificate[name] = ""


def _pending_request(original: Handler) -> Handler:
    """RequestCertificate: what the emulator has just issued is pending before anybody can see it."""
    acm = ministack("services.acm")

    @functools.wraps(original)
    def request(data: dict[str, Any]) -> Any:
        before = set(acm._certificates.keys())
        response = original(data)
        for arn in set(acm._certificates.keys()) - before:
            _make_pending(acm._certificates[arn])
        return response

    return request


def _shape(region: Region, original: Handler) -> Handler:
    """DescribeCertificate: a pending certificate has no dates yet; InUseBy names the load balancers.

    The file ``certificate_ends`` in the region's folder stands for time that passes without a renewal: the
    certificate of a domain in it (``<domain> <ISO 8601>``, one a line) is shown to end then.
    """

    @functools.wraps(original)
    def shape(certificate: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = original(certificate)
        shown["InUseBy"] = sorted({*shown["InUseBy"], *used_by(certificate["CertificateArn"])})
        if not issued(certificate):
            known = {name: value for name, value in shown.items() if name not in SERVED_ONLY_WHEN_ISSUED}
            return known | {"Status": "PENDING_VALIDATION"}
        ends = region.run / ENDS
        for line in ends.read_text().splitlines() if ends.exists() else ():
            domain, _, when = line.partition(" ")
            if domain == certificate["DomainName"]:
                shown["NotAfter"] = datetime.fromisoformat(when.strip()).timestamp()
        own = ("Serial", "Issuer", "KeyAlgorithm", "SignatureAlgorithm")
        return shown | {name: certificate[name] for name in own if name in certificate}

    return shape


def used_by(certificate_arn: str) -> set[str]:
    """The load balancers with a listener that presents the certificate."""
    return {
        listener["LoadBalancerArn"]
        for listener in ministack("services.alb")._listeners.values()
        if certificate_arn in listener.get("Certificates", ())
    }


def issued(certificate: Mapping[str, Any]) -> bool:
    """Whether there really is a certificate: one of ours counts once it has a key."""
    return bool(certificate["Status"] == "ISSUED" and certificate.get("_private_key"))


def _only_issued(original: Handler) -> Handler:
    acm = ministack("services.acm")

    @functools.wraps(original)
    def get(data: dict[str, Any]) -> Any:
        certificate = acm._certificates.get(data.get("CertificateArn", ""))
        if certificate is not None and not issued(certificate):
            return ministack("core.responses").error_response_json(
                "RequestInProgressException",
                f"The certificate request with ARN {certificate['CertificateArn']} is not yet complete.",
                400,
            )
        return original(data)

    return get


def _only_unused(original: Handler) -> Handler:
    @functools.wraps(original)
    def delete(data: dict[str, Any]) -> Any:
        arn = data.get("CertificateArn", "")
        if used_by(arn):
            return ministack("core.responses").error_response_json(
                "ResourceInUseException", f"Certificate {arn} is in use.", 400
            )
        return original(data)

    return delete


class _Validator:
    """Asks the DNS for the records of pending certificates and issues those that have all of them."""

    def __init__(self, region: Region, authority: Authority) -> None:
        self._region = region
        self._authority = authority

    def run(self) -> None:
        """Until the region stops."""
        while not self._region.stopping.wait(CHECK_SECONDS):
            with scope(self._region):
                for certificate in ministack("services.acm")._certificates.values():
                    if certificate["Status"] == "PENDING_VALIDATION":
                        self._look(certificate)

    def _look(self, certificate: dict[str, Any]) -> None:
        for option in certificate["DomainValidationOptions"]:
            record = option.get("ResourceRecord")
            if record and self._present(record):
                option["ValidationStatus"] = "SUCCESS"
        if all(o["ValidationStatus"] == "SUCCESS" for o in certificate["DomainValidationOptions"]):
            self._issue(certificate)

    def _present(self, record: Mapping[str, str]) -> bool:
        answers = self._region.look_up(plain(record["Name"]), record["Type"], "")
        return record["Value"].rstrip(".") in [answer.rstrip(".").lower() for answer in answers]

    def _issue(self, certificate: dict[str, Any]) -> None:
        key, body, chain = split(self._authority.issue(certificate["SubjectAlternativeNames"]))
        parsed = x509.load_pem_x509_certificate(body.encode())
        certificate |= {
            "_private_key": key,
            "_pem_body": body,
            "_pem_chain": chain,
            "KeyAlgorithm": "EC_prime256v1",
            "SignatureAlgorithm": "SHA256WITHECDSA",
            "Serial": ":".join(f"{byte:02x}" for byte in parsed.serial_number.to_bytes(20, "big")),
            "Issuer": parsed.issuer.rfc4514_string(),
            "NotBefore": parsed.not_valid_before_utc.timestamp(),
            "NotAfter": parsed.not_valid_after_utc.timestamp(),
            "IssuedAt": time.time(),
        }
        certificate["Status"] = "ISSUED"  # last: whoever sees it finds the rest in place
        self._region.certificates_changed()


def split(pem: str) -> tuple[str, str, str]:
    """Key, certificate and chain of a PEM that holds them in this order."""
    blocks = [f"-----BEGIN {block}" for block in pem.split("-----BEGIN ")[1:]]
    return blocks[0], blocks[1], "".join(blocks[2:])


def _stack_create(region: Region, original: Handler) -> Handler:
    """AWS::CertificateManager::Certificate: complete once issued."""
    acm = ministack("services.acm")

    @functools.wraps(original)
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        arn, attributes = original(logical_id, props, stack_name)
        certificate = acm._certificates[arn]
        _make_pending(certificate)
        try:
            provisioning.initiated(stack_name, logical_id, TYPE, arn, props, "Resource creation Initiated")
            _write_records(certificate, props)
            for option in certificate["DomainValidationOptions"]:
                provisioning.initiated(stack_name, logical_id, TYPE, arn, props, explanation(option))
            provisioning.wait(region, stack_name, lambda: issued(certificate))
        except BaseException:
            provisioning.abandoned(stack_name, logical_id)
            acm._certificates.pop(arn, None)
            raise
        return arn, attributes

    return create


def _stack_delete(original: Handler) -> Handler:
    """A certificate that a listener presents stays, and the stack says so."""

    @functools.wraps(original)
    def delete(arn: str, props: dict[str, Any]) -> Any:
        if users := used_by(arn):
            raise ValueError(f"Certificate {arn} is in use by {', '.join(sorted(users))}.")
        return original(arn, props)

    return delete


def explanation(option: Mapping[str, Any]) -> str:
    """CloudFormation's own words for the record that it waits for. Source: the ACM user guide,
    "Troubleshoot certificate request problems" (AWS::CertificateManager::Certificate stack events)."""
    record = option.get("ResourceRecord")
    if not record:
        return "Resource creation Initiated"
    name, kind, value = record["Name"], record["Type"], record["Value"]
    return f"Content of DNS Record is: {{Name: {name},Type: {kind},Value: {value}}}"


def zones_named(props: Mapping[str, Any]) -> dict[str, str]:
    """Domain → hosted zone id, of those DomainValidationOptions of a template that name one."""
    options: Iterable[Mapping[str, str]] = props.get("DomainValidationOptions") or ()
    return {one["DomainName"]: one["HostedZoneId"] for one in options if one.get("HostedZoneId")}


def _write_records(certificate: Mapping[str, Any], props: Mapping[str, Any]) -> None:
    """Put the validation records into the zones that the template names.

    On AWS they stay when the certificate is deleted; so they do here.
    """
    route53 = ministack("services.route53")
    named = zones_named(props)
    for option in certificate["DomainValidationOptions"]:
        zone_id = named.get(option["DomainName"])
        record = option.get("ResourceRecord")
        if not zone_id or not record:
            continue
        with route53._lock:
            if zone_id not in route53._zones:
                raise ValueError(f"No hosted zone found with ID: {zone_id}")
            kept = [
                r for r in route53._records[zone_id] if (r["Name"], r["Type"]) != (record["Name"], "CNAME")
            ]
            written = {
                "Name": record["Name"],
                "Type": "CNAME",
                "TTL": VALIDATION_TTL,
                "ResourceRecords": [record["Value"]],
            }
            route53._records[zone_id] = [*kept, written]
