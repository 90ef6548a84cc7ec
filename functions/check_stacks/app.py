"""State CheckStacks: looks whether the stacks are what the recorded release asked for."""

import os
from typing import Any

from slipway import tiers
from slipway.drift import infrastructure
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{current, detections, execution} → {status, findings, more, stacks, ignored}."""
    current = event["current"]
    asked = infrastructure.Asked(
        environment=current["environment"]["name"],
        current=current,
        execution=event["execution"],
        parameters=lambda tier: _parameters(tier, event, context),
    )
    return infrastructure.check(asked, event["detections"])


def _parameters(tier: str, event: Event, context: Any) -> dict[str, str]:
    _, partition, _, region, account, *_ = context.invoked_function_arn.split(":")
    settings = tiers.Settings(
        account=account,
        region=region,
        partition=partition,
        artifact_bucket=os.environ["ARTIFACT_BUCKET"],
        command_log_group=os.environ["COMMAND_LOG_GROUP"],
    )
    return tiers.parameters(tier, event["current"]["environment"], event["current"]["outputs"], settings)
