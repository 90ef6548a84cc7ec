"""The bucket with the images, if it is to go: emptied in batches, then deleted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slipway.aws import s3

# A function has 60 s; a batch of 1,000 takes one or two, and botocore's own retries of the last one the rest.
SECONDS = 35.0


def empty(bucket: str, removed: int, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """{"status": "emptying" | "removed", "removed", "detail"}: deletes objects with all their versions for a
    while; when none is left, uploads that were never finished, and the bucket.

    `removed`: versions that were deleted so far.
    """
    ends = clock() + SECONDS
    while (versions := s3.versions(bucket)) is not None:
        if versions:
            s3.delete_versions(bucket, versions)
            removed += len(versions)
        else:
            s3.abort_uploads(bucket)
            s3.delete_bucket(bucket)
        if clock() >= ends:
            return {
                "status": "emptying",
                "removed": removed,
                "detail": f"{removed} versions of {bucket} are gone",
            }
    return {"status": "removed", "removed": removed, "detail": f"{bucket} is gone"}
