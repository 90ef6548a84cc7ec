"""The region's operator: the IAM user that deploys and releases, as a person would on AWS."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import boto3

from rehearsal.emulator.context import Region

NAME = "operator"

ADMINISTRATOR = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
"""What the managed policy AdministratorAccess holds. Not root: root is exempt from evaluation."""


def create(region: Region) -> dict[str, str]:
    """Make the user and a key for it, through the region's own IAM. Returns the key's two parts."""
    iam: Any = boto3.client("iam", endpoint_url=region.endpoint, region_name=region.name)
    iam.create_user(UserName=NAME)
    iam.put_user_policy(UserName=NAME, PolicyName="administrator", PolicyDocument=json.dumps(ADMINISTRATOR))
    key = iam.create_access_key(UserName=NAME)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def write_environment(region: Region, key: dict[str, str], endpoint: str, file: Path) -> None:
    """Write `file` (KEY=value lines, for its owner alone) for clients that reach the region at `endpoint`."""
    lines = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region.name,
        "AWS_DEFAULT_REGION": region.name,
        **key,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "SAM_CLI_TELEMETRY": "0",
    }
    text = "".join(f"{name}={value}\n" for name, value in lines.items())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
