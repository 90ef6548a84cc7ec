"""What services ask of the roles that they are handed, at the moment in which they ask.

Step Functions and Lambda refuse a role that they cannot assume, or that lacks what the service itself needs
of it; EventBridge starts a machine, and Lambda writes a function's log, only as far as the role allows it.
The emulator does all of that in nobody's name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import yaml

from rehearsal.emulator import identity
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, wrap_type

RELIES_ON = (
    ("services.stepfunctions", "_create_state_machine"),
    ("services.stepfunctions", "_update_state_machine"),
    ("services.stepfunctions", "_state_machines"),
    ("services.cloudformation.provisioners", "_sfn_definition"),
    ("services.lambda_svc", "_create_function"),
    ("services.lambda_svc", "_emit_lambda_logs"),
    ("services.eventbridge", "_invoke_target"),
    ("core.responses", "error_response_json"),
)

logger = logging.getLogger("region")

# https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html#sync-async-iam-policies
MANAGED_RULE = "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"
TO_MANAGE_RULES = ("events:PutTargets", "events:PutRule", "events:DescribeRule")
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
TO_LOG = (
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
TO_ATTACH = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface")
TO_WRITE_LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")


def install(region: Region) -> None:
    """Ask of roles what their services ask."""
    asks = _Asks(region)
    machines, functions = ministack("services.stepfunctions"), ministack("services.lambda_svc")
    replace(machines, "_create_state_machine", asks.machine_by_call)
    replace(machines, "_update_state_machine", asks.machine_by_call)
    replace(functions, "_create_function", asks.function_by_call)
    replace(functions, "_emit_lambda_logs", asks.writes_log)
    replace(ministack("services.eventbridge"), "_invoke_target", asks.delivers)
    # Where the properties are: (logical id, properties, …), and (physical id, old, new, …).
    for operation, position in (("create", 1), ("update", 2)):
        wrap_type("AWS::StepFunctions::StateMachine", operation, partial(asks.machine_in_stack, position))
        wrap_type("AWS::Lambda::Function", operation, partial(asks.function_in_stack, position))


class _Asks:
    def __init__(self, region: Region) -> None:
        self._region = region

    def _may(self, role: str, action: str, on: str) -> bool:
        return identity.role_allows(self._region, role, action, on)

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self._region.name}:{self._region.account}:{rest}"

    # State machines

    def machine_by_call(self, original: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def handle(data: dict[str, Any]) -> Any:
            existing = ministack("services.stepfunctions")._state_machines.get(data.get("stateMachineArn"))
            given = {**(existing or {}), **data}
            refusal = self._machine(
                str(given.get("roleArn", "")),
                str(given.get("definition", "")),
                given.get("loggingConfiguration") or {},
            )
            if refusal and given.get("roleArn"):
                return ministack("core.responses").error_response_json("AccessDeniedException", refusal, 400)
            return original(data)

        return handle

    def machine_in_stack(self, at: int, original: Handler) -> Handler:
        def handle(*args: Any, **kwargs: Any) -> Any:
            props: Mapping[str, Any] = args[at]
            definition = ministack("services.cloudformation.provisioners")._sfn_definition(props)
            logs = props.get("LoggingConfiguration") or {}
            refusal = self._machine(str(props.get("RoleArn", "")), definition, logs)
            if refusal:
                raise ValueError(f"Resource handler returned message: {refusal} (AccessDeniedException)")
            return original(*args, **kwargs)

        return handle

    def _machine(self, role: str, definition: str, logs: Mapping[str, Any]) -> str | None:
        """Why Step Functions does not take a machine with this role."""
        if not identity.trusts(role.rsplit("/", 1)[-1], "states.amazonaws.com"):
            return (
                "Neither the global service principal states.amazonaws.com, nor the regional one is "
                "authorized to assume the provided role."
            )
        rule = self._arn("events", MANAGED_RULE)
        if waits_for_children(definition) and not all(self._may(role, a, rule) for a in TO_MANAGE_RULES):
            return f"'{role}' is not authorized to create managed-rule."
        level = str(logs.get("level") or logs.get("Level") or "OFF")
        if level != "OFF" and not all(self._may(role, action, "*") for action in TO_LOG):
            return "The state machine IAM Role is not authorized to access the Log Destination"
        return None

    # Functions

    def function_by_call(self, original: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def handle(data: dict[str, Any]) -> Any:
            refusal = self._function(str(data.get("Role", "")), data.get("VpcConfig") or {})
            if refusal:
                make = ministack("core.responses").error_response_json
                return make("InvalidParameterValueException", refusal, 400)
            return original(data)

        return handle

    def function_in_stack(self, at: int, original: Handler) -> Handler:
        def handle(*args: Any, **kwargs: Any) -> Any:
            props: Mapping[str, Any] = args[at]
            refusal = self._function(str(props.get("Role", "")), props.get("VpcConfig") or {})
            if refusal:
                raise ValueError(
                    f'Resource handler returned message: "{refusal} (Service: Lambda, Status Code: 400)"'
                )
            return original(*args, **kwargs)

        return handle

    def _function(self, role: str, vpc: Mapping[str, Any]) -> str | None:
        """Why Lambda does not take a function with this role."""
        if not identity.trusts(role.rsplit("/", 1)[-1], "lambda.amazonaws.com"):
            return "The role defined for the function cannot be assumed by Lambda."
        for action in TO_ATTACH if vpc.get("SubnetIds") else ():
            if not self._may(role, action, "*"):
                name = action.partition(":")[2]
                return f"The provided execution role does not have permissions to call {name} on EC2"
        return None

    def writes_log(self, original: Callable[..., None]) -> Callable[..., None]:
        """Lambda drops what the function's role may not write, and says so to nobody."""

        def emit(func: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            config = func.get("config") or func
            name = str(config.get("FunctionName"))
            group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
            stream = self._arn("logs", f"log-group:{group}:log-stream:new")
            lacking = [a for a in TO_WRITE_LOGS if not self._may(str(config.get("Role", "")), a, stream)]
            if lacking:
                logger.warning("the log of %s is lost: its role may not %s", name, ", ".join(lacking))
                return
            original(func, *args, **kwargs)

        return emit

    # Rules

    def delivers(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """EventBridge, and its Scheduler, start a machine with the target's role. A refusal shows in a metric
        alone."""

        def invoke(target: dict[str, Any], event: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            machine, role = str(target.get("Arn", "")), str(target.get("RoleArn", ""))
            if ":states:" not in machine:
                return original(target, event, *args, **kwargs)
            scheduled = event.get("Source") == "aws.scheduler"
            service = "scheduler.amazonaws.com" if scheduled else "events.amazonaws.com"
            trusted = identity.trusts(role.rsplit("/", 1)[-1], service)
            if trusted and self._may(role, "states:StartExecution", machine):
                return original(target, event, *args, **kwargs)
            logger.warning(
                "%s: %s is not authorized to perform: states:StartExecution on resource: %s",
                "InvocationDroppedCount" if scheduled else "FailedInvocations",
                role or service,
                machine,
            )
            return None

        return invoke


def waits_for_children(definition: str) -> bool:
    """Whether a definition starts machines and waits for their end (.sync), for which rules are managed."""
    return any(":states:startExecution.sync" in text for text in _strings(_parsed(definition)))


def _parsed(definition: str) -> Any:
    try:
        return json.loads(definition)
    except ValueError:
        return yaml.safe_load(definition)


def _strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []
