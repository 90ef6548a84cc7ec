"""The input of a tear-down. Nothing is changed here; the table and CloudFormation are read."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slipway import records, schema, tiers, validation
from slipway.aws import cloudformation
from slipway.schema import Problem

Json = Mapping[str, Any]


@functools.cache
def input_schema() -> dict[str, Any]:
    """The schema of the input, as docs/tear-down-input.md describes it."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parent.parent / "tear_down.schema.json").read_text())
    return loaded


def validate(given: Any, execution: str) -> dict[str, Any]:
    """The completed request: {environment, remove, plan, bucket}; raises InvalidInput with all problems.

    `execution`: its ARN, which says in which account and region; `bucket`: where the environment keeps
    images, whether there are any or not.
    """
    validation.refuse(schema.problems(input_schema(), given))
    completed = schema.complete(input_schema(), given)
    bucket = _image_bucket(completed["environment"], execution)
    validation.refuse([*_unconfirmed(completed), *_not_its_bucket(completed, bucket)])
    validation.refuse(list(_unknown(completed["environment"])))
    return {
        "environment": completed["environment"],
        "remove": completed["remove"],
        "plan": completed["plan"],
        "bucket": bucket,
    }


def _image_bucket(environment: str, execution: str) -> str:
    region, account = execution.split(":")[3:5]
    return tiers.image_bucket(environment, account, region)


def _unconfirmed(completed: Json) -> Iterator[Problem]:
    if completed["confirm"] != completed["environment"]:
        what = f"is {completed['confirm']}, and the environment is {completed['environment']}"
        yield Problem("confirm", what, f"{completed['environment']}, if that is the one to take down")


def _not_its_bucket(completed: Json, bucket: str) -> Iterator[Problem]:
    named = completed["remove"]["images"]
    if named not in ("", bucket):
        what = f"is {named}, which is not where {completed['environment']} keeps its images"
        yield Problem("remove.images", what, f"{bucket}, or nothing: then it is kept")


def _unknown(environment: str) -> Iterator[Problem]:
    """A name under which nothing was ever begun is a slip of the pen."""
    if records.known(environment):
        return
    if any(cloudformation.describe(tiers.stack_name(environment, tier)) for tier in tiers.TIERS):
        return
    what = f"is {environment}, and no release of an environment of that name was ever begun"
    yield Problem("environment", what, "the name of an environment that a release was begun for")
