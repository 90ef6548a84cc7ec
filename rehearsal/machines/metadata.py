"""Instance metadata at 169.254.169.254: without a token there is no answer, unless the instance lets it.

Servers are told apart by their source address, which they cannot choose (see network.SETTINGS).
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rehearsal.machines.places import METADATA_ADDRESS

LONGEST_TOKEN = 21600
"""Seconds. Source: EC2 user guide, X-aws-ec2-metadata-token-ttl-seconds, 1 to 21600."""


@dataclass(frozen=True)
class Credentials:
    """expiration: ISO 8601 UTC, as in 2026-11-22T12:00:00Z."""

    access_key_id: str
    secret_access_key: str
    token: str
    expiration: str


@dataclass(frozen=True)
class Instance:
    """What a server may learn of itself. `credentials` is called for each request, so that it can renew."""

    id: str
    zone: str
    region: str
    private_address: str
    type: str = "t3.micro"
    image: str = "ami-00000000000000000"
    account: str = "000000000000"
    role: str | None = None
    profile_arn: str | None = None
    credentials: Callable[[], Credentials] | None = None
    public_address: str | None = None
    user_data: bytes | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """The tags that the launch template lets the server see (InstanceMetadataTags)."""
    mac: str | None = None
    tokens_required: bool = True
    """Version 2 alone; else a question without a token is answered, too."""
    answers: bool = True
    """Whether the instance has the service at all."""


Who = Callable[[str], Instance | None]
"""Source address → the instance that holds it."""


class Metadata:
    """The service for the whole region; `who` may be replaced at any time."""

    def __init__(self, who: Who) -> None:
        self.who = who
        self._tokens: dict[str, tuple[str, float]] = {}
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        """Listen on 169.254.169.254:80."""
        self._server = _Service((METADATA_ADDRESS, 80), _handler(self))
        threading.Thread(target=self._server.serve_forever, name="metadata", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def issue_token(self, source: str, seconds: int) -> str:
        """A token that is good for this source address alone, for so many seconds."""
        now = time.monotonic()
        self._tokens = {token: held for token, held in self._tokens.items() if held[1] > now}
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (source, now + seconds)
        return token

    def accepts(self, token: str | None, source: str) -> bool:
        """Whether this token was given to this address and is still good."""
        holder, until = self._tokens.get(token or "", ("", 0.0))
        return holder == source and until > time.monotonic()

    def refusal(self, instance: Instance | None, token: str | None, source: str) -> HTTPStatus | None:
        """Why a question is not answered, None if it is."""
        if instance is not None and not instance.answers:
            return HTTPStatus.FORBIDDEN
        if token is None and instance is not None and not instance.tokens_required:
            return None
        return None if self.accepts(token, source) else HTTPStatus.UNAUTHORIZED


def document(instance: Instance, path: str) -> bytes | None:
    """What stands at `path` (after /latest/, no slash around it), or None if nothing does."""
    if path == "dynamic/instance-identity/document":
        return json.dumps(_identity(instance), indent=2).encode()
    if path == "user-data":
        return instance.user_data
    entries = _entries(instance)
    if path in entries:
        return entries[path].encode()
    prefix = f"{path}/" if path else ""
    below = {_child(entry, prefix) for entry in entries if entry.startswith(prefix)}
    return "\n".join(sorted(below)).encode() if below else None


def _child(entry: str, prefix: str) -> str:
    first, slash, _rest = entry.removeprefix(prefix).partition("/")
    return first + slash


def _entries(instance: Instance) -> dict[str, str]:
    zone_id = instance.zone
    entries = {
        "meta-data/instance-id": instance.id,
        "meta-data/instance-type": instance.type,
        "meta-data/ami-id": instance.image,
        "meta-data/local-ipv4": instance.private_address,
        "meta-data/local-hostname": hostname(instance.private_address, instance.region),
        "meta-data/hostname": hostname(instance.private_address, instance.region),
        "meta-data/placement/availability-zone": zone_id,
        "meta-data/placement/region": instance.region,
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/services/partition": "aws",
    }
    if instance.public_address:
        entries["meta-data/public-ipv4"] = instance.public_address
    if instance.mac:
        entries["meta-data/mac"] = instance.mac
    if instance.profile_arn:
        entries["meta-data/iam/info"] = json.dumps(
            {
                "Code": "Success",
                "InstanceProfileArn": instance.profile_arn,
                "InstanceProfileId": "AIPAREHEARSAL",
            }
        )
    if instance.role and instance.credentials:
        entries[f"meta-data/iam/security-credentials/{instance.role}"] = _credentials(instance.credentials())
    for key, value in instance.tags.items():
        entries[f"meta-data/tags/instance/{key}"] = value
    return entries


def hostname(address: str, region: str) -> str:
    """The private name that EC2 derives from an address."""
    return f"ip-{address.replace('.', '-')}.{region}.compute.internal"


def _identity(instance: Instance) -> dict[str, str]:
    return {
        "accountId": instance.account,
        "availabilityZone": instance.zone,
        "imageId": instance.image,
        "instanceId": instance.id,
        "instanceType": instance.type,
        "privateIp": instance.private_address,
        "region": instance.region,
        "version": "2017-09-30",
    }


def _credentials(credentials: Credentials) -> str:
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.token,
            "Expiration": credentials.expiration,
        }
    )


class _Service(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: two would wait for each other's acknowledgement, 40 ms.
        wbufsize = -1
        disable_nagle_algorithm = True
        server_version = "EC2ws"

        def do_PUT(self) -> None:
            if self.path != "/latest/api/token":
                return self._answer(HTTPStatus.NOT_FOUND)
            wanted = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if not wanted.isdigit() or not 1 <= int(wanted) <= LONGEST_TOKEN:
                return self._answer(HTTPStatus.BAD_REQUEST)
            token = metadata.issue_token(str(self.client_address[0]), int(wanted))
            return self._answer(
                HTTPStatus.OK, token.encode(), {"X-aws-ec2-metadata-token-ttl-seconds": wanted}
            )

        def do_GET(self) -> None:
            source, token = str(self.client_address[0]), self.headers.get("X-aws-ec2-metadata-token")
            instance = metadata.who(source)
            if refusal := metadata.refusal(instance, token, source):
                return self._answer(refusal)
            _version, _slash, path = self.path.partition("?")[0].strip("/").partition("/")
            body = document(instance, path) if instance else None
            return self._answer(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK, body or b"")

        def _answer(
            self, status: HTTPStatus, body: bytes = b"", headers: Mapping[str, str] | None = None
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: answers hold credentials, and paths are dull."""

    return Handler
