"""EventBridge and SNS."""

from __future__ import annotations

from slipway.aws import client


def put_event(source: str, kind: str, detail: str) -> None:
    """Puts an event on the default bus; raises RuntimeError with AWS's reason if the bus does not take it."""
    answer = client("events").put_events(Entries=[{"Source": source, "DetailType": kind, "Detail": detail}])
    if answer.get("FailedEntryCount"):
        entry = answer["Entries"][0]
        raise RuntimeError(
            f"EventBridge did not take the event: {entry.get('ErrorCode')} {entry.get('ErrorMessage')}"
        )


def publish(topic: str, subject: str, message: str) -> None:
    """`subject`: ≤ 100 ASCII characters."""
    client("sns").publish(TopicArn=topic, Subject=subject, Message=message)
