"""Secrets Manager."""

from __future__ import annotations

import json

from slipway.aws import client


def login(secret: str) -> tuple[str, str]:
    """User name and password of a secret {"username", "password"}."""
    value = json.loads(client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    return str(value["username"]), str(value["password"])
