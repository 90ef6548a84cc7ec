"""The wait for a certificate: which record is missing, and whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import certificate
from slipway.errors import CertificateRefused
from tests.unit.fakes import install

ARN = "arn:aws:acm:eu-central-1:1:certificate/1"
RECORD = {"name": "_a.arable.example", "type": "CNAME", "value": "_b.acm-validations.aws"}
SERVERS = ["ns-1.awsdns-01.com", "ns-2.awsdns-02.org"]


class CloudFormation:
    def __init__(self, certificate: str = ARN, zone: str = "Z1") -> None:
        self.resources = {
            "AWS::CertificateManager::Certificate": certificate,
            "AWS::Route53::HostedZone": zone,
        }

    def describe_stack_resources(self, StackName: str) -> dict[str, Any]:
        found = [
            {
                "ResourceType": kind,
                "LogicalResourceId": kind,
                **({"PhysicalResourceId": physical} if physical else {}),
            }
            for kind, physical in self.resources.items()
        ]
        return {"StackResources": found}


class Acm:
    def __init__(self, status: str = "PENDING_VALIDATION", named: bool = True) -> None:
        self.status, self.named = status, named

    def describe_certificate(self, CertificateArn: str) -> dict[str, Any]:
        record = {"Name": RECORD["name"] + ".", "Type": "CNAME", "Value": RECORD["value"] + "."}
        option = {"DomainName": "arable.example", "ValidationStatus": "PENDING_VALIDATION"}
        options = (
            [{**option, "ResourceRecord": record}, {**option, "ResourceRecord": record}]
            if self.named
            else [option]
        )
        return {
            "Certificate": {
                "Status": self.status,
                "DomainValidationOptions": options,
                "FailureReason": "CAA_ERROR",
            }
        }


class Route53:
    def get_hosted_zone(self, Id: str) -> dict[str, Any]:
        return {
            "HostedZone": {"Name": "arable.example."},
            "DelegationSet": {"NameServers": [s + "." for s in SERVERS]},
        }


class Dns:
    """What the public sees."""

    def __init__(self, **answers: list[str] | None) -> None:
        self.answers = answers

    def __call__(self, name: str, kind: str) -> list[str] | None:
        return self.answers.get(kind, [])


def ask(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, Any],
    dns: Dns,
    acm: Acm | None = None,
    stack: CloudFormation | None = None,
) -> dict[str, Any]:
    install(monkeypatch, cloudformation=stack or CloudFormation(), acm=acm or Acm(), route53=Route53())
    return certificate.check(environment, "slipway-arable-certificate", dns)


def test_issued(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    answer = ask(monkeypatch, environment, Dns(), Acm("ISSUED"))
    assert (answer["status"], answer["missing"]) == ("issued", [])


@pytest.mark.parametrize("status", sorted(certificate.ENDED))
def test_never_to_be_issued(
    status: str, monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    with pytest.raises(CertificateRefused, match="CAA_ERROR"):
        ask(monkeypatch, environment, Dns(), Acm(status))


def test_not_requested_yet(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    answer = ask(monkeypatch, environment, Dns(), stack=CloudFormation(certificate=""))
    assert answer["status"] == "pending"
    assert "not been requested" in answer["detail"]


def test_records_not_named_yet(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    answer = ask(monkeypatch, environment, Dns(), Acm(named=False))
    assert answer["missing"] == []
    assert "not named" in answer["detail"]


@pytest.mark.parametrize("delegated", [[], ["ns1.parking.example"]])
def test_not_delegated(
    delegated: list[str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    answer = ask(monkeypatch, environment, Dns(NS=delegated))
    assert answer["status"] == "pending"
    assert answer["missing"] == [RECORD]
    assert "at the registrar to ns-1.awsdns-01.com, ns-2.awsdns-02.org" in answer["detail"]


def test_delegated_but_not_there(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    answer = ask(monkeypatch, environment, Dns(NS=SERVERS))
    assert answer["missing"] == [RECORD]
    assert "not visible in the zone arable.example" in answer["detail"]


def test_visible(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    answer = ask(monkeypatch, environment, Dns(NS=SERVERS, CNAME=[RECORD["value"]]))
    assert answer["missing"] == []
    assert "every few minutes" in answer["detail"]


def test_another_value_is_missing(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    answer = ask(monkeypatch, environment, Dns(NS=SERVERS, CNAME=["other.example"]))
    assert answer["missing"] == [RECORD]


def test_a_resolver_that_does_not_answer_blames_nobody(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    answer = ask(monkeypatch, environment, Dns(NS=None, CNAME=None))
    assert answer["status"] == "pending"
    assert "registrar" not in answer["detail"]


def test_dns_elsewhere(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    environment["domain"]["dns"] = "elsewhere"
    answer = ask(monkeypatch, environment, Dns())
    assert answer["missing"] == [RECORD]
    assert "_a.arable.example CNAME _b.acm-validations.aws" in answer["detail"]
    assert "set these records where the DNS of arable.example is kept" in answer["detail"]
    seen = ask(monkeypatch, environment, Dns(CNAME=[RECORD["value"]]))
    assert seen["missing"] == []


def test_a_zone_that_was_brought(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    environment["domain"]["hostedZoneId"] = "Z9"
    answer = ask(monkeypatch, environment, Dns(NS=SERVERS), stack=CloudFormation(zone=""))
    assert "not visible in the zone" in answer["detail"]
