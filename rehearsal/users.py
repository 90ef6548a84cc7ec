"""Who deploys and who releases in the rehearsal: IAM users with the policies that docs/policies publishes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rehearsal.host import ROOT

POLICIES = ROOT / "docs" / "policies"


def policy(name: str, names: Mapping[str, str]) -> dict[str, Any]:
    """A published policy with REGION, ACCOUNT, BUCKET filled in."""
    text = (POLICIES / f"{name}.json").read_text()
    document: dict[str, Any] = json.loads(re.sub(r"\b[A-Z]{5,}\b", lambda one: names[one.group()], text))
    return document


def make(iam: Any, name: str, names: Mapping[str, str]) -> dict[str, str]:
    """A user of that name with the policy of that name alone; the key's variables for its clients."""
    iam.create_user(UserName=name)
    # A managed policy, as a person would make of it: an inline one of a user has 2,048 characters at most.
    made = iam.create_policy(PolicyName=f"slipway-{name}", PolicyDocument=json.dumps(policy(name, names)))
    iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
