"""What must hold whatever the templates say: one small rule a check. Pure.

A rule takes the facts that slipway.drift.looks has gathered and yields findings. What could not be looked up
is Unknown: then there is no finding, and it is told that the check was not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from slipway.drift import openings
from slipway.drift.finding import Finding, finding
from slipway.preflight import CERTIFICATE_DAYS, Unknown
from slipway.remedy import ROLE_POLICIES
from slipway.verification import HEADER, Answer

Facts = Mapping[str, Any]

# RDS takes a backup a day, in a window of an hour, and can restore to a time five minutes ago.
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIT.html
BACKUP_AGE = timedelta(hours=26)

# Target states in which nothing is wrong: a server that comes or goes is on its way.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
FINE_TARGETS = frozenset({"healthy", "initial", "draining"})

REDIRECTS = frozenset({301, 302, 307, 308})

# Whoever answers a request for credentials on a server, and how far the answer may travel.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-options.html
MOST_HOPS = 1


@dataclass(frozen=True)
class Check:
    """`kind`: of its findings; `needs`: the facts without which it cannot be made."""

    name: str
    kind: str
    needs: tuple[str, ...]
    rule: Callable[[Facts], Iterable[Finding]]


def judged(facts: Facts) -> list[Finding]:
    """The findings of all checks that could be made."""
    able = [check for check in CHECKS if not any(isinstance(facts[name], Unknown) for name in check.needs)]
    return [one for check in able for one in check.rule(facts)]


def unchecked(facts: Facts) -> list[dict[str, str]]:
    """[{"what", "kind", "why"}] of the checks that could not be made."""
    return [
        {"what": check.name, "kind": check.kind, "why": unknown[0].why}
        for check in CHECKS
        if (unknown := _unknown(check, facts))
    ]


def certificate_days(facts: Facts) -> int | None:
    """How many whole days the certificate is still valid; None if that cannot be said."""
    certificate = facts["certificate"]
    if not certificate or isinstance(certificate, Unknown) or certificate["until"] is None:
        return None
    return int((certificate["until"] - facts["now"]).days)


def _unknown(check: Check, facts: Facts) -> list[Unknown]:
    """What is not known of a check's needs, or of one part of them."""
    needed = [facts[name] for name in check.needs]
    parts = [part for one in needed if isinstance(one, Mapping) for part in one.values()]
    return [one for one in (*needed, *parts) if isinstance(one, Unknown)]


def _nothing(_facts: Facts) -> tuple[Finding, ...]:
    return ()


# --- the database -------------------------------------------------------------------------------------------


def _database_public(facts: Facts) -> Iterator[Finding]:
    database = facts["database"]
    if database and database["public"]:
        yield finding(
            "database_public",
            "database",
            f"database {database['id']}",
            "the database has an address that can be reached from the internet",
            expected="not publicly accessible",
            found="publicly accessible",
            remedy=f"aws rds modify-db-instance --db-instance-identifier {database['id']} "
            "--no-publicly-accessible --apply-immediately",
            remediable=True,
            resource=database["id"],
        )


def _database_groups(facts: Facts) -> Iterator[Finding]:
    """Another group lets in whom it likes."""
    database, own = facts["database"], facts["groups"].get(openings.DATABASE)
    others = sorted(group for group in (database or {}).get("groups", []) if group != own)
    if others:
        yield finding(
            "database_reachable",
            "database",
            f"database {database['id']}",
            "the database is in a security group that is none of its own, and lets in whom that group does",
            expected=own,
            found=", ".join(sorted(database["groups"])),
            remedy=f"aws rds modify-db-instance --db-instance-identifier {database['id']} "
            f"--vpc-security-group-ids {own} --apply-immediately",
            detail="groups",
            remediable=True,
            resource=database["id"],
        )


def _backups_off(facts: Facts) -> Iterator[Finding]:
    database, days = facts["database"], facts["environment"]["database"]["backupDays"]
    if database and database["retention"] == 0:
        yield finding(
            "backups_off",
            "database",
            f"database {database['id']}",
            "automatic backups are switched off: what is lost cannot be restored",
            expected=f"kept {days} days",
            found="none",
            remedy=f"aws rds modify-db-instance --db-instance-identifier {database['id']} "
            f"--backup-retention-period {days} --apply-immediately",
            remediable=True,
            resource=database["id"],
        )


def _backups_old(facts: Facts) -> Iterator[Finding]:
    database = facts["database"]
    if not database or not database["retention"]:
        return
    since: datetime | None = database["restorable"] or database["created"]
    if since is None or facts["now"] - since <= BACKUP_AGE:
        return
    last = database["restorable"]
    yield finding(
        "backups_old",
        "database",
        f"database {database['id']}",
        "the database could not be restored to a recent time",
        expected=f"restorable to a time within the last {BACKUP_AGE.total_seconds() / 3600:.0f} hours",
        found=f"restorable to {last.isoformat(timespec='minutes')}" if last else "never backed up",
        remedy=f"see why RDS takes no backup: aws rds describe-events --source-type db-instance "
        f"--source-identifier {database['id']} --duration 2880; and take one now: aws rds create-db-snapshot "
        f"--db-instance-identifier {database['id']} --db-snapshot-identifier {database['id']}-by-hand",
        resource=database["id"],
    )


# --- the load balancer --------------------------------------------------------------------------------------


def _targets(facts: Facts) -> Iterator[Finding]:
    """Of servers that are in service in their group; one that comes or goes is none of them."""
    serving = {one["InstanceId"] for one in (facts["group"] or {}).get("Instances", []) if _in_service(one)}
    states = {one["server"]: one for one in facts["targets"] or []}
    absent = {"state": "unused", "reason": "it is not registered"}
    for server in sorted(serving):
        target = states.get(server, absent)
        if target["state"] not in FINE_TARGETS:
            yield finding(
                "target_unhealthy",
                "web",
                server,
                f"the load balancer does not send to the server: {target['reason'] or target['state']}",
                expected="healthy",
                found=target["state"],
                remedy=f"look at it: aws ssm start-session --target {server}; if it cannot be helped, end it "
                "and let its group replace it: aws autoscaling terminate-instance-in-auto-scaling-group "
                f"--instance-id {server} --no-should-decrement-desired-capacity",
                resource=server,
            )


def _in_service(instance: Mapping[str, Any]) -> bool:
    return bool(instance["LifecycleState"] == "InService")


def _redirect(facts: Facts) -> Iterator[Finding]:
    """By the listener, which says what it does, and by what is answered, which its other rules decide too."""
    listener = next((one for one in facts["listeners"] or [] if one["Port"] == 80), None)
    if listener is None or not _leads_to_https(listener):
        yield _not_redirecting(
            facts,
            "load balancer, port 80",
            _actions(listener) if listener else "no listener",
            facts["remedy"]
            if listener is None
            else f"aws elbv2 modify-listener --listener-arn {listener['ListenerArn']} --default-actions "
            "'Type=redirect,RedirectConfig={Protocol=HTTPS,Port=443,StatusCode=HTTP_301}'",
            listener,
            remediable=True,
        )
    elif isinstance(facts["plain"], Answer) and not _sends_on(facts["plain"]):
        answer = facts["plain"]
        yield _not_redirecting(
            facts,
            f"http://{facts['environment']['domain']['name']}/",
            f"status {answer.status}" + (f" to {answer.location}" if answer.location else ""),
            "the listener on port 80 would send on: see its other rules (aws elbv2 describe-rules "
            f"--listener-arn {listener['ListenerArn']}), and where the name leads",
            listener,
            remediable=False,
        )


def _not_redirecting(
    facts: Facts,
    where: str,
    found: str,
    remedy: str,
    listener: Mapping[str, Any] | None,
    *,
    remediable: bool,
) -> Finding:
    return finding(
        "redirect_missing",
        "load_balancer",
        where,
        "who asks for the site without HTTPS is not sent on to it",
        expected=f"a redirection to https://{facts['environment']['domain']['name']}/",
        found=found,
        remedy=remedy,
        remediable=remediable,
        resource=listener["ListenerArn"] if listener else "",
    )


def _leads_to_https(listener: Mapping[str, Any]) -> bool:
    actions = listener.get("DefaultActions", [])
    return any(action.get("RedirectConfig", {}).get("Protocol") == "HTTPS" for action in actions)


def _sends_on(answer: Answer) -> bool:
    return answer.status in REDIRECTS and answer.location.lower().startswith("https://")


def _actions(listener: Mapping[str, Any]) -> str:
    return ", ".join(action.get("Type", "") for action in listener.get("DefaultActions", [])) or "nothing"


# --- the certificate, the domain ----------------------------------------------------------------------------


def _certificate(facts: Facts) -> Iterator[Finding]:
    certificate, days = facts["certificate"], certificate_days(facts)
    if certificate and days is not None and days < CERTIFICATE_DAYS:
        yield finding(
            "certificate_expires",
            "certificate",
            f"certificate of {facts['environment']['domain']['name']}",
            "the certificate ends soon, and has not been renewed",
            expected=f"valid for {CERTIFICATE_DAYS} days or more",
            found=f"valid until {certificate['until'].date().isoformat()}",
            remedy="see what ACM waits for: aws acm describe-certificate --certificate-arn "
            f"{certificate['arn']}; its validation records have to stay in the domain's zone",
            resource=certificate["arn"],
        )


def _renewing(facts: Facts) -> Iterator[Finding]:
    certificate = facts["certificate"]
    waits = certificate and certificate["renewal"] in ("PENDING_VALIDATION", "FAILED")
    if waits or (certificate and certificate["eligible"] == "INELIGIBLE"):
        yield finding(
            "certificate_not_renewing",
            "certificate",
            f"certificate of {facts['environment']['domain']['name']}",
            "ACM cannot renew the certificate by itself"
            + (f": {certificate['reason']}" if certificate["reason"] else ""),
            expected="renewed before it ends",
            found=f"the renewal is {certificate['renewal']}" if waits else "not eligible for renewal",
            remedy="put its validation records back into the domain's zone: aws acm describe-certificate "
            f"--certificate-arn {certificate['arn']} --query Certificate.DomainValidationOptions",
            resource=certificate["arn"],
        )


def _delegation(facts: Facts) -> Iterator[Finding]:
    zone = facts["zone"]
    strangers = sorted(set(zone["delegated"]) - set(zone["servers"])) if zone else []
    if zone and (strangers or not zone["delegated"]):
        nobody = not set(zone["delegated"]) & set(zone["servers"])
        yield finding(
            "delegation_elsewhere",
            "certificate",
            f"zone {zone['zone']}",
            "the domain is not delegated to its hosted zone"
            if nobody
            else "the domain is delegated to others beside its hosted zone",
            expected=", ".join(sorted(zone["servers"])),
            found=", ".join(sorted(zone["delegated"])) or None,
            remedy=f"set the name servers of {zone['zone']} at its registrar to {', '.join(zone['servers'])}",
            severity="high" if nobody else "medium",
        )


def _alias(facts: Facts) -> Iterator[Finding]:
    balancer = facts["balancer"].lower().rstrip(".")
    for name, alias in (facts["aliases"] or {}).items():
        target = alias["target"].lower().rstrip(".").removeprefix("dualstack.")
        if target != balancer:
            yield finding(
                "alias_elsewhere",
                "load_balancer",
                f"record {name}",
                "the name does not lead to the load balancer",
                expected=balancer,
                found=target or None,
                remedy=facts["remedy"],
                remediable=True,
                resource=name,
            )


def _site(facts: Facts) -> Iterator[Finding]:
    """DNS that is kept elsewhere: where the name leads is seen from who answers."""
    site, name = facts["site"], facts["environment"]["domain"]["name"]
    if site is None or site.release:
        return
    yield finding(
        "alias_elsewhere",
        "load_balancer",
        f"record {name}",
        "the name does not lead to the load balancer",
        expected=facts["balancer"],
        found=site.error or f"a site that answers {site.status} without the header {HEADER}",
        remedy=f"point {name} at {facts['balancer']} where its DNS is kept",
    )


# --- security groups ----------------------------------------------------------------------------------------


def _rules(facts: Facts) -> Iterator[Finding]:
    """Rules that let through more than the tier network declares, whoever has added them."""
    network = facts["environment"]["network"]
    for name, rule, opening in openings.wider(network, facts["groups"], facts["rules"] or []):
        kind = "database_reachable" if (name, opening.egress) == (openings.DATABASE, False) else None
        direction = "egress" if opening.egress else "ingress"
        yield finding(
            kind or "security_group_open",
            "network",
            f"security group {name} ({rule['GroupId']})",
            "a rule lets through more than the environment's template declares"
            + (f" ({rule['Description']})" if rule.get("Description") else ""),
            expected="no such rule",
            found=str(opening),
            remedy=f"aws ec2 revoke-security-group-{direction} --group-id {rule['GroupId']} "
            f"--security-group-rule-ids {rule['SecurityGroupRuleId']}; if a stack of your own has added it, "
            "take it out of that stack",
            detail=str(opening),
            remediable=True,
            resource=rule["GroupId"],
            severity=_danger(opening),
        )


def _danger(opening: openings.Opening) -> str:
    """Who may come in matters more than who may be spoken to."""
    return "medium" if opening.egress else "high"


def _server_groups(facts: Facts) -> Iterator[Finding]:
    own = facts["groups"].get(openings.WEB)
    for instance in facts["instances"] or []:
        others = sorted(group for group in instance["groups"] if group != own)
        if others:
            yield finding(
                "security_group_open",
                "web",
                instance["id"],
                "the server is in a security group that is none of its own, and lets in whom that group does",
                expected=own,
                found=", ".join(sorted(instance["groups"])),
                remedy=f"aws ec2 modify-instance-attribute --instance-id {instance['id']} --groups {own}",
                detail="groups",
                resource=instance["id"],
            )


# --- the servers, their role, their group -------------------------------------------------------------------


def _metadata(facts: Facts) -> Iterator[Finding]:
    for instance in facts["instances"] or []:
        options = instance["metadata"]
        if not options or options.get("HttpEndpoint") == "disabled":
            continue
        tokens, hops = options.get("HttpTokens"), int(options.get("HttpPutResponseHopLimit", MOST_HOPS))
        if tokens != "required" or hops > MOST_HOPS:
            yield finding(
                "imds_open",
                "web",
                instance["id"],
                "whoever makes the server ask for an address can get the credentials of its role",
                expected=f"tokens required, {MOST_HOPS} hop",
                found=f"tokens {tokens}, {hops} hop{'s' if hops > 1 else ''}",
                remedy=f"aws ec2 modify-instance-metadata-options --instance-id {instance['id']} "
                f"--http-tokens required --http-put-response-hop-limit {MOST_HOPS}",
                resource=instance["id"],
            )


def _role(facts: Facts) -> Iterator[Finding]:
    role, policies = facts["role"], facts["policies"] or {"attached": [], "inline": []}
    added = {arn: f"detach-role-policy --role-name {role} --policy-arn {arn}" for arn in policies["attached"]}
    inline = sorted(set(policies["inline"]) - ROLE_POLICIES)
    added |= {name: f"delete-role-policy --role-name {role} --policy-name {name}" for name in inline}
    for policy, command in added.items():
        yield finding(
            "role_policy_added",
            "web",
            f"role {role}",
            "the servers may do more than the environment's template grants them",
            expected=", ".join(sorted(ROLE_POLICIES)),
            found=policy,
            remedy=f"aws iam {command}",
            detail=policy,
            remediable=True,
            resource=role,
        )


def _scaling(facts: Facts) -> Iterator[Finding]:
    group = facts["group"]
    if not group:
        return
    name = group["AutoScalingGroupName"]
    suspended = {one["ProcessName"] for one in group.get("SuspendedProcesses", [])}
    left = set(facts["suspended"]["processes"]) if facts["suspended"]["group"] == name else set()
    for whose, processes in (("a release", suspended & left), ("somebody", suspended - left)):
        if processes:
            named = ", ".join(sorted(processes))
            yield finding(
                "scaling_suspended",
                "web",
                f"group {name}",
                f"{whose} has suspended Auto Scaling, and it was not resumed: {_lost(processes)}",
                expected="no process suspended",
                found=named,
                remedy=f"aws autoscaling resume-processes --auto-scaling-group-name {name} "
                f"--scaling-processes {named.replace(',', '')}",
                detail=whose,
                remediable=True,
                resource=name,
                severity="high" if processes & {"Launch", "ReplaceUnhealthy", "HealthCheck"} else None,
            )


def _lost(processes: set[str]) -> str:
    if processes & {"Launch", "ReplaceUnhealthy", "HealthCheck"}:
        return "a server that is lost is not replaced"
    return "the group does not do all that it should"


# --- buckets ------------------------------------------------------------------------------------------------


def _buckets(facts: Facts) -> Iterator[Finding]:
    for name, bucket in facts["buckets"].items():
        if isinstance(bucket, Unknown) or not (bucket["open"] or bucket["public"]):
            continue
        yield finding(
            "bucket_public",
            "storage",
            f"bucket {name}",
            "everybody may read the bucket"
            if bucket["public"]
            else "nothing keeps the bucket from being opened to everybody",
            expected="public access blocked",
            found=", ".join(
                [
                    *(["a policy for everybody"] if bucket["public"] else []),
                    *(f"{s} off" for s in bucket["open"]),
                ]
            ),
            remedy=f"aws s3api put-public-access-block --bucket {name} --public-access-block-configuration "
            "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
            remediable=name == facts["images"],  # the artifacts' bucket is not the environment's
            resource=name,
            severity=None if bucket["public"] else "medium",
        )


# Two are judged with another one, and stand here so that it is told when they could not be made.
CHECKS: tuple[Check, ...] = (
    Check("whether the database is public", "database_public", ("database",), _database_public),
    Check("who reaches the database", "database_reachable", ("database", "groups"), _database_groups),
    Check("whether the database is backed up", "backups_off", ("database",), _backups_off),
    Check("how recent the newest backup is", "backups_old", ("database",), _backups_old),
    Check("the health of the servers", "target_unhealthy", ("targets", "group"), _targets),
    Check("the redirection of port 80", "redirect_missing", ("listeners",), _redirect),
    Check("what the site answers on port 80", "redirect_missing", ("plain",), _nothing),
    Check("the certificate's end", "certificate_expires", ("certificate",), _certificate),
    Check("the certificate's renewal", "certificate_not_renewing", ("certificate",), _renewing),
    Check("the delegation of the domain", "delegation_elsewhere", ("zone",), _delegation),
    Check("the records of the domain", "alias_elsewhere", ("aliases", "balancer"), _alias),
    Check("who answers under the domain", "alias_elsewhere", ("site", "balancer"), _site),
    Check("the rules of the security groups", "security_group_open", ("groups", "rules"), _rules),
    Check("the rules of the database's group", "database_reachable", ("groups", "rules"), _nothing),
    Check(
        "the security groups of the servers", "security_group_open", ("groups", "instances"), _server_groups
    ),
    Check("the instance metadata", "imds_open", ("instances",), _metadata),
    Check("the policies of the servers' role", "role_policy_added", ("policies", "role"), _role),
    Check("suspended processes of Auto Scaling", "scaling_suspended", ("group", "suspended"), _scaling),
    Check("whether the buckets are public", "bucket_public", ("buckets",), _buckets),
)
