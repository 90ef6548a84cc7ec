"""What every server reports of itself, against the recorded release.

The servers are asked with the step `report`, which changes nothing, and without the environment's lock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway import commands, once
from slipway.aws import autoscaling, ssm
from slipway.drift import comparisons
from slipway.drift.finding import Finding, bounded, check_command, finding
from slipway.errors import CommandFailed
from slipway.patience import DEFAULT, Patience

Json = Mapping[str, Any]

# A server says what it runs within a second or two; what has not begun by then will not begin.
SECONDS = 60

# What is told when nobody could be asked.
SILENT = "its agent is {status}: Systems Manager does not reach it"
UNKNOWN = "has never been heard of"


@dataclass(frozen=True)
class Orchestrator:
    """`prefix`: of its documents."""

    prefix: str
    log_group: str


# Ask


def ask(current: Json, token: str, orchestrator: Orchestrator) -> dict[str, Any]:
    """{"command", "asked": [servers], "silent": [{"server", "why"}]}: every server that is in service in its
    group is asked, once for a `token`. One that comes or goes just now is none of them."""
    environment = current["environment"]
    group = autoscaling.group(current["outputs"]["web"]["AutoScalingGroupName"])
    servers = in_service(group["Instances"] if group else [])
    agents = ssm.agents(servers) if servers else {}
    silent = [{"server": one, "why": why} for one in servers if (why := _silence(agents.get(one)))]
    asked = [one for one in servers if _silence(agents.get(one)) == ""]
    portions = math.ceil(len(asked) / commands.MOST_SERVERS)
    sent = once.sent(environment["name"], token, f"{orchestrator.prefix}-report", portions) if asked else ""
    if sent:
        addressed = commands.addressed(sent)
        asked = [one for one in asked if one in addressed]  # one may have come since
    elif asked:
        sent, lost = _send(environment, asked, orchestrator, once.mark(token))
        silent += lost
        asked = [one for one in asked if one not in {other["server"] for other in lost}]
    return {"command": sent, "asked": asked, "silent": silent}


def in_service(instances: Sequence[Json]) -> list[str]:
    return sorted(one["InstanceId"] for one in instances if one["LifecycleState"] == "InService")


def _silence(agent: Json | None) -> str:
    """Why a server cannot be asked; empty if it can."""
    status = agent["PingStatus"] if agent else UNKNOWN
    return "" if status == "Online" else SILENT.format(status=status)


def _send(
    environment: Json, servers: Sequence[str], orchestrator: Orchestrator, mark: str
) -> tuple[str, list[dict[str, str]]]:
    """The command, and those servers that Run Command refused although their agents were said to be online:
    it refuses a command as a whole."""
    left = list(servers)
    lost: list[dict[str, str]] = []
    while left:
        try:
            command = commands.send(
                environment["name"],
                "report",
                left,
                {"Application": environment["application"], "Depth": "whole"},
                SECONDS,
                orchestrator.prefix,
                orchestrator.log_group,
                mark,
            )
        except CommandFailed as error:
            refused = set(error.details["servers"])
            lost += [{"server": one, "why": error.details["line"]} for one in left if one in refused]
            left = [one for one in left if one not in refused]
        else:
            return command, lost
    return "", lost


# Hear


def hear(current: Json, asked: Json, execution: str, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "waiting" | "heard", "findings", "more", "servers": [{"id", "release", "reported"}]}."""
    answers = commands.answers(asked["command"], "report", asked["asked"], patience) if asked["asked"] else []
    if any(one["status"] in commands.RUNNING for one in answers):
        return {"status": "waiting", **bounded([]), "servers": []}
    reports = [_report(one) for one in answers]
    reports += [{"server": one["server"], "result": None, "why": one["why"]} for one in asked["silent"]]
    findings = judged(current, reports, check_command(execution, current["environment"]["name"], remedy=True))
    return {"status": "heard", **bounded(findings), "servers": [_told(one) for one in reports]}


def _report(answer: Json) -> dict[str, Any]:
    return {
        "server": answer["server"],
        "result": answer["result"] if answer["fine"] else None,
        "why": answer["why"],
    }


def _told(report: Json) -> dict[str, Any]:
    result = report["result"]
    return {
        "id": report["server"],
        "release": result.get("release") if result else None,
        "reported": result is not None,
    }


# Judge


def judged(current: Json, reports: Sequence[Json], remedy: str = "") -> list[Finding]:
    """The findings. `reports`: [{"server", "result": what the step report says of it, None if it does not
    answer, "why": it does not}]; `remedy`: the command that puts right what can be."""
    found = [one for report in reports for one in _of_server(current, report, remedy)]
    return list({one["key"]: one for one in found}.values())  # what servers share is told once


def _of_server(current: Json, report: Json, remedy: str) -> list[Finding]:
    if report["result"] is None:
        return [silent(report)]
    return [one for compare in comparisons.COMPARISONS for one in compare(current, report, remedy)]


def silent(report: Json) -> Finding:
    server = report["server"]
    return finding(
        "server_silent",
        "servers",
        server,
        f"the server does not say what it runs: {report['why']}",
        expected="a report",
        found=None,
        remedy=f"see whether it runs (aws ec2 describe-instance-status --instance-ids {server}); once its "
        "agent answers again, the next check asks it. If it cannot be helped, end it: aws autoscaling "
        "terminate-instance-in-auto-scaling-group --no-should-decrement-desired-capacity "
        f"--instance-id {server}",
        resource=server,
    )
