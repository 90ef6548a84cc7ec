"""Service Quotas, and what is counted against them: which the emulator has not, or answers at random.

The values are AWS's documented defaults, but for the virtual processors of standard instances: of those an
account has 5 by default, and nobody runs two environments with that, so this account has been given more. A
file ``quotas`` in the region's run folder stands for what else was asked for, one a line, read anew for each
question (``vpc L-F678F1CE 10``).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, wrap_action

RELIES_ON = (
    ("app", "SERVICE_HANDLERS"),
    ("core.iam_actions", "SERVICE_TO_IAM_NAMESPACE"),
    ("core.iam_actions", "extract_resource_arn"),
    ("core.router", "SERVICE_PATTERNS"),
    ("core.responses", "error_response_json"),
    ("core.responses", "json_response"),
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_describe_instance_types"),
)

SERVICE = "servicequotas"
TARGET = "ServiceQuotasV20190624"
QUOTAS = "quotas"

# Service, code → name, default. https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html
DEFAULTS: Mapping[tuple[str, str], tuple[str, float]] = {
    ("vpc", "L-F678F1CE"): ("VPCs per Region", 5),
    ("ec2", "L-0263D0A3"): ("EC2-VPC Elastic IPs", 5),
    ("ec2", "L-1216C47A"): ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5),
    ("elasticloadbalancing", "L-53DA6B97"): ("Application Load Balancers per Region", 50),
    ("rds", "L-272F1212"): ("Manual DB instance snapshots", 100),
}
APPLIED: Mapping[tuple[str, str], float] = {("ec2", "L-1216C47A"): 256}


def install(region: Region) -> None:
    """Answer Service Quotas, and how many processors a type of instance has."""
    router, app = ministack("core.router"), ministack("app")
    router.SERVICE_PATTERNS[SERVICE] = {"target_prefixes": [TARGET]}
    app.SERVICE_HANDLERS[SERVICE] = _handler(lambda: _lines(region))
    actions = ministack("core.iam_actions")
    actions.SERVICE_TO_IAM_NAMESPACE[SERVICE] = SERVICE
    replace(actions, "extract_resource_arn", _arns(region))
    wrap_action(ministack("services.ec2"), "DescribeInstanceTypes", _with_processors)


def _arns(region: Region) -> Callable[[Any], Any]:
    """Let IAM see the quota that is asked for; defaults know no resource."""

    def make(original: Any) -> Any:
        def resource(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
            if service != SERVICE or not headers.get("x-amz-target", "").endswith(".GetServiceQuota"):
                return str(original(service, method, path, headers, body, *rest))
            asked = json.loads(body or b"{}")
            quota = f"{asked.get('ServiceCode')}/{asked.get('QuotaCode')}"
            return f"arn:aws:{SERVICE}:{region.name}:{region.account}:{quota}"

        return resource

    return make


def _lines(region: Region) -> list[list[str]]:
    try:
        text = (region.run / QUOTAS).read_text()
    except FileNotFoundError:
        return []
    return [line.split() for line in text.splitlines() if line.strip()]


def value(service: str, code: str, lines: Iterable[list[str]], default: bool = False) -> float | None:
    """What is allowed; None if the rehearsal does not know that quota."""
    if (service, code) not in DEFAULTS:
        return None
    if default:
        return DEFAULTS[service, code][1]
    asked = {(line[0], line[1]): float(line[2]) for line in lines}
    return {**APPLIED, **asked}.get((service, code), DEFAULTS[service, code][1])


def _handler(lines: Callable[[], list[list[str]]]) -> Any:
    responses = ministack("core.responses")

    async def handle(_method: str, _path: str, headers: Mapping[str, str], body: bytes, _query: Any) -> Any:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation not in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
            what = f"{operation} is not offered by the rehearsal"
            return responses.error_response_json("InvalidAction", what, 400)
        asked = json.loads(body or b"{}")
        service, code = asked.get("ServiceCode", ""), asked.get("QuotaCode", "")
        found = value(service, code, lines(), operation == "GetAWSDefaultServiceQuota")
        if found is None:
            what = (
                f"The request failed because the specified service or quota does not exist: {service} {code}"
            )
            return responses.error_response_json("NoSuchResourceException", what, 400)
        told = {
            "ServiceCode": service,
            "QuotaCode": code,
            "QuotaName": DEFAULTS[service, code][0],
            "Value": found,
        }
        return responses.json_response({"Quota": told})

    return handle


# --- processors -------------------------------------------------------------------------------------------


def processors(instance_type: str) -> int:
    """Virtual processors of an instance type, by its size.

    https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
    """
    family, _, size = instance_type.partition(".")
    if found := re.fullmatch(r"([0-9]*)xlarge", size):
        return 4 * int(found[1] or 1)
    if family == "t2" and size in ("nano", "micro", "small"):
        return 1
    return 1 if size == "medium" and not family.startswith("t") else 2


def _with_processors(original: Handler) -> Handler:
    @functools.wraps(original)
    def described(params: dict[str, Any]) -> Any:
        status, headers, body = original(params)
        text = body.decode() if isinstance(body, bytes) else str(body)

        def corrected(found: re.Match[str]) -> str:
            return f"{found[1]}<defaultVCpus>{processors(found[2])}</defaultVCpus>"

        pattern = (
            r"(<instanceType>([^<]*)</instanceType>(?:(?!<instanceType>).)*?)<defaultVCpus>\d+</defaultVCpus>"
        )
        return status, headers, re.sub(pattern, corrected, text, flags=re.DOTALL).encode()

    return described
