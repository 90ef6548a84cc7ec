"""Does a wave serve well? Watched for a while before the next one begins: alarms, targets, errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway import servers as fleet
from slipway import targets
from slipway.aws import cloudwatch, elb
from slipway.errors import VerificationFailed
from slipway.patience import DEFAULT, Patience, linger

NAMESPACE = "AWS/ApplicationELB"
REQUESTS = "RequestCount"
ERRORS = ("HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count")
# Every application answers 5xx now and then: fewer than so many say nothing, nor does a share of the requests
# below this, nor one that is not more than twice as large as in the quarter of an hour before the wave.
FEWEST_ERRORS = 5
USUAL_SHARE = 0.01
USUAL_FACTOR = 2.0
BEFORE = timedelta(minutes=15)


@dataclass(frozen=True)
class Traffic:
    """What a load balancer counted in some time."""

    requests: float
    errors: float

    @property
    def share(self) -> float:
        return self.errors / max(self.requests, self.errors, 1.0)


def check(
    group: str,
    servers: Sequence[str],
    alarms: Sequence[str],
    since: int,
    seconds: int,
    patience: Patience = DEFAULT,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """{"status": "baking" | "baked"}; raises VerificationFailed.

    `since`: when the wave was healthy, in milliseconds since 1970; it is baked `seconds` later. The load
    balancer's numbers reach CloudWatch a minute or two late.
    """

    def look() -> bool:
        over = now() * 1000 >= since + 1000 * seconds
        trouble = _alarm(alarms) or _target(group, servers) or _errors(group, since, now())
        if trouble:
            raise VerificationFailed(
                f"after this wave {trouble}",
                f"servers {', '.join(servers[:20])}",
                "see the logs of these servers",
                servers=list(servers[:20]),
            )
        return over

    return {"status": "baked" if linger(look, bool, patience) else "baking"}


def _alarm(names: Sequence[str]) -> str:
    if not names:
        return ""
    found = cloudwatch.alarms(names)
    missing = [name for name in names if name not in found]
    if missing:
        return f"the alarm {missing[0]} does not exist, so that nobody watches"
    ringing = [alarm for alarm in found.values() if alarm["StateValue"] == "ALARM"]
    return (
        f"the alarm {ringing[0]['AlarmName']} rings: {ringing[0].get('StateReason', '')}" if ringing else ""
    )


def _target(group: str, servers: Sequence[str]) -> str:
    ill = [
        target
        for target in targets.states(elb.health(group))
        if target["server"] in servers and target["state"] in ("unhealthy", "unavailable")
    ]
    gone = fleet.gone([target["server"] for target in ill])
    left = [target for target in ill if target["server"] not in gone]
    return f"{left[0]['server']} is {left[0]['state']} ({left[0]['reason']})" if left else ""


def _errors(group: str, since: int, now: float) -> str:
    arn = elb.balancer(group)
    if arn is None:
        return ""
    # CloudWatch counts by whole minutes, and would give the one in which the wave became healthy to both
    # sides: errors that began with the wave would count as usual.
    began = datetime.fromtimestamp(since // 60_000 * 60, UTC)
    after = _traffic(arn, began, datetime.fromtimestamp(now, UTC))
    if after.errors < FEWEST_ERRORS:
        return ""
    return judged(after, _traffic(arn, began - BEFORE, began))


def judged(after: Traffic, before: Traffic) -> str:
    """What is wrong with the traffic after the wave; nothing if it is as good as usual."""
    if after.errors < FEWEST_ERRORS or after.share <= max(USUAL_SHARE, USUAL_FACTOR * before.share):
        return ""
    return (
        f"{after.errors:.0f} of {after.requests:.0f} requests were answered with 5xx "
        f"({after.share:.1%}; {before.share:.1%} before)"
    )


def _traffic(balancer: str, since: datetime, until: datetime) -> Traffic:
    dimension = {"LoadBalancer": balancer.split(":loadbalancer/", 1)[-1]}
    counted: Mapping[str, float] = cloudwatch.sums(NAMESPACE, [REQUESTS, *ERRORS], dimension, since, until)
    return Traffic(counted[REQUESTS], sum(counted[name] for name in ERRORS))
