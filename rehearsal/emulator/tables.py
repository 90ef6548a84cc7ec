"""DynamoDB tables of stacks let their items expire as the template says.

MiniStack removes expired items itself, looking once a minute, as soon as a table has been told its attribute;
from a template it is not told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack

RELIES_ON = (
    ("services.cloudformation.provisioners", "_RESOURCE_HANDLERS"),
    ("services.dynamodb", "_update_ttl"),
    ("services.dynamodb", "_ttl_reaper"),
)

Created = tuple[str, dict[str, Any]]


def install(region: Region) -> None:
    """Wrap the making and the changing of tables."""
    handlers = ministack("services.cloudformation.provisioners")._RESOURCE_HANDLERS
    table = dict(handlers["AWS::DynamoDB::Table"])
    handlers["AWS::DynamoDB::Table"] = {
        **table,
        **{step: expiring(table[step]) for step in ("create", "update") if table.get(step)},
    }


def expiring(provision: Callable[..., Created]) -> Callable[..., Created]:
    """The same, and the table's items expire as its properties say. Of an update's two, the
    last properties are the wanted ones."""

    def provisioned(*given: Any) -> Created:
        made = provision(*given)
        properties = next(value for value in reversed(given) if isinstance(value, dict))
        wanted = properties.get("TimeToLiveSpecification")
        if wanted:
            enabled = str(wanted.get("Enabled")).lower() == "true"
            specification = {"AttributeName": wanted["AttributeName"], "Enabled": enabled}
            ministack("services.dynamodb")._update_ttl(
                {"TableName": made[0], "TimeToLiveSpecification": specification}
            )
        return made

    return provisioned
