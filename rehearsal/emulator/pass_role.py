"""iam:PassRole: whoever hands a role to a service has to be allowed to, which the emulator does not ask."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("app", "_dispatch_service_request"),
    ("core.iam_actions", "access_denied_response"),
    ("core.iam_evaluator", "AuthError"),
    ("core.iam_evaluator", "enforce"),
    ("core.router", "extract_access_key_id"),
)

MEMBERS = {"cloudformation": "RoleARN", "lambda": "Role", "states": "roleArn"}
"""Signing name of a service → the member of its requests that names the role it is to take on."""

Dispatch = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]


def install(region: Region) -> None:
    """Ask for iam:PassRole before a request that hands a role on."""

    def make(original: Dispatch) -> Dispatch:
        async def dispatch(
            method: str, path: str, headers: Any, body: bytes, query: Any, request: str
        ) -> tuple[int, dict[str, str], bytes]:
            service, role = handed_on(headers, body)
            denied = _denied(region, service, role, headers, query) if role else None
            if denied is None:
                return await original(method, path, headers, body, query, request)
            refusal: tuple[int, dict[str, str], bytes] = ministack("core.iam_actions").access_denied_response(
                service, "iam:PassRole", denied.principal_arn, request, headers=headers, resource_arn=role
            )
            return refusal

        return dispatch

    replace(ministack("app"), "_dispatch_service_request", make)


def handed_on(headers: Mapping[str, str], body: bytes) -> tuple[str, str | None]:
    """The service that a request is signed for, and the role in it, if any."""
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/", headers.get("authorization", ""))
    service = scope.group(1) if scope else ""
    member = MEMBERS.get(service)
    if member is None or member.encode() not in body:
        return service, None
    if service == "cloudformation":
        return service, parse_qs(body.decode()).get(member, [None])[0]
    try:
        return service, json.loads(body).get(member)
    except (ValueError, AttributeError):
        return service, None


def _denied(region: Region, service: str, role: str, headers: Any, query: Any) -> Any:
    """The refusal, or None. Who is not even known is refused by the service itself."""
    evaluator = ministack("core.iam_evaluator")
    result = evaluator.enforce(
        ministack("core.router").extract_access_key_id(headers, query),
        "iam:PassRole",
        "iam",
        region.name,
        resource_arn=role,
        service_context={"iam:PassedToService": f"{service}.amazonaws.com"},
    )
    return None if result is None or isinstance(result, evaluator.AuthError) else result
