"""State CompareTiers: looks which tiers are what the release asks for: those need not be planned."""

import os
from typing import Any

from slipway import compared, settings
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, remedy} → {standing, others}."""
    asked = compared.Asked(
        environment=event["environment"]["name"],
        role=os.environ["CLOUDFORMATION_ROLE_ARN"],
        parameters=lambda tier, outputs: settings.parameters(tier, event["environment"], outputs, context),
        remedy=event["remedy"],
    )
    return compared.compare(asked)
