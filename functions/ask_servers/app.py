"""State AskServers: asks every server what it runs."""

import os
from typing import Any

from slipway.drift import servers
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{current, token} → {command, asked, silent}."""
    orchestrator = servers.Orchestrator(os.environ["DOCUMENT_PREFIX"], os.environ["COMMAND_LOG_GROUP"])
    return servers.ask(event["current"], event["token"], orchestrator)
