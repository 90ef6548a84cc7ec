"""The load generator: what it counts as an answer, what as a failure, and whom it refuses to send to."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rehearsal import load


class Answering(BaseHTTPRequestHandler):
    """Answers as the sample application does, or worse."""

    protocol_version = "HTTP/1.1"
    status = 200
    body = b"up r1 :root authenticity_token Notes from the fields"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("X-Release", "r1")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class PlainSite:
    """A site over plain HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Answering,), {})) as answering:
        answering.daemon_threads = True
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        yield answering
        answering.shutdown()


def loaded(port: int, requests: int, rates: load.Rates) -> load.Tally:
    """The tally after at least so many requests of these visitors."""
    site: Any = PlainSite(port)
    counter, stop = load.Counter(), threading.Event()
    threads = load.Visitors(lambda: site, counter, stop).start(rates)
    deadline = time.monotonic() + 60
    while sum(tally(counter).sent.values()) < requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(60)
    return tally(counter)


def tally(counter: load.Counter) -> load.Tally:
    return load.Tally.read(counter.line(whole=True))


def test_every_answer_counts_for_the_release_that_gave_it(server: ThreadingHTTPServer) -> None:
    seen = loaded(server.server_port, 60, load.Rates(kept=200, fresh=50, posts=0))
    assert seen.failures == {}
    assert seen.releases == {"r1": seen.sent["kept"] + seen.sent["fresh"]}
    assert min(seen.sent["kept"], seen.sent["fresh"]) > 0
    assert seen.seen["r1"][0] <= seen.seen["r1"][1]


def test_the_rate_is_of_good_answers_alone_and_of_the_time_from_the_first_request_to_the_last_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter([10.0, 10.5, 12.0, 14.0])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    counter = load.Counter()
    assert load.Tally.read(counter.line(whole=False)).rate == 0.0
    counter.sent("kept")
    counter.answered("kept", "r1")
    for _ in range(2):
        counter.sent("fresh")
    counter.answered("fresh", "r1")
    counter.failed("fresh", "/up: 503")
    seen = tally(counter)
    assert (seen.seconds, seen.rate) == (4.0, 0.5)
    assert "in 4.0 s, 0.5 a second answered well" in seen.says()


def test_an_error_and_wrong_content_are_failures(server: ThreadingHTTPServer) -> None:
    handler: Any = server.RequestHandlerClass
    handler.status = 503
    seen = loaded(server.server_port, 5, load.Rates(kept=50, fresh=0, posts=0))
    assert set(seen.failures) <= {"/up: 503", "/arable.css: 503", "/posts/new: 503", "/: 503"}
    assert sum(seen.failures.values()) == seen.sent["kept"]
    handler.status, handler.body = 200, b"something else"
    assert all(
        "wrong content" in what for what in loaded(server.server_port, 5, load.Rates(50, 0, 0)).failures
    )


def test_no_answer_is_a_failure() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        seen = loaded(silent.getsockname()[1], 3, load.Rates(kept=0, fresh=50, posts=0))
    assert seen.releases == {}
    assert all("ConnectionRefusedError" in what for what in seen.failures)


def test_the_application_s_word_counts_before_nginx_s() -> None:
    headers = Message()
    assert load.release_of(headers) == "unknown"
    headers["X-Slipway-Release"] = "r2"
    assert load.release_of(headers) == "r2"
    headers["X-Release"] = "r1"
    assert load.release_of(headers) == "r1"


def test_nothing_is_sent_out_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(address: str) -> None:
        monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(2, 1, 6, "", (address, 443))])

    looked_up("203.0.113.10")
    assert load.resolved("arable.example") == "203.0.113.10"
    looked_up("93.184.215.14")
    with pytest.raises(SystemExit, match="not in the region"):
        load.resolved("arable.example")
