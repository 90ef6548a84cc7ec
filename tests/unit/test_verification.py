"""Verification: reports, targets, and a real HTTPS server on this machine."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway import verification
from slipway.errors import VerificationFailed
from slipway.verification import Answer
from tests.unit.fakes import install, patience
from verify_release.app import handler

DOMAIN = {"name": "arable.example", "dns": "route53"}
OUTPUTS = {
    "web": {"TargetGroupArn": "g"},
    "load_balancer": {"LoadBalancerDnsName": "lb.elb.amazonaws.com"},
    "certificate": {"NameServers": "ns-1.awsdns.com"},
}
REPORTS = [
    {"server": "i-1", "result": {"ok": True, "release": "2"}},
    {"server": "i-2", "result": {"release": "2"}},
]


class LoadBalancer:
    def __init__(self, **states: str) -> None:
        self.states = states or {"i-1": "healthy", "i-2": "healthy"}

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": name.replace("_", "-")},
                    "TargetHealth": {"State": state, "Description": "said so"},
                }
                for name, state in self.states.items()
            ]
        }


# --- the parts ------------------------------------------------------------------------------------


def test_reports_of_this_release() -> None:
    verification.check_reports("2", REPORTS)


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ([], "no server reported"),
        ([*REPORTS, {"server": "i-3", "result": {"release": "1"}}], "i-3 reports 1"),
        ([{"server": "i-1", "result": None}], "i-1 reports none"),
        ([{"server": "i-1", "result": {"ok": True}}], "i-1 reports none"),
    ],
)
def test_reports_of_another_release(reports: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(VerificationFailed, match=said):
        verification.check_reports("2", reports)


def target(server: str, state: str = "healthy") -> dict[str, str]:
    return {"server": server, "state": state, "reason": "said so"}


@pytest.mark.parametrize(
    ("found", "lack"),
    [
        ([target("i-1"), target("i-2")], ""),
        ([], "the load balancer has no target"),
        (
            [target("i-1"), target("i-2", "unhealthy")],
            "not every target is healthy: i-2 is unhealthy (said so)",
        ),
        (
            [target("i-1"), target("i-9")],
            "the load balancer also sends to i-9, which this release did not reach",
        ),
    ],
)
def test_targets(found: list[dict[str, str]], lack: str) -> None:
    assert verification.of_targets(found, REPORTS) == lack


@pytest.mark.parametrize(
    ("answer", "dns", "lack"),
    [
        (Answer(200, "2"), "route53", ""),
        (Answer(200, "1"), "route53", "the site answers with release 1, not with release 2"),
        (Answer(200, ""), "route53", "no header X-Slipway-Release"),
        (Answer(502, "2"), "route53", "the site answers 502, not 200"),
        (Answer(301, ""), "route53", "the site answers 301, not 200"),
        (Answer(error="timed out", kind="refused"), "route53", "does not answer: timed out"),
        (
            Answer(error="bad", kind="dns"),
            "route53",
            "the registrar delegates it to the hosted zone: ns-1.awsdns.com",
        ),
        (Answer(error="bad", kind="dns"), "elsewhere", "to lb.elb.amazonaws.com where its DNS is kept"),
        (Answer(error="bad name", kind="tls"), "elsewhere", "if another site answers there"),
    ],
)
def test_site(answer: Answer, dns: str, lack: str) -> None:
    said = verification.of_site(answer, "2", {**DOMAIN, "dns": dns}, OUTPUTS)
    assert lack in said
    assert bool(said) == bool(lack)


# --- the site -------------------------------------------------------------------------------------


class Site(http.server.BaseHTTPRequestHandler):
    """/up is well; the others are not."""

    def do_GET(self) -> None:
        status = {"/up": 200, "/moved": 301, "/broken": 500}.get(self.path, 404)
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/up")
        self.send_header("X-Slipway-Release", "2")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    assert ipaddress.ip_address("127.0.0.1").is_loopback
    return file


@pytest.fixture(scope="module")
def port(certificate: Path) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize(
    ("path", "status"), [("/up", 200), ("/moved", 301), ("/broken", 500), ("/other", 404)]
)
def test_fetch(path: str, status: int, port: int) -> None:
    answer = verification.fetch(f"https://localhost:{port}{path}")
    assert (answer.status, answer.release, answer.error) == (status, "2", "")
    assert (answer.location != "") == (status == 301)  # it is told, and not followed


def test_an_authority_that_nobody_trusts(port: int) -> None:
    answer = verification.fetch(f"https://localhost:{port}/up")
    assert (answer.status, answer.kind) == (0, "tls")


@pytest.mark.usefixtures("_trusted")
def test_a_certificate_for_another_name(port: int) -> None:
    answer = verification.fetch(f"https://127.0.0.1:{port}/up")
    assert (answer.status, answer.kind) == (0, "tls")


def test_nobody_listens() -> None:
    answer = verification.fetch("https://127.0.0.1:1/up")
    assert (answer.status, answer.kind) == (0, "refused")


def test_a_name_that_is_none() -> None:
    assert verification.fetch("https://arable.invalid/up").kind == "dns"


# --- all of it ------------------------------------------------------------------------------------


def request(port: int, environment: dict[str, Any], release: str = "2") -> dict[str, Any]:
    environment["domain"]["name"] = f"localhost:{port}"
    return {"environment": environment, "release": {"id": release}}


@pytest.mark.usefixtures("_trusted")
def test_verified(port: int, environment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, elbv2=LoadBalancer(i_1="healthy", i_2="healthy", i_3="draining"))
    answer = handler({"request": request(port, environment), "outputs": OUTPUTS, "reports": REPORTS}, None)
    assert answer["status"] == "verified"
    assert answer["url"] == f"https://localhost:{port}/up"
    assert [item["server"] for item in answer["targets"]] == ["i-1", "i-2"]


@pytest.mark.usefixtures("_trusted")
def test_another_release_on_the_site(
    port: int, environment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, elbv2=LoadBalancer(i_1="healthy"))
    reports = [{"server": "i-1", "result": {"release": "3"}}]
    answer = verification.verify(request(port, environment, "3"), OUTPUTS, reports, patience())
    assert answer["status"] == "waiting"
    assert answer["detail"] == "the site answers with release 2, not with release 3"


def test_an_unhealthy_target(environment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, elbv2=LoadBalancer(i_1="unhealthy"))
    answer = verification.verify(request(1, environment), OUTPUTS, REPORTS, patience())
    assert answer["status"] == "waiting"
    assert "i-1 is unhealthy (said so)" in answer["detail"]
