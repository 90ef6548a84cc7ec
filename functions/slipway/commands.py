"""A step on servers by Run Command: start it, see how far it is, and explain how it failed.

A document prints one line of JSON first: {"step", "ok", "changed", "reason", …}. Run Command keeps the
first 2,500 characters of the output at hand; the rest is in the log group.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.aws import ssm
from slipway.errors import CommandFailed
from slipway.patience import DEFAULT, Patience, linger

# AWS's limit of instance ids a call.
MOST_SERVERS = 50

RUNNING = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})

Results = list[dict[str, Any]]


def start(
    environment: str,
    step: str,
    servers: Sequence[str],
    parameters: Mapping[str, Any],
    seconds: int,
    prefix: str,
    log_group: str,
    patience: Patience = DEFAULT,
) -> dict[str, Any]:
    """Sends the command and looks after it for a little; answers what `check` answers.

    `seconds`: a server that has not begun by then will not begin (at least 30, AWS's least).
    """
    if not 0 < len(servers) <= MOST_SERVERS:
        raise CommandFailed(
            f"a step runs on 1 to {MOST_SERVERS} servers, not {len(servers)}",
            f"step {step}",
            "cut smaller waves",
            step=step,
        )
    texts = {key: as_text(value) for key, value in parameters.items()}
    comment = f"slipway {environment} {step}"
    command = ssm.send(f"{prefix}-{step}", servers, texts, max(30, seconds), log_group, comment)
    return check(command, step, servers, log_group, patience)


def as_text(value: Any) -> str:
    """A parameter's text; an object becomes base64 of its JSON, which no shell can misread."""
    if isinstance(value, dict | list):
        return base64.b64encode(json.dumps(value, ensure_ascii=False).encode()).decode("ascii")
    return str(value)


def check(
    command: str, step: str, servers: Sequence[str], log_group: str, patience: Patience = DEFAULT
) -> dict[str, Any]:
    """{"commandId", "status": "running" | "succeeded", "results"}; raises CommandFailed when all have ended
    and one failed."""
    results = linger(lambda: _look(command, servers), lambda seen: not _running(seen), patience)
    if _running(results):
        return {"commandId": command, "status": "running", "results": results}
    failed = [result for result in results if not _fine(result)]
    if failed:
        raise explained(failed, command, step, log_group)
    return {"commandId": command, "status": "succeeded", "results": [_told(result) for result in results]}


def _look(command: str, servers: Sequence[str]) -> Results:
    """A result a server, in the order asked; one that Run Command does not list yet is Pending."""
    found = {invocation["InstanceId"]: result(invocation) for invocation in ssm.invocations(command)}
    return [found.get(server, {"server": server, "status": "Pending"}) for server in servers]


def result(invocation: Mapping[str, Any]) -> dict[str, Any]:
    """{"server", "status", "seconds", "result": first line as JSON or None, "line": first line that is
    not}."""
    plugins = invocation.get("CommandPlugins", [])
    plugin: Mapping[str, Any] = plugins[-1] if plugins else {}
    lines = str(plugin.get("Output", "")).splitlines()
    first = parsed(lines[0]) if lines else None
    # Run Command puts a line ----------ERROR------- between what went to stdout and to stderr.
    others = [line for line in (lines[1:] if first else lines) if line.strip(" -") not in ("", "ERROR")]
    return {
        "server": invocation["InstanceId"],
        "status": invocation["Status"],
        "seconds": _seconds(plugin),
        "result": first,
        "line": _first_error(others),
        "detail": invocation.get("StatusDetails", ""),
    }


def parsed(line: str) -> dict[str, Any] | None:
    """The result that a document prints first; None if the line is something else."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "ok" in value else None


def explained(failed: Sequence[Mapping[str, Any]], command: str, step: str, log_group: str) -> CommandFailed:
    """Which server, the first line of the error, where the whole log is."""
    first = failed[0]
    server, line = first["server"], _reason(first)
    others = f", and on {len(failed) - 1} more" if len(failed) > 1 else ""
    return CommandFailed(
        f"{step} failed on {server}{others}: {line}",
        f"step {step}, server {server}",
        f"the whole log: aws logs tail {log_group} --log-stream-name-prefix {command}/{server} --since 1d",
        server=server,
        servers=[failure["server"] for failure in failed],
        step=step,
        line=line,
        log=log_link(log_group, command, server),
    )


def log_link(log_group: str, command: str, server: str, region: str | None = None) -> str:
    """The console's page of the log streams of a command on a server."""
    prefix = _escaped(f"{command}/{server}")
    return group_link(log_group, region or os.environ["AWS_REGION"]) + "$3FlogStreamNameFilter$3D" + prefix


def group_link(log_group: str, region: str) -> str:
    """The console's page of a log group."""
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
    return f"{console}#logsV2:log-groups/log-group/{_escaped(log_group)}"


def _escaped(text: str) -> str:
    """Twice, the second time with $ for %: that is how the console writes its addresses."""
    return urllib.parse.quote(text, safe="").replace("%", "$25")


def _running(results: Sequence[Mapping[str, Any]]) -> bool:
    return any(result["status"] in RUNNING for result in results)


def _fine(result: Mapping[str, Any]) -> bool:
    """A step has succeeded if it said so: an exit code of 0 without a result is not enough."""
    return result["status"] == "Success" and bool(result["result"]) and result["result"]["ok"] is True


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in ("server", "status", "seconds", "result")}


def _reason(failure: Mapping[str, Any]) -> str:
    told = failure.get("result") or {}
    reason = told.get("reason") if told.get("ok") is not True else None
    if reason:
        return str(reason)
    if failure["status"] == "Success":
        return "the step ended without saying that it succeeded"
    return failure.get("line") or f"Run Command says {failure.get('detail') or failure['status']}"


def _first_error(lines: Sequence[str]) -> str:
    """The first line that looks like an error; else the first line."""
    marks = ("error", "fatal", "failed", "cannot", "denied", "not found", "aborted")
    named = [line for line in lines if any(mark in line.lower() for mark in marks)]
    return (named or list(lines) or [""])[0].strip()[:500]


def _seconds(plugin: Mapping[str, Any]) -> float | None:
    began, ended = plugin.get("ResponseStartDateTime"), plugin.get("ResponseFinishDateTime")
    if not began or not ended:
        return None
    return round(float((ended - began).total_seconds()), 3)
