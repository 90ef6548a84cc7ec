"""Everything that a region keeps and somebody may read who may not read its secrets, as text, channel by
channel; and the forms in which a secret could be in it."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import json
import urllib.parse
import zipfile
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from tests.rehearsal.rehearsed import Rehearsed


def values(region: Rehearsed) -> list[str]:
    """Every secret of Secrets Manager; of one that is an object, its password."""
    manager = region.client("secretsmanager")
    found = []
    for page in manager.get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            value = manager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
            found.append(json.loads(value)["password"] if value.startswith("{") else value)
    return found


def forms(value: str) -> set[str]:
    """The value as it is, and as it looks in JSON, in JSON within JSON, in an address, in a page, in
    hexadecimal, and in base64, wherever in a longer text it stands."""
    inside = json.dumps(value)[1:-1]
    found = {
        value,
        inside,
        json.dumps(inside)[1:-1],
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote(value),
        urllib.parse.quote_plus(value),
        html.escape(value),
        value.encode().hex(),
    }
    for written in (value, inside, urllib.parse.quote(value, safe="")):
        for before in range(3):
            # What depends on the value alone, whatever stands before and after it.
            whole = base64.b64encode(b"x" * before + written.encode()).decode()
            core = whole[(0, 2, 3)[before] :].rstrip("=")
            core = core[: len(core) - 1]
            found |= {core, core.replace("+", "-").replace("/", "_")}
    return found


def channels(region: Rehearsed) -> dict[str, str]:
    """Where could a secret be read? Name of the channel → all that it says."""
    told = {
        "executions": executions(region),
        "commands": commands(region),
        "logs of commands": logs(region, "/slipway/commands"),
        "logs of functions": logs(region, "/aws/lambda"),
        "objects": objects(region),
        "table": table(region),
        "stacks": stacks(region),
        "functions": functions(region),
        "launch templates": launch_templates(region),
    }
    for server in region.servers():
        told |= {f"{name} of {server}": text for name, text in on_server(region, server).items()}
    return told


def as_text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def executions(region: Rehearsed) -> str:
    """Every execution: what it was given, every event of it, what it answered."""
    states = region.client("stepfunctions")
    texts = []
    for machine in states.list_state_machines()["stateMachines"]:
        arn = machine["stateMachineArn"]
        texts.append(as_text(states.describe_state_machine(stateMachineArn=arn)))
        for page in states.get_paginator("list_executions").paginate(stateMachineArn=arn):
            for execution in page["executions"]:
                name = {"executionArn": execution["executionArn"]}
                texts.append(as_text(states.describe_execution(**name)))
                pages = states.get_paginator("get_execution_history").paginate(**name)
                texts += [as_text(found["events"]) for found in pages]
    return "\n".join(texts)


def commands(region: Rehearsed) -> str:
    """Every command with its parameters, what each server answered, and the documents."""
    ssm = region.client("ssm")
    texts = []
    for page in ssm.get_paginator("list_commands").paginate():
        texts.append(as_text(page["Commands"]))
    for page in ssm.get_paginator("list_command_invocations").paginate(Details=True):
        texts.append(as_text(page["CommandInvocations"]))
    return "\n".join(texts)


def logs(region: Rehearsed, prefix: str) -> str:
    client = region.client("logs")
    texts = []
    for group in client.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]:
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        texts += [event["message"] for page in pages for event in page["events"]]
    return "\n".join(texts)


def objects(region: Rehearsed) -> str:
    """Every object of every bucket but releases and what visitors uploaded; of a zip file what is in it."""
    s3 = region.client("s3")
    texts = []
    for bucket in s3.list_buckets()["Buckets"]:
        if "-images-" in bucket["Name"]:
            continue
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for one in page.get("Contents", []):
                if not one["Key"].startswith("releases/"):
                    content = s3.get_object(Bucket=bucket["Name"], Key=one["Key"])["Body"].read()
                    texts += [one["Key"], *_readable(content)]
    return "\n".join(texts)


def _readable(content: bytes) -> Iterator[str]:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        yield content.decode(errors="replace")
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            yield archive.read(name).decode(errors="replace")


def table(region: Rehearsed) -> str:
    pages = region.client("dynamodb").get_paginator("scan").paginate(TableName=region.outputs["TableName"])
    return "\n".join(as_text(page["Items"]) for page in pages)


def stacks(region: Rehearsed) -> str:
    """Every stack: parameters, outputs, template, resources, events, change sets."""
    client = region.client("cloudformation")
    texts = []
    for stack in client.describe_stacks()["Stacks"]:
        name = stack["StackName"]
        texts += [as_text(stack), as_text(client.get_template(StackName=name)["TemplateBody"])]
        texts.append(as_text(client.describe_stack_events(StackName=name)["StackEvents"]))
        texts.append(as_text(client.list_stack_resources(StackName=name)["StackResourceSummaries"]))
        for change in client.list_change_sets(StackName=name)["Summaries"]:
            with contextlib.suppress(ClientError):  # one that was carried out may be forgotten
                named = {"StackName": name, "ChangeSetName": change["ChangeSetName"]}
                texts.append(as_text(client.describe_change_set(**named)))
    return "\n".join(texts)


def functions(region: Rehearsed) -> str:
    """What functions are configured with, their environment variables above all."""
    pages = region.client("lambda").get_paginator("list_functions").paginate()
    return "\n".join(as_text(page["Functions"]) for page in pages)


def launch_templates(region: Rehearsed) -> str:
    """Every version of every launch template, with the user data that a server begins with."""
    ec2 = region.client("ec2")
    texts = []
    for one in ec2.describe_launch_templates()["LaunchTemplates"]:
        found = ec2.describe_launch_template_versions(LaunchTemplateId=one["LaunchTemplateId"])
        for version in found["LaunchTemplateVersions"]:
            data = version["LaunchTemplateData"].get("UserData", "")
            texts += [as_text(version), base64.b64decode(data).decode(errors="replace")]
    return "\n".join(texts)


# What anybody on the server can read: files of less than a mebibyte and links, processes with their
# arguments, settings of units; and the journal, which those read who look after servers. What is no ASCII
# does not matter: the secrets are.
READABLE = "find /etc /var /opt /tmp /run /home -xdev -perm -o+r"
ON_SERVER = {
    "files": (
        f"{READABLE} -type f -size -2048 -not -path '/var/cache/*' -not -path '/var/lib/dpkg/*' "
        "-not -path '/var/lib/apt/*' -not -path '*/gems/*' -print0 | xargs -0 -r cat --; "
        f"{READABLE} -type l -printf '%p %l\\n'"
    ),
    "journal": "journalctl --no-pager --all --output cat",
    "processes": "for one in /proc/[0-9]*; do cat $one/cmdline; echo; done 2>/dev/null",
    "units": "systemctl show --all --property Id,Environment,ExecStart,Description '*.service'",
}


def on_server(region: Rehearsed, server: str) -> dict[str, str]:
    return {
        name: region.on(server, f"{{ {script}; }} | tr -c '\\n -~' ' '").stdout
        for name, script in ON_SERVER.items()
    }


# --- what is sent away ------------------------------------------------------------------------------------


@contextlib.contextmanager
def overheard(region: Rehearsed, topic: str) -> Iterator[list[str]]:
    """What is said to the topic and what events there are while this block runs; complete at its end."""
    queues, topics, events = (region.client(name) for name in ("sqs", "sns", "events"))
    url = queues.create_queue(QueueName="overheard")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    subscription = topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    events.put_rule(Name="overheard", EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule="overheard", Targets=[{"Id": "queue", "Arn": arn}])
    heard: list[str] = []
    try:
        yield heard
        while found := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                heard.append(message["Body"])
                queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    finally:
        events.remove_targets(Rule="overheard", Ids=["queue"])
        events.delete_rule(Name="overheard")
        topics.unsubscribe(SubscriptionArn=subscription)
        queues.delete_queue(QueueUrl=url)
