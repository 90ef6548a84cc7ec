"""What must hold whatever the templates say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway.aws import acm
from slipway.drift.finding import Finding
from slipway.preflight import Unknown
from slipway.tried import tried

Json = Mapping[str, Any]
Outputs = Mapping[str, Mapping[str, str]]


def check(current: Json, outputs: Outputs, remedy: str = "") -> list[Finding]:
    """The findings. `current`: the recorded release; `outputs`: of its tiers, by tier; `remedy`: the command
    that puts right what can be."""
    return [one for look in CHECKS for one in look(current, outputs, remedy)]


def certificate_days(outputs: Outputs) -> int | None:
    """How many whole days the certificate is still valid; None if that cannot be said."""
    until = tried(lambda: acm.certificate(outputs["certificate"]["CertificateArn"]).get("NotAfter"))
    return None if until is None or isinstance(until, Unknown) else (until - datetime.now(UTC)).days


CHECKS: Sequence[Callable[[Json, Outputs, str], list[Finding]]] = ()
