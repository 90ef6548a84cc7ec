"""Is the release what everybody gets? Asked of every server, of the load balancer, and of the public site."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway import targets
from slipway.errors import VerificationFailed
from slipway.patience import DEFAULT, Patience, linger
from slipway.targets import Target

HEADER = "X-Slipway-Release"
LONGEST_RELEASE = 63  # characters, as in the input


@dataclass(frozen=True)
class Answer:
    """What the site answered; `error` if it did not answer at all, `kind` tells which: dns, tls, refused."""

    status: int = 0
    release: str = ""
    location: str = ""
    error: str = ""
    kind: str = ""


def verify(
    request: Mapping[str, Any],
    outputs: Mapping[str, Mapping[str, str]],
    reports: Sequence[Mapping[str, Any]],
    patience: Patience = DEFAULT,
) -> dict[str, Any]:
    """{"status": "verified" | "waiting", "detail", "url", "targets"}; raises VerificationFailed.

    Waiting can help with targets and the site, so that is for the caller to bound; it cannot with another
    release on a server.
    """
    release = request["release"]["id"]
    check_reports(release, reports)
    domain = request["environment"]["domain"]
    url = f"https://{domain['name']}{request['environment']['web']['healthPath']}"
    group = outputs["web"]["TargetGroupArn"]

    def look() -> dict[str, Any]:
        found = targets.all_targets(group)
        detail = of_targets(found, reports) or of_site(fetch(url), release, domain, outputs)
        return {"status": "waiting" if detail else "verified", "detail": detail, "url": url, "targets": found}

    return linger(look, lambda seen: seen["status"] == "verified", patience)


def check_reports(release: str, reports: Sequence[Mapping[str, Any]]) -> None:
    """Raises VerificationFailed unless there are reports and every server reports the release."""
    others = [
        f"{report['server']} reports {(report.get('result') or {}).get('release') or 'none'}"
        for report in reports
        if (report.get("result") or {}).get("release") != release
    ]
    if not reports:
        others = ["no server reported"]
    if others:
        raise VerificationFailed(
            f"not every server has release {release}: {', '.join(others)}",
            ", ".join(report["server"] for report in reports) or "servers",
            "the release before is put back; see the log of the activation on those servers",
        )


def of_targets(found: Sequence[Target], reports: Sequence[Mapping[str, Any]]) -> str:
    """What the load balancer's targets lack; nothing if every one is healthy and reported."""
    if not found:
        return "the load balancer has no target"
    unhealthy = [
        f"{item['server']} is {item['state']} ({item['reason']})"
        for item in found
        if item["state"] != "healthy"
    ]
    if unhealthy:
        return "not every target is healthy: " + ", ".join(unhealthy)
    reported = {report["server"] for report in reports}
    strangers = [item["server"] for item in found if item["server"] not in reported]
    if strangers:
        return f"the load balancer also sends to {', '.join(strangers)}, which this release did not reach"
    return ""


def of_site(
    answer: Answer, release: str, domain: Mapping[str, Any], outputs: Mapping[str, Mapping[str, str]]
) -> str:
    """What the public site lacks; nothing if it answers 200 with the release."""
    if answer.kind == "dns":
        return f"{domain['name']} cannot be resolved: {_remedy(domain, outputs)}"
    if answer.error:
        hint = f"; if another site answers there: {_remedy(domain, outputs)}" if answer.kind == "tls" else ""
        return f"https://{domain['name']} does not answer: {answer.error}{hint}"
    if answer.status != 200:
        return f"the site answers {answer.status}, not 200"
    if answer.release != release:
        got = (
            f"release {answer.release[:LONGEST_RELEASE]}"
            if answer.release
            else f"no header {HEADER}: perhaps it is another site"
        )
        return f"the site answers with {got}, not with release {release}"
    return ""


def _remedy(domain: Mapping[str, Any], outputs: Mapping[str, Mapping[str, str]]) -> str:
    if domain["dns"] == "elsewhere":
        address = outputs.get("load_balancer", {}).get("LoadBalancerDnsName", "the load balancer's DNS name")
        return f"set an alias (or a CNAME) of {domain['name']} to {address} where its DNS is kept"
    servers = outputs.get("certificate", {}).get("NameServers", "")
    return "see that the registrar delegates it to the hosted zone" + (f": {servers}" if servers else "")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """The health path itself has to answer 200: a redirection is an answer, not a way to go."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch(url: str, seconds: float = 5.0) -> Answer:
    """GET with the trust of the machine (an authority of its own can be named by SSL_CERT_FILE, as for any
    program)."""
    opener = urllib.request.build_opener(
        _StayHere(), urllib.request.HTTPSHandler(context=ssl.create_default_context())
    )
    wanted = urllib.request.Request(url, headers={"User-Agent": "slipway"})
    try:
        with opener.open(wanted, timeout=seconds) as response:
            return Answer(response.status, response.headers.get(HEADER, ""))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers.get(HEADER, ""), error.headers.get("Location", ""))
    except urllib.error.URLError as error:
        return Answer(error=str(error.reason), kind=_kind(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a Location that is none
        return Answer(error=str(error) or type(error).__name__, kind=_kind(error))


_KINDS: Sequence[tuple[type[Exception], str]] = ((socket.gaierror, "dns"), (ssl.SSLError, "tls"))


def _kind(reason: object) -> str:
    return next((kind for error, kind in _KINDS if isinstance(reason, error)), "refused")
