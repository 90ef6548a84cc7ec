"""MiniStack in this process: its settings, its server, our modules put into it before the first request."""

from __future__ import annotations

import asyncio
import asyncio.constants
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from rehearsal.emulator import internals
from rehearsal.emulator.context import Region

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

RELIES_ON = (("app", "app"),)

KEPT_VARIABLES = ("HOME", "LANG", "PATH", "PYTHONPATH", "TERM", "VIRTUAL_ENV")
"""What the emulator may inherit: in particular none of the caller's AWS_… variables."""

ADMINISTRATION = "/_ministack/"
ADMINISTRATION_ALLOWED = ("/_ministack/health", "/_ministack/ready")
"""The emulator's own routes can wipe it without a signature; nobody in the region may."""


def settings(region: Region) -> dict[str, str]:
    """The environment that MiniStack reads when it is imported, with a root key that nobody else knows."""
    temporary = region.run / "tmp"
    return {
        "AUTH": "true",
        "GATEWAY_PORT": str(region.port),
        "BIND_HOST": region.address,
        "MINISTACK_HOST": region.address,
        "MINISTACK_REGION": region.name,
        "MINISTACK_ACCOUNT_ID": region.account,
        "AWS_ENDPOINT_URL": region.endpoint,
        "AWS_REGION": region.name,
        "AWS_DEFAULT_REGION": region.name,
        "AWS_ACCESS_KEY_ID": "AKIA" + secrets.token_hex(8).upper(),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(temporary),
        "S3_DATA_DIR": str(region.run / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": os.environ.get("SLIPWAY_REHEARSAL_LOG", "INFO"),
    }


def prepare(region: Region) -> None:
    """Replace this process's environment by the emulator's; check the version; install all modules."""
    chosen = settings(region)
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept | chosen)
    (region.run / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = None  # remembered from before TMPDIR was ours: nothing may be left in the host's
    internals.check()
    for module in internals.modules():
        module.install(region)


async def serve(region: Region, bind: Sequence[str], stop: asyncio.Event) -> None:
    """Answer on every address of `bind` (``host:port`` or ``fd://number``) until `stop` is set."""
    config = Config()
    if region.api_certificate is None:
        config.bind = list(bind)
    else:
        config.bind, config.insecure_bind = [f"{region.address}:443"], list(bind)
        config.certfile = config.keyfile = str(region.api_certificate)
    config.keep_alive_timeout = 75
    config.graceful_timeout = 2.0
    config.loglevel = "WARNING"
    # asyncio would wait 30 s for a client that keeps an idle TLS connection open to say goodbye.
    vars(asyncio.constants)["SSL_SHUTDOWN_TIMEOUT"] = 1.0
    application = guarded(internals.ministack("app").app)

    async def stopped() -> None:
        await stop.wait()
        region.stopping.set()

    await hypercorn_serve(application, config, shutdown_trigger=stopped)


def guarded(application: Application) -> Application:
    """`application` without the emulator's administration."""

    async def guard(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = str(scope.get("path", ""))
        if path.startswith(ADMINISTRATION) and path not in ADMINISTRATION_ALLOWED:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await application(scope, receive, send)

    return guard
