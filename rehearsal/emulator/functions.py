"""Lambda functions as processes that see what they would see on Lambda, and nothing of this machine.

The emulator has two ways to run Python: a worker of its own, which loses the names of exceptions, and
the Lambda Runtime API for `provided` runtimes. Here everything runs by the latter with AWS's own
runtime client (awslambdaric). A managed `python3.x` runtime is treated as if its archive held the
bootstrap that the service supplies.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import re
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("services.lambda_svc", "_provided_worker_env"),
    ("services.lambda_svc", "_provided_runtime_code_dir"),
    ("services.lambda_svc", "_provided_code_lock"),
    ("services.lambda_svc", "_execute_function_provided_warm"),
    ("services.lambda_svc", "_execute_function_warm"),
    ("services.lambda_svc", "_resolve_layer_zip"),
    ("services.lambda_svc", "reset"),
    ("core.lambda_runtime", "_worker_class_for"),
    ("core.lambda_runtime", "ProvidedWorker._build_handler_class"),
    ("core.lambda_runtime", "ProvidedWorker._drain_stderr_bounded"),
)

RUNTIME_DISTRIBUTIONS = ("boto3", "awslambdaric")
"""What Lambda's own Python runtime brings. Everything else has to be in the function or in a layer."""

BOOTSTRAP = """#!/bin/sh
# The service's part of a managed runtime: start the runtime client.
exec {python} -S -m awslambdaric "$_HANDLER"
"""

FIRST_LOG_LINE_SECONDS = 0.005
"""How long an invocation that printed nothing is held back in the hope of a line. The emulator waits
50 ms, which every such invocation pays in full."""


def install(region: Region) -> None:
    """Run functions with AWS's runtime client, their layers, and a clean environment."""
    functions = _Functions(region)
    service = ministack("services.lambda_svc")
    runtime = ministack("core.lambda_runtime")
    replace(service, "_provided_worker_env", functions.environment)
    replace(service, "_provided_runtime_code_dir", functions.with_bootstrap)
    service._execute_function_warm = service._execute_function_provided_warm
    runtime._worker_class_for = lambda _config: runtime.ProvidedWorker
    _quicken(runtime.ProvidedWorker)
    region.closing.append(service.reset)


def _quicken(worker: Any) -> None:
    """Two waits of the emulator that Lambda does not have: Nagle's algorithm, and the one for a log line."""
    build, drain = worker._build_handler_class, worker._drain_stderr_bounded

    def without_nagle(self: Any, *args: Any) -> Any:
        handler = build(self, *args)
        handler.disable_nagle_algorithm = True
        return handler

    def drained(self: Any, first_line_wait: float = FIRST_LOG_LINE_SECONDS, **waits: float) -> Any:
        return drain(self, first_line_wait=first_line_wait, **waits)

    worker._build_handler_class = without_nagle
    worker._drain_stderr_bounded = drained


class _Functions:
    """Where code, layers and the runtime's own packages lie unpacked."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._folder = region.run / "functions"
        self._lock = threading.Lock()
        self._runtime: Path | None = None

    def with_bootstrap(self, unpack: Any) -> Any:
        """The emulator's `unpack(archive) -> folder`, then the service's bootstrap if there is none."""

        def unpacked(archive: bytes) -> str:
            folder = unpack(archive)
            bootstrap = Path(folder) / "bootstrap"
            with ministack("services.lambda_svc")._provided_code_lock:
                if not bootstrap.exists():
                    bootstrap.write_text(BOOTSTRAP.format(python=base_python()))
                    bootstrap.chmod(0o755)
            return str(folder)

        return unpacked

    def environment(self, original: Any) -> Any:
        """Replacement of the emulator's ``_provided_worker_env(config, code_dir, port)``."""

        def built(config: dict[str, Any], code_dir: str, port: int) -> dict[str, str]:
            full: dict[str, str] = original(config, code_dir, port)
            layers = [str(self._layer(zipped) / "python") for zipped in self._layer_zips(config)]
            search = [code_dir, *layers, str(self._packages())]
            return function_environment(full, config, self._region, search)

        return built

    def _layer_zips(self, config: Mapping[str, Any]) -> Iterator[bytes]:
        for layer in config.get("Layers") or ():
            archive = ministack("services.lambda_svc")._resolve_layer_zip(layer)
            if archive:
                yield archive

    def _layer(self, archive: bytes) -> Path:
        folder = self._folder / "layers" / hashlib.sha256(archive).hexdigest()[:16]
        with self._lock:
            if not folder.exists():
                partial = folder.with_suffix(".partial")
                with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
                    zipped.extractall(partial)
                partial.rename(folder)
        return folder

    def _packages(self) -> Path:
        with self._lock:
            if self._runtime is None:
                self._runtime = self._folder / "runtime"
                link_packages(RUNTIME_DISTRIBUTIONS, self._runtime)
            return self._runtime


def function_environment(
    full: Mapping[str, str],
    config: Mapping[str, Any],
    region: Region,
    search: Sequence[str],
) -> dict[str, str]:
    """What a function finds in its environment: Lambda's variables and its own, none of the launcher's.

    `full` is what the emulator built from its own environment; only the variables that Lambda itself
    sets are taken from it (developer guide, "Defined runtime environment variables"). `search` is where
    Python looks for modules: the code, the layers, the runtime's own packages.
    """
    own = dict((config.get("Environment") or {}).get("Variables") or {})
    kept = {
        name: value
        for name, value in full.items()
        if name in own
        or name.startswith("AWS_LAMBDA_")
        or name in ("_HANDLER", "AWS_REGION", "AWS_DEFAULT_REGION", "LAMBDA_TASK_ROOT")
        or name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    }
    service = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": ":".join(search),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', '')}",
        "AWS_ENDPOINT_URL": region.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if region.certificates is not None:
        # Lambda trusts the public authorities; here the region's own takes their place.
        service["SSL_CERT_FILE"] = str(region.certificates)
        service["REQUESTS_CA_BUNDLE"] = str(region.certificates)
    return service | kept


def base_python() -> str:
    """The interpreter that this environment was made from: functions do not see its packages."""
    return os.path.realpath(sys.executable)


def link_packages(distributions: Sequence[str], folder: Path) -> None:
    """Fill `folder` with links to the installed `distributions` and all that they require."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in required(distributions):
        for entry in top_level(importlib.metadata.distribution(name)):
            link = folder / entry.name
            if not link.exists():
                link.symlink_to(entry)


def required(distributions: Sequence[str]) -> list[str]:
    """`distributions` and what they require, directly or not, extras left out."""
    found: list[str] = []
    waiting = list(distributions)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.append(name)
        for requirement in importlib.metadata.requires(name) or ():
            wanted = re.match(r"[A-Za-z0-9._-]+", requirement)
            if wanted and "extra ==" not in requirement and _installed(wanted.group()):
                waiting.append(wanted.group().lower())
    return found


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def top_level(distribution: importlib.metadata.Distribution) -> set[Path]:
    """The files and folders of site-packages that belong to a distribution, scripts left out."""
    first_parts = {file.parts[0] for file in distribution.files or () if ".." not in file.parts}
    return {Path(str(distribution.locate_file(part))) for part in first_parts if part != "__pycache__"}
