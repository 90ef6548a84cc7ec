"""Metric filters of CloudWatch Logs: what is written to a log is counted, as it is written.

A filter counts from its creation on. Its default value stands for events that came in and did not match
("defaultValue", PutMetricFilter); with dimensions there is none. A pattern that is not understood here is
refused when the filter is made, so that none counts nothing in silence.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rehearsal.emulator import filter_patterns
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("services.cloudwatch_logs", "_append_log_events"),
    ("services.cloudwatch_logs", "_put_metric_filter"),
    ("services.cloudwatch_logs", "_metric_filters"),
    ("services.cloudwatch_logs", "_log_groups"),
    ("core.responses", "error_response_json"),
)

logger = logging.getLogger("region.metric_filters")

Event = Mapping[str, Any]
Point = tuple[
    str, str, dict[str, str], float, float
]  # namespace, name, dimensions, value, seconds since 1970


def install(region: Region) -> None:
    """Refuse filters that could not be evaluated; evaluate the others whenever events are stored."""
    logs = ministack("services.cloudwatch_logs")
    replace(logs, "_put_metric_filter", _understood)

    def counting(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def append(stream: Mapping[str, Any], events: Sequence[Event]) -> None:
            original(stream, events)
            try:
                for point in _counted(stream, events):
                    region.put_metric(*point)
            except Exception:  # whoever writes a log is not disturbed
                logger.exception("log events could not be counted")

        return append

    replace(logs, "_append_log_events", counting)


def _understood(original: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    def put(data: Mapping[str, Any]) -> Any:
        try:
            filter_patterns.compiled(str(data.get("filterPattern", "")))
        except filter_patterns.Unsupported as error:
            refuse = ministack("core.responses").error_response_json
            return refuse("InvalidParameterException", f"Invalid metric filter pattern: {error}", 400)
        return original(data)

    return put


def _counted(stream: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Point]:
    logs = ministack("services.cloudwatch_logs")
    for (group, _), found in list(logs._metric_filters.items()):
        streams = (logs._log_groups.get(group) or {}).get("streams") or {}
        if any(one is stream for one in list(streams.values())):
            yield from points(found, events)


def points(metric_filter: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Point]:
    """What a filter counts in these events ({"timestamp" in ms, "message"})."""
    matches = filter_patterns.compiled(metric_filter["filterPattern"])
    for event in events:
        found = matches(event["message"])
        for made in metric_filter["metricTransformations"]:
            where, when = (made["metricNamespace"], made["metricName"]), event["timestamp"] / 1000
            dimensions = _dimensions(made, event) if found else {}
            value = _value(made, event) if found else _default(made)
            if value is not None and dimensions is not None:
                yield (*where, dimensions, value, when)


def _value(made: Mapping[str, Any], event: Event) -> float | None:
    given = str(made["metricValue"])
    if not given.startswith("$"):
        return float(given)
    found = filter_patterns.selected(_parsed(event), given)
    try:
        return float(found)
    except (TypeError, ValueError):
        return None


def _default(made: Mapping[str, Any]) -> float | None:
    value = made.get("defaultValue")
    return None if value is None or made.get("dimensions") else float(value)


def _dimensions(made: Mapping[str, Any], event: Event) -> dict[str, str] | None:
    """None if one of them is not in the event: it is not counted then."""
    given = made.get("dimensions") or {}
    found = {name: filter_patterns.selected(_parsed(event), field) for name, field in given.items()}
    return None if None in found.values() else {name: str(value) for name, value in found.items()}


def _parsed(event: Event) -> Any:
    try:
        return json.loads(event["message"])
    except ValueError:
        return None
