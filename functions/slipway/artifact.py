"""The artifact of a release: is it where the servers may fetch it, and is it the one that is meant?"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from slipway.aws import s3
from slipway.schema import Problem

# What the servers' role may read of the artifact bucket.
PREFIX = "releases/"


def location(artifact: str) -> tuple[str, str]:
    """Bucket and key of s3://bucket/key."""
    bucket, _, key = artifact.removeprefix("s3://").partition("/")
    return bucket, key


def problems(release: Mapping[str, Any], bucket: str) -> list[Problem]:
    """What is wrong with the artifact. `bucket`: the one that servers may read.

    Reads the object only if S3 does not know its SHA-256 (it does, if it was uploaded with that checksum).
    """
    artifact = release["artifact"]
    where = f"s3://{bucket}/{PREFIX}….tar.gz"
    named, key = location(artifact)
    if named != bucket or not key.startswith(PREFIX):
        return [Problem("release.artifact", f"is {artifact}, which servers may not read", where)]
    head = s3.head(named, key)
    if head is None:
        return [
            Problem(
                "release.artifact", f"is {artifact}, which is not there", "an object that has been uploaded"
            )
        ]
    actual = known_sha256(head) or _sha256(named, key)
    if actual != release["sha256"]:
        what = f"is {release['sha256']}, but that of the artifact is {actual}"
        return [
            Problem("release.sha256", what, "the SHA-256 of the artifact, or the artifact that has this one")
        ]
    return []


def known_sha256(head: Mapping[str, Any]) -> str | None:
    """The SHA-256 of the whole object in hexadecimal, if S3 knows it (of a multipart upload it knows the
    parts')."""
    checksum = head.get("ChecksumSHA256", "")
    if not checksum or "-" in checksum or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return base64.b64decode(checksum).hex()


def _sha256(bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in s3.chunks(bucket, key):
        digest.update(chunk)
    return digest.hexdigest()
