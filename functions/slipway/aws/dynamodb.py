"""DynamoDB: items of one table, as plain dictionaries of str and int.

A document is stored as a text of JSON, so that it comes back as it went in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from slipway.aws import client

Item = dict[str, Any]


def get(pk: str, sk: str) -> Item | None:
    """The item as it is after all writes that have ended."""
    answer = client("dynamodb").get_item(
        TableName=_table(), Key=_encoded({"pk": pk, "sk": sk}), ConsistentRead=True
    )
    return _decoded(answer["Item"]) if answer.get("Item") else None


def query(pk: str) -> list[Item]:
    """All items under a partition key."""
    pages = (
        client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=_table(),
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=_encoded({":pk": pk}),
            ConsistentRead=True,
        )
    )
    return [_decoded(item) for page in pages for item in page["Items"]]


def last(pk: str, beginning: str, most: int) -> list[Item]:
    """The last items under a partition key whose sort keys begin so, at most so many (fewer if they have
    more than 1 MB, DynamoDB's page), in the order of their sort keys."""
    answer = client("dynamodb").query(
        TableName=_table(),
        KeyConditionExpression="pk = :pk AND begins_with(sk, :beginning)",
        ExpressionAttributeValues=_encoded({":pk": pk, ":beginning": beginning}),
        ConsistentRead=True,
        ScanIndexForward=False,
        Limit=most,
    )
    return [_decoded(item) for item in reversed(answer["Items"])]


def put(
    item: Mapping[str, Any], condition: str | None = None, values: Mapping[str, Any] | None = None
) -> bool:
    """Writes the item, if the condition holds for the one that is there. Whether it did."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    extra: dict[str, Any] = {}
    if condition is not None:
        extra["ConditionExpression"] = condition
    if values:
        extra["ExpressionAttributeValues"] = _encoded(values)
    try:
        client("dynamodb").put_item(TableName=_table(), Item=_encoded(item), **extra)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


def delete(pk: str, sk: str) -> None:
    """Removes the item; if there is none, that is fine."""
    client("dynamodb").delete_item(TableName=_table(), Key=_encoded({"pk": pk, "sk": sk}))


def _table() -> str:
    return os.environ["TABLE_NAME"]


def _encoded(item: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {key: {"N": str(value)} if isinstance(value, int) else {"S": value} for key, value in item.items()}


def _decoded(item: Mapping[str, Mapping[str, str]]) -> Item:
    return {key: int(value["N"]) if "N" in value else value["S"] for key, value in item.items()}
