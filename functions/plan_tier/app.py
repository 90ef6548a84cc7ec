"""State PlanTier: makes the change set of a tier and holds it against the gate."""

import os
from typing import Any

from slipway import package, settings, stacks, tiers
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
    code_key = package.put_code(os.environ["ARTIFACT_BUCKET"]) if event["tier"] == "database" else ""
    return tiers.parameters(
        event["tier"], event["environment"], event["outputs"], settings.of(context, code_key)
    )
