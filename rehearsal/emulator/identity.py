"""IAM as strict as the real one where the emulator is not: who is root, and the roles of servers."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("core.iam_evaluator", "is_root_access_key"),
    ("services.sts", "is_root_access_key"),
    ("app", "pin_request_origin"),
    ("core.iam_actions", "extract_resource_arn"),
    ("core.iam_actions", "request_tag_context"),
    ("core.iam_actions", "extract_iam_action"),
    ("core.iam_evaluator", "EvalResult"),
    ("core.iam_evaluator", "_anonymous"),
    ("core.iam_evaluator", "_resource_policy"),
    ("core.iam_evaluator", "enforce"),
    ("core.iam_evaluator", "evaluate_resource_policy"),
    ("core.iam_evaluator", "EvalContext"),
    ("core.iam_evaluator", "evaluate"),
    ("core.iam_evaluator", "_gather_role_policies"),
    ("core.iam_evaluator", "_permissions_boundary"),
    ("core.iam_evaluator", "PrincipalInfo"),
    ("services.sts", "register_session"),
    ("services.sts", "_sessions"),
    ("services.iam", "_lookup_instance_profile"),
    ("services.iam", "_roles"),
)

ROLE_SESSION_SECONDS = 6 * 3600
"""How long credentials from instance metadata hold, as on EC2 ("Retrieve security credentials")."""


def install(region: Region) -> None:
    """Take away the emulator's back doors: the keys `test` and any account number are no root any more."""
    for module in ("core.iam_evaluator", "services.sts"):
        ministack(module).is_root_access_key = _is_root_access_key
    replace(ministack("app"), "pin_request_origin", _private_transport)
    replace(ministack("core.iam_actions"), "extract_resource_arn", _log_streams)
    replace(ministack("core.iam_actions"), "extract_resource_arn", _snapshots)
    replace(ministack("core.iam_actions"), "request_tag_context", _event_sources)
    replace(ministack("core.iam_actions"), "request_tag_context", _group_tags)
    replace(ministack("core.iam_actions"), "extract_iam_action", _every_action)
    replace(ministack("core.iam_evaluator"), "enforce", lambda original: _unsigned(region, original))


def _private_transport(pin: Callable[[str, bool], None]) -> Callable[[str, bool], None]:
    """Let `aws:SecureTransport` be true, as it is for every client of AWS.

    The region's API is plain HTTP on addresses that exist on this machine alone. Bucket policies that
    refuse insecure transport are so evaluated with the value that they meet in reality.
    """

    def pinned(source: str, _secure: bool) -> None:
        pin(source, True)

    return pinned


def _is_root_access_key(access_key_id: str) -> bool:
    # The empty key stands for calls that the emulator makes on its own behalf.
    return not access_key_id or access_key_id == os.environ["AWS_ACCESS_KEY_ID"]


def _every_action(original: Callable[..., str | None]) -> Callable[..., str | None]:
    """A request that stands for no known action is allowed by a policy with "*" alone, not to everybody."""

    def action(service: str, *rest: Any) -> str | None:
        found = original(service, *rest)
        return found or f"{service}:UnknownAction"

    return action


def _unsigned(region: Region, original: Callable[..., Any]) -> Callable[..., Any]:
    """S3 answers to nobody in particular only what the bucket's policy allows to everybody."""
    evaluator = ministack("core.iam_evaluator")

    def enforce(
        key: str, action: str, service: str, place: str, resource_arn: str = "*", **context: Any
    ) -> Any:
        if service != "s3" or key or not evaluator._anonymous.get():
            return original(key, action, service, place, resource_arn=resource_arn, **context)
        request = evaluator.EvalContext(
            principal_arn="anonymous",
            principal_type="Anonymous",
            principal_account="",
            action=action,
            resource_arn=resource_arn,
            region=region.name,
        )
        found = evaluator._resource_policy(service, resource_arn)
        answer = evaluator.evaluate_resource_policy(found[0] if found else None, request)
        if answer.decision == "Allow":
            return None
        return evaluator.EvalResult("ImplicitDeny", principal_arn="anonymous")

    return enforce


LOG_STREAM_ACTIONS = ("CreateLogStream", "PutLogEvents", "GetLogEvents", "DeleteLogStream")


def _log_streams(original: Callable[..., str]) -> Callable[..., str]:
    """Calls about a log stream are checked against the stream: policies name a group with ``:*``."""

    def resource(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        arn = original(service, method, path, headers, body, *rest)
        action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
        if service != "logs" or ":log-group:" not in arn:
            return arn
        if action in LOG_STREAM_ACTIONS:
            return f"{arn}:log-stream:{json.loads(body or b'{}').get('logStreamName', '')}"
        return f"{arn}:*" if action == "DescribeLogStreams" else arn

    return resource


def _snapshots(original: Callable[..., str]) -> Callable[..., str]:
    """Calls about a DB snapshot alone are checked against it; those that name an ARN, against that."""

    def resource(
        service: str,
        method: str,
        path: str,
        headers: Any,
        body: bytes,
        params: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        arn = original(service, method, path, headers, body, params, region, account)
        if service != "rds" or arn != "*":
            return arn
        given = params.get("DBSnapshotIdentifier") or params.get("ResourceIdentifier") or "*"
        name = str(given[0] if isinstance(given, list) else given)
        is_snapshot = "DBSnapshotIdentifier" in params
        return f"arn:aws:rds:{region}:{account}:snapshot:{name}" if is_snapshot else name

    return resource


def _group_tags(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Give conditions of rules of a security group the tags of the group: aws:ResourceTag."""

    def context(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        found = original(service, action, body, params)
        if service != "ec2" or not action.startswith(
            ("ec2:RevokeSecurityGroup", "ec2:AuthorizeSecurityGroup")
        ):
            return found
        given = params.get("GroupId") or ""
        group = str(given[0] if isinstance(given, list) else given)
        tags = ministack("services.ec2")._tags.get(group) or []
        return found | {f"aws:resourcetag/{tag['Key']}".lower(): tag.get("Value", "") for tag in tags}

    return context


def _event_sources(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Give conditions of PutEvents and PutMetricData their keys: events:source, events:detail-type,
    cloudwatch:namespace."""

    def context(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        found = original(service, action, body, params)
        if action == "cloudwatch:PutMetricData":
            return found | {"cloudwatch:namespace": _namespace(body, params)}
        if action != "events:PutEvents":
            return found
        entries = json.loads(body or b"{}").get("Entries") or []
        members = {"events:source": "Source", "events:detail-type": "DetailType"}
        return found | {
            key: _one_or_all(entry.get(name) for entry in entries) for key, name in members.items()
        }

    return context


def _namespace(body: bytes, params: Any) -> str:
    """Of the metrics in a request, which is JSON or a form (there is no CBOR here)."""
    given = params.get("Namespace")
    told = json.loads(body).get("Namespace", "") if body[:1] == b"{" else given
    return str(told[0] if isinstance(told, list) else told or "")


def _one_or_all(values: Iterable[Any]) -> Any:
    """The value if all are the same, else the list (which matches no condition on a single value)."""
    listed = [str(value or "") for value in values]
    return listed[0] if len(set(listed)) == 1 else listed


def role_allows(region: Region, role_arn: str, action: str, resource: str, **context: Any) -> bool:
    """Whether a role's policies (and its boundary) allow an action, outside of any signed request."""
    evaluator, iam = ministack("core.iam_evaluator"), ministack("services.iam")
    role = role_arn.rsplit("/", 1)[-1]
    principal = evaluator.PrincipalInfo(
        arn=role_arn,
        type="AssumedRole",
        account=region.account,
        policies=evaluator._gather_role_policies(role, region.account),
        limits=evaluator._permissions_boundary(iam._roles, role, region.account),
    )
    return principal_allows(region, principal, action, resource, **context)


def principal_allows(region: Region, principal: Any, action: str, resource: str, **context: Any) -> bool:
    """Whether a principal's policies allow an action, outside of any signed request.

    Root may do everything.
    """
    if principal.policies is None:
        return True
    evaluator = ministack("core.iam_evaluator")
    request = evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=resource,
        region=region.name,
        service_context={key.lower(): value for key, value in context.items()},
        principal_keys=principal.keys,
    )
    return bool(evaluator.evaluate(request, principal.policies, *principal.limits).decision == "Allow")


def role_credentials(account: str, role: str, session: str, generation: int) -> dict[str, Any]:
    """Credentials of an assumed role as the metadata service hands them out, known to the emulator.

    The same (role, session, generation) gives the same keys, so that a server that asks twice gets the
    same answer. Returns Role, AccessKeyId, SecretAccessKey, Token, Expiration (epoch seconds).
    """
    seed = f"{os.environ['AWS_SECRET_ACCESS_KEY']}:{account}:{role}:{session}:{generation}"

    def derive(purpose: str) -> str:
        return hashlib.sha256(f"{purpose}:{seed}".encode()).hexdigest()

    key = f"ASIA{derive('key')[:16].upper()}"
    sts = ministack("services.sts")
    if key not in sts._sessions:
        sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
                "UserId": f"{role}:{session}",
                "SecretAccessKey": derive("secret"),
                "SessionToken": derive("token"),
                "Expiration": time.time() + ROLE_SESSION_SECONDS,
            },
        )
    return {
        "Role": role,
        "AccessKeyId": key,
        "SecretAccessKey": derive("secret"),
        "Token": derive("token"),
        "Expiration": sts._sessions[key]["Expiration"],
    }


def role_of_profile(profile_arn: str) -> str | None:
    """Name of the role in an instance profile, or None."""
    profile = ministack("services.iam")._lookup_instance_profile(name="", arn=profile_arn)
    roles = (profile or {}).get("Roles") or []
    if not roles:
        return None
    return str(roles[0])


def trusts(role: str, service: str) -> bool:
    """Whether the role's trust policy lets the service (such as ``ec2.amazonaws.com``) assume it."""
    record = ministack("services.iam")._roles.get(role) or {}
    document = record.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):
        document = json.loads(document)
    return any(
        statement.get("Effect") == "Allow"
        and service in _listed(statement.get("Principal", {}).get("Service"))
        for statement in _listed(document.get("Statement"))
    )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
