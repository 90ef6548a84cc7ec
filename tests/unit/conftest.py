"""What every test of functions stands on: no credentials of anybody's, a region of moto's where asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from slipway import schema, validation
from slipway.aws import client
from slipway.task import logger

ROOT = Path(__file__).parent.parent.parent
BUCKET = "artifacts"
TABLE = "slipway-table"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What Lambda gives a function; and no way to an AWS account."""
    for name, value in {
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "TABLE_NAME": TABLE,
        "ARTIFACT_BUCKET": BUCKET,
        "COMMAND_LOG_GROUP": "/slipway/commands",
        "DOCUMENT_PREFIX": "slipway",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client.cache_clear()
    yield
    client.cache_clear()


@pytest.fixture
def aws() -> Iterator[None]:
    """A region by moto, with the orchestrator's table and bucket."""
    with mock_aws():
        boto3.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        dynamodb: Any = boto3.client("dynamodb")
        dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
        yield


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to the log."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.handlers[0], "stream", stream)
    return stream


@pytest.fixture
def environment() -> dict[str, Any]:
    """The completed environment of the first event."""
    completed: dict[str, Any] = schema.complete(validation.input_schema(), event("first-release"))[
        "environment"
    ]
    return completed


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return loaded
