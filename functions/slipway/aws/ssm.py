"""Systems Manager: agents and Run Command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.aws import client


def agents(servers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What Systems Manager knows of each server's agent, by server; servers without one are absent."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(servers), 50):  # a filter takes up to 100 values, a page holds 50
        filters = [{"Key": "InstanceIds", "Values": list(servers[start : start + 50])}]
        pages = client("ssm").get_paginator("describe_instance_information").paginate(Filters=filters)
        found |= {agent["InstanceId"]: agent for page in pages for agent in page["InstanceInformationList"]}
    return found


def send(
    document: str,
    servers: Sequence[str],
    parameters: Mapping[str, str],
    seconds: int,
    log_group: str,
    comment: str,
) -> str:
    """Runs the document on the servers; the command's id."""
    answer = client("ssm").send_command(
        DocumentName=document,
        InstanceIds=list(servers),
        Parameters={key: [value] for key, value in parameters.items()},
        TimeoutSeconds=seconds,
        Comment=comment[:100],
        MaxErrors="100%",  # what one server says does not keep the others from running
        CloudWatchOutputConfig={"CloudWatchOutputEnabled": True, "CloudWatchLogGroupName": log_group},
    )
    return str(answer["Command"]["CommandId"])


def commands(document: str, mark: str) -> list[str]:
    """Ids of the commands with this document (of the last 30 days) whose comment ends with the mark."""
    filters = [{"key": "DocumentName", "value": document}]
    pages = client("ssm").get_paginator("list_commands").paginate(Filters=filters)
    listed = [command for page in pages for command in page["Commands"]]
    return [command["CommandId"] for command in listed if command.get("Comment", "").endswith(mark)]


def running() -> list[dict[str, Any]]:
    """The commands that have not ended on every server, with their comments."""
    stage = [{"key": "ExecutionStage", "value": "Executing"}]
    pages = client("ssm").get_paginator("list_commands").paginate(Filters=stage)
    return [command for page in pages for command in page["Commands"]]


def invocations(command: str) -> list[dict[str, Any]]:
    """How far the command is on each server, with the beginning of its output."""
    pages = client("ssm").get_paginator("list_command_invocations").paginate(CommandId=command, Details=True)
    return [invocation for page in pages for invocation in page["CommandInvocations"]]
