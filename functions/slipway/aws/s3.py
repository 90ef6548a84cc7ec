"""S3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slipway.aws import client

MEBIBYTE = 1024 * 1024


def head(bucket: str, key: str) -> dict[str, Any] | None:
    """The object's description with its checksums; None if it is not there, or not to be seen."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return dict(client("s3").head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED"))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "403", "NoSuchKey", "NoSuchBucket", "AccessDenied"):
            return None
        raise


def chunks(bucket: str, key: str) -> Iterator[bytes]:
    """The object's content, a MiB at a time."""
    body = client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    yield from body.iter_chunks(MEBIBYTE)


def put(bucket: str, key: str, content: bytes, content_type: str) -> None:
    client("s3").put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
