"""Secrets Manager."""

from __future__ import annotations

import json
from typing import Any

from slipway.aws import client


def login(secret: str) -> tuple[str, str]:
    """User name and password of a secret {"username", "password"}."""
    value = json.loads(client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    return str(value["username"]), str(value["password"])


def description(secret: str) -> dict[str, Any] | None:
    """The secret (its name or its ARN) without its value, or None if there is none."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return dict(client("secretsmanager").describe_secret(SecretId=secret))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
