"""The region's name server: at every VPC's +2 address and at 169.254.169.253, over UDP and TCP."""

from __future__ import annotations

import logging
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import dnslib

logger = logging.getLogger("region.resolver")

Lookup = Callable[[str, str, str], list[str]]
"""(lower-case name without final dot, type such as "A", source address) → answers; unknown name → []."""

TIME_TO_LIVE = 1
"""Seconds. The region's names move faster than the world's; a client must not remember them."""

PACKET_INFO = 8  # IP_PKTINFO of linux/in.h; the socket module has no name for it
PACKET_INFO_SIZE = 12  # struct in_pktinfo: interface, local address, header's destination


class Resolver:
    """Answers queries by `lookup`, which may be replaced at any time. It knows no other server to ask."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self._datagrams: socket.socket | None = None
        self._streams: socketserver.ThreadingTCPServer | None = None

    def open(self) -> None:
        """Listen on every address of the region, also on those that come later."""
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.setsockopt(socket.IPPROTO_IP, PACKET_INFO, 1)
        self._datagrams.bind(("0.0.0.0", 53))
        self._streams = _Streams(("0.0.0.0", 53), _handler(self))
        threading.Thread(target=self._serve_datagrams, name="resolver-udp", daemon=True).start()
        threading.Thread(target=self._streams.serve_forever, name="resolver-tcp", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        if self._datagrams is not None:
            self._datagrams.close()
            self._datagrams = None
        if self._streams is not None:
            self._streams.shutdown()
            self._streams.server_close()
            self._streams = None

    def answer(self, query: bytes, source: str) -> bytes:
        """The reply to one message; SERVFAIL when the lookup itself fails."""
        request = dnslib.DNSRecord.parse(query)
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        kind = dnslib.QTYPE.get(request.q.qtype, "")
        try:
            self._fill(reply, request.q.qname, name, kind, source)
        except Exception:
            logger.exception("looking up %s %s failed", kind, name)
            reply.header.rcode = dnslib.RCODE.SERVFAIL
        return bytes(reply.pack())

    def _fill(self, reply: Any, asked: Any, name: str, kind: str, source: str) -> None:
        answers = self.lookup(name, kind, source)
        shown = kind
        if not answers and kind != "CNAME":
            answers, shown = self.lookup(name, "CNAME", source), "CNAME"
        for value in answers:
            reply.add_answer(_record(asked, shown, value))
        if answers and shown == "CNAME" and kind == "A":
            target = answers[0].rstrip(".").lower()
            for value in self.lookup(target, kind, source):
                reply.add_answer(_record(dnslib.DNSLabel(target), kind, value))
        if not answers and not self._known(name, kind, source):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN

    def _known(self, name: str, kind: str, source: str) -> bool:
        """A name with an address but no record of the type asked for (AAAA, say) is no unknown name."""
        return kind != "A" and bool(self.lookup(name, "A", source))

    def _serve_datagrams(self) -> None:
        datagrams = self._datagrams
        assert datagrams is not None
        while True:
            try:
                query, extra, _flags, client = datagrams.recvmsg(4096, socket.CMSG_SPACE(PACKET_INFO_SIZE))
            except OSError:
                return  # closed
            threading.Thread(
                target=self._reply, args=(datagrams, query, extra, client), name="resolver-query", daemon=True
            ).start()

    def _reply(
        self,
        datagrams: socket.socket,
        query: bytes,
        extra: list[tuple[int, int, bytes]],
        client: tuple[str, int],
    ) -> None:
        """Answer from the address that was asked: a client refuses any other."""
        try:
            _interface, local = struct.unpack_from("=I4s", extra[0][2])
            source = struct.pack("=I4s4s", 0, local, b"\0\0\0\0")
            reply = self.answer(query, client[0])
            datagrams.sendmsg([reply], [(socket.IPPROTO_IP, PACKET_INFO, source)], 0, client)
        except (dnslib.DNSError, OSError) as error:
            logger.warning("a query from %s got no answer: %s", client[0], error)


class _Streams(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _handler(resolver: Resolver) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout: ClassVar[int] = 5

        def handle(self) -> None:
            while len(size := self.rfile.read(2)) == 2:
                query = self.rfile.read(struct.unpack("!H", size)[0])
                try:
                    reply = resolver.answer(query, str(self.client_address[0]))
                except dnslib.DNSError as error:
                    logger.warning("no query: %s", error)
                    return
                self.wfile.write(struct.pack("!H", len(reply)) + reply)

    return Handler


def _record(name: Any, kind: str, value: str) -> Any:
    if kind == "TXT":
        value = value if value.startswith('"') else f'"{value}"'
    return dnslib.RR.fromZone(f"{name} {TIME_TO_LIVE} IN {kind} {_absolute(kind, value)}")[0]


def _absolute(kind: str, value: str) -> str:
    return value if kind not in {"CNAME", "NS"} or value.endswith(".") else f"{value}."
