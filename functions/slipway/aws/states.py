"""Step Functions."""

from __future__ import annotations

from typing import Any

from slipway.aws import client

# 10 pages of 1,000 events: a release to 24 servers has some 1,500 (tests count them); more is cut off, and
# said so.
PAGES = 10


def status(execution: str) -> str | None:
    """The execution's status (RUNNING, SUCCEEDED, …); None once AWS has forgotten it (after 90 days)."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return str(client("stepfunctions").describe_execution(executionArn=execution)["status"])
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ExecutionDoesNotExist", "InvalidArn"):
            return None
        raise


def current_state(execution: str) -> str | None:
    """The state that the execution entered last; None if its latest 100 events do not tell."""
    answer = client("stepfunctions").get_execution_history(
        executionArn=execution, maxResults=100, reverseOrder=True, includeExecutionData=False
    )
    entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in answer["events"]]
    return next((str(name) for name in entered if name), None)


def described(execution: str) -> dict[str, Any]:
    """What the execution is: status, input (as text), startDate, and how it ended."""
    return dict(client("stepfunctions").describe_execution(executionArn=execution))


def history(execution: str) -> tuple[list[dict[str, Any]], bool]:
    """The execution's events, the oldest first, and whether that is all of them."""
    events: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    for _ in range(PAGES):
        page = client("stepfunctions").get_execution_history(
            executionArn=execution, maxResults=1000, includeExecutionData=True, **token
        )
        events += page["events"]
        if not page.get("nextToken"):
            return events, True
        token = {"nextToken": page["nextToken"]}
    return events, False
