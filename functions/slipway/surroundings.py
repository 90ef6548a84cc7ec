"""What the preflight goes by: everything that can be looked up before the first change. It changes nothing.

A look that AWS refuses, throttles or does not answer is Unknown, and no failure: all of this is looked at to
spare a release that must fail, and none of it is needed for one that does not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from slipway import artifact, commands, dns, once, restore_point, stacks, targets, tiers
from slipway.aws import (
    acm,
    autoscaling,
    cloudformation,
    cloudwatch,
    ec2,
    elb,
    quotas,
    rds,
    route53,
    s3,
    secrets,
    ssm,
)
from slipway.certificate import LookUp
from slipway.errors import CommandFailed
from slipway.patience import AT_WORK, Patience, linger
from slipway.preflight import Unknown, moment
from slipway.tried import of, tried

Json = Mapping[str, Any]
Outputs = Mapping[str, Mapping[str, str]]

# A server says what it runs within a second or two, when Run Command has found it.
PATIENCE = Patience(seconds=40, growth=AT_WORK.growth)

# Systems Manager hears of an agent every five minutes; one that was just restarted gets so long to be heard.
AGENTS = Patience(seconds=20)

# A stack in one of these is not there, or has to be made anew.
ABSENT = frozenset({None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE", "ROLLBACK_COMPLETE"})

# "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances": the family, then its generation.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html#ec2-on-demand-instances-limits
STANDARD = re.compile(r"^(a|c|d|h|i|im|is|m|r|t|z)[0-9]")


@dataclass(frozen=True)
class Orchestrator:
    """What the looks need to know of it. `prefix`: of its documents."""

    prefix: str
    log_group: str


def look(
    request: Json,
    execution: Json,
    orchestrator: Orchestrator,
    patience: Patience = PATIENCE,
    agents: Patience = AGENTS,
    look_up: LookUp = dns.look_up,
) -> dict[str, Any]:
    """The facts that preflight.CHECKS need, by name; each may be Unknown.

    The servers are asked first and heard last, so that they answer while everything else is looked up.
    """
    found = {tier: tried(partial(_stack, request, tier)) for tier in tiers.TIERS}
    outputs = {tier: _outputs(stack) for tier, stack in found.items()}
    heard = _all_online if request["previous"] else bool
    fleet = of(outputs["web"], lambda web: linger(lambda: _fleet(web), heard, agents))
    asked = of(fleet, lambda known: _ask(request, execution, known, orchestrator))
    database = of(outputs["database"], _database)
    facts = {
        "now": datetime.now(UTC),
        "request": request,
        "fleet": fleet,
        "targets": of(outputs["web"], lambda web: targets.states(elb.health(web["TargetGroupArn"]))),
        "artifact": None if request["archive"] else tried(lambda: _is_there(request["release"]["artifact"])),
        "alarms": tried(lambda: _alarms(request["rollout"]["alarms"])),
        "secrets": {name: tried(partial(_secret, name)) for name in _secret_names(request)},
        "database": database,
        "maintenance": of(database, lambda known: _maintenance(known["arn"])),
        "snapshot": of(database, lambda _known: _snapshot(request, execution)),
        "certificate": of(outputs["certificate"], lambda known: _certificate(known["CertificateArn"])),
        "zone": _zone(request["environment"]["domain"], outputs["certificate"], look_up),
        "quotas": [*_quotas(request["environment"], outputs), *_snapshots(request["release"], database)],
        "kept": tried(partial(_kept, request)) if found["storage"] is None else None,
    }
    return {**facts, "reports": of(asked, lambda known: _hear(known, patience))}


# --- stacks -------------------------------------------------------------------------------------------------


def _stack(request: Json, tier: str) -> Json | None:
    found = cloudformation.describe(tiers.stack_name(request["environment"]["name"], tier))
    return None if found is None or found["StackStatus"] in ABSENT else found


def _outputs(stack: Any) -> Any:
    """None if there is no stack, {} if there is one whose creation has not come to its end."""
    return stack if stack is None or isinstance(stack, Unknown) else stacks.outputs(stack)


def _kept(request: Json) -> str | None:
    """The name of a secret that the storage tier would make, if there is one of it: that is kept when an
    environment is taken down, as its image bucket is."""
    name = f"slipway/{request['environment']['name']}/secret-key-base"
    return name if secrets.description(name) else None


# --- servers ------------------------------------------------------------------------------------------------


def _fleet(web: Json) -> dict[str, Any] | None:
    name = web["AutoScalingGroupName"]
    group = autoscaling.group(name)
    if group is None:
        return None
    agents = ssm.agents([one["InstanceId"] for one in group["Instances"]]) if group["Instances"] else {}
    instances = [
        {
            "id": one["InstanceId"],
            "zone": one["AvailabilityZone"],
            "state": one["LifecycleState"],
            "agent": agents.get(one["InstanceId"], {}).get("PingStatus"),
        }
        for one in group["Instances"]
    ]
    return {"name": name, "desired": group["DesiredCapacity"], "instances": instances}


def _all_online(fleet: Any) -> bool:
    return fleet is None or all(
        one["agent"] == "Online" for one in fleet["instances"] if one["state"] == "InService"
    )


def _ask(request: Json, execution: Json, fleet: Json, orchestrator: Orchestrator) -> Any:
    """(command, servers) of the question to every server of a known release what it runs; sent once, however
    often this is tried. None if there is nobody to ask."""
    servers = [
        one["id"] for one in fleet["instances"] if one["agent"] == "Online" and one["state"] == "InService"
    ]
    if not servers or not request["previous"]:
        return None
    environment, token = request["environment"], f"{execution['name']}-preflight"
    portions = math.ceil(len(servers) / commands.MOST_SERVERS)
    sent = once.sent(environment["name"], token, f"{orchestrator.prefix}-report", portions)
    try:
        sent = sent or commands.send(
            environment["name"],
            "report",
            servers,
            {"Application": environment["application"]},
            60,
            orchestrator.prefix,
            orchestrator.log_group,
            once.mark(token),
        )
    except CommandFailed as error:
        return Unknown(error.what)
    return sent, servers


def _hear(asked: tuple[str, Sequence[str]], patience: Patience) -> list[dict[str, Any]]:
    command, servers = asked
    return commands.answers(command, "report", servers, patience)


# --- what the input names -----------------------------------------------------------------------------------


def _is_there(location: str) -> bool:
    return s3.head(*artifact.location(location)) is not None


def _alarms(names: Sequence[str]) -> dict[str, str]:
    found = cloudwatch.alarms(names) if names else {}
    return {name: alarm["StateValue"] for name, alarm in found.items()}


def _secret_names(request: Json) -> list[str]:
    return list(dict.fromkeys(request["environment"]["secrets"].values()))


def _secret(name: str) -> str:
    found = secrets.description(name)
    if found is None:
        return "missing"
    return "deleted" if found.get("DeletedDate") else "there"


# --- database, certificate, zone ----------------------------------------------------------------------------


def _database(outputs: Json) -> dict[str, str] | None:
    if "InstanceIdentifier" not in outputs:
        return None
    found = rds.instance(outputs["InstanceIdentifier"])
    if found is None:
        return None
    return {
        "id": outputs["InstanceIdentifier"],
        "arn": found.get("DBInstanceArn", ""),
        "status": found["DBInstanceStatus"],
    }


def _maintenance(arn: str) -> list[dict[str, Any]]:
    """[{"action", "at": when RDS will do it, None for when somebody says so}]."""
    return [
        {
            "action": action["Action"],
            "at": moment(action.get("CurrentApplyDate") or action.get("ForcedApplyDate")),
        }
        for action in rds.maintenance(arn)
    ]


def _snapshot(request: Json, execution: Json) -> dict[str, Any] | None:
    """{"name", "status": None if the name is free} of the restore point that may be made."""
    release = request["release"]
    if not (release["migrate"] and release["backup"]):
        return None
    name = restore_point.name(request["environment"]["name"], release["id"], execution["startedAt"])
    return {"name": name, "status": (rds.snapshot(name) or {}).get("Status")}


def _certificate(arn: str) -> dict[str, Any]:
    found = acm.certificate(arn)
    return {
        "arn": arn,
        "until": moment(found.get("NotAfter")),
        "renewal": found.get("RenewalSummary", {}).get("RenewalStatus", ""),
    }


def _zone(domain: Json, certificate: Any, look_up: LookUp) -> Any:
    """{"zone", "servers", "delegated": to whom, None if nobody answers} of the zone; None if there is none
    yet."""
    if domain["dns"] != "route53":
        return None
    if isinstance(certificate, Unknown) and not domain["hostedZoneId"]:
        return certificate
    zone_id = domain["hostedZoneId"] or (certificate or {}).get("HostedZoneId")
    return of(zone_id or None, lambda known: _delegated(known, look_up))


def _delegated(zone_id: str, look_up: LookUp) -> dict[str, Any]:
    zone, servers = route53.zone(zone_id)
    return {"zone": zone, "servers": servers, "delegated": look_up(zone, "NS")}


# --- quotas -------------------------------------------------------------------------------------------------


def _quotas(environment: Json, outputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Of what this release would create: {"name", "service", "code", "why", "needed", "used", "quota",
    "must": whether it fails without}; each number may be Unknown. Codes: the console of Service Quotas."""
    network, web = environment["network"], environment["web"]
    if outputs["network"] is None:
        gateways = {"none": 0, "one": 1, "per_zone": 2}[network["natGateways"]]
        yield _quota("VPCs per Region", "vpc", "L-F678F1CE", "the environment's own VPC", 1, tried(ec2.vpcs))
        if gateways:
            why = "network.natGateways"
            yield _quota("EC2-VPC Elastic IPs", "ec2", "L-0263D0A3", why, gateways, tried(ec2.addresses))
    if outputs["load_balancer"] is None:
        name = "Application Load Balancers per Region"
        yield _quota(name, "elasticloadbalancing", "L-53DA6B97", "its load balancer", 1, tried(elb.balancers))
    if outputs["web"] is None and STANDARD.match(web["instanceType"]):
        yield from _processors(web)


def _snapshots(release: Json, database: Any) -> Iterator[dict[str, Any]]:
    """Whether migrations are pending is not known yet: then there would have to be room."""
    if database is not None and release["migrate"] and release["backup"]:
        name, why = "Manual DB instance snapshots", "a restore point, if migrations are pending,"
        used = tried(rds.manual_snapshots)
        yield _quota(name, "rds", "L-272F1212", why, 1, used, must=False)


def _processors(web: Json) -> Iterator[dict[str, Any]]:
    """In virtual processors: as many servers as are desired must be there, as many as max may be one day."""
    name, code = "Running On-Demand Standard instances (vCPUs)", "L-1216C47A"
    kind = web["instanceType"]
    each, used = tried(lambda: ec2.processors([kind])[kind]), tried(_processors_in_use)
    numbers = [("desired", True)] + ([("max", False)] if web["max"] > web["desired"] else [])
    for which, must in numbers:
        needed = each if isinstance(each, Unknown) else each * web[which]
        why = f"environment.web.{which} ({web[which]} × {kind})"
        yield _quota(name, "ec2", code, why, needed, used, must)


def _processors_in_use() -> int:
    on_demand = [one for one in ec2.running() if one.get("InstanceLifecycle") != "spot"]
    standard = [one for one in on_demand if STANDARD.match(one["InstanceType"])]
    each = ec2.processors({one["InstanceType"] for one in standard}) if standard else {}
    return sum(each[one["InstanceType"]] for one in standard)


def _quota(
    name: str, service: str, code: str, why: str, needed: Any, used: Any, must: bool = True
) -> dict[str, Any]:
    return {
        "name": name,
        "service": service,
        "code": code,
        "why": why,
        "needed": needed,
        "used": used,
        "quota": tried(lambda: quotas.quota(service, code)),
        "must": must,
    }
