"""The check for drift as it is shipped, under its own roles, in the region's control plane: it is started by
the schedule, by hand and by the end of a release."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from slipway import schema
from tests.contract.test_state_machines import input_schema
from tests.workflow.control_plane import ControlPlane, deployed
from tests.workflow.engine import ROOT

PARAMETERS = ('DriftSchedule="rate(1 minute)"',)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with deployed(tmp_path_factory.mktemp("control-plane"), *PARAMETERS) as control_plane:
        yield control_plane


def checks(region: ControlPlane) -> list[dict[str, Any]]:
    machine = region.outputs["CheckDriftStateMachineArn"]
    listed = region.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    return [dict(one) for one in listed]


def test_the_schedule_starts_it(region: ControlPlane) -> None:
    """Nothing has been released here, so there is nothing to check."""
    give_up = time.monotonic() + 240
    while not checks(region):
        assert time.monotonic() < give_up, "the schedule has started nothing"
        time.sleep(1)
    execution = region.ended(checks(region)[-1]["executionArn"])
    assert (execution["status"], json.loads(execution["input"])) == ("SUCCEEDED", {})
    assert json.loads(execution["output"]) == []


def test_an_environment_that_was_never_released_is_nothing_to_check(region: ControlPlane) -> None:
    arn = region.start({"environment": "nobody"}, "nobody", "CheckDrift")
    execution = region.ended(arn)
    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(execution["output"])["status"] == "nothing"


# --- an environment of which nothing is left but its record ---

OUTPUTS: dict[str, dict[str, str]] = {
    "network": {
        **dict.fromkeys(
            ("DatabaseSubnetIds", "FunctionSubnetIds", "WebSubnetIds", "PublicSubnetIds"), "subnet-1"
        ),
        **dict.fromkeys(("DatabaseSecurityGroupId", "FunctionSecurityGroupId", "WebSecurityGroupId"), "sg-1"),
        "LoadBalancerSecurityGroupId": "sg-1",
        "VpcId": "vpc-1",
        "WebPublicAddresses": "false",
    },
    "certificate": {
        "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/none",
        "HostedZoneId": "Z0",
    },
    "database": {"InstanceIdentifier": "slipway-lost-database"},
    "storage": {},
    "web": {"AutoScalingGroupName": "slipway-lost-web", "TargetGroupArn": "arn:aws:targets"},
    "load_balancer": {},
}


def released(region: ControlPlane, name: str) -> None:
    """The record of a release, as RecordRelease writes it."""
    given = json.loads((ROOT / "events" / "first-release.json").read_text())
    environment = schema.complete(input_schema(), given)["environment"] | {"name": name}
    document = {
        "environment": environment,
        "release": {"id": "r1", "artifact": "s3://x/releases/r1.tar.gz", "sha256": "0" * 64, "migrate": True},
        "outputs": OUTPUTS,
        "templates": "",
    }
    items = [
        {"pk": f"ENVIRONMENT#{name}", "sk": "CURRENT", "release": "r1", "document": json.dumps(document)},
        {"pk": "ENVIRONMENTS", "sk": name, "cidr": "10.20.0.0/16"},
    ]
    for item in items:
        encoded = {key: {"S": value} for key, value in item.items()} | {"fence": {"N": "0"}}
        region.client("dynamodb").put_item(TableName=region.outputs["TableName"], Item=encoded)


def latest(region: ControlPlane, name: str, kind: str = "json") -> bytes:
    place = {"Bucket": region.outputs["ArtifactBucket"], "Key": f"drift/{name}/latest.{kind}"}
    return bytes(region.client("s3").get_object(**place)["Body"].read())


def check(region: ControlPlane, name: str, execution: str) -> dict[str, Any]:
    ended = region.ended(region.start({"environment": name}, execution, "CheckDrift"))
    assert ended["status"] == "SUCCEEDED", ended
    output: dict[str, Any] = json.loads(ended["output"])
    return output


def test_every_function_of_a_check_does_its_work_under_its_own_role(region: ControlPlane) -> None:
    """All stacks are missing; that is told once. Then one of them is there, and what it has gone of."""
    released(region, "lost")
    first = check(region, "lost", "lost-1")
    assert (first["status"], first["counts"]["high"] >= 6) == ("drift", True)
    report = json.loads(latest(region, "lost"))
    missing = {one["tier"] for one in report["findings"] if one["kind"] == "stack_missing"}
    assert missing == set(OUTPUTS)
    assert b"slipway-lost-web" in latest(region, "lost", "html")
    told = region.item("lost", "DRIFT")
    assert json.loads(told["document"])["announcement"] is None
    second = region.ended(region.start({"environment": "lost"}, "lost-2", "CheckDrift"))
    assert second["status"] == "SUCCEEDED"
    assert "NotifyFound" not in region.path(second["executionArn"])
    metrics = region.client("cloudwatch").list_metrics(Namespace="slipway")["Metrics"]
    dimensions = [one["Dimensions"] for one in metrics if one["MetricName"] == "HighFindings"]
    assert [{"Name": "Environment", "Value": "lost"}] in dimensions


def test_the_schedule_checks_every_released_environment(region: ControlPlane) -> None:
    known = {one["executionArn"] for one in checks(region)}
    give_up = time.monotonic() + 240
    while True:
        children = [one for one in checks(region) if one["name"].endswith("-lost")]
        if [one for one in children if one["executionArn"] not in known]:
            break
        assert time.monotonic() < give_up, "the schedule has not come to the environment"
        time.sleep(1)
    execution = region.ended(children[0]["executionArn"])
    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(execution["output"])["status"] == "drift"


def test_the_end_of_a_release_starts_one_of_its_environment(region: ControlPlane) -> None:
    events = region.client("events")
    detail = json.dumps({"environment": "ended", "release": {"id": "r1"}})
    known = {one["executionArn"] for one in checks(region)}
    events.put_events(Entries=[{"Source": "slipway", "DetailType": "succeeded", "Detail": detail}])
    give_up = time.monotonic() + 60
    while True:
        new = [
            region.ended(one["executionArn"]) for one in checks(region) if one["executionArn"] not in known
        ]
        started = [one for one in new if "detail" in json.loads(one["input"])]
        if started:
            break
        assert time.monotonic() < give_up, "the rule has started nothing"
        time.sleep(0.5)
    assert json.loads(started[0]["output"])["environment"] == "ended"
