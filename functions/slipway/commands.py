"""A step on servers by Run Command: start it, see how far it is, and explain how it failed.

A step of a document prints one line of JSON first: {"step", "ok", "changed", "reason", …}. Run Command keeps
the first 2,500 characters of each one's output at hand; the rest is in the log group. What a document of
several steps says is what they say together.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from slipway import foreign, reported
from slipway import servers as fleet
from slipway.aws import ssm
from slipway.errors import CommandFailed
from slipway.patience import AT_WORK, DEFAULT, Patience, linger

# AWS's limit of instance ids a call.
MOST_SERVERS = 50
# Servers that a failure names: the cause of an execution has at most 32,768 characters, of which text within
# text takes ever more, with its backslashes.
MOST_TOLD = 20
# Characters of a server's own words in a failure: as many as a document's own reason has.
MOST_SAID = 500
# The steps of documents that have several (hosts/<document>.yaml); one alone is called as its document is.
STEPS: Mapping[str, Sequence[str]] = {
    "stage": ("prepare", "stage", "warm"),
    "configure": ("configure", "pending"),
}
# What the comment of a release's commands begins with.
SENDER = "slipway"
# Between the ids of the commands that a step on more servers is sent as.
SEPARATOR = ","

# What the release itself goes by. Where more than so many servers answer, the rest of their results stays in
# the log: a state's payload has at most 256 KiB.
KEPT = ("release", "pending", "empty", "sideBySide")

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
    patience: Patience = AT_WORK,
    mark: str = "",
    sender: str = SENDER,
) -> dict[str, Any]:
    """Sends the command, in portions that Run Command takes, and looks after it for a little; answers what
    `check` answers.

    `seconds`: a server that has not begun by then will not begin (at least 30, AWS's least).
    """
    if not servers:
        raise CommandFailed("a step needs a server to run on", f"step {step}", "see the group", step=step)
    sent = send(environment, step, servers, parameters, seconds, prefix, log_group, mark, sender)
    return check(sent, step, servers, log_group, patience)


def send(
    environment: str,
    step: str,
    servers: Sequence[str],
    parameters: Mapping[str, Any],
    seconds: int,
    prefix: str,
    log_group: str,
    mark: str = "",
    sender: str = SENDER,
) -> str:
    """Sends the command, in portions that Run Command takes; their ids as `check` and `answers` take them.
    Raises CommandFailed if Systems Manager does not reach a server."""
    texts = {key: as_text(value) for key, value in parameters.items()}
    comment = f"{sender} {environment} {step}{mark}"
    sent = [
        _send(
            f"{prefix}-{step}",
            step,
            servers[first : first + MOST_SERVERS],
            texts,
            seconds,
            log_group,
            comment,
        )
        for first in range(0, len(servers), MOST_SERVERS)
    ]
    return SEPARATOR.join(filter(None, sent))


def _send(
    document: str,
    step: str,
    servers: Sequence[str],
    parameters: Mapping[str, str],
    seconds: int,
    log_group: str,
    comment: str,
) -> str:
    """The command's id; empty if all these servers have left their group since.

    Run Command refuses all of them if it cannot reach one. One that has left is no failure.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return ssm.send(document, servers, parameters, max(30, seconds), log_group, comment)
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidInstanceId":
            raise
        refused = str(error.response["Error"]["Message"])
    gone = fleet.gone(servers)
    left = [server for server in servers if server not in gone]
    if gone and left:
        return _send(document, step, left, parameters, seconds, log_group, comment)
    if gone:
        return ""
    online = {name for name, agent in ssm.agents(servers).items() if agent["PingStatus"] == "Online"}
    lost = [server for server in servers if server not in online] or list(servers)
    raise CommandFailed(
        f"{step} failed on {lost[0]}{_and_more(lost)}: Systems Manager does not reach it ({refused})",
        f"step {step}, server {lost[0]}",
        "see whether the server runs and its agent is online",
        server=lost[0],
        servers=lost[:MOST_TOLD],
        step=step,
        line=refused,
    )


def as_text(value: Any) -> str:
    """A parameter's text; an object becomes base64 of its JSON, which no shell can misread."""
    if isinstance(value, dict | list):
        return base64.b64encode(json.dumps(value, ensure_ascii=False).encode()).decode("ascii")
    return str(value)


def check(
    command: str, step: str, servers: Sequence[str], log_group: str, patience: Patience = AT_WORK
) -> dict[str, Any]:
    """{"commandId", "status": "running" | "succeeded", "results"}; raises CommandFailed when all have ended
    and one failed. What became of servers that have left their group since does not matter."""
    results = linger(lambda: _look(command, step, servers), lambda seen: not _running(seen), patience)
    doubtful = [result["server"] for result in results if not _fine(result)]
    gone = fleet.gone(doubtful) if doubtful else set()
    results = [result for result in results if result["server"] not in gone]
    if _running(results):
        return {"commandId": command, "status": "running", "results": []}
    failed = [result for result in results if not _fine(result)]
    if failed:
        raise explained(failed, command, step, log_group)
    told = [_told(result, len(results) > MOST_SERVERS) for result in results]
    return {"commandId": command, "status": "succeeded", "results": told}


def answers(command: str, step: str, servers: Sequence[str], patience: Patience = AT_WORK) -> Results:
    """[{"server", "status", "result", "fine", "why": empty or what went wrong}] of every server that has not
    left its group since, however it ended; those that have not ended yet too."""
    results = linger(lambda: _look(command, step, servers), lambda seen: not _running(seen), patience)
    doubtful = [result["server"] for result in results if not _fine(result)]
    gone = fleet.gone(doubtful) if doubtful else set()
    return [
        {
            **{key: one[key] for key in ("server", "status", "result")},
            "fine": _fine(one),
            "why": "" if _fine(one) else _reason(one),
        }
        for one in results
        if one["server"] not in gone
    ]


def _look(command: str, step: str, servers: Sequence[str]) -> Results:
    """A result a server, in the order asked; one that Run Command does not list yet is Pending."""
    listed = [one for part in filter(None, command.split(SEPARATOR)) for one in ssm.invocations(part)]
    found = {
        invocation["InstanceId"]: {
            **result(invocation, step),
            "command": invocation.get("CommandId", command),
        }
        for invocation in listed
    }
    return [found.get(server, {"server": server, "status": "Pending", "result": None}) for server in servers]


def addressed(command: str) -> set[str]:
    """The servers that a step was sent to."""
    parts = filter(None, command.split(SEPARATOR))
    return {invocation["InstanceId"] for part in parts for invocation in ssm.invocations(part)}


def result(invocation: Mapping[str, Any], document: str) -> dict[str, Any]:
    """{"server", "status", "seconds", "result": what its steps said together, None if one said nothing,
    "step", "wrong", "line", "detail"}; `step` is the one that the others are about: the first that failed,
    else the last."""
    names, plugins = steps(document), invocation.get("CommandPlugins", [])
    of_step = _by_step(plugins, names)
    said = [_said(of_step.get(step, {}), step) for step in names]
    decisive = next((one for one in said if not _well(one)), said[-1])
    results = [one["result"] for one in said]
    return {
        "server": invocation["InstanceId"],
        "status": invocation["Status"],
        "seconds": _seconds(plugins),
        **decisive,
        "result": _together(results) if _well(decisive) else decisive["result"],
        "detail": invocation.get("StatusDetails", ""),
    }


def steps(document: str) -> Sequence[str]:
    """Of a document, in their order.

    >>> steps("stage"), steps("report")
    (('prepare', 'stage', 'warm'), ('report',))
    """
    return STEPS.get(document, (document,))


def _by_step(plugins: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """By what each prints, else by its name, else as they come: in which order Run Command lists the steps of
    a document, and by which names, is not documented."""
    if len(names) == 1:
        return {names[0]: plugins[-1]} if plugins else {}
    found: dict[str, Mapping[str, Any]] = {}
    others = []
    for plugin in plugins:
        said = parsed(str(plugin.get("Output", "")).partition("\n")[0]) or {}
        step = next((name for name in (said.get("step"), plugin.get("Name")) if name in names), None)
        if step is None or step in found:
            others.append(plugin)
        else:
            found[step] = plugin
    return found | dict(zip([name for name in names if name not in found], others, strict=False))


def _said(plugin: Mapping[str, Any], step: str) -> dict[str, Any]:
    """{"step", "result": first line as JSON or None, "wrong": what is wrong with it, "line": first line of
    its output that looks like an error}."""
    # Not splitlines: within JSON a text may have one of Unicode's other ends of a line.
    lines = str(plugin.get("Output", "")).split("\n")
    first = parsed(lines[0])
    # Run Command puts a line ----------ERROR------- between what went to stdout and to stderr.
    others = [line for line in (lines[1:] if first else lines) if line.strip(" -") not in ("", "ERROR")]
    return {
        "step": step,
        "result": first,
        "wrong": reported.wrong(step, first) if first and first["ok"] is True else "",
        "line": _first_error(others),
    }


def _well(said: Mapping[str, Any]) -> bool:
    """Whether a step said that it succeeded, with a result that the release could go by."""
    return bool(said["result"]) and said["result"]["ok"] is True and not said["wrong"]


def _together(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All facts of a server's steps; of one that several tell, what the last said."""
    told = {name: value for one in results for name, value in one.items()}
    return {**told, "changed": any(one.get("changed") is True for one in results)} if results[1:] else told


def parsed(line: str) -> dict[str, Any] | None:
    """The result that a document prints first; None if the line is something else, or nothing that could be
    passed on (see slipway.foreign)."""
    try:
        value = foreign.read(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "ok" in value else None


def explained(failed: Sequence[Mapping[str, Any]], command: str, step: str, log_group: str) -> CommandFailed:
    """Which server, the first line of the error, where the whole log is."""
    first = failed[0]
    server, line, step = first["server"], _reason(first), first.get("step", step)
    command = first.get("command", command)
    return CommandFailed(
        f"{step} failed on {server}{_and_more(failed)}: {line}",
        f"step {step}, server {server}",
        f"the whole log: aws logs tail {log_group} --log-stream-name-prefix {command}/{server} --since 1d",
        server=server,
        servers=[failure["server"] for failure in failed[:MOST_TOLD]],
        step=step,
        line=line,
        log=log_link(log_group, command, server),
    )


def _and_more(failed: Sequence[Any]) -> str:
    return f", and on {len(failed) - 1} more" if len(failed) > 1 else ""


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
    """A step has succeeded if it said so: an exit code of 0 without a result is not enough, nor is a result
    that the release could not go by."""
    return result["status"] == "Success" and _well(result)


def _told(result: Mapping[str, Any], shortly: bool) -> dict[str, Any]:
    told = {key: result[key] for key in ("server", "status", "seconds", "result")}
    if shortly:
        told["result"] = {key: value for key, value in told["result"].items() if key in KEPT}
    return told


def _reason(failure: Mapping[str, Any]) -> str:
    told = failure.get("result") or {}
    reason = told.get("reason") if told.get("ok") is not True else None
    if reason:
        return foreign.passable(str(reason), MOST_SAID)
    if failure["status"] == "Success" and failure.get("wrong"):
        return f"the step's result cannot be used: {failure['wrong']}"
    if failure["status"] == "Success":
        return "the step ended without saying that it succeeded"
    return failure.get("line") or f"Run Command says {failure.get('detail') or failure['status']}"


def _first_error(lines: Sequence[str]) -> str:
    """The first line that looks like an error; else the first line."""
    marks = ("error", "fatal", "failed", "cannot", "denied", "not found", "aborted")
    named = [line for line in lines if any(mark in line.lower() for mark in marks)]
    return foreign.passable((named or list(lines) or [""])[0].strip(), MOST_SAID)


def _seconds(plugins: Sequence[Mapping[str, Any]]) -> float | None:
    """That the server was at it; None as long as that is not told of each step."""
    times = []
    for plugin in plugins:
        began, ended = plugin.get("ResponseStartDateTime"), plugin.get("ResponseFinishDateTime")
        if not began or not ended:
            return None
        times.append(float((ended - began).total_seconds()))
    return round(sum(times), 3) if times else None


def check_quiet(environment: str, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "quiet" | "running", "detail": which}: whether any step still runs in the environment."""
    found = linger(lambda: of_environment(environment, ssm.running()), lambda seen: not seen, patience)
    return {"status": "running" if found else "quiet", "detail": ", ".join(found)}


def of_environment(environment: str, listed: Sequence[Mapping[str, Any]]) -> list[str]:
    """`step (command)` of the commands that were started for the environment."""
    mark = f"{SENDER} {environment} "
    return [
        f"{command['Comment'].removeprefix(mark)} ({command['CommandId']})"
        for command in listed
        if command.get("Comment", "").startswith(mark)
    ]
