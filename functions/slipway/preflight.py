"""What can be seen to be wrong with a release before anything is changed: one small rule a check. Pure.

A rule takes the facts that slipway.surroundings has gathered and yields findings. What could not be looked up
is `Unknown`: then the check is a warning that says so, and the release goes on; it would meet the trouble
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from slipway.database import LOST
from slipway.errors import PreflightFailed

Facts = Mapping[str, Any]

MEBIBYTE = 1024 * 1024
# What the step stage asks for (hosts/stage.yaml): room to download, then twice what is unpacked (gems and
# compiled assets take about as much again as the application) and something over.
DOWNLOAD_MIB = 256
ROOM_FACTOR = 2
ROOM_SPARE_MIB = 64
# As the step stage reckons for a second release in memory: as much as the one that runs has, a fifth more,
# and something over.
MEMORY_FACTOR = 1.2
MEMORY_SPARE_MIB = 32
# A release takes no longer, unless it waits for a person.
RELEASE_TAKES = timedelta(hours=2)
# ACM renews well before that: https://docs.aws.amazon.com/acm/latest/userguide/managed-renewal.html
CERTIFICATE_DAYS = 30
# The least Ruby of each Rails that asks for more than Debian 12's 3.1 or what came before it (the gems' own
# required_ruby_version).
RUBY_OF_RAILS: Mapping[tuple[int, int], str] = {(8, 0): "3.2", (8, 1): "3.2"}
# Servers that a finding names, and findings that an explanation lists; a Fail state's cause has 32,768
# characters.
MOST_NAMED = 10
MOST_LISTED = 20
LONGEST = 500


@dataclass(frozen=True)
class Unknown:
    """A fact that could not be looked up."""

    why: str


@dataclass(frozen=True)
class Finding:
    """`next`: what to do about it. A problem ends the release; what is none is a warning."""

    where: str
    what: str
    next: str
    problem: bool = True
    check: str = ""


@dataclass(frozen=True)
class Check:
    """`needs`: the facts without which it cannot be done."""

    name: str
    needs: tuple[str, ...]
    rule: Callable[[Facts], Iterable[Finding]]


def judged(facts: Facts) -> dict[str, list[dict[str, str]]]:
    """{"problems", "warnings"}: [{"check", "where", "what", "next"}] of all checks."""
    found = [finding for check in CHECKS for finding in _done(check, facts)]
    return {
        "problems": [_told(finding) for finding in found if finding.problem],
        "warnings": [_told(finding) for finding in found if not finding.problem],
    }


def _done(check: Check, facts: Facts) -> Iterator[Finding]:
    unknown = [facts[name] for name in check.needs if isinstance(facts[name], Unknown)]
    if unknown:
        why = f"could not be checked: {unknown[0].why}"
        yield Finding(check.name, why, "the release goes on without", False, check.name)
        return
    for finding in check.rule(facts):
        yield Finding(finding.where, finding.what, finding.next, finding.problem, check.name)


def _told(finding: Finding) -> dict[str, str]:
    texts = {name: str(value)[:LONGEST] for name, value in asdict(finding).items() if name != "problem"}
    return {name: texts[name] for name in ("check", "where", "what", "next")}


def failed(judgement: Mapping[str, Sequence[Mapping[str, str]]]) -> PreflightFailed:
    """The refusal, which lists every problem with where it is and what to do about it."""
    problems = judgement["problems"]
    lines = [
        f"({number}) {one['where']}: {one['what']}; {one['next']}"
        for number, one in enumerate(problems[:MOST_LISTED], 1)
    ]
    more = f" (and {len(problems) - MOST_LISTED} more)" if len(problems) > MOST_LISTED else ""
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return PreflightFailed(
        f"{count} before the first change: {' '.join(lines)}{more}",
        ", ".join(dict.fromkeys(one["where"] for one in problems[:MOST_LISTED])),
        "nothing was changed; when all of these are put right, start the release again",
        problems=list(problems[:MOST_LISTED]),
        warnings=list(judgement["warnings"][:MOST_LISTED]),
    )


# --- the artifact -------------------------------------------------------------------------------------------


def _archive(facts: Facts) -> Iterator[Finding]:
    said = facts["request"]["archive"]
    if said is None:
        return
    artifact = facts["request"]["release"]["artifact"]
    if said["trouble"]:
        yield Finding(
            "release.artifact",
            f"{artifact} {said['trouble']}",
            "package and upload the application again, and give the new file's sha256",
        )
        return
    missing = [name for name in ("Gemfile", "Gemfile.lock", "config.ru") if name not in said["files"]]
    if missing:
        yield Finding(
            "release.artifact",
            f"{artifact} has no {', no '.join(missing)} at its root",
            "package the application's root folder itself, not a folder around it",
        )


def _kept(facts: Facts) -> Iterator[Finding]:
    """A release that is brought back: each server has it still, or can fetch it again."""
    release = facts["request"]["release"]
    if facts["artifact"] is not False:
        return
    lacking = [
        one["server"] for one in _reported(facts) if release["id"] not in one["result"].get("staged", [])
    ]
    if lacking or not facts["reports"]:
        yield Finding(
            _servers(lacking) if lacking else "release.id",
            f"release {release['id']} is no longer there, and {release['artifact']} has gone from the bucket",
            "upload that artifact again, or bring another release back",
        )


def _ruby(facts: Facts) -> Iterator[Finding]:
    wanted, web = (facts["request"]["archive"] or {}).get("ruby"), facts["request"]["environment"]["web"]
    if wanted is None:
        return
    if _minor(wanted) != _minor(web["ruby"]):
        yield Finding(
            "environment.web.ruby",
            f"the release wants Ruby {wanted}, and the servers have {web['ruby']} (environment.web.ruby)",
            f"set environment.web.ruby to {_minor(wanted)} if the operating system offers it, or package the "
            f"release for Ruby {web['ruby']}",
        )
        return
    others = {one["server"]: str(one["result"].get("ruby")) for one in _reported(facts)}
    other = [name for name, ruby in others.items() if _minor(ruby) == _minor(wanted) and ruby != wanted]
    if wanted.count(".") == 2 and other:
        yield Finding(
            _servers(other),
            f"Ruby is {others[other[0]]} there, and the release names {wanted}",
            "Bundler refuses that only if the Gemfile pins the exact version; leave its last number open",
            problem=False,
        )


def _rails(facts: Facts) -> Iterator[Finding]:
    rails = (facts["request"]["archive"] or {}).get("rails")
    ruby = facts["request"]["environment"]["web"]["ruby"]
    major, minor = (_number(rails, 0), _number(rails, 1)) if rails else (0, 0)
    least = RUBY_OF_RAILS.get((major, minor))
    if least is not None and _parts(ruby) < _parts(least):
        yield Finding(
            "environment.web.ruby",
            f"the release has Rails {rails}, which needs Ruby {least} at least, and the servers have {ruby}",
            f"set environment.web.ruby to {least} or later (and an operating system that offers it), or stay "
            "with an earlier Rails",
        )


# --- the servers --------------------------------------------------------------------------------------------


def _agents(facts: Facts) -> Iterator[Finding]:
    """Servers that serve, whose agents do not. Those that are on their way are waited for later."""
    if facts["fleet"] is None or not facts["request"]["previous"]:
        return
    serving = [one for one in facts["fleet"]["instances"] if one["state"] == "InService"]
    silent = [one for one in serving if one["agent"] not in (None, "Online")]
    if silent:
        yield Finding(
            _servers([one["id"] for one in silent]),
            f"its agent is {silent[0]['agent']}: Systems Manager cannot run anything there",
            "see whether it runs and reaches Systems Manager; restart its amazon-ssm-agent, or end it and "
            "let its group replace it",
        )
    unheard = [one["id"] for one in serving if one["agent"] is None]
    if unheard:
        yield Finding(
            _servers(unheard),
            "has not been heard of by Systems Manager yet",
            "the release waits for it for a while; see that its role and its network let the agent out",
            problem=False,
        )
    if len(serving) < facts["fleet"]["desired"]:
        yield Finding(
            f"group {facts['fleet']['name']}",
            f"{len(serving)} of {facts['fleet']['desired']} servers are in service",
            "the release waits for the others for a while; see the activity of the group",
            problem=False,
        )


def _answers(facts: Facts) -> Iterator[Finding]:
    for one in [one for one in facts["reports"] or [] if not one["fine"]][:MOST_NAMED]:
        silent = one["status"] in ("Pending", "InProgress", "Delayed")
        yield Finding(
            f"server {one['server']}",
            "has not answered in time what it runs" if silent else f"cannot say what it runs: {one['why']}",
            "look at the server (aws ssm start-session), or end it and let its group replace it",
        )


def _disk(facts: Facts) -> Iterator[Finding]:
    said, release = facts["request"]["archive"], facts["request"]["release"]["id"]
    if said is None:
        return
    needed = room_needed(said)
    free = {
        one["server"]: int(one["result"]["disk"]["freeMiB"])
        for one in _reported(facts)
        if one["result"].get("disk") and release not in one["result"].get("staged", [])
    }
    full = {name: room for name, room in free.items() if room < needed}
    if full:
        each = ", ".join(f"{name} has {room} MiB" for name, room in list(full.items())[:MOST_NAMED])
        yield Finding(
            _servers(list(full)),
            f"not enough room on the disk of /var/www: {each}, the release needs {needed} MiB (it unpacks to "
            f"{said['unpackedBytes'] // MEBIBYTE + 1} MiB)",
            "remove what fills the disk, or give the servers a larger one",
        )


def room_needed(said: Mapping[str, Any]) -> int:
    """MiB that a release takes on a server while it is staged. `said`: see archive.Archive.as_dict."""
    packed, unpacked = said["bytes"] // MEBIBYTE + 1, said["unpackedBytes"] // MEBIBYTE + 1
    return int(max(DOWNLOAD_MIB, packed + ROOM_FACTOR * unpacked + ROOM_SPARE_MIB))


def _memory(facts: Facts) -> Iterator[Finding]:
    """Too little memory for two releases is no reason to refuse one: the servers are drained instead."""
    if facts["request"]["rollout"]["strategy"] != "side_by_side":
        return
    short = _short_of_memory(facts)
    if short:
        yield Finding(
            _servers(short),
            "not enough memory for two releases beside each other",
            "all servers are drained instead of switched (rollout.strategy: drain)",
            problem=False,
        )


def _short_of_memory(facts: Facts) -> list[str]:
    told = {one["server"]: one["result"].get("memory") for one in _reported(facts)}
    return [
        name
        for name, memory in told.items()
        if memory and memory["availableMiB"] <= memory["applicationMiB"] * MEMORY_FACTOR + MEMORY_SPARE_MIB
    ]


def _capacity(facts: Facts) -> Iterator[Finding]:
    """Who serves nobody gets the release first (waves.cut), so that somebody is there while others are
    drained; DrainServers sees to that once more."""
    if facts["fleet"] is None or not facts["targets"] or not facts["request"]["previous"]:
        return
    rollout = facts["request"]["rollout"]
    drained = rollout["strategy"] == "drain" or _short_of_memory(facts)
    if not drained:
        return
    servers = [one for one in facts["fleet"]["instances"] if one["state"] == "InService"]
    if len(servers) == 1:
        yield Finding(
            f"server {servers[0]['id']}",
            "is the only one: while it is drained the site answers nobody",
            "set environment.web.min and desired to 2, or rollout.strategy to side_by_side",
            problem=False,
        )
        return
    states = {one["server"]: f"{one['state']} ({one['reason']})" for one in facts["targets"]}
    ill = [one["id"] for one in servers if not states.get(one["id"], "healthy").startswith("healthy")]
    if ill:
        yield Finding(
            _servers(ill),
            f"serves nobody now: it is {states[ill[0]]}; it gets the release before any other is taken out",
            "if the release fails there, see why",
            problem=False,
        )


# --- what the input names -----------------------------------------------------------------------------------


def _alarms(facts: Facts) -> Iterator[Finding]:
    names = facts["request"]["rollout"]["alarms"]
    missing = [name for name in names if name not in facts["alarms"]]
    if missing:
        yield Finding(
            "rollout.alarms",
            f"there is no alarm {', no '.join(missing)} in CloudWatch here",
            "correct the name, create the alarm, or leave it out",
        )
    ringing = [name for name in names if facts["alarms"].get(name) == "ALARM"]
    if ringing:
        yield Finding(
            "rollout.alarms",
            f"{', '.join(ringing)} rings already",
            "if it still does after the first wave, the release is taken back",
            problem=False,
        )


def _names(facts: Facts) -> Iterator[Finding]:
    """An environment that was taken down left a secret and a bucket with the names that a new one needs."""
    kept = facts.get("kept")
    if kept and not isinstance(kept, Unknown):
        yield Finding(
            "environment.name",
            "an environment of that name was taken down before, and the names of what was kept are taken: "
            f"{kept}, as a rule the image bucket, too",
            "choose another name; or, if nobody needs what was kept, delete it (aws secretsmanager "
            f"delete-secret --force-delete-without-recovery --secret-id {kept}; and the bucket)",
        )


def _secrets(facts: Facts) -> Iterator[Finding]:
    wanted = facts["request"]["environment"]["secrets"]
    for state, what, to_do in (
        ("missing", "is not in Secrets Manager", "create the secret, or correct its name"),
        ("deleted", "is scheduled for deletion", "restore it (aws secretsmanager restore-secret)"),
    ):
        bad = {name: secret for name, secret in wanted.items() if facts["secrets"].get(secret) == state}
        if bad:
            yield Finding(
                ", ".join(f"environment.secrets.{name}" for name in bad),
                f"{', '.join(dict.fromkeys(bad.values()))} {what}",
                to_do,
            )
    for name, secret in wanted.items():
        if isinstance(facts["secrets"].get(secret), Unknown):
            yield Finding(
                f"environment.secrets.{name}",
                f"{secret} could not be checked: {facts['secrets'][secret].why}",
                "the release goes on without",
                problem=False,
            )


# --- what is there already ----------------------------------------------------------------------------------


def _database(facts: Facts) -> Iterator[Finding]:
    if facts["database"] and facts["database"]["status"] in LOST:
        yield Finding(
            f"DB instance {facts['database']['id']}",
            f"the database is {facts['database']['status']}",
            "see its events in RDS; waiting does not help",
        )


def _maintenance(facts: Facts) -> Iterator[Finding]:
    for action in facts["maintenance"] or []:
        at, now = action["at"], facts["now"]
        soon = at is not None and now - timedelta(hours=1) <= at <= now + RELEASE_TAKES
        when = "when you say so" if at is None else f"on {at:%Y-%m-%d at %H:%M} UTC"
        to_do = (
            "apply it now and release afterwards, or defer it (aws rds apply-pending-maintenance-action)"
            if soon
            else "choose a time for it (aws rds apply-pending-maintenance-action)"
        )
        yield Finding(
            f"DB instance {facts['database']['id']}",
            f"RDS will do {action['action']} {when}" + (", in the middle of this release" if soon else ""),
            to_do,
            problem=soon,
        )


def _snapshot(facts: Facts) -> Iterator[Finding]:
    if facts["snapshot"] and facts["snapshot"]["status"] is not None:
        yield Finding(
            f"DB snapshot {facts['snapshot']['name']}",
            "the name that the restore point of this release would have is taken",
            "delete that snapshot, or start the release again a second later",
        )


def _certificate(facts: Facts) -> Iterator[Finding]:
    """One that is over keeps the release from being verified; one that ends soon is not made worse by it."""
    found: Mapping[str, Any] | None = facts["certificate"]
    if found is None or not facts["request"]["previous"] or found["until"] is None:
        return
    left = (found["until"] - facts["now"]).days
    why = f" (ACM says of its renewal: {found['renewal']})" if found["renewal"] else ""
    if left < 1:
        yield Finding(
            f"certificate {found['arn']}",
            f"has expired, or does so today{why}: the site could not be verified after the release",
            "see in ACM which validation record is missing and set it; ACM then renews the certificate",
        )
    elif left < CERTIFICATE_DAYS:
        yield Finding(
            f"certificate {found['arn']}",
            f"ends in {left} days{why}, though ACM renews it 45 days before",
            "see in ACM which validation record is missing and set it",
            problem=False,
        )


def _delegation(facts: Facts) -> Iterator[Finding]:
    domain, found = facts["request"]["environment"]["domain"], facts["zone"]
    if domain["dns"] != "route53":
        return
    if found is None:
        yield Finding(
            "environment.domain.name",
            f"{domain['name']} gets its hosted zone with this release, so nothing can be delegated to it yet",
            "set the name servers at the registrar when the release names them; it waits for that",
            problem=False,
        )
        return
    servers, delegated = found["servers"], found["delegated"]
    if delegated is None:
        why = f"could not be checked: nobody answered the question for the name servers of {found['zone']}"
        yield Finding("environment.domain.name", why, "the release goes on without", problem=False)
    elif not set(delegated) & set(servers):
        now = f"to {', '.join(sorted(delegated))}" if delegated else "to nobody"
        # Without a certificate the release has a long wait for just this, and tells who has to do what.
        yield Finding(
            "environment.domain.name",
            f"{found['zone']} is delegated {now}, not to its hosted zone",
            f"set its name servers at the registrar to {', '.join(servers)}",
            problem=bool(facts["request"]["previous"] or domain["hostedZoneId"]),
        )


def _quotas(facts: Facts) -> Iterator[Finding]:
    """See surroundings: what this release would create, what there is, and what is allowed."""
    for one in facts["quotas"]:
        unknown = [one[part] for part in ("needed", "used", "quota") if isinstance(one[part], Unknown)]
        where = f"quota {one['name']}"
        if unknown:
            why = f"could not be checked: {unknown[0].why}"
            yield Finding(where, why, "the release goes on without", problem=False)
        elif one["used"] + one["needed"] > one["quota"]:
            wanted = one["used"] + one["needed"]
            yield Finding(
                where,
                f"{one['why']} takes {one['needed']}, {one['used']} are in use, and {one['quota']:g} are "
                "allowed in this region",
                f"ask for {wanted} (aws service-quotas request-service-quota-increase --service-code "
                f"{one['service']} --quota-code {one['code']} --desired-value {wanted}), or remove what is "
                "not needed",
                problem=one["must"],
            )


CHECKS: tuple[Check, ...] = (
    Check("archive", (), _archive),
    Check("kept release", ("artifact", "reports"), _kept),
    Check("ruby", ("reports",), _ruby),
    Check("rails", (), _rails),
    Check("agents", ("fleet",), _agents),
    Check("servers", ("reports",), _answers),
    Check("disk", ("reports",), _disk),
    Check("memory", ("reports",), _memory),
    Check("capacity", ("fleet", "targets", "reports"), _capacity),
    Check("alarms", ("alarms",), _alarms),
    Check("secrets", (), _secrets),
    Check("names", (), _names),
    Check("database", ("database",), _database),
    Check("maintenance", ("database", "maintenance"), _maintenance),
    Check("restore point", ("snapshot",), _snapshot),
    Check("certificate", ("certificate",), _certificate),
    Check("delegation", ("zone",), _delegation),
    Check("quotas", (), _quotas),
)


def _reported(facts: Facts) -> list[Mapping[str, Any]]:
    return [one for one in facts["reports"] or [] if one["fine"]]


def _servers(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"server{'s' if len(names) > 1 else ''} {', '.join(names[:MOST_NAMED])}{more}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _parts(version: str) -> tuple[int, ...]:
    return tuple(_number(version, at) for at in range(2))


def _number(version: str, at: int) -> int:
    parts = version.split(".")
    return int(parts[at]) if at < len(parts) and parts[at].isdigit() else 0


def moment(value: Any) -> datetime | None:
    """A date that AWS answered, if it did."""
    return value if isinstance(value, datetime) else None


def reported(facts: Facts, most: int) -> list[dict[str, Any]]:
    """[{"server", "result"}] of at most so many servers, as they answered."""
    found = [] if isinstance(facts["reports"], Unknown) else facts["reports"] or []
    return [{"server": one["server"], "result": one["result"]} for one in found[:most]]
