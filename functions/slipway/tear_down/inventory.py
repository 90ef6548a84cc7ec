"""What goes and what stays when an environment is taken down, told before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway import tiers
from slipway.aws import cloudformation, rds, s3
from slipway.errors import PreflightFailed
from slipway.tear_down import hindrances
from slipway.tear_down.removal import ORDER

Json = Mapping[str, Any]

GONE = "DELETE_COMPLETE"

# Resources that a stack leaves behind when it is deleted (DeletionPolicy), and why. A test holds it against
# the tiers' templates.
KEPT: Mapping[tuple[str, str], str] = {
    ("storage", "ImageBucket"): "the images that users uploaded",
    ("storage", "SecretKeyBase"): "without it every user is logged out, and what it signed is void",
    ("certificate", "HostedZone"): "the registrar delegates the domain to its name servers",
}


def show(request: Json) -> dict[str, Any]:
    """{"environment", "goes", "stays", "hindrances", "text"}; raises PreflightFailed if something is in the
    way and this is no plan.

    `goes`: [{"tier", "stack", "status", "resources": [{"resource", "type", "id"}], "detail"}], in the order
    in which they go; a tier that is not there is absent. `stays`: [{"what", "where", "why", "remove"}].
    """
    environment = request["environment"]
    stacks = {tier: _resources(environment, tier) for tier in ORDER}
    present = {tier: found for tier, found in stacks.items() if found is not None}
    goes = [_row(environment, tier, *present[tier]) for tier in ORDER if tier in present]
    stays = [*_kept(present, request), *_always(environment)]
    told = {
        "environment": environment,
        "goes": goes,
        "stays": stays,
        "hindrances": hindrances.look(environment, {tier: found for tier, (_, found) in present.items()}),
    }
    if told["hindrances"] and not request["plan"]:
        _refuse(environment, told["hindrances"])
    return {**told, "text": text(told, request)}


Found = tuple[str, Sequence[Json]]


def _resources(environment: str, tier: str) -> Found | None:
    """The stack's status and what it consists of; None if it is not there."""
    name = tiers.stack_name(environment, tier)
    stack = cloudformation.describe(name)
    if stack is None or stack["StackStatus"] == GONE:
        return None
    return str(stack["StackStatus"]), [
        one for one in cloudformation.resources(name) if one["ResourceStatus"] != GONE
    ]


def physical(present: Mapping[str, Found], tier: str, logical: str) -> str:
    """The id of a resource of a tier that is there; empty if it is not."""
    _, found = present.get(tier, ("", ()))
    named = [one.get("PhysicalResourceId") for one in found if one["LogicalResourceId"] == logical]
    return str(named[0]) if named and named[0] else ""


def _row(environment: str, tier: str, status: str, found: Sequence[Json]) -> dict[str, Any]:
    return {
        "tier": tier,
        "stack": tiers.stack_name(environment, tier),
        "status": status,
        "resources": [
            {
                "resource": one["LogicalResourceId"],
                "type": one["ResourceType"],
                "id": one.get("PhysicalResourceId") or "",
            }
            for one in found
            if (tier, one["LogicalResourceId"]) not in KEPT
        ],
        "detail": _database(found) if tier == "database" else "",
    }


def _database(found: Sequence[Json]) -> str:
    """The DB instance in a few words, and that it is kept as a snapshot."""
    identifier = physical({"database": ("", found)}, "database", "Instance")
    instance = rds.instance(identifier) if identifier else None
    if instance is None:
        return "there is no DB instance any more"
    return (
        f"{identifier} ({instance.get('DBInstanceClass')}, {instance.get('AllocatedStorage')} GiB, "
        f"{instance['DBInstanceStatus']}): its data stays, as a final snapshot"
    )


def _kept(present: Mapping[str, Found], request: Json) -> Iterator[dict[str, str]]:
    if instance := physical(present, "database", "Instance"):
        yield _stay(
            "final snapshot of the database",
            f"slipway-{request['environment']}-final-…",
            "all data, as of the moment when the servers are gone",
            "aws rds delete-db-snapshot --db-snapshot-identifier NAME (its name is in the receipt)",
        )
        yield _stay(
            "the database's logs",
            f"/aws/rds/instance/{instance}/",
            "RDS made their groups, and they do not expire",
            f"aws logs delete-log-group --log-group-name /aws/rds/instance/{instance}/slowquery (and /error)",
        )
    bucket = request["bucket"]
    number = s3.count(bucket)
    if number and not request["remove"]["images"]:
        yield _stay(
            f"image bucket ({number})",
            bucket,
            KEPT["storage", "ImageBucket"],
            f'name it in the input: "remove": {{"images": "{bucket}"}}',
        )
    if secret := physical(present, "storage", "SecretKeyBase"):
        yield _stay(
            "SECRET_KEY_BASE",
            secret,
            KEPT["storage", "SecretKeyBase"],
            f"aws secretsmanager delete-secret --secret-id {secret}",
        )
    if zone := physical(present, "certificate", "HostedZone"):
        yield _stay(
            "hosted zone",
            zone,
            KEPT["certificate", "HostedZone"],
            f"aws route53 delete-hosted-zone --id {zone} (its records first)",
        )


def _always(environment: str) -> Iterator[dict[str, str]]:
    yield _stay(
        "restore points",
        f"slipway-{environment}-before-…",
        "they cost as storage",
        "aws rds delete-db-snapshot --db-snapshot-identifier NAME",
    )
    yield _stay(
        "receipts and history",
        f"receipts/{environment}/ in the artifact bucket, and the table",
        "who released what, and when",
        "",
    )


def _stay(what: str, where: str, why: str, remove: str) -> dict[str, str]:
    return {"what": what, "where": where, "why": why, "remove": remove}


def _refuse(environment: str, found: Sequence[Json]) -> None:
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise PreflightFailed(
        f"{first['where']}: {first['what']}{more}",
        f"environment {environment}",
        f"{first['next']}; then start the tear-down again. Nothing was removed",
        problems=list(found),
    )


def text(told: Json, request: Json) -> str:
    """The same for a reader."""
    lines = [f"{told['environment']}: what goes"]
    for row in told["goes"]:
        lines.append(f"  - {row['stack']} ({row['status']}), {len(row['resources'])} resources")
        kinds = sorted({one["type"].removeprefix("AWS::") for one in row["resources"]})
        lines.append(f"      {', '.join(kinds)}" if kinds else "      nothing")
        lines += [f"      {row['detail']}"] if row["detail"] else []
    if request["remove"]["images"]:
        lines.append(f"  - image bucket {request['remove']['images']}, with all images")
    if len(lines) == 1:
        lines.append("  nothing: no stack is there")
    lines.append("what stays")
    for one in told["stays"]:
        lines.append(f"  - {one['what']}: {one['where']} ({one['why']})")
        lines += [f"      to remove it: {one['remove']}"] if one["remove"] else []
    if told["hindrances"]:
        lines.append("what is in the way")
        lines += [f"  - {one['where']}: {one['what']}; {one['next']}" for one in told["hindrances"]]
    return "\n".join(lines)
