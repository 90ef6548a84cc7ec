"""Reports of checks as the page gets them. Those that read like real ones are files in cases/drift_report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Report = dict[str, Any]

CASES = Path(__file__).parent / "cases" / "drift_report"

# Every kind of finding, with the tier that such a finding names.
KINDS = {
    "stack_resource_modified": "network",
    "stack_resource_deleted": "load_balancer",
    "stack_differs": "web",
    "stack_missing": "storage",
    "stack_unknown": "certificate",
    "server_silent": "servers",
    "server_release": "servers",
    "server_code": "servers",
    "server_ruby": "servers",
    "server_configuration": "servers",
    "server_service": "servers",
    "server_migrations": "servers",
    "server_restarted": "servers",
    "database_public": "database",
    "database_reachable": "network",
    "backups_off": "database",
    "backups_old": "database",
    "target_unhealthy": "load_balancer",
    "certificate_expires": "certificate",
    "certificate_not_renewing": "certificate",
    "alias_elsewhere": "load_balancer",
    "delegation_elsewhere": "certificate",
    "redirect_missing": "load_balancer",
    "security_group_open": "network",
    "bucket_public": "storage",
    "imds_open": "web",
    "role_policy_added": "web",
    "scaling_suspended": "web",
}

SERVER = "i-0a1b2c3d4e5f60718"
TIERS = ("network", "certificate", "database", "storage", "web", "load_balancer")
COMMAND = "aws stepfunctions start-execution --input"


def case(name: str) -> Report:
    loaded: Report = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def finding(kind: str, severity: str, tier: str, where: str, **more: Any) -> dict[str, Any]:
    return {
        "key": f"{kind}|{where}|",
        "kind": kind,
        "severity": severity,
        "tier": tier,
        "where": where,
        "what": f"{kind} at {where}",
        "expected": "as released",
        "found": "something else",
        "remedy": f"""{COMMAND} '{{"environment":"arable","remedy":true}}'""",
        "remediable": True,
        "since": "2026-11-27T23:40:10Z",
        "seen": 2,
        "who": None,
        **more,
    }


def report(findings: list[dict[str, Any]], **more: Any) -> Report:
    return {**case("clean"), "status": "drift" if findings else "clean", "findings": findings, **more}


def every_kind() -> Report:
    """One finding of each; those on servers on the first."""
    severities = ("high", "medium", "low")
    return report(
        [
            finding(kind, severities[number % 3], tier, SERVER if tier == "servers" else f"Thing{number}")
            for number, (kind, tier) in enumerate(KINDS.items())
        ]
    )


def large(servers: int = 1_000, others: int = 300) -> Report:
    """A thousand servers with equal findings, and hundreds of findings that are not equal."""
    ids = [f"i-{number:017x}" for number in range(0x0A00_0000, 0x0A00_0000 + servers)]
    silent = ids[7:9]
    code = [
        finding("server_code", "high", "servers", one, what=f"the code on {one} is not what was unpacked")
        for one in ids
        if one not in silent
    ]
    quiet = [
        finding("server_silent", "high", "servers", one, remedy=f"aws ssm start-session --target {one}")
        for one in silent
    ]
    resources = [
        finding(
            "stack_resource_modified",
            "low",
            TIERS[number % 6],
            f"{TIERS[number % 6]}/Resource{number:03}",
            found=f"value {number}: " + "x" * (50 * number),
        )
        for number in range(others)
    ]
    fleet = [
        {"id": one, "release": None if one in silent else "2026-11-22.1", "reported": one not in silent}
        for one in ids
    ]
    return report([*code, *quiet, *resources], servers=fleet, seconds=123, more=7)


UGLY = "\"'><script>alert(1)</script><img src=x onerror=alert(2)> & \u202egnp.exe\x00\x1b[31m ]]>--></style>"


def with_text(text: str) -> Report:
    """The same text in every place that takes one."""
    one = finding("server_code", "high", "servers", "i-1", seen=1)
    taken = [key for key, value in one.items() if isinstance(value, str)]
    one |= dict.fromkeys(taken, text) | {
        "severity": "high",
        "remedy": f"aws {text}",
        "who": {"name": text, "at": text, "event": text},
    }
    line = {"where": text, "what": text, "property": text, "why": text}
    return {
        "environment": text,
        "checkedAt": text,
        "release": {"id": text},
        "status": text,
        "findings": [one, {**one, "kind": "stack_differs", "tier": "web", "remedy": text}],
        "unconfirmed": [one],
        "gone": [one],
        "servers": [{"id": text, "release": text, "reported": True}],
        "certificateDays": 3,
        "stacks": [{"tier": text, "status": text, "notChecked": [text]}],
        "ignored": [line],
        "seconds": 1,
        "domain": text,
        "notLookedAt": [text, line],
    }


REPORTS: dict[str, Report] = {
    "clean": case("clean"),
    "drifted": case("drifted"),
    "every-kind": every_kind(),
    "large": large(),
    "ugly": with_text(UGLY),
    "postponed": report([], status="postponed", servers=[], stacks=[], certificateDays=None),
    "unconfirmed": report([], unconfirmed=case("drifted")["findings"][:2]),
    "partly": report([], notLookedAt=["the load balancer's targets: AccessDenied"]),
}
