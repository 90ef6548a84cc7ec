"""States PreviewTiers and DiscardPreviews: ask CloudFormation what it would do to every tier, and do none of
it."""

import os
from typing import Any

from slipway import previews, settings
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, allow, remedy, execution, discard} → {status, rows, outputs, detail}."""
    asked = previews.Asked(
        environment=event["environment"]["name"],
        allow=event["allow"],
        role=os.environ["CLOUDFORMATION_ROLE_ARN"],
        execution=event["execution"],
        remedy=event["remedy"],
        parameters=lambda tier, outputs: settings.parameters(tier, event["environment"], outputs, context),
    )
    return previews.discard(asked) if event["discard"] else previews.ask(asked)
