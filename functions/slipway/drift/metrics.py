"""What CloudWatch is told of a check: of each environment, and of all of them together, which is what alarms
look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.aws import cloudwatch

Json = Mapping[str, Any]
Value = tuple[str, float, str, Mapping[str, str]]

# Severity → its metric.
FINDINGS = {"high": "HighFindings", "medium": "MediumFindings", "low": "LowFindings"}


def put(report: Json, namespace: str) -> None:
    cloudwatch.put(namespace, list(values(report)))


def values(report: Json) -> Iterator[Value]:
    """(metric, value, unit, dimensions), each once for its environment and once without a dimension."""
    for dimensions in ({"Environment": report["environment"]}, {}):
        for level, metric in FINDINGS.items():
            yield metric, report["counts"][level], "Count", dimensions
        yield "ServersOffRelease", off_release(report), "Count", dimensions
        if report["certificateDays"] is not None:
            yield "CertificateDays", report["certificateDays"], "None", dimensions


def off_release(report: Json) -> int:
    """Servers that do not report the recorded release, or nothing at all."""
    return sum(server["release"] != report["release"]["id"] for server in report["servers"])
