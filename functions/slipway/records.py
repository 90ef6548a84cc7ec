"""What is remembered of environments, in one table.

pk                  sk                               what
ENVIRONMENT#<name>  LOCK                             see slipway.lock
ENVIRONMENT#<name>  CURRENT                          fence, document: what the last success asked for,
                                                     before: what it replaced;
                                                     taken down: fence, retired (when), by (execution),
                                                     last (the document)
ENVIRONMENT#<name>  RELEASE#<started>#<id>#<execution> document: the receipt without its states
ENVIRONMENT#<name>  TEARDOWN#<started>#<execution>    document: the receipt of a tear-down without its states
ENVIRONMENT#<name>  DRIFT                            see slipway.drift.record
ENVIRONMENT#<name>  SCALING                          group, its processes that are suspended by us, the fence
                                                     of the release for which they are
ENVIRONMENT#<name>  LAUNCHING                        group in which launching was stopped by us, or empty
ENVIRONMENT#<name>  JOIN#<token>                     which execution sees to a new server; expires
ENVIRONMENT#<name>  JOINED                           when a new server came into service last
ENVIRONMENT#<name>  ABANDONED#<release>#<token>      when a new server could not take the release; expires
ENVIRONMENT#<name>  COMMAND#<token>                  a command was going to be sent, see slipway.once; expires
ENVIRONMENTS        <name>                           cidr, so that no two environments overlap
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from slipway.aws import dynamodb

# Of a history: what one answer of DynamoDB holds (1 MB), some 3 KB each.
MOST_RECEIPTS = 200

# An execution lasts 4 days at most, and can be redriven for 14 more; then nobody asks for its tokens.
TOKEN_SECONDS = 30 * 24 * 3600


def key(environment: str) -> str:
    return f"ENVIRONMENT#{environment}"


def current(environment: str) -> dict[str, Any] | None:
    """{"environment", "release", "outputs", "templates"} of the last release that succeeded."""
    item = dynamodb.get(key(environment), "CURRENT")
    return dict(json.loads(item["document"])) if item and "document" in item else None


def retired(environment: str) -> dict[str, str] | None:
    """{"at", "execution"}: when the environment was taken down, and by whom; None if it was not, or has been
    released again since."""
    item = dynamodb.get(key(environment), "CURRENT")
    return {"at": item["retired"], "execution": item["by"]} if item and "retired" in item else None


def retire(environment: str, fence: int, at: str, execution: str) -> bool:
    """From now on no release is the environment's current one, unless a later holder of the lock has set one.
    Whether that is so."""
    item = dynamodb.get(key(environment), "CURRENT") or {}
    last = item.get("document") or item.get("last")
    return dynamodb.put(
        {
            "pk": key(environment),
            "sk": "CURRENT",
            "fence": fence,
            "retired": at,
            "by": execution,
            **({"last": last} if last else {}),
        },
        "attribute_not_exists(pk) OR fence <= :fence",
        {":fence": fence},
    )


def known(environment: str) -> bool:
    """Whether a release of it was ever begun."""
    return any(dynamodb.get(key(environment), kind) for kind in ("LOCK", "CURRENT"))


def replaced(environment: str, fence: int) -> dict[str, Any] | None:
    """The current release that a holder of the lock with this fence replaces, or has replaced already: the
    writing of a success may be tried again."""
    item = dynamodb.get(key(environment), "CURRENT")
    if item is None:
        return None
    found = json.loads(item.get("before" if item["fence"] == fence else "document", "null"))
    return dict(found) if found else None


def cidrs() -> dict[str, str]:
    """The CIDR of every environment for which a release was begun."""
    return {item["sk"]: item["cidr"] for item in dynamodb.query("ENVIRONMENTS")}


def register(environment: Mapping[str, Any]) -> None:
    dynamodb.put({"pk": "ENVIRONMENTS", "sk": environment["name"], "cidr": environment["network"]["cidr"]})


def forget(environment: str) -> None:
    """Frees the environment's block of addresses for others."""
    dynamodb.delete("ENVIRONMENTS", environment)


def set_current(
    environment: Mapping[str, Any],
    release: Mapping[str, Any],
    fence: int,
    outputs: Mapping[str, Any] | None = None,
    templates: str = "",
    before: Mapping[str, Any] | None = None,
) -> bool:
    """Makes this the environment's current release, unless a later holder of the lock has set one. Whether
    it did. `templates`: the digest of the tiers' templates that it was built from; `before`: what it
    replaces."""
    return dynamodb.put(
        {
            "pk": key(environment["name"]),
            "sk": "CURRENT",
            "fence": fence,
            "release": release["id"],
            "before": json.dumps(before and {part: before[part] for part in ("environment", "release")}),
            "document": json.dumps(
                {
                    "environment": environment,
                    "release": release,
                    "outputs": outputs or {},
                    "templates": templates,
                }
            ),
        },
        "attribute_not_exists(pk) OR fence <= :fence",
        {":fence": fence},
    )


def history(environment: str) -> list[dict[str, Any]]:
    """The newest receipts of the environment without their states, the oldest of them first."""
    items = dynamodb.last(key(environment), "RELEASE#", MOST_RECEIPTS)
    return [json.loads(item["document"]) for item in items]


def claim(environment: str, token: str) -> bool:
    """Whether nobody has claimed the token before. DynamoDB removes it some time after it `expires` (seconds
    since 1970)."""
    expires = int(time.time()) + TOKEN_SECONDS
    item = {"pk": key(environment), "sk": f"COMMAND#{token}", "expires": expires}
    return dynamodb.put(item, "attribute_not_exists(pk)")


def claim_join(environment: str, token: str, execution: str) -> bool:
    """Whether this execution is the first that sees to the lifecycle action of this token."""
    expires = int(time.time()) + TOKEN_SECONDS
    item = {"pk": key(environment), "sk": f"JOIN#{token}", "execution": execution, "expires": expires}
    return dynamodb.put(item, "attribute_not_exists(pk) OR execution = :execution", {":execution": execution})


def add_joined(environment: str, at: str) -> None:
    dynamodb.put({"pk": key(environment), "sk": "JOINED", "at": at})


def add_abandoned(environment: str, release: str, token: str, at: str) -> None:
    expires = int(time.time()) + TOKEN_SECONDS
    item = {"pk": key(environment), "sk": f"ABANDONED#{release}#{token}", "at": at}
    dynamodb.put({**item, "expires": expires})


def was_abandoned(environment: str, release: str, token: str) -> bool:
    return dynamodb.get(key(environment), f"ABANDONED#{release}#{token}") is not None


def abandoned(environment: str, release: str) -> int:
    """How many new servers could not take the release since one came into service."""
    last = dynamodb.get(key(environment), "JOINED") or {"at": ""}
    items = dynamodb.last(key(environment), f"ABANDONED#{release}#", MOST_RECEIPTS)
    return sum(item["at"] >= last["at"] for item in items)


def add_history(
    environment: str, started_at: str, release: str, execution: str, entry: Mapping[str, Any]
) -> None:
    dynamodb.put(
        {
            "pk": key(environment),
            "sk": f"RELEASE#{started_at}#{release}#{execution}",
            "document": json.dumps(entry),
        }
    )


def add_tear_down(environment: str, started_at: str, execution: str, entry: Mapping[str, Any]) -> None:
    dynamodb.put(
        {
            "pk": key(environment),
            "sk": f"TEARDOWN#{started_at}#{execution}",
            "document": json.dumps(entry),
        }
    )
