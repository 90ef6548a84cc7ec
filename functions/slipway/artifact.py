"""The artifact of a release: is it where the servers may fetch it, is it the one that is meant, and what does
it say?"""

from __future__ import annotations

import base64
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


def examined(release: Mapping[str, Any], bucket: str) -> tuple[list[Problem], dict[str, Any] | None]:
    """What is wrong with the artifact, and what the archive says, as archive.Archive.as_dict (None if it
    cannot be fetched). `bucket`: the one that servers may read.

    The object is read once. What is wrong inside the archive is no problem here: see its "trouble".
    """
    artifact = release["artifact"]
    where = f"s3://{bucket}/{PREFIX}….tar.gz"
    named, key = location(artifact)
    if named != bucket or not key.startswith(PREFIX):
        return [Problem("release.artifact", f"is {artifact}, which servers may not read", where)], None
    head = s3.head(named, key)
    if head is None:
        what = f"is {artifact}, which is not there"
        return [Problem("release.artifact", what, "an object that has been uploaded")], None
    known = known_sha256(head)
    if known is not None and known != release["sha256"]:
        return [_another(release, known)], None
    said = facts(artifact)
    return ([] if said["sha256"] == release["sha256"] else [_another(release, said["sha256"])]), said


def facts(artifact: str) -> dict[str, Any]:
    """What the archive at s3://bucket/key says, as archive.Archive.as_dict. Raises ClientError if it cannot
    be fetched."""
    from slipway import archive  # noqa: PLC0415  (most functions know of artifacts only where they lie)

    return archive.read(s3.chunks(*location(artifact))).as_dict()


def _another(release: Mapping[str, Any], actual: str) -> Problem:
    what = f"is {release['sha256']}, but that of the artifact is {actual}"
    allowed = "the SHA-256 of the artifact, or the artifact that has this one"
    return Problem("release.sha256", what, allowed)


def known_sha256(head: Mapping[str, Any]) -> str | None:
    """The SHA-256 of the whole object in hexadecimal, if S3 knows it (of a multipart upload it knows the
    parts')."""
    checksum = head.get("ChecksumSHA256", "")
    if not checksum or "-" in checksum or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return base64.b64decode(checksum).hex()
