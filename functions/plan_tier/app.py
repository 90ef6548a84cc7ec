"""State PlanTier: makes the change set of a tier and holds it against the gate."""

import os
from functools import partial
from typing import Any

from slipway import package, stacks, tiers
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, tier, outputs, allow, remedy, execution} → {status, stack, changeSet, row, outputs,
    detail}.

    Raises DestructiveChange, TierFailed.
    """
    wanted = stacks.Wanted(
        environment=event["environment"]["name"],
        tier=event["tier"],
        parameters=lambda: _parameters(event, context),
        allow=event["allow"],
        role=os.environ["CLOUDFORMATION_ROLE_ARN"],
        execution=event["execution"],
        remedy=event["remedy"],
    )
    return stacks.plan(wanted)


def _parameters(event: Event, context: Any) -> dict[str, str]:
    """Computed only when there is a change set to make: the database's involve an upload."""
    bucket = os.environ["ARTIFACT_BUCKET"]
    settings = partial(
        tiers.Settings,
        artifact_bucket=bucket,
        command_log_group=os.environ["COMMAND_LOG_GROUP"],
        runtime=os.environ["FUNCTION_RUNTIME"],
        architecture=os.environ["FUNCTION_ARCHITECTURE"],
        layer=os.environ["LAYER_ARN"],
        code_key=package.put_code(bucket) if event["tier"] == "database" else "",
    )
    _, partition, _, region, account, *_ = context.invoked_function_arn.split(":")
    return tiers.parameters(
        event["tier"],
        event["environment"],
        event["outputs"],
        settings(account=account, region=region, partition=partition),
    )
