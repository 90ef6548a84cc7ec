"""The pinned emulator, and the one check that its inside is still as we rely on it.

MiniStack offers no extension points: our modules replace entries of its tables and functions of its
modules. Each of them lists in ``RELIES_ON`` the names that it touches; `check` compares all lists with
the installed version before anything is changed. So a new version fails with a sentence and not with a
wrong answer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

VERSION = "1.5.33"

SERVICE_MODULES = (
    "identity",
    "pass_role",
    "trail",
    "stepfunctions",
    "functions",
    "ec2",
    "autoscaling",
    "ssm",
    "cloudformation_types",
    "tables",
    "changesets",
    "bucket_settings",
    "drift",
    "revert_drift",
    "stack_roles",
    "service_roles",
    "vpc",
    "security_groups",
    "vpc_functions",
    "rds",
    "service_quotas",
    "buckets",
    "elbv2",
    "interfaces",
    "cloudwatch",
    "metric_filters",
    "vended_logs",
    "balancer_metrics",
    "acm",
    "route53",
)
"""Modules of this package with `install`, in the order of installation."""


class EmulatorChanged(Exception):
    """The installed MiniStack is not the one that this package was written for."""


def ministack(module: str) -> Any:
    """The module ``ministack.<module>``.

    It is imported late on purpose: MiniStack reads its settings from the environment on import.
    """
    return importlib.import_module(f"ministack.{module}")


def replace(module: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in the place of ``module.name``."""
    setattr(module, name, make(getattr(module, name)))


def modules() -> list[Any]:
    """Our own service modules, in the order of installation."""
    return [importlib.import_module(f"{__package__}.{name}") for name in SERVICE_MODULES]


def relying() -> list[Any]:
    """Every module of this package that lists names of the emulator."""
    names = [found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found = [importlib.import_module(f"{__package__}.{name}") for name in names]
    return [module for module in found if hasattr(module, "RELIES_ON")]


def missing(relied_on: Iterable[tuple[str, str]]) -> list[str]:
    """Those of ``(ministack module, dotted name)`` that the installed version does not have."""
    return [f"ministack.{module}.{name}" for module, name in relied_on if not _has(module, name)]


def _has(module: str, name: str) -> bool:
    try:
        found: Any = ministack(module)
    except ImportError:
        return False
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def check() -> None:
    """Raise `EmulatorChanged` unless the version is the pinned one and has every name we rely on."""
    installed = importlib.metadata.version("ministack")
    if installed != VERSION:
        raise EmulatorChanged(
            f"MiniStack {installed} is installed, but the rehearsal was written for {VERSION}: "
            f"install ministack=={VERSION}, or go through RELIES_ON of rehearsal/emulator/*.py first"
        )
    problems = [
        f"{gone} (relied on by {module.__name__})"
        for module in relying()
        for gone in missing(module.RELIES_ON)
    ]
    if problems:
        raise EmulatorChanged(f"MiniStack {installed} has no " + ", ".join(problems))
