"""CloudWatch metrics of load balancers: what their HAProxys have really counted, minute by minute.

Which metrics there are, when they are reported and by which dimensions is AWS's ("CloudWatch metrics for your
Application Load Balancer", ELBv2 documentation), but for those by availability zone. A minute's value grows
while the minute lasts; AWS writes it a minute or two later, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.machines import Count, Counted

RELIES_ON = (
    ("services.cloudwatch", "_get_metric_data"),
    ("services.cloudwatch", "_get_metric_statistics"),
    ("services.cloudwatch", "_p"),
    ("services.cloudwatch", "_parse_ts"),
)

logger = logging.getLogger("region.balancer_metrics")

NAMESPACE = "AWS/ApplicationELB"
REQUESTS = "RequestCount"
TARGET_ERRORS = "HTTPCode_Target_5XX_Count"
OWN_ERRORS = "HTTPCode_ELB_5XX_Count"
HEALTHY, UNHEALTHY = "HealthyHostCount", "UnHealthyHostCount"

LOOK_SECONDS = 5.0
MINUTE = 60


@dataclass(frozen=True)
class Point:
    """A value of a metric in a minute (seconds since 1970); values of the same minute are added up by the
    statistic Sum. group: "" for the whole load balancer."""

    metric: str
    value: int
    balancer: str
    group: str
    minute: int

    @property
    def dimensions(self) -> dict[str, str]:
        """As AWS names them."""
        return {**({"TargetGroup": self.group} if self.group else {}), "LoadBalancer": self.balancer}


def points(arn: str, before: Counted, now: Counted, minute: int) -> Iterator[Point]:
    """What a load balancer has counted between two looks. 5xx are reported if there are any, hosts if any are
    registered."""
    balancer = arn.split(":loadbalancer/", 1)[-1]

    def counted(group: str, count: Count) -> Iterator[Point]:
        yield Point(REQUESTS, count.requests, balancer, group, minute)
        if count.errors:
            yield Point(TARGET_ERRORS, count.errors, balancer, group, minute)

    yield from counted("", now.all - before.all)
    if now.own > before.own:
        yield Point(OWN_ERRORS, now.own - before.own, balancer, "", minute)
    for group_arn, count in now.groups.items():
        group = group_arn.rsplit(":", 1)[-1]
        yield from counted(group, count - before.groups.get(group_arn, Count()))
        if states := now.states.get(group_arn):
            yield Point(HEALTHY, states.count("healthy"), balancer, group, minute)
            yield Point(UNHEALTHY, states.count("unhealthy"), balancer, group, minute)


def minute_of(moment: float) -> int:
    """The minute that the time before a look belongs to: looks are taken at every fifth second."""
    return int((moment - LOOK_SECONDS) // MINUTE * MINUTE)


def install(region: Region) -> None:
    """Count on a thread; CloudWatch takes it when it is asked next."""
    cloudwatch = ministack("services.cloudwatch")
    for question in ("_get_metric_data", "_get_metric_statistics"):
        replace(cloudwatch, question, _from_the_whole_minute)
    region.background(_watch, region, name="balancer-metrics")


def _watch(region: Region) -> None:
    seen: dict[str, Counted] = {}
    while not region.stopping.wait(LOOK_SECONDS - time.time() % LOOK_SECONDS):
        for arn, balancer in region.load_balancers().items():
            try:
                now = balancer.counted()
            except (OSError, ValueError):
                continue  # it starts, ends or reloads: the next look has it all
            except Exception:
                logger.exception("%s: its counters could not be read", arn)
                continue
            for point in points(arn, seen.get(arn, Counted()), now, minute_of(time.time())):
                where = (NAMESPACE, point.metric, point.dimensions)
                region.put_metric(*where, point.value, float(point.minute), "Count")
            seen[arn] = now


def _from_the_whole_minute(original: Any) -> Any:
    """CloudWatch rounds the start of what is asked for down to the minute (GetMetricData, "StartTime")."""

    def answer(params: Mapping[str, Any], data: Mapping[str, Any], *rest: Any) -> Any:
        return original(_rounded(params), _rounded(data), *rest)

    return answer


def _rounded(given: Mapping[str, Any]) -> dict[str, Any]:
    cloudwatch = ministack("services.cloudwatch")
    start = cloudwatch._parse_ts(cloudwatch._p(given, "StartTime", None))
    return {**given, **({} if start is None else {"StartTime": start // MINUTE * MINUTE})}
