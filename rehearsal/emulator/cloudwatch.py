"""CloudWatch as it matters to alarms: one writer at a time, alarms by dimensions, and what they do.

An alarm is looked at every few seconds and whenever a value is put. It goes by whole periods, those of a day
by the whole hour, as AWS does ("Evaluating an alarm", CloudWatch user guide), but for one case: a sum or a
maximum that is over its threshold can only grow until the period is over (a minimum that is under it only
fall), and rings at once, where AWS takes some minutes, or the hour.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("services.cloudwatch", "handle_request"),
    ("services.cloudwatch", "_alarms"),
    ("services.cloudwatch", "_calc_stats"),
    ("services.cloudwatch", "_dims_from_list"),
    ("services.cloudwatch", "_dims_key"),
    ("services.cloudwatch", "_dispatch_alarm_actions"),
    ("services.cloudwatch", "_evaluate_alarm"),
    ("services.cloudwatch", "_evaluate_parent_alarms"),
    ("services.cloudwatch", "_metrics"),
    ("services.cloudwatch", "_record_history"),
    ("services.cloudwatch", "_stat_value"),
    ("services.cloudwatch", "_store_datum"),
    ("services.kms", "_keys"),
    ("services.sns", "_topics"),
)

logger = logging.getLogger("region.cloudwatch")

LOOK_SECONDS = 2.0
GROWING = ("Sum", "Maximum", "SampleCount")
HOUR, DAY = 3600, 86400
COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
TO_USE_A_KEY = {"kms:Decrypt", "kms:GenerateDataKey"}

Json = Mapping[str, Any]
OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"


def install(region: Region) -> None:
    """Take values from everywhere in the region; watch the alarms on a thread."""
    cloudwatch = ministack("services.cloudwatch")
    values = _Values()
    region.put_metric = values.put
    replace(cloudwatch, "handle_request", values.one_at_a_time)
    replace(cloudwatch, "_evaluate_alarm", lambda _original: _evaluate)
    replace(cloudwatch, "_dispatch_alarm_actions", _those_that_reach)
    region.background(_watch, region, values, name="alarms")


class _Values:
    """The emulator's store has no lock: whoever measures waits in a queue, whoever answers has it alone."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._alone = threading.Lock()

    def put(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        moment: float,
        unit: str = "None",
    ) -> None:
        """`moment`: seconds since 1970."""
        self._waiting.append((namespace, name, dict(dimensions), moment, unit, value, None, None, None))

    def one_at_a_time(self, original: Any) -> Any:
        async def handle(*request: Any, **more: Any) -> Any:
            with self._alone:  # it answers without waiting for anything
                self._store()
                return await original(*request, **more)

        return handle

    def look(self) -> None:
        """At all alarms."""
        with self._alone:
            self._store()
            for alarm in list(ministack("services.cloudwatch")._alarms.values()):
                try:
                    _evaluate(alarm)
                except Exception:
                    logger.exception("%s could not be evaluated", alarm.get("AlarmName"))

    def _store(self) -> None:
        while self._waiting:
            ministack("services.cloudwatch")._store_datum(*self._waiting.popleft())


def _watch(region: Region, values: _Values) -> None:
    while not region.stopping.wait(LOOK_SECONDS):
        values.look()


def _evaluate(alarm: dict[str, Any]) -> None:
    cloudwatch = ministack("services.cloudwatch")
    if not alarm.get("MetricName"):
        return  # of metric math: never evaluated here
    dimensions = cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
    points = list(cloudwatch._metrics.get(key) or [])
    state, reason = judged(alarm, points, time.time(), _statistic(alarm))
    before = alarm["StateValue"]
    if state in (None, before):
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _statistic(alarm: Json) -> Callable[[Sequence[Json]], float]:
    cloudwatch = ministack("services.cloudwatch")
    name = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    return lambda points: float(cloudwatch._stat_value(cloudwatch._calc_stats(points), name, points))


def judged(
    alarm: Json, points: Sequence[Json], now: float, statistic: Callable[[Sequence[Json]], float]
) -> tuple[str | None, str]:
    """The state of an alarm, None if it stays as it is, and why. `points`: {"Timestamp", …} of its metric."""
    treat = alarm.get("TreatMissingData") or "missing"
    if not points and treat in ("missing", "ignore"):
        return None, ""
    wanted = int(alarm.get("EvaluationPeriods") or 1)
    enough = int(alarm.get("DatapointsToAlarm") or wanted)
    values = list(_last(alarm, points, now, statistic, wanted))
    known = [value for value in values if value is not None]
    breaching = [value for value in known if _breaches(alarm, value)]
    bad = len(breaching) + (wanted - len(known) if treat == "breaching" else 0)
    if not known and treat == "ignore":
        return None, ""
    if not known and treat == "missing":
        return INSUFFICIENT, f"no datapoint in {wanted} periods"
    told = ", ".join(map(str, breaching or known)) or "none"
    if bad >= enough:
        return ALARM, f"Threshold Crossed: {bad} of the last {wanted} datapoints [{told}] breach it"
    return OK, f"{bad} of the last {wanted} datapoints [{told}] breach the threshold, not {enough}"


def _last(
    alarm: Json,
    points: Sequence[Json],
    now: float,
    statistic: Callable[[Sequence[Json]], float],
    wanted: int,
) -> Iterator[float | None]:
    """The values of so many periods, the newest first; None for one without any."""
    period = int(alarm.get("Period") or 60)
    step = HOUR if period >= DAY else period
    begins = now // step * step
    held: dict[int, list[Json]] = {}
    for point in points:
        held.setdefault(math.ceil((begins - point["Timestamp"]) / period), []).append(point)
    running = [point for number, found in held.items() if number <= 0 for point in found]
    if running and _is_certain(alarm) and _breaches(alarm, value := statistic(running)):
        yield value
        wanted -= 1
    for number in range(1, wanted + 1):
        yield statistic(held[number]) if number in held else None


def _is_certain(alarm: Json) -> bool:
    """Whether what breaches the threshold before a period is over, does so whatever comes."""
    operator, statistic = str(alarm.get("ComparisonOperator")), alarm.get("Statistic")
    if operator.startswith("GreaterThan"):
        return statistic in GROWING
    return operator.startswith("LessThan") and statistic == "Minimum"


def _breaches(alarm: Json, value: float) -> bool:
    return COMPARED[alarm["ComparisonOperator"]](value, float(alarm.get("Threshold") or 0))


def _those_that_reach(original: Callable[..., None]) -> Callable[..., None]:
    """An alarm reaches an encrypted topic only if the key's policy lets CloudWatch use the key."""

    def dispatch(alarm: dict[str, Any], *change: Any) -> None:
        allowed = dict(alarm)
        for name in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            actions = alarm.get(name) or []
            allowed[name] = [action for action in actions if _reaches(action)]
            for lost in set(actions) - set(allowed[name]):
                logger.warning(
                    "%s: CloudWatch may not use the key of %s, nobody is told", alarm["AlarmName"], lost
                )
        original(allowed, *change)

    return dispatch


def _reaches(action: str) -> bool:
    topic = ministack("services.sns")._topics.get(action) or {}
    key = (topic.get("attributes") or {}).get("KmsMasterKeyId")
    if not key:
        return True
    found = ministack("services.kms")._keys.get(str(key).rpartition("/")[2] or key) or {}
    return key_allows(json.loads(found.get("Policy") or "{}"), "cloudwatch.amazonaws.com")


def key_allows(policy: Json, service: str) -> bool:
    """Whether a key's policy lets a service encrypt and decrypt with it. Conditions are taken as met."""
    granted: set[str] = set()
    for statement in policy.get("Statement", []):
        principal = statement.get("Principal")
        services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow" and service in services:
            granted |= {action.removesuffix("*") for action in _listed(statement.get("Action"))}
    return granted >= TO_USE_A_KEY or "kms:" in granted


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
