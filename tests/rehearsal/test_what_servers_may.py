"""What a web server may do with the credentials that its metadata gives it, asked on the server itself; and
what may be done to servers, by their tags. With one permission less, exactly that is refused.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rehearsal import roles
from tests.rehearsal.rehearsed import Ended, Rehearsed, eventually

SECRET = "secretsmanager get-secret-value --secret-id slipway/arable"
OTHER = "slipway-another-images-000000000000-eu-central-1"


@pytest.fixture(scope="module")
def server(region: Rehearsed, first: Ended) -> str:
    return region.servers()[0]


def tried(region: Rehearsed, server: str, commands: dict[str, str]) -> dict[str, tuple[int, str]]:
    """What commands of the AWS CLI on a server end with: name → (exit code, what it said)."""
    lines = [
        f"said=$(aws {command} 2>&1 </dev/null); code=$?; printf '%s\\t%s\\t%s\\n' {shlex.quote(name)} "
        '"$code" "$(printf %s "$said" | tr "\\n\\t" "  ")"'
        for name, command in commands.items()
    ]
    done = region.on(server, "cd /tmp\n" + "\n".join(lines))
    found = [line.split("\t", 2) for line in done.stdout.splitlines()]
    assert len(found) == len(commands), done.stderr
    return {name: (int(code), said) for name, code, said in found}


def instance_role(region: Rehearsed) -> str:
    return region.tier("web")["InstanceRoleName"]


def test_a_server_is_its_instance_and_nobody_else(region: Rehearsed, server: str) -> None:
    code, said = tried(region, server, {"who": "sts get-caller-identity"})["who"]
    assert code == 0, said
    assert f"assumed-role/{instance_role(region)}/{server}" in said


def test_a_server_reads_what_it_must(region: Rehearsed, first: Ended, server: str) -> None:
    bucket, _, key = first.given["release"]["artifact"].removeprefix("s3://").partition("/")
    images = region.tier("storage")["ImageBucketName"]
    answers = tried(
        region,
        server,
        {
            "release": f"s3api get-object --bucket {bucket} --key {key} release",
            "put image": f"s3api put-object --bucket {images} --key probe --body /etc/hostname",
            "list images": f"s3api list-objects-v2 --bucket {images} --max-items 1",
            "get image": f"s3api get-object --bucket {images} --key probe probe",
            "delete image": f"s3api delete-object --bucket {images} --key probe",
            "database": f"{SECRET}/database --query Name",
            "key base": f"{SECRET}/secret-key-base --query Name",
        },
    )
    assert {name: said for name, (code, said) in answers.items() if code} == {}


def test_a_server_may_nothing_else(region: Rehearsed, first: Ended, server: str) -> None:
    bucket, _, key = first.given["release"]["artifact"].removeprefix("s3://").partition("/")
    s3, secrets = region.client("s3"), region.client("secretsmanager")
    s3.create_bucket(Bucket=OTHER, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=OTHER, Key="image", Body=b"another's")
    other = secrets.create_secret(Name="slipway/another/database", SecretString="another's")["ARN"]
    master = region.tier("database")["MasterSecretArn"]
    machine = region.outputs["ReleaseStateMachineArn"]
    function = region.tier("database")["CreateDatabaseFunctionArn"]
    receipt = first.receipt["links"]["receipt"].partition(f"{bucket}/")[2]
    role = region.client("lambda").get_function_configuration(FunctionName="slipway-plan-tier")["Role"]
    script = "--parameters commands=id --document-name AWS-RunShellScript"
    refused = {
        "s3:PutObject": f"s3api put-object --bucket {bucket} --key {key} --body /etc/hostname",
        "s3:PutObject ": f"s3api put-object --bucket {bucket} --key releases/x --body /etc/hostname",
        "s3:DeleteObject": f"s3api delete-object --bucket {bucket} --key {key}",
        "s3:ListBucket": f"s3api list-objects-v2 --bucket {bucket}",
        "s3:PutBucketPolicy": f"s3api put-bucket-policy --bucket {bucket} --policy '{{}}'",
        "s3:GetObject": f"s3api get-object --bucket {bucket} --key {receipt} x",
        "s3:GetObject ": f"s3api get-object --bucket {OTHER} --key image x",
        "s3:PutObject  ": f"s3api put-object --bucket {OTHER} --key image --body /etc/hostname",
        "secretsmanager:GetSecretValue": f"secretsmanager get-secret-value --secret-id {other}",
        "secretsmanager:GetSecretValue ": f"secretsmanager get-secret-value --secret-id {master}",
        "secretsmanager:PutSecretValue": (
            "secretsmanager put-secret-value --secret-id slipway/arable/database --secret-string x"
        ),
        "ssm:SendCommand": f"ssm send-command --instance-ids {server} {script}",
        "ssm:SendCommand ": (
            "ssm send-command --document-name slipway-report --parameters Application=arable "
            "--targets Key=tag:slipway:environment,Values=arable"
        ),
        "dynamodb:GetItem": (
            f"dynamodb get-item --table-name {region.outputs['TableName']} "
            """--key '{"pk":{"S":"ENVIRONMENT#arable"},"sk":{"S":"LOCK"}}'"""
        ),
        "states:StartExecution": f"stepfunctions start-execution --state-machine-arn {machine}",
        "lambda:InvokeFunction": f"lambda invoke --function-name {function} x",
        "ec2:TerminateInstances": f"ec2 terminate-instances --instance-ids {server}",
        "ec2:CreateTags": f"ec2 create-tags --resources {server} --tags Key=a,Value=b",
        "cloudformation:DescribeStacks": "cloudformation describe-stacks --stack-name slipway-arable-web",
        "iam:PutRolePolicy": (
            f"iam put-role-policy --role-name {instance_role(region)} --policy-name x "
            "--policy-document '{}'"
        ),
        "sts:AssumeRole": f"sts assume-role --role-arn {role} --role-session-name probe",
        "logs:DeleteLogGroup": "logs delete-log-group --log-group-name /slipway/commands",
    }
    try:
        answers = tried(region, server, refused)
    finally:
        secrets.delete_secret(SecretId=other, ForceDeleteWithoutRecovery=True)
        s3.delete_object(Bucket=OTHER, Key="image")
        s3.delete_bucket(Bucket=OTHER)
    for action, (code, said) in answers.items():
        assert code != 0, action
        # EC2 has a word of its own; S3 names no action.
        assert re.search(r"\((AccessDenied(Exception)?|UnauthorizedOperation)\)", said), (action, said)
        assert action.startswith("s3:") or action.strip() in said, (action, said)


def test_nobody_unknown_reads_a_release(region: Rehearsed, first: Ended, server: str) -> None:
    bucket, _, key = first.given["release"]["artifact"].removeprefix("s3://").partition("/")
    answers = tried(
        region,
        server,
        {
            "release": f"--no-sign-request s3api get-object --bucket {bucket} --key {key} x",
            "bucket": f"--no-sign-request s3api list-objects-v2 --bucket {bucket}",
        },
    )
    for code, said in answers.values():
        assert code != 0
        assert "AccessDenied" in said


def test_a_permission_taken_from_the_servers_role_is_refused_on_the_server(
    region: Rehearsed, first: Ended, server: str
) -> None:
    bucket, _, key = first.given["release"]["artifact"].removeprefix("s3://").partition("/")
    images = region.tier("storage")["ImageBucketName"]
    log = "/slipway/commands"
    group = f"--log-group-name {log} --log-stream-name probe"
    commands = {
        "s3:GetObject": f"s3api get-object --bucket {bucket} --key {key} x",
        "s3:ListBucket": f"s3api list-objects-v2 --bucket {images} --max-items 1",
        "secretsmanager:GetSecretValue": f"{SECRET}/database",
        "logs:CreateLogStream": f"logs create-log-stream {group}",
    }
    iam, role = region.client("iam"), instance_role(region)
    for action, command in commands.items():
        with roles.without(iam, role, action):
            code, said = tried(region, server, {"x": command})["x"]
        assert code != 0, action
        assert "AccessDenied" in said, (action, said)
        assert action.startswith("s3:") or action in said, (action, said)
    answers = tried(region, server, commands)
    assert {name: said for name, (code, said) in answers.items() if code} == {}


def test_an_agent_without_its_permission_is_not_online(region: Rehearsed, server: str) -> None:
    ssm = region.client("ssm")

    def online() -> bool:
        found = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [server]}])
        return [one["PingStatus"] for one in found["InstanceInformationList"]] == ["Online"]

    eventually(online, 60, "the agent is online")
    with roles.without(region.client("iam"), instance_role(region), "ssm:UpdateInstanceInformation"):
        eventually(lambda: not online(), 60, "the agent is not heard any more")
    eventually(online, 60, "the agent is online again")


# --- commands, by document and by tag ---


def sent(client: Any, server: str, document: str, **parameters: list[str]) -> str:
    """What IAM says to a command: "" when it was sent."""
    try:
        client.send_command(InstanceIds=[server], DocumentName=document, Parameters=parameters)
    except ClientError as error:
        return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
    return ""


def test_commands_go_to_servers_of_environments_with_our_documents(region: Rehearsed, server: str) -> None:
    functions, ec2 = region.client("lambda"), region.client("ec2")
    role = functions.get_function_configuration(FunctionName="slipway-start-command")["Role"]
    make: Any = roles.acting(functions, role).client
    ssm = make("ssm", endpoint_url=region.client("ssm").meta.endpoint_url)

    assert sent(ssm, server, "slipway-report", Application=["arable"]) == ""
    refused = sent(ssm, server, "AWS-RunShellScript", commands=["id"])
    assert "ssm:SendCommand" in refused
    assert "document/AWS-RunShellScript" in refused
    tag = {"Key": "slipway:environment", "Value": "arable"}
    ec2.delete_tags(Resources=[server], Tags=[tag])
    try:
        refused = sent(ssm, server, "slipway-report", Application=["arable"])
        assert "ssm:SendCommand" in refused
        assert f"instance/{server}" in refused
    finally:
        ec2.create_tags(Resources=[server], Tags=[tag])
    assert sent(ssm, server, "slipway-report", Application=["arable"]) == ""


# --- the function in the VPC ---


def test_the_create_database_function_reads_two_logins_with_its_role(region: Rehearsed, first: Ended) -> None:
    functions, iam = region.client("lambda"), region.client("iam")
    name = region.tier("database")["CreateDatabaseFunctionArn"]
    configuration = functions.get_function_configuration(FunctionName=name)
    role = configuration["Role"].rpartition("/")[2]

    def invoked() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(functions.invoke(FunctionName=name)["Payload"].read())
        return answer

    with roles.without(iam, role, "secretsmanager:GetSecretValue"):
        answer = invoked()
    assert "secretsmanager:GetSecretValue" in answer["errorMessage"], answer
    assert "errorMessage" not in invoked()

    vpc = {name: configuration["VpcConfig"][name] for name in ("SubnetIds", "SecurityGroupIds")}
    with roles.without(iam, role, "ec2:CreateNetworkInterface"), pytest.raises(ClientError) as refused:
        functions.create_function(
            FunctionName="probe-in-the-vpc",
            Runtime="python3.13",
            Handler="app.handler",
            Role=configuration["Role"],
            VpcConfig=vpc,
            Code={"ZipFile": b"x"},
        )
    assert "does not have permissions to call CreateNetworkInterface on EC2" in str(refused.value)
