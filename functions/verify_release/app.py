"""State VerifyRelease: holds the targets, the public site and the servers' reports against the release."""

from typing import Any

from slipway import verification
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{request, outputs, reports} → {status, detail, url, targets}; raises VerificationFailed."""
    return verification.verify(event["request"], event["outputs"], event["reports"])
