"""Constant load on a site of the region: visitors that never stop, and what each of them met.

    with load.on(paths, domain, Rates(kept=200, fresh=20, posts=1)) as running:
        …                      # releases come and go; running.tally() says how it stands
    running.tally().failures   # {} if every request was answered as it should be
    load.lost(running.tally().posts, …)   # posts that were accepted and are not there

The visitors are threads of one process inside the region's own network, from which nothing can leave the
machine; they ask the load balancer over HTTPS, by the name that the region's DNS gives it. Each sends at its
own pace and waits for its answer: a site that answers late gets fewer requests, not a heap of them. A slow
answer is no failure, and nothing is asked twice: like the load balancers of AWS, and unlike a browser.

    python -m rehearsal.load DOMAIN AUTHORITY RATES   (inside the region; ends when its standard input does)
"""

from __future__ import annotations

import http.client
import ipaddress
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from email.message import Message
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rehearsal import host, visit
from rehearsal.machines.places import PUBLIC_RANGE

KINDS = ("kept", "fresh", "posts")
PAGES = (
    ("/up", b"up "),
    ("/arable.css", b":root"),
    ("/up", b"up "),
    ("/posts/new", b"authenticity_token"),
    ("/up", b"up "),
    ("/arable.css", b":root"),
    ("/up", b"up "),
    ("/", b"Notes from the fields"),
)
"""What visitors ask for, one after another, and what is in it in every release of the sample application."""

VISITOR_PACE = {"kept": 8.0, "fresh": 2.0, "posts": 0.5}
"""Requests (posts) a second of one visitor, at most: so many visitors are at work at the same time."""

REPORT_SECONDS = 0.25
START_SECONDS = 300.0
END_SECONDS = 2 * visit.LOAD_PATIENCE


@dataclass(frozen=True)
class Rates:
    """Requests a second. kept: GETs on connections that are kept; fresh: GETs on a new one each; posts: notes
    with an image, sent as a form on a new connection (each takes a GET of the form before, not counted)."""

    kept: float = 200.0
    fresh: float = 20.0
    posts: float = 1.0


@dataclass(frozen=True)
class Sent:
    """A post that the site accepted. `image`: the SHA-256 of what was sent."""

    title: str
    path: str
    image: str


@dataclass
class Tally:
    """What became of the requests of each kind."""

    sent: dict[str, int] = field(default_factory=dict)
    """Kind → how many."""
    answered: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind → release → how often it answered as it should."""
    failed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind → what happened (a status, an error, wrong content) → how often."""
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Release → when it answered first and last (time.time())."""
    seconds: float = 0.0
    """From the first request until the last answer, or what came instead of it."""
    posts: list[Sent] = field(default_factory=list)
    """Only at the end."""

    @property
    def failures(self) -> dict[str, int]:
        """What happened → how often, whatever the kind."""
        return _summed(self.failed)

    @property
    def releases(self) -> dict[str, int]:
        """Release → how often it answered, whatever the kind."""
        return _summed(self.answered)

    @property
    def rate(self) -> float:
        """Requests a second that were answered as they should be."""
        return sum(self.releases.values()) / self.seconds if self.seconds else 0.0

    @classmethod
    def read(cls, line: str) -> Tally:
        """From a line of JSON."""
        told = json.loads(line)
        return cls(**{**told, "posts": [Sent(**post) for post in told["posts"]]})

    def says(self) -> str:
        """One line."""
        sent = ", ".join(f"{times} {kind}" for kind, times in self.sent.items())
        failed = f"{sum(self.failures.values())} failed {self.failures or ''}".strip()
        when = f"in {self.seconds:.1f} s, {self.rate:.1f} a second answered well"
        return f"requests: {sent}; {when}; answered by {self.releases}; {failed}"


def _summed(counted: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counted.values():
        for name, times in each.items():
            total[name] = total.get(name, 0) + times
    return total


# From outside


class Running:
    """Load that is running; its last word when it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._tally = Tally()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tally(self) -> Tally:
        """How it stands, at most some tenths of a second ago; complete after the end."""
        return self._tally

    def wait(self, enough: Callable[[Tally], bool], seconds: float = START_SECONDS) -> Tally:
        """The tally, as soon as it is `enough`. Raises TimeoutError after `seconds`, RuntimeError when all
        visitors have ended."""
        deadline = time.monotonic() + seconds
        while not enough(self._tally):
            if self._process.poll() is not None:
                raise RuntimeError(f"the load has ended ({self._process.returncode}): {self._tally.says()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s; {self._tally.says()}")
            time.sleep(0.05)
        return self._tally

    def end(self) -> None:
        """Let every visitor have its last answer."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        if code != 0:
            raise RuntimeError(f"the load ended with exit code {code}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._tally = Tally.read(line)


@contextmanager
def on(paths: host.Paths, domain: str, rates: Rates = Rates()) -> Iterator[Running]:
    """Load on the site of a domain while this block runs; every kind has been answered when it begins."""
    told = [domain, str(paths.authority), json.dumps(asdict(rates))]
    process = subprocess.Popen(
        host.inside(paths, [sys.executable, "-m", "rehearsal.load", *told]),
        cwd=host.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = Running(process)
    try:
        wanted = {kind for kind, rate in asdict(rates).items() if rate > 0}
        running.wait(lambda tally: {kind for kind, of in tally.answered.items() if of} >= wanted)
        yield running
    finally:
        running.end()


def lost(
    posts: Sequence[Sent], site: visit.Site, sql: Callable[[str], str], s3: Any, bucket: str, database: str
) -> list[str]:
    """Accepted posts that are not there, once and whole: as a row of the database, as an object with the very
    bytes in the bucket, and on the site with title and image. One line each, with what is missing."""
    rows = sql(f"SELECT title FROM `{database}`.posts").splitlines()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    with ThreadPoolExecutor(4) as pool:
        bodies = pool.map(lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)
        kept = {sha256(body).hexdigest() for body in bodies}
        shown = list(pool.map(lambda post: _on_site(site.another(), post), posts))
    found = []
    for post, on_site in zip(posts, shown, strict=True):
        checks = {
            f"{rows.count(post.title)} rows": rows.count(post.title) == 1,
            "no object in the bucket": post.image in kept,
            "not on the site": on_site,
        }
        found += [f"{post.path} {post.title}: {what}" for what, fine in checks.items() if not fine]
    return found


def _on_site(site: visit.Site, post: Sent) -> bool:
    page = site.get(post.path)
    image = re.search(r'<img src="([^"]+)"', page.text)
    if page.status != 200 or post.title not in page.text or image is None:
        return False
    got = site.get(urlsplit(unescape(image.group(1))).path)
    return got.status == 200 and sha256(got.body).hexdigest() == post.image


# Inside


class Counter:
    """What all visitors together met. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tally = Tally(
            dict.fromkeys(KINDS, 0), {kind: {} for kind in KINDS}, {kind: {} for kind in KINDS}
        )
        self._began: float | None = None

    def sent(self, kind: str) -> None:
        """A request is about to be sent."""
        with self._lock:
            self._tally.sent[kind] += 1
            if self._began is None:
                self._began = time.monotonic()

    def _ended(self) -> None:
        """A request has; the lock is held."""
        assert self._began is not None
        self._tally.seconds = time.monotonic() - self._began

    def answered(self, kind: str, release: str) -> None:
        """As it should be."""
        now = time.time()
        with self._lock:
            self._ended()
            times = self._tally.answered[kind]
            times[release] = times.get(release, 0) + 1
            self._tally.seen[release] = (self._tally.seen.get(release, (now, now))[0], now)

    def failed(self, kind: str, what: str) -> None:
        """Not as it should be."""
        with self._lock:
            self._ended()
            times = self._tally.failed[kind]
            times[what] = times.get(what, 0) + 1

    def accepted(self, post: Sent) -> None:
        """The site says that it has the post."""
        with self._lock:
            self._tally.posts.append(post)

    def line(self, whole: bool) -> str:
        """The tally as one line of JSON; the posts only if it is `whole`."""
        with self._lock:
            return json.dumps(asdict(self._tally if whole else replace(self._tally, posts=[])))


@dataclass(frozen=True)
class Visitors:
    """All visitors of a site."""

    site: Callable[[], visit.Site]
    counter: Counter
    stop: threading.Event

    def start(self, rates: Rates) -> list[threading.Thread]:
        """As many of each kind as the rates take; each begins a little after the one before."""
        works = {"kept": self.keep, "fresh": self.ask, "posts": self.write}
        threads = []
        for kind, rate in asdict(rates).items():
            number = -int(-rate // VISITOR_PACE[kind])
            for index in range(number):
                pause = number / rate
                given = (works[kind](index), pause, pause * index / number)
                threads.append(threading.Thread(target=self._pace, args=given, daemon=True))
        for thread in threads:
            thread.start()
        return threads

    def _pace(self, work: Iterator[None], pause: float, first: float) -> None:
        """One request every `pause` seconds, later when the answer came later."""
        due = time.monotonic() + first
        for _ in work:
            self.stop.wait(max(0.0, due - time.monotonic()))
            if self.stop.is_set():
                return
            due = max(due + pause, time.monotonic())

    def keep(self, number: int) -> Iterator[None]:
        """GETs on one connection, for as long as the load balancer keeps it."""
        connection = self.site().connection()
        for path, mark in pages(number):
            yield
            self._get("kept", connection, path, mark)

    def ask(self, number: int) -> Iterator[None]:
        """GETs, each on a connection of its own."""
        for path, mark in pages(number):
            yield
            connection = self.site().connection()
            self._get("fresh", connection, path, mark)
            connection.close()

    def _get(self, kind: str, connection: http.client.HTTPConnection, path: str, mark: bytes) -> None:
        self.counter.sent(kind)
        try:
            connection.request("GET", path, headers={"Accept": "*/*"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.counter.failed(kind, f"{path}: {type(error).__name__}: {error}")
            connection.close()
            return
        if answer.status != 200:
            self.counter.failed(kind, f"{path}: {answer.status}")
        elif mark not in body:
            self.counter.failed(kind, f"{path}: wrong content")
        else:
            self.counter.answered(kind, release_of(answer.headers))

    def write(self, _number: int) -> Iterator[None]:
        """Posts, each with an image of its own."""
        while True:
            yield
            site = self.site()
            self.counter.sent("posts")
            try:
                post, release = visit.send_post(site)
            except (OSError, http.client.HTTPException, visit.Disappointed) as error:
                self.counter.failed("posts", f"{type(error).__name__}: {error}")
            else:
                self.counter.accepted(Sent(post.title, post.path, sha256(post.image).hexdigest()))
                self.counter.answered("posts", release_of(release))


def pages(number: int) -> Iterator[tuple[str, bytes]]:
    """What a visitor asks for, for ever; each begins elsewhere, so that not all want the same at a time."""
    return itertools.cycle(PAGES[(number + offset) % len(PAGES)] for offset in range(len(PAGES)))


def release_of(headers: Message) -> str:
    """Which release answered: the application's own word; for a file that nginx sent, nginx's."""
    return str(headers["X-Release"] or headers["X-Slipway-Release"] or "unknown")


def resolved(domain: str) -> str:
    """The address of the region's load balancer. Raises SystemExit for an address anywhere else."""
    address = str(socket.getaddrinfo(domain, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    if ipaddress.ip_address(address) not in ipaddress.ip_network(PUBLIC_RANGE):
        raise SystemExit(f"{domain} is {address}, which is not in the region: nothing is sent there")
    return address


def main() -> None:
    """Send until standard input ends; say how it stands now and then, and at the end."""
    domain, authority, rates = sys.argv[1:]
    address = resolved(domain)
    first = visit.Site(domain, Path(authority), 443, address, visit.LOAD_PATIENCE)
    visitors = Visitors(first.another, Counter(), threading.Event())
    threads = visitors.start(Rates(**json.loads(rates)))
    threading.Thread(target=_until_the_end_of_input, args=(visitors.stop,), daemon=True).start()
    while not visitors.stop.wait(REPORT_SECONDS):
        print(visitors.counter.line(whole=False), flush=True)
    for thread in threads:
        thread.join()
    print(visitors.counter.line(whole=True), flush=True)


def _until_the_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
