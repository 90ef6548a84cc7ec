"""Certificate Manager."""

from __future__ import annotations

from typing import Any

from slipway.aws import client


def certificate(arn: str) -> dict[str, Any]:
    return dict(client("acm").describe_certificate(CertificateArn=arn)["Certificate"])
