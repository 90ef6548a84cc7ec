"""Questions and answers on the wire, against a DNS library and a resolver on this machine."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dnslib import CNAME, NS, QTYPE, RCODE, RR, A, DNSRecord

from slipway import dns


def test_question() -> None:
    parsed = DNSRecord.parse(dns.question("_a.Arable.example.", dns.TYPES["CNAME"]))
    assert str(parsed.q.qname) == "_a.Arable.example."
    assert QTYPE[parsed.q.qtype] == "CNAME"
    assert parsed.header.rd == 1


def reply(question: bytes) -> DNSRecord:
    return DNSRecord.parse(question).reply()


def test_answers_with_compressed_names() -> None:
    answer = reply(dns.question("arable.example", dns.TYPES["NS"]))
    for server in ("NS-1.arable.example", "ns-2.awsdns.com"):
        answer.add_answer(RR("arable.example", QTYPE.NS, rdata=NS(server), ttl=60))
    answer.add_answer(RR("arable.example", QTYPE.A, rdata=A("192.0.2.1"), ttl=60))
    assert dns.answers(answer.pack(), dns.TYPES["NS"]) == ["ns-1.arable.example", "ns-2.awsdns.com"]


def test_no_such_name_is_an_answer() -> None:
    answer = reply(dns.question("arable.example", dns.TYPES["NS"]))
    answer.header.rcode = RCODE.NXDOMAIN
    assert dns.answers(answer.pack(), dns.TYPES["NS"]) == []


def test_a_server_that_fails_is_none() -> None:
    answer = reply(dns.question("arable.example", dns.TYPES["NS"]))
    answer.header.rcode = RCODE.SERVFAIL
    assert dns.answers(answer.pack(), dns.TYPES["NS"]) is None


def test_a_name_that_points_to_itself_ends() -> None:
    header = struct.pack(">HHHHHH", 1, 0x8000, 1, 1, 0, 0)
    with pytest.raises(OSError, match="does not end"):
        dns.answers(header + b"\xc0\x0c" + b"\0" * 20, dns.TYPES["NS"])


Answer = Callable[[bytes], bytes]


class Resolver:
    """Answers one question on UDP, and one on TCP at the same port."""

    def __init__(self, over_udp: Answer, over_tcp: Answer) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.over_udp, self.over_tcp = over_udp, over_tcp
        self.threads = [threading.Thread(target=serve, daemon=True) for serve in (self._udp, self._tcp)]
        for thread in self.threads:
            thread.start()

    def _udp(self) -> None:
        with contextlib.suppress(OSError):
            question, sender = self.udp.recvfrom(4096)
            self.udp.sendto(self.over_udp(question), sender)

    def _tcp(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.tcp.accept()
            with connection:
                (length,) = struct.unpack(">H", connection.recv(2))
                message = self.over_tcp(connection.recv(length))
                connection.sendall(struct.pack(">H", len(message)) + message[:5])
                connection.sendall(message[5:])

    def close(self) -> None:
        self.udp.close()
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        for thread in self.threads:
            thread.join(1)


Resolving = Callable[..., None]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolving]:
    """Puts a resolver of this machine in the place of the configured one."""
    running: list[Resolver] = []

    def use(over_udp: Answer, over_tcp: Answer = lambda question: b"") -> None:
        running.append(Resolver(over_udp, over_tcp))
        monkeypatch.setattr(dns, "PORT", running[0].port)
        monkeypatch.setattr(dns, "_resolver", lambda: "127.0.0.1")
        monkeypatch.setattr(dns, "SECONDS", 2.0)

    yield use
    for one in running:
        one.close()


def validation_record(question: bytes) -> bytes:
    record = reply(question)
    record.add_answer(RR("_a.arable.example", QTYPE.CNAME, rdata=CNAME("_b.acm-validations.aws"), ttl=60))
    return bytes(record.pack())


def truncated(question: bytes) -> bytes:
    record = reply(question)
    record.header.tc = 1
    return bytes(record.pack())


def test_look_up(resolver: Resolving) -> None:
    resolver(validation_record)
    assert dns.look_up("_a.arable.example", "CNAME") == ["_b.acm-validations.aws"]


def test_an_answer_that_does_not_fit_is_asked_for_over_tcp(resolver: Resolving) -> None:
    resolver(truncated, validation_record)
    assert dns.look_up("_a.arable.example", "CNAME") == ["_b.acm-validations.aws"]


def test_an_answer_to_another_question_is_none(resolver: Resolving) -> None:
    resolver(lambda question: bytes([question[0] ^ 1]) + validation_record(question)[1:])
    assert dns.look_up("_a.arable.example", "CNAME") is None


def test_what_is_no_dns_is_none(resolver: Resolving) -> None:
    resolver(lambda question: question[:2] + b"\0")
    assert dns.look_up("arable.example", "NS") is None


def test_nobody_answers(resolver: Resolving, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    resolver(validation_record)
    monkeypatch.setattr(dns, "PORT", port)
    assert dns.look_up("arable.example", "NS") is None


def test_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "search example\n")
    assert dns.look_up("arable.example", "NS") is None
