"""S3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slipway.aws import client

MEBIBYTE = 1024 * 1024
# The four settings that keep a bucket from the public, whatever its policy and its objects say.
PUBLIC_ACCESS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


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


def versions(bucket: str) -> list[dict[str, str]] | None:
    """Up to 1,000 versions and delete markers, as {"Key", "VersionId"}; None if there is no such bucket."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        page = client("s3").list_object_versions(Bucket=bucket, MaxKeys=MOST_VERSIONS)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return None
        raise
    found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    return [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]


MOST_VERSIONS = 1000  # as many as a page, and a call that deletes them, has


def count(bucket: str) -> str:
    """How many versions of objects the bucket has, in words; empty if there is no such bucket."""
    found = versions(bucket)
    if found is None:
        return ""
    number = len(found)
    return (
        f"at least {number} versions of objects"
        if number >= MOST_VERSIONS
        else f"{number} versions of objects"
    )


def delete_versions(bucket: str, which: list[dict[str, str]]) -> None:
    """Deletes them for good (at most 1,000). Raises RuntimeError with S3's reason if one is refused."""
    answer = client("s3").delete_objects(Bucket=bucket, Delete={"Objects": which, "Quiet": True})
    for refused in answer.get("Errors", []):
        raise RuntimeError(f"S3 does not delete {refused.get('Key')}: {refused.get('Code')}")


def abort_uploads(bucket: str) -> None:
    """Gives up uploads in parts that were never finished."""
    pages = client("s3").get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    for upload in [one for page in pages for one in page.get("Uploads", [])]:
        client("s3").abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def delete_bucket(bucket: str) -> None:
    client("s3").delete_bucket(Bucket=bucket)


def public_access_block(bucket: str) -> dict[str, bool]:
    """Which of PUBLIC_ACCESS are on; {} if none is set."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        answer = client("s3").get_public_access_block(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchPublicAccessBlockConfiguration":
            return {}
        raise
    return dict(answer["PublicAccessBlockConfiguration"])


def is_public(bucket: str) -> bool:
    """Whether S3 holds the bucket's policy for one that lets everybody in."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return bool(client("s3").get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
            return False
        raise
