"""What the data plane decides without effects: rules, health, metadata, command lines, names."""

from __future__ import annotations

from dataclasses import replace

import dnslib
import pytest

from rehearsal.machines.counters import Count, Counters
from rehearsal.machines.database import first_statements
from rehearsal.machines.firewall import Rule, SecurityGroup, ruleset
from rehearsal.machines.haproxy import (
    REDIRECT,
    Listener,
    Member,
    Reading,
    Statistics,
    Target,
    TargetGroup,
    checked,
    configuration,
    health,
    reading,
    statistics,
)
from rehearsal.machines.metadata import Instance, Metadata, document
from rehearsal.machines.network import link_name
from rehearsal.machines.resolver import Resolver
from rehearsal.machines.server import transient_unit


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


# Firewall


def test_a_rule_names_a_cidr_or_the_members_of_a_group() -> None:
    groups = {
        "sg-web": SecurityGroup((Rule("tcp", 3000, 3000, "sg-lb"), Rule("icmp", -1, -1, "10.0.0.0/8"))),
        "sg-lb": SecurityGroup((), (Rule("all", 0, 65535, "0.0.0.0/0"),)),
    }
    rules = lines(ruleset(groups, {"10.0.0.1": ["sg-web"], "10.0.0.2": ["sg-lb"], "10.0.0.3": ["sg-lb"]}))
    assert "ip daddr { 10.0.0.1 } ip saddr { 10.0.0.2, 10.0.0.3 } tcp dport 3000-3000 accept" in rules
    assert "ip daddr { 10.0.0.1 } ip saddr 10.0.0.0/8 meta l4proto icmp accept" in rules
    assert "ip saddr { 10.0.0.2, 10.0.0.3 } goto ingress" in rules


@pytest.mark.parametrize("peer", ["sg-without-members", "::/0"])
def test_a_peer_that_nobody_is_allows_nothing(peer: str) -> None:
    groups = {"sg-web": SecurityGroup((Rule("tcp", 80, 80, peer),), (Rule("all", 0, 0, peer),))}
    text = ruleset(groups, {"10.0.0.1": ["sg-web"]})
    assert "10.0.0.1" not in text


def test_a_group_without_members_makes_no_rule() -> None:
    assert ruleset({"sg-web": SecurityGroup((Rule("tcp", 80, 80, "0.0.0.0/0"),))}, {}) == ruleset({}, {})


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ValueError) as refused:
        ruleset({"sg": SecurityGroup((Rule("gre", 0, 0, "0.0.0.0/0"),))}, {"10.0.0.1": ["sg"]})
    assert "gre" in str(refused.value)


# Load balancer

UP = Statistics("UP", "L7OK", 0)


@pytest.mark.parametrize(
    ("seen", "admitted", "draining", "used", "expected"),
    [
        (UP, True, False, True, ("healthy", "")),
        (UP, False, False, True, ("initial", "Elb.InitialHealthChecking")),
        (None, False, False, True, ("initial", "Elb.RegistrationInProgress")),
        (UP, True, True, True, ("draining", "Target.DeregistrationInProgress")),
        (UP, True, False, False, ("unused", "Target.NotInUse")),
        (Statistics("DOWN", "L7STS", 0), True, False, True, ("unhealthy", "Target.ResponseCodeMismatch")),
        (Statistics("DOWN", "* L7TOUT", 0), True, False, True, ("unhealthy", "Target.Timeout")),
        (Statistics("DOWN 1/2", "L7OK", 0), True, False, True, ("unhealthy", "Target.FailedHealthChecks")),
        (Statistics("DOWN", "L4CON", 0), False, False, True, ("unhealthy", "Target.FailedHealthChecks")),
    ],
)
def test_health_is_told_in_the_words_of_elbv2(
    seen: Statistics | None, admitted: bool, draining: bool, used: bool, expected: tuple[str, str]
) -> None:
    assert health(seen, admitted, draining, used) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (Statistics("DRAIN", "INI", 0), False),
        (Statistics("DRAIN", "* L7OK", 0), True),
        (Statistics("DRAIN 1/2", "L4CON", 0), False),
        (Statistics("DOWN", "L4CON", 0), True),
    ],
)
def test_a_target_is_admitted_after_a_first_result(line: Statistics, expected: bool) -> None:
    assert checked(line) is expected


def test_statistics_are_read_per_server() -> None:
    answer = "# pxname,svname,scur,status,check_status,\ngroup-1,FRONTEND,1,OPEN,,\ngroup-1,a,3,UP,L7OK,\n"
    assert statistics(answer) == {("group-1", "a"): Statistics("UP", "L7OK", 3)}


READING = """Name: HAProxy
Pid: {pid}

# pxname,svname,scur,stot,status,check_status,hrsp_5xx,
listener-80,FRONTEND,1,9,OPEN,,0,
listener-443,FRONTEND,1,9,OPEN,,{all},
group-1,a,0,{requests},UP,L7OK,{errors},
"""


def read(pid: int, everybody: int, requests: int, errors: int) -> Reading:
    return reading(READING.format(pid=pid, all=everybody, requests=requests, errors=errors))


def test_counters_are_read_with_the_process_that_counted() -> None:
    line = Statistics("UP", "L7OK", 0, requests=7, errors=2)
    assert read(4, 3, 7, 2) == Reading("Pid: 4", {("group-1", "a"): line}, 3)


@pytest.mark.parametrize("answer", ["", "Name: HAProxy\nPid: 4\n", "# pxname,svname,hrsp_5xx,\n"])
def test_half_an_answer_counts_nothing(answer: str) -> None:
    with pytest.raises(ValueError, match="not statistics"):
        reading(answer)


@pytest.mark.parametrize(
    ("readings", "count", "own"),
    [
        ([(4, 0, 0, 0)], Count(), 0),
        ([(4, 3, 7, 2)], Count(7, 2), 1),
        ([(4, 3, 7, 2), (4, 3, 7, 2)], Count(7, 2), 1),
        ([(4, 3, 7, 2), (4, 4, 9, 3)], Count(9, 3), 1),
        ([(4, 3, 7, 2), (5, 0, 0, 0)], Count(7, 2), 1),  # reloaded
        ([(4, 3, 7, 2), (5, 4, 9, 3)], Count(16, 5), 2),
        ([(4, 3, 7, 2), (4, 3, 8, 3), (4, 4, 8, 3)], Count(8, 3), 1),  # a target's, then handed on
    ],
)
def test_counters_outlive_processes(
    readings: list[tuple[int, int, int, int]], count: Count, own: int
) -> None:
    counters = Counters()
    for each in readings:
        counters.take(read(*each))
    assert (counters.of("group-1"), counters.all, counters.own) == (count, count, own)


def test_counters_outlive_servers() -> None:
    counters = Counters()
    counters.take(read(4, 3, 7, 2))
    counters.take(replace(read(4, 3, 7, 2), servers={}))
    counters.take(replace(read(4, 4, 7, 2), servers={("group-1", "b"): Statistics("UP", "L7OK", 0, 1, 1)}))
    assert (counters.all, counters.own) == (Count(8, 3), 1)


def test_a_configuration_forwards_redirects_and_refuses() -> None:
    target = Target("i-1", "10.0.0.1", 3000)
    group = TargetGroup("arn:g", "/up", "200-299", 5, 2, 3, 2.5, (target,))
    listeners = [Listener(443, "pem", "arn:g"), Listener(80, None, REDIRECT), Listener(81, None, "arn:gone")]
    text = lines(configuration(listeners, [group], {"arn:g": [Member("target-1", target)]}))
    assert "server target-1 10.0.0.1:3000 check inter 5000ms rise 2 fall 3 weight 0" in text
    assert "http-check expect status 200-299" in text
    assert "timeout check 2500ms" in text
    assert "bind :443 ssl crt /etc/haproxy/private/443.pem alpn h2,http/1.1" in text
    assert "http-request return status 503" in text
    assert sum(line.startswith("http-request redirect") for line in text) == 1


# Metadata, names, commands

INSTANCE = Instance("i-1", "eu-central-1a", "eu-central-1", "10.0.0.1", tags={"Name": "web"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("meta-data/instance-id", b"i-1"),
        ("meta-data/placement", b"availability-zone\nregion"),
        ("meta-data/tags/instance", b"Name"),
        ("meta-data/iam/security-credentials", None),
        ("meta-data/public-ipv4", None),
        ("user-data", None),
    ],
)
def test_metadata_show_what_there_is(path: str, expected: bytes | None) -> None:
    assert document(INSTANCE, path) == expected


def test_a_token_is_good_for_its_address_alone() -> None:
    metadata = Metadata(lambda _source: None)
    token = metadata.issue_token("10.0.0.1", 60)
    assert metadata.accepts(token, "10.0.0.1")
    assert not metadata.accepts(token, "10.0.0.2")
    assert not metadata.accepts(None, "10.0.0.1")
    assert not metadata.accepts(metadata.issue_token("10.0.0.1", 0), "10.0.0.1")


def names(name: str, kind: str, _source: str) -> list[str]:
    zone = {("site.example", "A"): ["203.0.113.5"], ("www.site.example", "CNAME"): ["site.example."]}
    return zone.get((name, kind), [])


def broken(_name: str, _kind: str, _source: str) -> list[str]:
    raise RuntimeError("the zone is being changed")


@pytest.mark.parametrize(
    ("lookup", "name", "kind", "code", "answers"),
    [
        (names, "SITE.example", "A", "NOERROR", ["203.0.113.5"]),
        (names, "site.example", "AAAA", "NOERROR", []),
        (names, "unknown.example", "A", "NXDOMAIN", []),
        (names, "www.site.example", "A", "NOERROR", ["site.example.", "203.0.113.5"]),
        (broken, "site.example", "A", "SERVFAIL", []),
    ],
)
def test_the_resolver_answers(lookup: object, name: str, kind: str, code: str, answers: list[str]) -> None:
    query = dnslib.DNSRecord.question(name, kind).pack()
    reply = dnslib.DNSRecord.parse(Resolver(lookup).answer(query, "10.0.0.1"))  # type: ignore[arg-type]
    assert dnslib.RCODE[reply.header.rcode] == code
    assert [str(record.rdata) for record in reply.rr] == answers


def test_systemd_expands_nothing_in_arguments() -> None:
    command = transient_unit(["echo", "$HOME", "100%"], 5, {"A": "b"})
    assert command[-4:] == ["--", "echo", "$$HOME", "100%"]
    assert "--setenv=A=b" in command
    assert "--property=RuntimeMaxSec=5" in command


def test_interface_names_fit_and_differ() -> None:
    assert len(link_name("i-0123456789abcdef0")) <= 15
    assert link_name("i-0123456789abcdef0") != link_name("i-0123456789abcdef1")


def test_names_and_passwords_of_the_database_are_quoted() -> None:
    assert "CREATE USER IF NOT EXISTS 'a''b'@'%' IDENTIFIED BY 'c\\\\d';" in first_statements(
        "a'b", "c\\d", None
    )
    with pytest.raises(ValueError):
        first_statements("a", "b\nGRANT", None)
