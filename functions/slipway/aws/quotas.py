"""Service Quotas."""

from __future__ import annotations

from slipway.aws import client


def quota(service: str, code: str) -> float:
    """What the account may have of something in this region: the value applied to it, or AWS's default."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        answer = client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchResourceException":
            raise
        default = client("service-quotas").get_aws_default_service_quota(ServiceCode=service, QuotaCode=code)
        return float(default["Quota"]["Value"])
    return float(answer["Quota"]["Value"])
