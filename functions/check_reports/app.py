"""State CheckReports: holds what the servers report against the recorded release."""

from typing import Any

from slipway.drift import servers
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{current, asked, execution} → {status, findings, more, servers}."""
    return servers.hear(event["current"], event["asked"], event["execution"])
