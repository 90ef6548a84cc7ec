"""CloudTrail: who changed what, and when, from the signed requests themselves.

The emulator's own recording knows neither who asked nor most of what was asked for. Here every management
event that changes something is recorded once it has been answered, with the principal that signed it. What
services do for others inside the region (CloudFormation on its resources, Auto Scaling on instances) is no
request and leaves no event; what IAM refused leaves none either; and there is no delay.
"""

from __future__ import annotations

import contextvars
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.pass_role import Dispatch

RELIES_ON = (
    ("app", "_dispatch_service_request"),
    ("app", "_maybe_record_cloudtrail"),
    ("core.iam_actions", "extract_iam_action"),
    ("core.iam_evaluator", "AuthError"),
    ("core.iam_evaluator", "_verified_key"),
    ("core.iam_evaluator", "resolve_principal"),
    ("services.cloudtrail", "_get_event_queue"),
    ("services.cloudtrail", "_scrub"),
    ("core.responses", "new_uuid"),
)

READING = ("Get", "List", "Describe", "Head", "Lookup", "Batch", "Search", "Check", "Validate", "Test")

DATA = frozenset(
    {
        *("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjects", "s3:AbortMultipartUpload"),
        *(
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
            "dynamodb:Query",
            "dynamodb:Scan",
        ),
        *("lambda:InvokeFunction", "sns:Publish", "cloudwatch:PutMetricData", "logs:PutLogEvents"),
        *("logs:CreateLogStream", "logs:FilterLogEvents", "events:PutEvents", "states:SendTaskSuccess"),
        *("sts:AssumeRole", "xray:PutTraceSegments"),
    }
)
"""Data events, which a trail has only if it is told to, and what would fill the list with nothing."""

NAMES = {
    "PutLifecycleConfiguration": "PutBucketLifecycle",
    "PutEncryptionConfiguration": "PutBucketEncryption",
    "DeleteBucketEncryption": "DeleteBucketEncryption",
}
"""Action as IAM names it → event, where these differ."""

RESOURCES = {
    "AllocationId": "AWS::EC2::EIP",
    "AutoScalingGroupName": "AWS::AutoScaling::AutoScalingGroup",
    "CertificateArn": "AWS::ACM::Certificate",
    "DBInstanceIdentifier": "AWS::RDS::DBInstance",
    "DBParameterGroupName": "AWS::RDS::DBParameterGroup",
    "DBSubnetGroupName": "AWS::RDS::DBSubnetGroup",
    "FunctionName": "AWS::Lambda::Function",
    "GroupId": "AWS::EC2::SecurityGroup",
    "InstanceId": "AWS::EC2::Instance",
    "LaunchTemplateId": "AWS::EC2::LaunchTemplate",
    "ListenerArn": "AWS::ElasticLoadBalancingV2::Listener",
    "LoadBalancerArn": "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "PolicyArn": "AWS::IAM::Policy",
    "ResourceId": "AWS::EC2::Resource",
    "RoleName": "AWS::IAM::Role",
    "RouteTableId": "AWS::EC2::RouteTable",
    "SecretId": "AWS::SecretsManager::Secret",
    "StackName": "AWS::CloudFormation::Stack",
    "SubnetId": "AWS::EC2::Subnet",
    "TargetGroupArn": "AWS::ElasticLoadBalancingV2::TargetGroup",
    "VpcId": "AWS::EC2::VPC",
}
"""Member of a request → the type of what it names."""

SOURCES = {"alb": "elasticloadbalancing", "stepfunctions": "states"}


@dataclass(frozen=True)
class Request:
    """A request that a service has answered."""

    service: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, Any]


_answered: contextvars.ContextVar[Request | None] = contextvars.ContextVar("answered", default=None)


def install(region: Region) -> None:
    """Record what was asked for and answered."""
    app = ministack("app")
    replace(app, "_maybe_record_cloudtrail", lambda _original: _note)
    replace(app, "_dispatch_service_request", lambda original: _recorded(region, original))


def _note(
    service: str, method: str, path: str, headers: Any, body: bytes, query: Any, *_rest: object
) -> None:
    _answered.set(Request(service, method, path, headers, body, query))


def _recorded(region: Region, original: Dispatch) -> Dispatch:
    async def dispatch(*arguments: Any) -> tuple[int, dict[str, str], bytes]:
        token = _answered.set(None)
        try:
            answer = await original(*arguments)
            request = _answered.get()
            if request is not None:
                _record(region, request, answer[0])
            return answer
        finally:
            _answered.reset(token)

    return dispatch


def _record(region: Region, request: Request, status: int) -> None:
    given = members(request)
    action = ministack("core.iam_actions").extract_iam_action(
        request.service,
        request.method,
        request.path,
        request.headers,
        request.body,
        {**given, **request.query},
    )
    if not action or not changes(action) or request.service == "cloudtrail":
        return
    evaluator = ministack("core.iam_evaluator")
    principal = evaluator.resolve_principal(evaluator._verified_key.get(), region.account)
    if isinstance(principal, evaluator.AuthError):
        return
    trail = ministack("services.cloudtrail")
    identifier = str(ministack("core.responses").new_uuid())
    trail._get_event_queue().append(
        event(region, request, action, identity(principal), trail._scrub(given), status, identifier)
    )


# Pure


def changes(action: str) -> bool:
    """Whether a management event of this action (service:Action) is more than a look."""
    return action not in DATA and not action.partition(":")[2].startswith(READING)


def members(request: Request) -> dict[str, Any]:
    """The request's parameters: of a form, of JSON, or the names in a path."""
    kind = request.headers.get("content-type", "")
    if "form" in kind:
        form = parse_qs(request.body.decode("utf-8", "replace"))
        return {name: values[0] if len(values) == 1 else values for name, values in form.items()}
    if "json" in kind and request.body:
        try:
            found = json.loads(request.body)
        except ValueError:
            return {}
        return dict(found) if isinstance(found, Mapping) else {}
    return {}


def named(request: Request, given: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What the request is about, as CloudTrail lists it."""
    parts = [part for part in request.path.split("/") if part]
    if request.service == "s3" and parts:
        yield {"ResourceType": "AWS::S3::Bucket", "ResourceName": parts[0]}
    if request.service == "route53" and "hostedzone" in parts[:-1]:
        zone = parts[parts.index("hostedzone") + 1]
        yield {"ResourceType": "AWS::Route53::HostedZone", "ResourceName": zone}
    for name, value in given.items():
        member = name.partition(".")[0]
        if member in RESOURCES and isinstance(value, str):
            yield {"ResourceType": RESOURCES[member], "ResourceName": value}


def identity(principal: Any) -> dict[str, Any]:
    """A principal of the emulator's as `userIdentity`."""
    name = str(principal.arn).rsplit("/", 1)[-1]
    told = {"arn": principal.arn, "accountId": principal.account}
    if principal.type == "User":
        return {"type": "IAMUser", "userName": name, **told}
    if principal.type == "AssumedRole":
        role = str(principal.arn).split("/")[-2]
        issuer = {"type": "Role", "userName": role}
        return {"type": "AssumedRole", **told, "sessionContext": {"sessionIssuer": issuer}}
    return {"type": str(principal.type), **told}


def event(
    region: Region,
    request: Request,
    action: str,
    who: Mapping[str, Any],
    given: Mapping[str, Any],
    status: int,
    identifier: str,
) -> dict[str, Any]:
    """An event as LookupEvents answers it."""
    now = time.time()
    service, _, name = action.partition(":")
    name = NAMES.get(name, name)
    source = f"{SOURCES.get(service, service)}.amazonaws.com"
    whole = {
        "eventVersion": "1.11",
        "userIdentity": dict(who),
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "eventSource": source,
        "eventName": name,
        "awsRegion": region.name,
        "userAgent": request.headers.get("user-agent", ""),
        "requestParameters": dict(given),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "eventID": identifier,
        **({"errorCode": str(status)} if status >= 400 else {}),
    }
    return {
        "EventId": identifier,
        "EventName": name,
        "ReadOnly": "false",
        "EventTime": now,
        "EventSource": source,
        "Username": who.get("userName") or str(who["arn"]).rsplit("/", 1)[-1],
        "Resources": list(named(request, given)),
        "CloudTrailEvent": json.dumps(whole, default=str),
    }
