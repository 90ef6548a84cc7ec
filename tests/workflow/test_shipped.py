"""The shipped machines and functions under their own roles, as far as that goes without servers."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.workflow.control_plane import ControlPlane, deployed
from tests.workflow.engine import ROOT


def application() -> bytes:
    """The smallest archive that is one of a Rails application."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in ("Gemfile", "Gemfile.lock", "config.ru"):
            tar.addfile(tarfile.TarInfo(name))
    return content.getvalue()


ARTIFACT = application()
REFUSED = ["ValidateInput", "ExplainFailure", "Begun?", "Clean?", "FailedClean"]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with deployed(tmp_path_factory.mktemp("control-plane")) as control_plane:
        control_plane.client("s3").put_object(
            Bucket=control_plane.outputs["ArtifactBucket"], Key="releases/r1.tar.gz", Body=ARTIFACT
        )
        expired = {"pk": {"S": "ENVIRONMENT#none"}, "sk": {"S": "COMMAND#old"}, "expires": {"N": "1"}}
        control_plane.client("dynamodb").put_item(TableName=control_plane.outputs["TableName"], Item=expired)
        yield control_plane


def wanted(
    region: ControlPlane, environment: str, cidr: str = "10.20.0.0/16", **release: Any
) -> dict[str, Any]:
    """The first release that we show, for an environment of that name."""
    given: dict[str, Any] = json.loads((ROOT / "events" / "first-release.json").read_text())
    given["environment"] |= {"name": environment, "network": {"cidr": cidr, "natGateways": "none"}}
    given["environment"]["web"] |= {"operatingSystem": "debian-12", "ruby": "3.1"}
    given["release"] |= {
        "artifact": f"s3://{region.outputs['ArtifactBucket']}/releases/r1.tar.gz",
        "sha256": hashlib.sha256(ARTIFACT).hexdigest(),
        **release,
    }
    return given


def explained(execution: dict[str, Any]) -> dict[str, Any]:
    cause: dict[str, Any] = json.loads(execution["cause"])
    return cause


def test_an_input_that_is_none_is_refused_with_every_problem(region: ControlPlane) -> None:
    arn = region.start({"environment": {"name": "X"}, "relaese": {}}, "none")
    execution = region.ended(arn)

    assert (execution["status"], execution["error"]) == ("FAILED", "FailedClean")
    assert region.path(arn) == REFUSED
    assert explained(execution)["error"] == "InvalidInput"
    paths = {problem["path"] for problem in explained(execution)["details"]["problems"]}
    assert {"release", "relaese", "environment.name", "environment.web"} <= paths


@pytest.mark.parametrize(
    ("name", "change", "path"),
    [
        ("missing", {"artifact": "s3://{bucket}/releases/none.tar.gz"}, "release.artifact"),
        ("changed", {"sha256": "0" * 64}, "release.sha256"),
    ],
)
def test_an_artifact_that_is_not_the_one_is_refused(
    region: ControlPlane, name: str, change: dict[str, str], path: str
) -> None:
    filled = {key: value.format(bucket=region.outputs["ArtifactBucket"]) for key, value in change.items()}
    execution = region.ended(region.start(wanted(region, "refused", **filled), f"artifact-{name}"))

    assert explained(execution)["error"] == "InvalidInput"
    assert [problem["path"] for problem in explained(execution)["details"]["problems"]] == [path]
    assert region.item("refused", "LOCK") == {}


def test_an_environment_that_nobody_knows_is_refused(region: ControlPlane) -> None:
    given = {**wanted(region, "unknown"), "environment": "unknown"}
    execution = region.ended(region.start(given, "unknown"))

    assert explained(execution)["error"] == "InvalidInput"
    assert explained(execution)["details"]["problems"][0]["path"] == "environment"


def test_a_tier_that_fails_is_explained_recorded_and_gone_on_from(region: ControlPlane) -> None:
    """There are no servers here, so the group of the tier web never has them."""
    first = region.start(wanted(region, "empty"), "empty-1")
    execution = region.ended(first)

    assert execution["error"] == "FailedClean", execution
    explanation = explained(execution)
    assert (explanation["error"], explanation["phase"]) == ("TierFailed", "foundations")
    assert "slipway-empty-web" in explanation["where"]
    assert "Group" in explanation["what"]
    assert region.path(first)[-7:] == [
        *(
            "Begun?",
            "ResumeAfterFailure",
            "RecordFailure",
            "FreeLock",
            "NotifyFailure",
            "Clean?",
            "FailedClean",
        ),
    ]
    assert region.receipt("empty", "empty-1")["ending"] == "FailedClean"
    assert "holder" not in region.item("empty", "LOCK")
    assert region.item("empty", "CURRENT") == {}
    [network] = region.client("cloudformation").describe_stacks(StackName="slipway-empty-network")["Stacks"]
    assert network["StackStatus"] == "CREATE_COMPLETE"
    assert network["EnableTerminationProtection"]
    assert {tag["Key"]: tag["Value"] for tag in network["Tags"]}["slipway:environment"] == "empty"

    second = region.start(wanted(region, "empty"), "empty-2")
    assert explained(region.ended(second))["error"] == "TierFailed"
    walked = region.path(second)
    assert {"CompareTiers", "NetworkStands?", "DeployWeb"} <= set(walked)
    assert "DeployNetwork" not in walked


def planned(region: ControlPlane, environment: str, name: str) -> dict[str, Any]:
    """The answer of a plan; the table's items of the environment are as they were."""
    before = [region.item(environment, kind) for kind in ("LOCK", "CURRENT")]
    arn = region.start({**wanted(region, environment), "plan": True}, name)
    execution = region.ended(arn)
    assert execution["status"] == "SUCCEEDED", execution
    assert not {"AcquireLock", "NotifyStarted", "DeployNetwork"} & set(region.path(arn))
    assert [region.item(environment, kind) for kind in ("LOCK", "CURRENT")] == before
    answer: dict[str, Any] = json.loads(execution["output"])
    return answer


def test_a_plan_tells_what_is_there_and_what_is_not(region: ControlPlane) -> None:
    """Of the environment above, whose servers never came; CloudFormation may still be at its other tiers."""
    cloudformation = region.client("cloudformation")
    answer = planned(region, "empty", "empty-plan")
    rows = {row["tier"]: row for row in answer["tiers"]}
    assert rows["network"]["status"] == "unchanged"
    assert rows["web"]["status"] in ("changed", "busy")
    assert (rows["load_balancer"]["status"], rows["load_balancer"]["basis"]) == ("new", "template")
    assert "network        unchanged" in answer["text"]
    stacks = {stack["StackName"]: stack for stack in cloudformation.describe_stacks()["Stacks"]}
    assert "slipway-empty-load-balancer" not in stacks
    for row in answer["tiers"]:
        if row["stack"] in stacks:
            names = cloudformation.list_change_sets(StackName=row["stack"])["Summaries"]
            assert not [one for one in names if one["ChangeSetName"].startswith("slipway-plan-")], row


def test_one_release_at_a_time(region: ControlPlane) -> None:
    holder = region.start(wanted(region, "busy", "10.30.0.0/16"), "busy-1")
    region.reaches(holder, "DeployNetwork")

    refused = region.start(wanted(region, "busy", "10.30.0.0/16"), "busy-2")
    explanation = explained(region.ended(refused))
    assert explanation["error"] == "EnvironmentLocked"
    assert explanation["details"]["holder"] == holder
    assert explanation["details"]["since"] in explanation["what"]
    assert explanation["details"]["state"] in region.path(holder)
    assert region.path(refused)[-4:] == ["ExplainFailure", "Begun?", "Clean?", "FailedClean"]
    assert region.item("busy", "LOCK")["holder"] == holder


def test_a_release_that_is_stopped_is_cleaned_up_after(region: ControlPlane) -> None:
    """The one that the test before has left running; the event of its end starts the clean-up by itself."""
    holder = region.item("busy", "LOCK")["holder"]
    fence = int(region.item("busy", "LOCK")["fence"])
    region.client("stepfunctions").stop_execution(executionArn=holder, cause="enough")
    [clean_up] = region.clean_ups(1, of=holder)
    assert region.ended(clean_up)["status"] == "SUCCEEDED"
    # The clean-up of the release that was refused may have come later than this end: then it does the work.
    lock = region.freed("busy")
    assert int(lock["fence"]) == fence + 1
    receipt = region.receipt("busy", "busy-1")
    assert (receipt["ending"], receipt["failure"]["error"]) == ("FailedClean", "States.Aborted")
    assert "was stopped" in receipt["failure"]["what"]
    assert "enough" in receipt["failure"]["what"]
    assert receipt["execution"] == holder

    heir = region.start(wanted(region, "busy", "10.30.0.0/16"), "busy-3")
    region.reaches(heir, "CompareTiers")
    assert int(region.item("busy", "LOCK")["fence"]) == fence + 2
    region.ended(heir)
    [nothing] = region.clean_ups(1, of=heir)
    assert region.ended(nothing)["status"] == "SUCCEEDED"
    assert region.path(nothing) == ["TakeOver", "TakenOver?", "NothingToDo"]
    assert region.receipt("busy", "busy-3")["failure"]["error"] != "States.Aborted"


def test_a_dead_holder_that_nobody_cleaned_up_after_is_cleaned_up_after_by_the_next_release(
    region: ControlPlane,
) -> None:
    rule = next(
        rule["Name"]
        for rule in region.client("events").list_rules()["Rules"]
        if "CleanUpStateMachineReleaseEnded" in rule["Name"]
    )
    region.client("events").disable_rule(Name=rule)
    try:
        holder = region.start(wanted(region, "lost", "10.40.0.0/16"), "lost-1")
        region.reaches(holder, "DeployNetwork")
        region.client("stepfunctions").stop_execution(executionArn=holder)
        heir = region.start(wanted(region, "lost", "10.40.0.0/16"), "lost-2")
        region.reaches(heir, "CompareTiers")
        assert region.path(heir)[:6] == [
            *("ValidateInput", "PlanWanted?", "AcquireLock", "CleanUp", "AcquireFreedLock", "NotifyStarted"),
        ]
        lock = region.item("lost", "LOCK")
        # It may have ended in the meantime, and freed the lock.
        assert (lock.get("holder", heir), int(lock["fence"])) == (heir, 3)
        assert region.receipt("lost", "lost-1")["ending"] == "FailedClean"
        region.ended(heir)
    finally:
        region.client("events").enable_rule(Name=rule)


def test_a_release_that_runs_into_its_time_out_is_cleaned_up_after(region: ControlPlane) -> None:
    """With a network tier that never ends, and little time; more of it where the machine did not come so
    far."""
    seconds = 15
    while True:
        with waiting_for_the_network(region, seconds):
            given = wanted(region, f"late-{seconds}", f"10.{100 + seconds // 15}.0.0/16")
            arn = region.start(given, f"late-{seconds}")
            assert region.ended(arn, within=10 * seconds + 60)["status"] == "TIMED_OUT"
        if "DeployNetwork" in region.path(arn) or seconds > 300:
            break
        seconds *= 2

    [clean_up] = region.clean_ups(1, of=arn)
    assert region.ended(clean_up)["status"] == "SUCCEEDED"
    assert region.path(clean_up)[-1] == "CleanedUp"
    assert "holder" not in region.item(f"late-{seconds}", "LOCK")
    receipt = region.receipt(f"late-{seconds}", f"late-{seconds}")
    assert (receipt["ending"], receipt["failure"]["error"]) == ("FailedClean", "States.Timeout")
    assert receipt["failure"]["what"] == "the execution ran into its time-out at DeployNetwork"
    assert receipt["execution"] == arn


@contextmanager
def waiting_for_the_network(region: ControlPlane, seconds: int) -> Iterator[None]:
    """The release's machine with so short a time-out, and a wait in place of its first tier."""
    stepfunctions, machine = region.client("stepfunctions"), region.outputs["ReleaseStateMachineArn"]
    shipped = stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
    changed = json.loads(shipped) | {"TimeoutSeconds": seconds}
    following = changed["States"]["DeployNetwork"]["Next"]
    changed["States"]["DeployNetwork"] = {"Type": "Wait", "Seconds": 86400, "Next": following}
    stepfunctions.update_state_machine(stateMachineArn=machine, definition=json.dumps(changed))
    try:
        yield
    finally:
        stepfunctions.update_state_machine(stateMachineArn=machine, definition=shipped)


def test_a_release_that_needs_a_person_rings_the_alarm_and_no_other_does(region: ControlPlane) -> None:
    """By the machine's log, the filter on it, the metric, the alarm and the topic, to who is subscribed to
    it. No release before this one, nor any clean-up, needed a person."""
    with messages(region) as heard:
        clean = region.start({}, "clean")
        assert region.ended(clean)["error"] == "FailedClean"
        [line] = logged(region, clean, "ExecutionFailed")
        assert line["details"]["error"] == "FailedClean"
        counted(region, since=int(line["event_timestamp"]) / 1000)
        assert alarms(region) == []

        with not_to_be_explained(region):
            dirty = region.start({}, "dirty")
            assert region.ended(dirty)["error"] == "FailedDirty"
        [line] = logged(region, dirty, "ExecutionFailed")
        assert line.keys() >= {"id", "type", "details", "previous_event_id", "event_timestamp"}
        assert (line["execution_arn"], line["details"]["error"]) == (dirty, "FailedDirty")
        [told] = heard(180)

    assert (told["AlarmName"], told["NewStateValue"]) == ("slipway-failed-dirty", "ALARM")
    assert told["Trigger"]["MetricName"] == "FailedDirty"
    assert alarms(region) == ["ALARM"]


@contextmanager
def messages(region: ControlPlane) -> Iterator[Callable[[float], list[dict[str, Any]]]]:
    """Waits for what the topic tells somebody who has subscribed to it."""
    sqs, sns = region.client("sqs"), region.client("sns")
    queue = sqs.create_queue(QueueName="a-person")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    subscribed = sns.subscribe(TopicArn=region.outputs["TopicArn"], Protocol="sqs", Endpoint=arn)

    def heard(within: float) -> list[dict[str, Any]]:
        give_up = time.monotonic() + within
        while time.monotonic() < give_up:
            found = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])
            if found:
                return [json.loads(json.loads(message["Body"])["Message"]) for message in found]
        raise TimeoutError("nobody was told")

    try:
        yield heard
    finally:
        sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=queue)


def logged(region: ControlPlane, execution: str, kind: str) -> list[dict[str, Any]]:
    """The events of that type in the log that Step Functions writes of an execution."""
    found = region.client("logs").filter_log_events(
        logGroupName="/aws/vendedlogs/states/slipway", limit=10_000
    )
    lines = [json.loads(event["message"]) for event in found["events"]]
    return [line for line in lines if (line["execution_arn"], line["type"]) == (execution, kind)]


def counted(region: ControlPlane, since: float, within: float = 60) -> None:
    """Returns once the metric has a value of that minute or a later one; each of them is 0."""
    cloudwatch, give_up = region.client("cloudwatch"), time.monotonic() + within
    while True:
        found = cloudwatch.get_metric_statistics(
            Namespace="slipway",
            MetricName="FailedDirty",
            StartTime=since // 60 * 60,
            EndTime=time.time() + 60,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        assert {point["Sum"] for point in found} <= {0.0}
        if found:
            return
        assert time.monotonic() < give_up
        time.sleep(0.5)


def alarms(region: ControlPlane) -> list[str]:
    """Every time that the alarm for a person began to ring."""
    cloudwatch = region.client("cloudwatch")
    history = cloudwatch.describe_alarm_history(
        AlarmName="slipway-failed-dirty", HistoryItemType="StateUpdate"
    )["AlarmHistoryItems"]
    states = [json.loads(item["HistoryData"])["newState"]["stateValue"] for item in history]
    return [state for state in states if state == "ALARM"]


@contextmanager
def not_to_be_explained(region: ControlPlane) -> Iterator[None]:
    """The release's machine, whose ExplainFailure fails for good: that calls a person."""
    stepfunctions, machine = region.client("stepfunctions"), region.outputs["ReleaseStateMachineArn"]
    shipped = stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
    changed = json.loads(shipped)
    changed["States"]["ExplainFailure"]["Arguments"]["Payload"]["request"] = "no request"
    changed["States"]["ExplainFailure"]["Retry"] = []
    stepfunctions.update_state_machine(stateMachineArn=machine, definition=json.dumps(changed))
    try:
        yield
    finally:
        stepfunctions.update_state_machine(stateMachineArn=machine, definition=shipped)


def test_a_clean_up_that_is_stopped_is_followed_by_another(region: ControlPlane) -> None:
    stepfunctions = region.client("stepfunctions")
    with waiting_to_explain(region):
        holder = region.start(wanted(region, "twice", "10.50.0.0/16"), "twice-1")
        region.reaches(holder, "DeployNetwork")
        stepfunctions.stop_execution(executionArn=holder)
        [first] = region.clean_ups(1, of=holder)
        region.reaches(first, "ExplainFailure")
    stepfunctions.stop_execution(executionArn=first)
    [second] = region.clean_ups(1, of=first)
    assert region.ended(second)["status"] == "SUCCEEDED"
    assert region.path(second)[-1] == "CleanedUp"
    assert "holder" not in region.item("twice", "LOCK")
    receipt = region.receipt("twice", "twice-1")
    assert (receipt["ending"], receipt["failure"]["error"]) == ("FailedClean", "States.Aborted")
    assert receipt["execution"] == holder


@contextmanager
def waiting_to_explain(region: ControlPlane) -> Iterator[None]:
    """The clean-up's machine, which explains nothing but waits for somebody to stop it."""
    stepfunctions = region.client("stepfunctions")
    machine = region.outputs["ReleaseStateMachineArn"].replace("-release", "-clean-up")
    shipped = stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
    changed = json.loads(shipped)
    changed["States"]["ExplainFailure"] = {"Type": "Wait", "Seconds": 86400, "Next": "FreeLock"}
    stepfunctions.update_state_machine(stateMachineArn=machine, definition=json.dumps(changed))
    try:
        yield
    finally:
        stepfunctions.update_state_machine(stateMachineArn=machine, definition=shipped)


def test_auto_scaling_that_stays_suspended_is_let_go_on_by_a_clean_up(region: ControlPlane) -> None:
    """Its group is gone here, so that nothing is to be done but to write that down."""
    item = {"pk": "ENVIRONMENT#still", "sk": "SCALING", "group": "slipway-still-web", "processes": "Launch"}
    region.client("dynamodb").put_item(
        TableName=region.outputs["TableName"], Item={name: {"S": value} for name, value in item.items()}
    )
    detail = json.dumps({"environment": "still", "what": "it stays suspended"})
    event = {"Source": "slipway", "DetailType": "scaling suspended", "Detail": detail}
    region.client("events").put_events(Entries=[event])
    give_up = time.monotonic() + 120
    while region.item("still", "SCALING")["processes"]:
        assert time.monotonic() < give_up
        time.sleep(0.2)
    region.freed("still")


def test_what_has_expired_is_removed(region: ControlPlane) -> None:
    """It was written before the first test; a table's items are looked through once a minute."""
    give_up = time.monotonic() + 180
    while region.item("none", "COMMAND#old"):
        assert time.monotonic() < give_up
        time.sleep(0.5)


def test_every_call_was_permitted(region: ControlPlane) -> None:
    """A refusal by IAM in any of the executions above shows in a role that lacks something."""
    stepfunctions = region.client("stepfunctions")
    for machine in stepfunctions.list_state_machines()["stateMachines"]:
        pages = stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=machine["stateMachineArn"]
        )
        for execution in (execution for page in pages for execution in page["executions"]):
            history = stepfunctions.get_execution_history(
                executionArn=execution["executionArn"], maxResults=1000, includeExecutionData=True
            )
            assert "not authorized" not in json.dumps(history["events"], default=str), execution["name"]
