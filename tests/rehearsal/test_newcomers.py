"""Servers that Auto Scaling adds: each comes into service with the release that serves, without anybody's
help, or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.rehearsal.faults import (
    PATIENCE,
    all_healthy,
    await_roll_out,
    entered,
    hold,
    kill,
    let_go,
    mend,
    not_hurt,
    order,
    put_right,
    runs,
    served,
    spoil,
    suspended,
    visitors,
)
from tests.rehearsal.rehearsed import Ended, Rehearsed, as_object, eventually

NEWCOMERS = 1200.0
"""Seconds in which servers boot and join on a slow machine."""


def group(region: Rehearsed) -> str:
    return region.tier("web")["AutoScalingGroupName"]


def resize(region: Rehearsed, number: int) -> None:
    """A person asks for so many servers."""
    region.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=group(region), DesiredCapacity=number
    )


def joins(region: Rehearsed) -> dict[str, str]:
    """The executions that see to new servers: ARN → status, the newest first."""
    machine = region.outputs["ReleaseStateMachineArn"].replace("slipway-release", "slipway-join-host")
    listed = region.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    newest = sorted(listed, key=lambda one: one["startDate"], reverse=True)
    return {str(one["executionArn"]): str(one["status"]) for one in newest}


@contextmanager
def newcomers(region: Rehearsed) -> Iterator[dict[str, dict[str, Any]]]:
    """The executions that were started within this block, as Step Functions describes them at its end."""
    before, found = joins(region), dict[str, dict[str, Any]]()
    yield found
    for arn in joins(region).keys() - before.keys():
        found[arn] = region.client("stepfunctions").describe_execution(executionArn=arn)


def waiting(region: Rehearsed) -> int:
    """How many new servers wait for a release to be over."""
    running = [arn for arn, status in joins(region).items() if status == "RUNNING"]
    return sum("WaitForRelease" in entered(region, arn) for arn in running)


def all_serve(region: Rehearsed, number: int, release: str) -> None:
    """So many servers are in service, and each has this release."""
    eventually(lambda: len(region.servers()) == number, NEWCOMERS, f"{number} servers are in service")
    all_healthy(region)
    assert {runs(region, server) for server in region.servers()} == {release}
    assert served(region) == {release}


def follows(region: Rehearsed, wanted: dict[str, int]) -> None:
    """The group has exactly these policies, that of the requests for its own load balancer."""
    found = region.client("autoscaling").describe_policies(AutoScalingGroupName=group(region))
    targets = {}
    for policy in found["ScalingPolicies"]:
        assert policy["PolicyType"] == "TargetTrackingScaling"
        tracked = policy["TargetTrackingConfiguration"]
        metric = tracked["PredefinedMetricSpecification"]
        targets[metric["PredefinedMetricType"]] = (tracked["TargetValue"], metric.get("ResourceLabel"))
    balancer = region.tier("load_balancer")["LoadBalancerArn"].partition(":loadbalancer/")[2]
    label = f"{balancer}/{region.tier('web')['TargetGroupArn'].rpartition(':')[2]}"
    assert targets == {
        "ASGAverageCPUUtilization": (wanted["cpuPercent"], None),
        "ALBRequestCountPerTarget": (wanted["requestsPerTarget"], label),
    }


def test_a_server_that_is_killed_has_a_successor_that_serves(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    lost, kept = region.servers()
    with newcomers(region) as seen:
        kill(region, lost)
        killed = time.monotonic()
        eventually(lambda: lost not in region.servers(), PATIENCE, f"{lost} is missed")
        all_serve(region, 2, serving)
        replaced = time.monotonic() - killed
    [joined] = seen.values()
    [newcomer] = set(region.servers()) - {kept}
    assert json.loads(joined["input"])["detail"]["EC2InstanceId"] == newcomer
    assert joined["status"] == "SUCCEEDED"
    instances = region.client("ec2").describe_instances(InstanceIds=[newcomer])
    launched = instances["Reservations"][0]["Instances"][0]["LaunchTime"]
    took = (joined["stopDate"] - launched).total_seconds()
    joining = (joined["stopDate"] - joined["startDate"]).total_seconds()
    print(
        f"killed → the successor serves: {replaced:.1f} s; "
        f"its launch → in service: {took:.1f} s, of which it joined for {joining:.1f} s"
    )


def test_a_server_that_comes_while_a_release_fails_has_the_former_release(
    region: Rehearsed, first: Ended
) -> None:
    [serving] = served(region)
    given = region.given("held")
    given["rollout"] |= {"strategy": "drain"}

    def come_and_spoil(execution: str) -> None:
        await_roll_out(region, execution, "DrainServers")
        one, other = order(region, execution)
        await_start(one)
        spoil(region, other)
        resize(region, 3)
        eventually(lambda: waiting(region) == 1, NEWCOMERS, "the new server waits for the outcome")
        let_go(region, other)
        let_go(region, one)

    with hold(region) as await_start, visitors(region) as seen, newcomers(region) as joined:
        ended = region.fail(given, come_and_spoil)
        assert ended.error == "FailedClean"
        all_serve(region, 3, serving)
    not_hurt(region, seen, {serving, given["release"]["id"]})
    put_right(region, ended)
    mend(region)
    assert [one["status"] for one in joined.values()] == ["SUCCEEDED"]


def test_a_fleet_that_grows_to_six_during_a_release_ends_on_that(region: Rehearsed, first: Ended) -> None:
    """The number that a person asked for outlasts changes of the group that do not name another one."""
    [serving] = served(region)
    resize(region, 3)
    all_serve(region, 3, serving)
    followed = {"cpuPercent": 60, "requestsPerTarget": 1200}
    larger = region.succeed(region.given("second", max=6, scaling=followed))
    serving = larger.given["release"]["id"]
    all_serve(region, 3, serving)
    follows(region, followed)
    given = region.given("held", max=6)
    given["rollout"] |= {"strategy": "side_by_side"}
    new = given["release"]["id"]

    def grow(execution: str) -> None:
        await_roll_out(region, execution, "Activate")
        await_start(order(region, execution)[0])
        resize(region, 6)
        eventually(lambda: waiting(region) == 3, NEWCOMERS, "the new servers wait for the outcome")
        for server in region.servers():
            let_go(region, server)

    with hold(region) as await_start, visitors(region) as seen, newcomers(region) as joined:
        ended = region.release(given, grow)
        assert ended.status == "SUCCEEDED", f"{ended.error}: {ended.explanation}"
        assert len(ended.receipt["servers"]) == 3
        all_serve(region, 6, new)
    not_hurt(region, seen, {serving, new})
    assert [one["status"] for one in joined.values()] == ["SUCCEEDED"] * 3
    assert suspended(region) == set()
    policies = region.client("autoscaling").describe_policies(AutoScalingGroupName=group(region))
    assert policies["ScalingPolicies"] == [], "that release does not follow anything any more"
    resize(region, 2)
    eventually(lambda: len(region.servers()) == 2, NEWCOMERS, "two servers are left")
    all_healthy(region)


def test_a_server_that_cannot_join_is_abandoned_and_told_of(region: Rehearsed, first: Ended) -> None:
    """Its release has gone from the bucket. The third one is the last; a release lets launching go on."""
    [serving] = served(region)
    bucket, key = region.outputs["ArtifactBucket"], f"releases/arable/{serving}.tar.gz"
    marker = region.client("s3").delete_object(Bucket=bucket, Key=key)["VersionId"]
    with newcomers(region) as tried:
        resize(region, 3)
        eventually(lambda: "Launch" in suspended(region), NEWCOMERS, "no further server is launched")
        eventually(lambda: "RUNNING" not in joins(region).values(), PATIENCE, "all of them have ended")
    assert [one["status"] for one in tried.values()] == ["FAILED"] * 3
    for arn, one in tried.items():
        told = as_object(one["cause"])
        assert one["error"] == "CommandFailed"
        assert f"could not take release {serving}" in told["what"]
        assert f"{key} could not be fetched" in told["what"]
        assert told["server"] not in region.servers()
        assert entered(region, arn)[-2:] == ["NotifyAbandoned", "Abandoned"]
    assert [as_object(one["cause"])["launching"] for one in tried.values()].count("stopped") == 1
    assert served(region) == {serving}
    all_healthy(region)

    region.client("s3").delete_object(Bucket=bucket, Key=key, VersionId=marker)
    again = region.succeed({"environment": "arable", "release": {"id": serving}})
    assert again.receipt["ending"] == "Succeeded"
    assert suspended(region) == set()
    all_serve(region, 3, serving)
    resize(region, 2)
    eventually(lambda: len(region.servers()) == 2, NEWCOMERS, "two servers are left")
    all_healthy(region)
