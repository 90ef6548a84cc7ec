"""What must hold whatever the templates say: looked at, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.drift import looks, rules
from slipway.drift.finding import Finding, bounded

Json = Mapping[str, Any]
Outputs = Mapping[str, Mapping[str, str]]


def check(current: Json, outputs: Outputs, remedy: str = "") -> list[Finding]:
    """The findings. `current`: the recorded release; `outputs`: of its tiers, by tier; `remedy`: the command
    that puts right what can be."""
    return rules.judged({**looks.look(current, outputs), "remedy": remedy})


def checked(current: Json, outputs: Outputs, remedy: str) -> dict[str, Any]:
    """{"findings", "more", "unchecked": [{"what", "kind", "why"}] of what AWS did not let be seen,
    "certificateDays": whole days that the certificate is still valid, None if that cannot be said}."""
    facts = {**looks.look(current, outputs), "remedy": remedy}
    return {
        **bounded(rules.judged(facts)),
        "unchecked": rules.unchecked(facts),
        "certificateDays": rules.certificate_days(facts),
    }
