"""A visitor of the site: HTTPS through the load balancer, with a browser's cookies and forms; and a look
behind the site, into its bucket and its database, for what the visitor left.
"""

from __future__ import annotations

import http.client
import re
import secrets
import socket
import ssl
import struct
import zlib
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from email.message import Message
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60  # seconds for one request: a first one compiles the application's views
LOAD_PATIENCE = 90  # the same under load, on a machine that may be busy


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


class Site:
    """The site of a domain as a visitor sees it whom the DNS leads to `address`:`port`.

    Trusts only the certificate authority in the PEM file `authority`; checks the name too.
    """

    def __init__(
        self,
        domain: str,
        authority: Path,
        port: int,
        address: str = "127.0.0.1",
        patience: float = PATIENCE,
    ) -> None:
        """`patience`: seconds for one request."""
        self.domain = domain
        self.where = (address, port)
        self.trust = ssl.create_default_context(cafile=str(authority))
        self.patience = patience
        self.cookies: dict[str, str] = {}

    def another(self) -> Site:
        """The same site as somebody else sees it: without this one's cookies."""
        other = copy(self)
        other.cookies = {}
        return other

    def connection(self) -> http.client.HTTPSConnection:
        """A connection to keep for as long as the site does; made when the first request is sent."""
        return _Through(self.domain, self.where, self.trust, self.patience)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One request, on a connection of its own. Raises OSError when there is no answer."""
        connection = self.connection()
        try:
            connection.request(method, path, body, {**self._headers(), **(headers or {})})
            answer = connection.getresponse()
            response = Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        self._keep_cookies(response)
        return response

    def get(self, path: str) -> Response:
        """GET."""
        return self.request("GET", path)

    def post_form(
        self, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]
    ) -> Response:
        """POST as a browser sends a form: `files` are field → (file name, content of a PNG)."""
        boundary = secrets.token_hex(16)
        return self.request(
            "POST",
            path,
            multipart(boundary, fields, files),
            {"Content-Type": f"multipart/form-data; boundary={boundary}", "Origin": f"https://{self.domain}"},
        )

    def _headers(self) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Host": self.domain, "Accept": "*/*"} | ({"Cookie": cookies} if cookies else {})

    def _keep_cookies(self, response: Response) -> None:
        for line in response.headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";", 1)[0].partition("=")
            self.cookies[name] = value


class _Through(http.client.HTTPSConnection):
    """HTTPS to a name, over a connection to another address."""

    def __init__(self, domain: str, where: tuple[str, int], trust: ssl.SSLContext, patience: float) -> None:
        super().__init__(domain, context=trust, timeout=patience)
        self._where = where
        self._trust = trust

    def connect(self) -> None:
        plain = socket.create_connection(self._where, timeout=self.timeout)
        try:
            self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def multipart(boundary: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> bytes:
    """A form's body (RFC 7578)."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, (file, content) in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def picture(width: int = 48, height: int = 32) -> bytes:
    """A PNG of random colours: nobody can have it already."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = b"".join(b"\0" + secrets.token_bytes(3 * width) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@dataclass(frozen=True)
class Post:
    """What the visitor wrote."""

    title: str
    path: str
    image: bytes


class Disappointed(Exception):
    """The site did not do what a visitor expects; the message says what it did."""


def write_post(site: Site) -> Post:
    """Fill in the form of a new post, with an image, and send it. Raises Disappointed."""
    return send_post(site)[0]


def send_post(site: Site) -> tuple[Post, Message]:
    """The same; with the headers of the answer that accepted it."""
    title, image = f"Harvest {secrets.token_hex(4)}", picture()
    form = expect(site.get("/posts/new"), 200, "the form of a new post")
    found = re.search(r'name="authenticity_token" value="([^"]+)"', form.text)
    if found is None:
        raise Disappointed("the form of a new post has no authenticity token")
    sent = site.post_form(
        "/posts",
        {
            "authenticity_token": unescape(found.group(1)),
            "post[title]": title,
            "post[text]": "Sown in spring.",
        },
        {"post[image]": ("harvest.png", image)},
    )
    headers = expect(sent, 302, "sending a post").headers
    return Post(title, urlsplit(headers["Location"]).path, image), headers


def read_back(site: Site, post: Post) -> str:
    """Read the post and its image through the site. Returns the image's path. Raises Disappointed."""
    page = expect(site.get(post.path), 200, "the post's page")
    if post.title not in page.text:
        raise Disappointed(f"{post.path} does not show the title {post.title!r}")
    found = re.search(r'<img src="([^"]+)"', page.text)
    if found is None:
        raise Disappointed(f"{post.path} shows no image")
    path = urlsplit(unescape(found.group(1))).path
    image = expect(site.get(path), 200, "the post's image")
    if image.body != post.image:
        raise Disappointed(f"{path} is not the image that was sent: {len(image.body)} bytes")
    return path


def expect(response: Response, status: int, what: str) -> Response:
    """The response, if it has this status. Raises Disappointed otherwise."""
    if response.status != status:
        said = " ".join(re.sub(r"<[^>]+>", " ", response.text).split())[:200]
        raise Disappointed(f"{what}: {response.status} instead of {status}: {said}")
    return response


# Behind the site


def in_bucket(s3: Any, bucket: str, image: bytes) -> str | None:
    """The key of the object that holds exactly these bytes, or None."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            if entry["Size"] == len(image):
                body: bytes = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                if body == image:
                    return str(entry["Key"])
    return None


def rows_with_title(sql: Callable[[str], str], database: str, title: str) -> int:
    """How many posts with this title the database holds. `sql` runs a statement as its administrator."""
    return int(sql(f"SELECT COUNT(*) FROM `{database}`.posts WHERE title = '{title}'").strip())
