"""States PreviewTiers and DiscardPreviews: ask CloudFormation what it would do to every tier, and do none of
it."""

import os
from collections.abc import Mapping
from typing import Any

from slipway import package, previews, tiers
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
        parameters=lambda tier, outputs: _parameters(tier, event["environment"], outputs, context),
    )
    return previews.discard(asked) if event["discard"] else previews.ask(asked)


def _parameters(
    tier: str, environment: Mapping[str, Any], outputs: Mapping[str, Mapping[str, str]], context: Any
) -> dict[str, str]:
    _, partition, _, region, account, *_ = context.invoked_function_arn.split(":")
    settings = tiers.Settings(
        account=account,
        region=region,
        partition=partition,
        artifact_bucket=os.environ["ARTIFACT_BUCKET"],
        command_log_group=os.environ["COMMAND_LOG_GROUP"],
        runtime=os.environ["FUNCTION_RUNTIME"],
        architecture=os.environ["FUNCTION_ARCHITECTURE"],
        layer=os.environ["LAYER_ARN"],
        code_key=package.key(package.code()) if tier == "database" else "",
    )
    return tiers.parameters(tier, environment, outputs, settings)
