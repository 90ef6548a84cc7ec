"""What slipway.drift.rules goes by: everything that can be looked up of an environment. It changes nothing.

A look that AWS refuses, throttles or does not answer is Unknown, and no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from slipway import dns, records, targets, tiers, verification
from slipway.artifact import location
from slipway.aws import acm, autoscaling, cloudformation, dynamodb, ec2, elb, iam, rds, route53, s3
from slipway.certificate import LookUp
from slipway.drift import openings
from slipway.preflight import Unknown, moment
from slipway.tried import of, tried
from slipway.verification import Answer

Json = Mapping[str, Any]
Outputs = Mapping[str, Mapping[str, str]]
Fetch = Callable[[str], Answer]

# Of the recorded release: what is looked at.
OUTPUTS: Mapping[str, tuple[str, str]] = {
    "database": ("database", "InstanceIdentifier"),
    "group": ("web", "AutoScalingGroupName"),
    "targets": ("web", "TargetGroupArn"),
    "role": ("web", "InstanceRoleName"),
    "certificate": ("certificate", "CertificateArn"),
    "zone": ("certificate", "HostedZoneId"),
    "balancer": ("load_balancer", "LoadBalancerArn"),
    "address": ("load_balancer", "LoadBalancerDnsName"),
    "bucket": ("storage", "ImageBucketName"),
}


def look(
    current: Json, outputs: Outputs, look_up: LookUp = dns.look_up, fetch: Fetch = verification.fetch
) -> dict[str, Any]:
    """The facts that rules.CHECKS need, by name; each may be Unknown. `current`: the recorded release;
    `outputs`: of its tiers, by tier."""
    environment = current["environment"]
    domain, health = environment["domain"], environment["web"]["healthPath"]
    known = {name: _seen(partial(_output, outputs, tier, output)) for name, (tier, output) in OUTPUTS.items()}
    group = of(known["group"], autoscaling.group)
    zone = known["zone"]
    return {
        "now": datetime.now(UTC),
        "environment": environment,
        "role": known["role"],
        "balancer": known["address"],
        "database": of(known["database"], _database),
        "group": group,
        "suspended": tried(lambda: _suspended(environment["name"])),
        "targets": of(known["targets"], lambda arn: targets.states(elb.health(arn))),
        "instances": of(group, _instances),
        "certificate": of(known["certificate"], _certificate),
        "zone": of(zone, lambda id_: _zone(id_, look_up)),
        "aliases": of(zone, lambda id_: {name: _alias(id_, name) for name in names(domain)}),
        "site": of(not zone, lambda _: _site(fetch(f"https://{domain['name']}{health}"))),
        "listeners": of(known["balancer"], elb.listeners),
        "plain": _plain(fetch(f"http://{domain['name']}/")),
        **_openings(environment, outputs.get("network", {})),
        "buckets": {name: tried(partial(_bucket, name)) for name in _buckets(current, known["bucket"])},
        "images": known["bucket"],
        "policies": of(known["role"], _policies),
    }


def _seen(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except KeyError as missing:
        return Unknown(f"the record of the release has no output {missing}")


def _output(outputs: Outputs, tier: str, name: str) -> str:
    return outputs[tier][name]


def names(domain: Json) -> list[str]:
    """The names under which the site is to be found."""
    return [domain["name"], *([f"www.{domain['name']}"] if domain["www"] else [])]


def _database(identifier: str) -> dict[str, Any] | None:
    found = rds.instance(identifier)
    if found is None:
        return None
    restorable = moment(found.get("LatestRestorableTime"))
    return {
        "id": identifier,
        "public": found.get("PubliclyAccessible"),
        "groups": [one["VpcSecurityGroupId"] for one in found.get("VpcSecurityGroups", [])],
        "retention": found.get("BackupRetentionPeriod"),
        "created": moment(found.get("InstanceCreateTime")),
        "restorable": restorable or _newest_backup(identifier),
    }


def _newest_backup(identifier: str) -> datetime | None:
    """RDS tells the latest time that it could restore once it has the first backup."""
    taken = [moment(one.get("SnapshotCreateTime")) for one in rds.automated_snapshots(identifier)]
    return max((time for time in taken if time), default=None)


def _suspended(environment: str) -> dict[str, Any]:
    """{"group", "processes": those that a release has suspended and not resumed}."""
    item = dynamodb.get(records.key(environment), "SCALING") or {}
    return {
        "group": item.get("group", ""),
        "processes": [process for process in str(item.get("processes", "")).split(",") if process],
    }


def _instances(group: Json) -> list[dict[str, Any]]:
    """The group's servers that are there."""
    servers = [one["InstanceId"] for one in group["Instances"]]
    found = ec2.instances(servers) if servers else []
    return [
        {
            "id": one["InstanceId"],
            "metadata": one.get("MetadataOptions"),
            "groups": [each["GroupId"] for each in one.get("SecurityGroups", [])],
        }
        for one in found
        if one["State"]["Name"] in ("pending", "running")
    ]


def _certificate(arn: str) -> dict[str, Any]:
    found = acm.certificate(arn)
    return {
        "arn": arn,
        "until": moment(found.get("NotAfter")),
        "eligible": found.get("RenewalEligibility", ""),
        "renewal": found.get("RenewalSummary", {}).get("RenewalStatus", ""),
        "reason": found.get("RenewalSummary", {}).get("RenewalStatusReason", ""),
    }


def _zone(zone_id: str, look_up: LookUp) -> Any:
    zone, servers = route53.zone(zone_id)
    delegated = look_up(zone, "NS")
    if delegated is None:
        return Unknown(f"nobody answers who serves the zone {zone}")
    return {"zone": zone, "servers": servers, "delegated": delegated}


def _alias(zone_id: str, name: str) -> dict[str, str]:
    """{"zone", "target": where the name's A record leads, empty if it has none}."""
    record = route53.record(zone_id, name, "A") or {}
    values = ", ".join(one["Value"] for one in record.get("ResourceRecords", []))
    return {"zone": zone_id, "target": record.get("AliasTarget", {}).get("DNSName", values)}


def _site(answer: Answer) -> Any:
    """Who answers under the name, or that there is no such name."""
    silent = answer.error and (answer.kind == "refused" or "Temporary failure" in answer.error)
    return Unknown(f"the site does not answer: {answer.error}") if silent else answer


def _plain(answer: Answer) -> Any:
    """What the site answers without TLS. That it does not answer from here may have any reason."""
    return Unknown(f"the site does not answer on port 80: {answer.error}") if answer.error else answer


def _openings(environment: Json, network: Json) -> dict[str, Any]:
    """{"groups": id by logical id, "rules": all of them}: Unknown if the tier was built from another
    template, for then it may declare others than slipway.drift.openings says."""
    stack = tiers.stack_name(environment["name"], "network")
    groups = tried(lambda: _groups(environment, network, stack))
    return {
        "groups": groups,
        "rules": of(groups, lambda known: ec2.security_group_rules(list(known.values()))),
    }


def _groups(environment: Json, network: Json, stack: str) -> Any:
    if not tiers.same("network", cloudformation.template(stack)):
        return Unknown("the network was built from another template; the next release brings it up to date")
    return openings.groups(environment["network"], network, lambda: cloudformation.resources(stack))


def _buckets(current: Json, images: Any) -> list[str]:
    """The environment's bucket, and that of the artifacts."""
    artifact = location(str(current["release"].get("artifact", "")))[0]
    return [name for name in (images, artifact) if name and not isinstance(name, Unknown)]


def _bucket(name: str) -> dict[str, Any]:
    """{"open": settings that do not block public access, "public": whether its policy opens it}."""
    block = s3.public_access_block(name)
    return {
        "open": sorted(setting for setting in s3.PUBLIC_ACCESS if not block.get(setting)),
        "public": s3.is_public(name),
    }


def _policies(role: str) -> dict[str, list[str]]:
    """{"attached": ARNs, "inline": names}."""
    return {"attached": iam.attached_policies(role), "inline": iam.inline_policies(role)}
