"""What HAProxy is told and says, as data: its configuration, its runtime commands, its statistics. Pure."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

REDIRECT = "redirect-to-https"
RUNTIME_SOCKET = "/run/haproxy/region.sock"
CERTIFICATES = "/etc/haproxy/private"


@dataclass(frozen=True)
class Target:
    """Somebody who answers requests. A draining one gets no new ones."""

    id: str
    address: str
    port: int
    draining: bool = False


@dataclass(frozen=True)
class TargetGroup:
    """Times in seconds. matcher as ELBv2 writes it: "200", "200,302", "200-299"."""

    arn: str
    health_path: str
    matcher: str
    interval: float
    healthy: int
    unhealthy: int
    timeout: float
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Listener:
    """certificate_pem: key and chain in one PEM, None = plain HTTP. default: a group's arn or REDIRECT."""

    port: int
    certificate_pem: str | None
    default: str


@dataclass(frozen=True)
class Member:
    """A target as HAProxy knows it: a registration. Registered anew, a target is another member."""

    server: str
    target: Target


@dataclass(frozen=True)
class Statistics:
    """A line of `show stat`. status: UP, DOWN, DRAIN, MAINT (with details); check: INI, L7OK, L4CON, …;
    requests: sent to it, errors: 5xx that it answered, both since the process began."""

    status: str
    check: str
    sessions: int
    requests: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Reading:
    """All counters of a process at one moment. servers: (backend, server) → its line; errors: 5xx that
    clients got from all listeners, whoever made them."""

    process: str
    servers: Mapping[tuple[str, str], Statistics]
    errors: int


def backend(arn: str) -> str:
    """The name of a target group's backend."""
    return "group-" + hashlib.sha256(arn.encode()).hexdigest()[:12]


def certificate_file(listener: Listener) -> str:
    """Where a listener's key and chain are."""
    return f"{CERTIFICATES}/{listener.port}.pem"


def configuration(
    listeners: Sequence[Listener],
    groups: Sequence[TargetGroup],
    members: Mapping[str, Sequence[Member]],
    admitted: Collection[str] = (),
) -> str:
    """The whole file. `members`: group arn → its registrations; those not `admitted` get no requests yet."""
    known = {group.arn for group in groups}
    parts = [GLOBAL]
    parts += [_frontend(listener, known) for listener in sorted(listeners, key=lambda each: each.port)]
    parts += [_backend(group, members.get(group.arn, ()), admitted) for group in groups]
    return "\n".join(parts)


# Timeouts: an ALB closes connections that were idle for 60 s, and waits 10 s for a target's connection
# (ELBv2 documentation, "Connection idle timeout", and "HTTP 504: Gateway timeout"). It keeps its
# connections to targets and shares them among clients; a connection that is refused, or closed under a
# request, is the client's loss: nothing is tried twice ("HTTP 502: Bad gateway").
GLOBAL = f"""global
    stats socket {RUNTIME_SOCKET} mode 600 level admin expose-fd listeners
    stats timeout 1h
    maxconn 4000
    nbthread 1
    server-state-file /run/haproxy/state
    ssl-default-bind-options ssl-min-ver TLSv1.2
    hard-stop-after 60s
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout http-request 60s
    timeout http-keep-alive 60s
    option http-keep-alive
    http-reuse always
    retries 0
    load-server-state-from-file global
"""


def _frontend(listener: Listener, known: set[str]) -> str:
    secure = listener.certificate_pem is not None
    options = f" ssl crt {certificate_file(listener)} alpn h2,http/1.1" if secure else ""
    lines = [
        f"frontend listener-{listener.port}",
        f"    bind :{listener.port}{options}",
        # An ALB appends the client's address to what the client sent.
        "    http-request set-header X-Forwarded-For %[req.fhdr(x-forwarded-for)],\\ %[src]"
        " if { req.fhdr(x-forwarded-for) -m found }",
        "    http-request set-header X-Forwarded-For %[src] unless { req.fhdr(x-forwarded-for) -m found }",
        f"    http-request set-header X-Forwarded-Proto {'https' if secure else 'http'}",
        f"    http-request set-header X-Forwarded-Port {listener.port}",
    ]
    if listener.default == REDIRECT:
        # As an ALB writes it: https://#{host}:443/#{path}?#{query}
        lines.append(
            "    http-request redirect code 301 location https://%[req.hdr(host),field(1,:)]:443%[capture.req.uri]"
        )
    elif listener.default in known:
        lines.append(f"    default_backend {backend(listener.default)}")
    else:
        lines.append("    http-request return status 503")
    return "\n".join([*lines, ""])


def _backend(group: TargetGroup, members: Sequence[Member], admitted: Collection[str]) -> str:
    lines = [
        f"backend {backend(group.arn)}",
        "    balance roundrobin",
        "    option httpchk",
        # As an ALB's checks name themselves; an ALB gives the target's own address as Host.
        f"    http-check send meth GET uri {group.health_path} ver HTTP/1.1"
        " hdr Host health-check hdr User-Agent ELB-HealthChecker/2.0 hdr Connection close",
        f"    http-check expect status {group.matcher}",
        f"    timeout check {milliseconds(group.timeout)}",
    ]
    for member in members:
        place = f"{member.target.address}:{member.target.port}"
        weight = 1 if member.server in admitted else 0
        lines.append(f"    server {member.server} {place} {checks(group)} weight {weight}")
    return "\n".join([*lines, ""])


def checks(group: TargetGroup) -> str:
    """How a server of this group is checked, in the words that a configuration and `add server` share."""
    return f"check inter {milliseconds(group.interval)} rise {group.healthy} fall {group.unhealthy}"


def milliseconds(seconds: float) -> str:
    """A time as HAProxy reads it."""
    return f"{round(seconds * 1000)}ms"


def addition(group: TargetGroup, member: Member) -> list[str]:
    """Runtime commands that add a registration, checked but without requests until the check has passed."""
    name = f"{backend(group.arn)}/{member.server}"
    place = f"{member.target.address}:{member.target.port}"
    return [
        f"add server {name} {place} {checks(group)} weight 0",
        f"enable health {name}",
        f"enable server {name}",
    ]


def statistics(answer: str) -> dict[tuple[str, str], Statistics]:
    """`show stat` → (backend, server) → its line."""
    return {
        (row["pxname"], row["svname"]): Statistics(
            row["status"],
            row["check_status"],
            int(row["scur"] or 0),
            int(row.get("stot") or 0),
            int(row.get("hrsp_5xx") or 0),
        )
        for row in _rows(answer)
        if row["svname"] not in {"FRONTEND", "BACKEND"}
    }


READ = "show info;show stat -1 5 -1"
"""The command whose answer `reading` takes: of listeners and servers (1 + 4), in this order."""


def reading(answer: str) -> Reading:
    """Raises ValueError if the answer is not whole."""
    info, found, table = answer.partition("# pxname")
    process = next((line for line in info.splitlines() if line.startswith("Pid:")), "")
    if not found or not process:
        raise ValueError(f"not statistics: {answer[:200]!r}")
    errors = sum(int(row["hrsp_5xx"] or 0) for row in _rows(found + table) if row["svname"] == "FRONTEND")
    return Reading(process, statistics(found + table), errors)


def _rows(answer: str) -> Iterable[dict[str, str]]:
    return csv.DictReader(io.StringIO(answer.removeprefix("# ").strip()))


SUCCESSES = ("New server registered.", "Server deleted.")


def checked(line: Statistics) -> bool:
    """Whether a new target has its first check behind it: passed, or failed so often that it is DOWN."""
    return line.status.startswith("DOWN") or line.check.lstrip("* ") == "L7OK"


REASONS = {
    "L7STS": "Target.ResponseCodeMismatch",
    "L7RSP": "Target.ResponseCodeMismatch",
    "L4TOUT": "Target.Timeout",
    "L6TOUT": "Target.Timeout",
    "L7TOUT": "Target.Timeout",
}
"""HAProxy's check result → ELBv2's TargetHealth reason; any other failure is Target.FailedHealthChecks."""


def health(seen: Statistics | None, admitted: bool, draining: bool, used: bool) -> tuple[str, str]:
    """State and reason in ELBv2's words. `admitted`: it has passed its first check."""
    if draining:
        return "draining", "Target.DeregistrationInProgress"
    if not used:
        return "unused", "Target.NotInUse"
    if seen is None:
        return "initial", "Elb.RegistrationInProgress"
    if seen.status.startswith("DOWN"):
        # HAProxy marks a running check with an asterisk before its last result.
        return "unhealthy", REASONS.get(seen.check.lstrip("* "), "Target.FailedHealthChecks")
    return ("healthy", "") if admitted else ("initial", "Elb.InitialHealthChecking")
