"""S3: whether a bucket's policy lets everybody in, by the emulator's own rule for refusing such policies."""

from __future__ import annotations

import functools
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler

RELIES_ON = (
    ("services.s3", "_list_objects_v1"),
    ("services.s3", "_get_bucket_policy"),
    ("services.s3", "_policy_is_public"),
    ("services.s3", "S3_NS"),
)


def install(_region: Region) -> None:
    """Answer GetBucketPolicyStatus, which the emulator takes for a list of the bucket's objects."""
    replace(ministack("services.s3"), "_list_objects_v1", _or_policy_status)


def _or_policy_status(original: Handler) -> Handler:
    s3 = ministack("services.s3")

    @functools.wraps(original)
    def listed(bucket: str, query: dict[str, Any], *rest: Any) -> Any:
        if "policyStatus" not in query:
            return original(bucket, query, *rest)
        status, headers, body = s3._get_bucket_policy(bucket)
        if status != 200:
            return status, headers, body  # no such bucket, or no policy
        return 200, {"Content-Type": "application/xml"}, status_xml(s3._policy_is_public(body.decode()))

    return listed


def status_xml(public: bool) -> bytes:
    """The answer to GetBucketPolicyStatus."""
    flag = "TRUE" if public else "FALSE"
    namespace = ministack("services.s3").S3_NS
    return f'<PolicyStatus xmlns="{namespace}"><IsPublic>{flag}</IsPublic></PolicyStatus>'.encode()
