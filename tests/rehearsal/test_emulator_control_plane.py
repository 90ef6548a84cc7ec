"""The emulated control plane alone, as its clients see it: who may do what, functions, state machines.

No servers and no root: what would need a server has to say that there is none.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {
                    "Service": [
                        "cloudformation.amazonaws.com",
                        "events.amazonaws.com",
                        "lambda.amazonaws.com",
                        "states.amazonaws.com",
                    ]
                },
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


class Plane:
    """A running control plane and clients of its operator."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.endpoint = environment["AWS_ENDPOINT_URL"]
        self._session = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name="eu-central-1"
        )

    def client(self, service: str, **key: str) -> Any:
        make: Any = self._session.client
        return make(service, endpoint_url=self.endpoint, **key)

    def role(self, name: str, *allowed: tuple[str, str]) -> str:
        iam = self.client("iam")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        statements = [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in allowed]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_role_policy(RoleName=name, PolicyName="allowed", PolicyDocument=policy)
        return str(arn)

    def function(self, name: str, code: str, runtime: str = "python3.13", **settings: Any) -> str:
        role = settings.pop("Role", None) or self.role(f"{name}-role")
        settings.setdefault("Timeout", 60)  # a first start takes a second, on a busy machine many
        created = self.client("lambda").create_function(
            FunctionName=name,
            Runtime=runtime,
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": zipped({"app.py": code})},
            **settings,
        )
        return str(created["FunctionArn"])

    def invoke(self, name: str, payload: Any = None) -> tuple[str | None, Any]:
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload or {}))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def run(self, name: str, role: str, definition: Mapping[str, Any], given: Any = None) -> dict[str, Any]:
        states = self.client("stepfunctions")
        machine = self.machine(name, role, definition)
        execution = states.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))[
            "executionArn"
        ]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            described: dict[str, Any] = states.describe_execution(executionArn=execution)
            if described["status"] != "RUNNING":
                return described
            time.sleep(0.05)
        raise AssertionError("the execution does not end")

    def machine(self, name: str, role: str, definition: Mapping[str, Any]) -> str:
        whole = {"QueryLanguage": "JSONata", **definition}
        created = self.client("stepfunctions").create_state_machine(
            name=name, definition=json.dumps(whole), roleArn=role
        )
        return str(created["stateMachineArn"])


def zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The control plane in a process of its own, on a free port; it ends in order."""
    state = tmp_path_factory.mktemp("region")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        arguments = ["--state", str(state), "--api-fd", str(listening.fileno()), "--control-plane-only"]
        process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.region", *arguments],
            cwd=ROOT,
            pass_fds=[listening.fileno()],
            env={**os.environ, "AWS_PROFILE": "somebody-elses"},
            stdout=subprocess.PIPE,
            stderr=(state / "log").open("wb"),
            text=True,
        )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", (state / "log").read_text()
    lines = (state / "run" / "environment").read_text().splitlines()
    yield Plane(dict(line.split("=", 1) for line in lines))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, (state / "log").read_text()
    process.stdout.close()


def with_child(machine: str) -> list[tuple[str, str]]:
    """What a machine's role needs to start another one and to wait for it."""
    executions = machine.replace(":stateMachine:", ":execution:") + ":*"
    rule = f"arn:aws:events:*:{ACCOUNT}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"
    return [
        ("states:StartExecution", machine),
        ("states:DescribeExecution", executions),
        ("states:StopExecution", executions),
        ("events:PutTargets", rule),
        ("events:PutRule", rule),
        ("events:DescribeRule", rule),
    ]


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as refused:
        call()
    return str(refused.value.response["Error"]["Code"])


# Who may do what


def test_the_operator_is_a_user_and_not_root(plane: Plane) -> None:
    assert plane.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/operator"


@pytest.mark.parametrize("key", ["test", ACCOUNT, "123456789012"])
def test_the_emulators_well_known_keys_open_nothing(plane: Plane, key: str) -> None:
    client = plane.client("sts", aws_access_key_id=key, aws_secret_access_key="test")
    assert refusal(client.get_caller_identity) == "InvalidClientTokenId"


def test_a_user_without_policies_may_do_nothing(plane: Plane) -> None:
    iam = plane.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    client = plane.client(
        "ssm", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )
    assert refusal(client.describe_instance_information) == "AccessDeniedException"
    assert refusal(lambda: client.get_document(Name="AWS-RunShellScript")) == "AccessDeniedException"


def test_nobody_can_wipe_the_region(plane: Plane) -> None:
    request = urllib.request.Request(f"{plane.endpoint}/_ministack/reset", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request)


def test_put_events_is_allowed_by_its_source(plane: Plane) -> None:
    code = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    entry = {'Source': event['source'], 'DetailType': 'x', 'Detail': '{}'}\n"
        "    return boto3.client('events').put_events(Entries=[entry])['FailedEntryCount']\n"
    )
    role = plane.role("events-role")
    statement = {
        "Effect": "Allow",
        "Action": "events:PutEvents",
        "Resource": "*",
        "Condition": {"StringEquals": {"events:source": "slipway"}},
    }
    plane.client("iam").put_role_policy(
        RoleName="events-role",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    plane.function("events", code, Role=role)
    assert plane.invoke("events", {"source": "slipway"}) == (None, 0)
    error, answer = plane.invoke("events", {"source": "other"})
    assert error == "Unhandled"
    assert "events:PutEvents" in answer["errorMessage"]


@pytest.mark.parametrize(
    ("passed_to", "error"),
    [(None, "AccessDenied"), ("ec2.amazonaws.com", "AccessDenied"), ("cloudformation.amazonaws.com", "")],
)
def test_a_role_is_handed_on_only_by_leave(plane: Plane, passed_to: str | None, error: str) -> None:
    name = f"hands-on-{(passed_to or 'nothing').partition('.')[0]}"
    role = plane.role(f"{name}-service")
    plane.role(f"{name}-role", ("cloudformation:*", "*"), ("sns:*", "*"))
    if passed_to:
        condition = {"StringEquals": {"iam:PassedToService": passed_to}}
        statement = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role, "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        plane.client("iam").put_role_policy(
            RoleName=f"{name}-role", PolicyName="pass", PolicyDocument=document
        )
    code = (
        "import boto3, botocore, json\n"
        "def handler(event, context):\n"
        "    body = json.dumps({'Resources': {'T': {'Type': 'AWS::SNS::Topic'}}})\n"
        "    call = boto3.client('cloudformation').create_stack\n"
        "    try:\n"
        "        call(StackName=event['stack'], TemplateBody=body, RoleARN=event['role'])\n"
        "    except botocore.exceptions.ClientError as error:\n"
        "        return error.response['Error']['Code']\n"
        "    return ''\n"
    )
    plane.function(name, code, Role=f"arn:aws:iam::{ACCOUNT}:role/{name}-role")
    assert plane.invoke(name, {"stack": name, "role": role}) == (None, error)


def tiny_stack(plane: Plane, name: str, *allowed: tuple[str, str]) -> str:
    """Why a stack with one topic, made with a service role, fails; "" when it does not."""
    role = plane.role(f"{name}-operates", *allowed)
    cloudformation = plane.client("cloudformation")
    body = json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    cloudformation.create_stack(StackName=name, TemplateBody=body, RoleARN=role)
    return settled(plane, name)


def settled(plane: Plane, name: str) -> str:
    """The reason of the first resource that failed, once the stack has come to rest."""
    cloudformation = plane.client("cloudformation")
    deadline = time.monotonic() + 60
    identifier = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    while cloudformation.describe_stacks(StackName=identifier)["Stacks"][0]["StackStatus"].endswith(
        "IN_PROGRESS"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    events = cloudformation.describe_stack_events(StackName=identifier)["StackEvents"][::-1]
    return next((one["ResourceStatusReason"] for one in events if one["ResourceStatus"][-6:] == "FAILED"), "")


TOPICS = [("sns:CreateTopic", "*"), ("sns:TagResource", "*"), ("sns:Get*", "*"), ("sns:List*", "*")]


def test_a_stack_may_do_what_its_service_role_may(plane: Plane) -> None:
    assert tiny_stack(plane, "may-make", *TOPICS) == ""
    refused = tiny_stack(plane, "may-not-make", *TOPICS[1:])
    assert "assumed-role/may-not-make-operates/AWSCloudFormation is not authorized to perform: " in refused
    assert "sns:CreateTopic on resource: arn:aws:sns:eu-central-1:000000000000:may-not-make-T" in refused


def test_a_stack_keeps_its_service_role(plane: Plane) -> None:
    """Deleting without a word of a role uses the one that it was made with."""
    assert tiny_stack(plane, "keeps", *TOPICS) == ""
    plane.client("cloudformation").delete_stack(StackName="keeps")
    assert "sns:DeleteTopic" in settled(plane, "keeps")


def test_a_role_that_does_not_trust_cloudformation_is_none_for_it(plane: Plane) -> None:
    iam = plane.client("iam")
    trust = TRUST.replace("cloudformation.amazonaws.com", "ec2.amazonaws.com")
    role = iam.create_role(RoleName="strange", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    body = json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    create = plane.client("cloudformation").create_stack
    assert refusal(lambda: create(StackName="strange", TemplateBody=body, RoleARN=role)) == "ValidationError"


def test_a_type_whose_needs_nobody_knows_is_refused(plane: Plane) -> None:
    body = json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})
    plane.client("cloudformation").create_stack(StackName="unknown", TemplateBody=body)
    assert "which permissions AWS::SQS::Queue needs is not known" in settled(plane, "unknown")


@pytest.mark.parametrize("lacking", ["events:PutRule", "logs:CreateLogDelivery"])
def test_step_functions_takes_no_role_that_lacks_what_it_needs_itself(plane: Plane, lacking: str) -> None:
    child = f"arn:aws:states:eu-central-1:{ACCOUNT}:stateMachine:any"
    logs = [("logs:*Delivery", "*"), ("logs:*LogDeliveries", "*"), ("logs:*Polic*", "*"), ("logs:Desc*", "*")]
    name = lacking.replace(":", "-")
    role = plane.role(name, *with_child(child), *logs)
    plane.client("iam").put_role_policy(RoleName=name, PolicyName="less", PolicyDocument=deny(lacking))
    nested = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {"StateMachineArn": child},
        "End": True,
    }
    create = plane.client("stepfunctions").create_state_machine
    asked = {
        "name": name,
        "roleArn": role,
        "definition": json.dumps({"QueryLanguage": "JSONata", "StartAt": "N", "States": {"N": nested}}),
        "loggingConfiguration": {
            "level": "ERROR",
            "destinations": [
                {
                    "cloudWatchLogsLogGroup": {
                        "logGroupArn": f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:x:*"
                    }
                }
            ],
        },
    }
    assert refusal(lambda: create(**asked)) == "AccessDeniedException"
    plane.client("iam").delete_role_policy(RoleName=name, PolicyName="less")
    assert create(**asked)["stateMachineArn"]


def deny(action: str) -> str:
    """A policy that takes an action away."""
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


# Functions


@pytest.mark.parametrize("runtime", ["python3.13", "provided.al2023"])
def test_a_functions_error_keeps_its_class_name(plane: Plane, runtime: str) -> None:
    code = "class OutOfRange(Exception): pass\ndef handler(event, context): raise OutOfRange('too far')\n"
    name = f"raises-{runtime.partition('.')[0]}"
    plane.function(name, code, runtime)
    error, answer = plane.invoke(name)
    assert (error, answer["errorType"], answer["errorMessage"]) == ("Unhandled", "OutOfRange", "too far")


def test_a_function_imports_from_its_layer_and_sees_a_clean_environment(plane: Plane) -> None:
    layer = plane.client("lambda").publish_layer_version(
        LayerName="things", Content={"ZipFile": zipped({"python/things.py": "WHAT = 'from the layer'"})}
    )["LayerVersionArn"]
    code = (
        "import os, things\n"
        "def handler(event, context):\n"
        "    return {'things': things.WHAT, 'names': sorted(os.environ), 'mode': os.environ['MODE']}\n"
    )
    plane.function("layered", code, Layers=[layer], Environment={"Variables": {"MODE": "fast"}})
    _, answer = plane.invoke("layered")
    assert (answer["things"], answer["mode"]) == ("from the layer", "fast")
    leaked = {
        name for name in answer["names"] if name.startswith(("MINISTACK", "VIRTUAL_ENV", "GATEWAY", "AUTH"))
    }
    assert not leaked | ({"AWS_PROFILE", "HOME"} & set(answer["names"]))


def test_a_function_acts_as_its_role(plane: Plane) -> None:
    code = (
        "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Arn']\n"
    )
    plane.function("who", code)
    assert plane.invoke("who") == (None, f"arn:aws:sts::{ACCOUNT}:assumed-role/who-role/who")


# State machines


def test_variables_of_a_branch_are_its_own(plane: Plane) -> None:
    branch = {"StartAt": "Set", "States": {"Set": {"Type": "Pass", "Assign": {"x": 2}, "End": True}}}
    result = plane.run(
        "scope",
        plane.role("scope-role"),
        {
            "StartAt": "First",
            "States": {
                "First": {"Type": "Pass", "Assign": {"x": 1}, "Next": "Both"},
                "Both": {"Type": "Parallel", "Branches": [branch, branch], "Next": "Last"},
                "Last": {"Type": "Pass", "Output": "{% $x %}", "End": True},
            },
        },
    )
    assert (result["status"], json.loads(result["output"])) == ("SUCCEEDED", 1)


def test_a_parallel_takes_arguments_and_gives_output(plane: Plane) -> None:
    branch = {
        "StartAt": "S",
        "States": {"S": {"Type": "Pass", "Output": "{% $states.input.n + 1 %}", "End": True}},
    }
    result = plane.run(
        "output",
        plane.role("output-role"),
        {
            "StartAt": "Both",
            "States": {
                "Both": {
                    "Type": "Parallel",
                    "Arguments": {"n": "{% $states.input.given %}"},
                    "Branches": [branch, branch],
                    "Output": "{% $sum($states.result) %}",
                    "End": True,
                }
            },
        },
        {"given": 1},
    )
    assert json.loads(result["output"]) == 4


def test_a_failing_branch_ends_the_others_and_what_they_started(plane: Plane) -> None:
    child = plane.machine(
        "slow",
        plane.role("slow-role"),
        {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}},
    )
    nested = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {"StateMachineArn": child, "Input": {}},
        "End": True,
    }
    failing = {
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "No"},
        "No": {"Type": "Fail", "Error": "Broken", "Cause": "c"},
    }
    result = plane.run(
        "together",
        plane.role("together-role", *with_child(child)),
        {
            "StartAt": "Both",
            "States": {
                "Both": {
                    "Type": "Parallel",
                    "Branches": [
                        {"StartAt": "Nested", "States": {"Nested": nested}},
                        {"StartAt": "Pause", "States": failing},
                    ],
                    "End": True,
                }
            },
        },
    )
    assert (result["status"], result["error"]) == ("FAILED", "Broken")
    executions = plane.client("stepfunctions").list_executions(stateMachineArn=child)["executions"]
    assert [one["status"] for one in executions] == ["ABORTED"]


def test_a_nested_failure_is_reported_as_aws_does(plane: Plane) -> None:
    child = plane.machine(
        "fails",
        plane.role("fails-role"),
        {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Mine"}}},
    )
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {"StateMachineArn": child, "Input": {}},
        "End": True,
    }
    role = plane.role("parent-role", *with_child(child))
    result = plane.run("parent", role, {"StartAt": "T", "States": {"T": task}})
    assert result["error"] == "States.TaskFailed"
    described = json.loads(result["cause"])
    assert (described["Status"], described["Error"]) == ("FAILED", "Mine")


def test_a_machine_may_do_only_what_its_role_allows(plane: Plane) -> None:
    arn = plane.function("target", "def handler(event, context): return 1\n")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": arn, "Payload": {}},
        "Output": "{% $states.result.Payload %}",
        "End": True,
    }
    definition = {"StartAt": "T", "States": {"T": task}}
    refused = plane.run(
        "may-not", plane.role("may-not-role", ("lambda:InvokeFunction", arn + "x")), definition
    )
    assert refused["error"] == "States.Permissions"
    assert "lambda:InvokeFunction" in refused["cause"]
    allowed = plane.run("may", plane.role("may-role", ("lambda:InvokeFunction", arn)), definition)
    assert (allowed["status"], allowed["output"]) == ("SUCCEEDED", "1")


def test_the_time_out_of_a_machine_holds(plane: Plane) -> None:
    definition = {
        "TimeoutSeconds": 1,
        "StartAt": "W",
        "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}},
    }
    assert plane.run("timed", plane.role("timed-role"), definition)["status"] == "TIMED_OUT"


def test_every_state_of_a_branch_leaves_its_events(plane: Plane) -> None:
    branch = {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "End": True}}}
    both = {"Type": "Parallel", "Branches": [branch], "End": True}
    result = plane.run(
        "events-of", plane.role("events-of-role"), {"StartAt": "Both", "States": {"Both": both}}
    )
    history = plane.client("stepfunctions").get_execution_history(executionArn=result["executionArn"])[
        "events"
    ]
    kinds = [event["type"] for event in history]
    assert kinds.count("PassStateEntered") == kinds.count("PassStateExited") == 1


# Stacks


def test_a_change_set_lists_what_a_condition_adds_and_removes(plane: Plane) -> None:
    topics = {name: {"Type": "AWS::SNS::Topic", "Condition": name} for name in ("Left", "Right")}
    template = json.dumps(
        {
            "Parameters": {"Side": {"Type": "String"}},
            "Conditions": {name: {"Fn::Equals": [{"Ref": "Side"}, name]} for name in topics},
            "Resources": topics,
        }
    )
    formation = plane.client("cloudformation")

    def side(name: str) -> list[dict[str, str]]:
        return [{"ParameterKey": "Side", "ParameterValue": name}]

    formation.create_stack(StackName="sides", TemplateBody=template, Parameters=side("Left"))
    formation.get_waiter("stack_create_complete").wait(StackName="sides", WaiterConfig={"Delay": 1})
    made = formation.create_change_set(
        StackName="sides", ChangeSetName="turn", TemplateBody=template, Parameters=side("Right")
    )
    formation.get_waiter("change_set_create_complete").wait(
        ChangeSetName=made["Id"], WaiterConfig={"Delay": 1}
    )
    changes = formation.describe_change_set(ChangeSetName=made["Id"])["Changes"]
    listed = {c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"]["Action"] for c in changes}
    assert listed == {"Left": "Remove", "Right": "Add"}


# Documents and servers that are not there


def test_an_unknown_document_is_refused(plane: Plane) -> None:
    ssm = plane.client("ssm")
    send = {"Targets": [{"Key": "tag:a", "Values": ["b"]}]}
    assert refusal(lambda: ssm.send_command(DocumentName="nope", **send)) == "InvalidDocument"


def test_a_parameter_outside_its_pattern_is_refused(plane: Plane) -> None:
    ssm = plane.client("ssm")
    content = {
        "schemaVersion": "2.2",
        "parameters": {"Release": {"type": "String", "allowedPattern": "^[0-9.]+$"}},
        "mainSteps": [
            {"action": "aws:runShellScript", "name": "x", "inputs": {"runCommand": ["{{ Release }}"]}}
        ],
    }
    ssm.create_document(Name="checked", Content=json.dumps(content), DocumentType="Command")
    targets = [{"Key": "tag:a", "Values": ["b"]}]
    bad = {"Release": ["1; reboot"]}
    assert (
        refusal(lambda: ssm.send_command(DocumentName="checked", Targets=targets, Parameters=bad))
        == "InvalidParameters"
    )
    good = ssm.send_command(DocumentName="checked", Targets=targets, Parameters={"Release": ["1"]})["Command"]
    assert (good["TargetCount"], good["StatusDetails"]) == (0, "NoInstancesInTag")


def test_without_servers_a_group_does_not_pretend_to_have_some(plane: Plane) -> None:
    template = {
        "Resources": {
            "Template": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"ImageId": "ami-1", "InstanceType": "t3.micro"}},
            },
            "Group": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "Properties": {
                    "MinSize": "1",
                    "MaxSize": "1",
                    "VPCZoneIdentifier": ["subnet-00000001"],
                    "LaunchTemplate": {
                        "LaunchTemplateId": {"Ref": "Template"},
                        "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]},
                    },
                },
            },
        }
    }
    formation = plane.client("cloudformation")
    formation.create_stack(StackName="group", TemplateBody=json.dumps(template))
    deadline = time.monotonic() + 60
    while "IN_PROGRESS" in (
        status := formation.describe_stacks(StackName="group")["Stacks"][0]["StackStatus"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status == "ROLLBACK_COMPLETE"
    events = formation.describe_stack_events(StackName="group")["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("the region has no servers" in reason for reason in reasons)
    assert plane.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_an_instance_without_a_server_stays_pending_and_unmanaged(plane: Plane) -> None:
    ec2 = plane.client("ec2")
    started = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId="subnet-00000001")[
        "Instances"
    ][0]
    assert started["State"]["Name"] == "pending"
    assert started["PrivateIpAddress"].startswith("172.31.")
    time.sleep(1)
    described = ec2.describe_instances(InstanceIds=[started["InstanceId"]])["Reservations"][0]["Instances"][0]
    assert described["State"]["Name"] == "pending"
    assert plane.client("ssm").describe_instance_information()["InstanceInformationList"] == []
    ec2.terminate_instances(InstanceIds=[started["InstanceId"]])
