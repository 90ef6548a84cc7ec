"""What the orchestrator's functions tell a tier of it, from their surroundings; and a tier's parameters with
that, as CloudFormation is asked for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from slipway import package, tiers


def of(context: Any, code_key: str) -> tiers.Settings:
    """`context`: Lambda's, of a function that has a tier's surroundings; `code_key`: see tiers.Settings."""
    _, partition, _, region, account, *_ = context.invoked_function_arn.split(":")
    return tiers.Settings(
        account=account,
        region=region,
        partition=partition,
        artifact_bucket=os.environ["ARTIFACT_BUCKET"],
        command_log_group=os.environ["COMMAND_LOG_GROUP"],
        runtime=os.environ["FUNCTION_RUNTIME"],
        architecture=os.environ["FUNCTION_ARCHITECTURE"],
        layer=os.environ["LAYER_ARN"],
        code_key=code_key,
    )


def parameters(
    tier: str, environment: Mapping[str, Any], outputs: Mapping[str, Mapping[str, str]], context: Any
) -> dict[str, str]:
    """The parameters of the tier for whoever only asks: the database's name the place where its function's
    code belongs, and nothing is put there. Raises TierFailed as tiers.parameters."""
    code_key = package.key(package.code()) if tier == "database" else ""
    return tiers.parameters(tier, environment, outputs, of(context, code_key))
