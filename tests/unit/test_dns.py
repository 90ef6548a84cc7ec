"""Questions and answers on the wire, against a DNS library and a resolver on this machine."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
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


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[bytes], bytes]], None]:
    """Puts a resolver of one answer in the place of the configured one."""

    def use(answer: Callable[[bytes], bytes]) -> None:
        server = socket.create_server(("127.0.0.1", 0))
        address = server.getsockname()
        connect = socket.create_connection
        monkeypatch.setattr(socket, "create_connection", lambda _, seconds: connect(address, seconds))

        def serve() -> None:
            connection, _ = server.accept()
            with connection, server:
                (length,) = struct.unpack(">H", connection.recv(2))
                message = answer(connection.recv(length))
                connection.sendall(struct.pack(">H", len(message)) + message[:5])
                connection.sendall(message[5:])

        threading.Thread(target=serve, daemon=True).start()

    return use


def test_look_up(resolver: Callable[[Callable[[bytes], bytes]], None]) -> None:
    def answer(question: bytes) -> bytes:
        record = reply(question)
        record.add_answer(RR("_a.arable.example", QTYPE.CNAME, rdata=CNAME("_b.acm-validations.aws"), ttl=60))
        return bytes(record.pack())

    resolver(answer)
    assert dns.look_up("_a.arable.example", "CNAME") == ["_b.acm-validations.aws"]


def test_an_answer_to_another_question_is_none(resolver: Callable[[Callable[[bytes], bytes]], None]) -> None:
    resolver(lambda question: bytes([question[0] ^ 1]) + question[1:])
    assert dns.look_up("arable.example", "NS") is None


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert dns.look_up("arable.example", "NS") is None


def test_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "search example\n")
    assert dns.look_up("arable.example", "NS") is None
