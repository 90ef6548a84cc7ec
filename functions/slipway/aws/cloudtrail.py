"""CloudTrail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from slipway.aws import client


def events(resource: str, since: datetime) -> list[dict[str, Any]]:
    """The last 50 events (of the last 90 days at most) in which the resource has a part, the newest first."""
    answer = client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": resource}],
        StartTime=since,
        MaxResults=50,
    )
    return list(answer["Events"])
