"""CloudFormation acts as somebody: as the service role that it was given, else as whoever asked.

The emulator makes, changes and deletes resources in nobody's name. Here each operation is held against the
policies of that somebody first, as the resource types' handlers would be (`handler_permissions`), and the
reason of a refusal is the handlers' own sentence.
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.emulator import handler_permissions, identity
from rehearsal.emulator.context import Region
from rehearsal.emulator.handler_permissions import Need, Place, Resource
from rehearsal.emulator.internals import ministack, replace

RELIES_ON = (
    ("core.iam_evaluator", "AuthError"),
    ("core.iam_evaluator", "resolve_principal"),
    ("core.iam_evaluator", "_verified_key"),
    ("services.cloudformation", "_stacks"),
    ("services.cloudformation", "_change_sets"),
    ("services.cloudformation.handlers", "_ACTION_HANDLERS"),
    ("services.cloudformation.handlers", "_resolve_stack"),
    ("services.cloudformation.helpers", "_error"),
    ("services.cloudformation.helpers", "_p"),
    ("services.cloudformation.stacks", "_provision_resource"),
    ("services.cloudformation.stacks", "_update_resource"),
    ("services.cloudformation.stacks", "_delete_resource"),
    ("services.cloudformation.stacks", "_resolve_dynamic_references"),
    ("services.cloudformation.stacks", "_replacing_change"),
    ("services.ec2", "_launch_templates"),
)

PARAMETER = re.compile(r"\{\{resolve:ssm:([^:}]+)")
OPERATIONS = ("CreateStack", "UpdateStack", "DeleteStack", "ContinueUpdateRollback", "RollbackStack")
"""They take a RoleARN, which the stack keeps."""
NAMED = re.compile(r"<StackName>([^<]+)</StackName>")
"""A stack in the answer of DescribeStacks."""
DETECTIONS = ("DetectStackDrift", "DetectStackResourceDrift")
"""They read with the rights of whoever asks, whatever role the stack has: CloudFormation user guide,
"Considerations when detecting drift" (read permission for each resource, and for both actions)."""
SERVICE = "cloudformation.amazonaws.com"

Handler = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Actor:
    """In whose name an operation runs."""

    arn: str
    role: str | None = None
    """ARN of the service role; its policies are those of the moment of each call."""
    caller: Any = None
    """The principal that asked, if there is no role; None with neither: the emulator itself."""


_actor: contextvars.ContextVar[Actor] = contextvars.ContextVar("cloudformation_actor")


class Denied(Exception):
    """CloudFormation was refused something by another service."""


def install(region: Region) -> None:
    """Hold every operation on a resource against whoever it is done for."""
    stacks = ministack("services.cloudformation.stacks")
    roles = _Roles(region)
    handlers = ministack("services.cloudformation.handlers")._ACTION_HANDLERS
    for action in OPERATIONS:
        handlers[action] = roles.of_a_stack(handlers[action])
    handlers["CreateChangeSet"] = roles.of_a_new_change_set(handlers["CreateChangeSet"])
    handlers["ExecuteChangeSet"] = roles.of_a_change_set(handlers["ExecuteChangeSet"])
    for action in DETECTIONS:
        handlers[action] = roles.of_the_caller(handlers[action])
    handlers["DescribeStacks"] = roles.told(handlers["DescribeStacks"])
    region.may_read = roles.refusal_to_read
    replace(stacks, "_provision_resource", roles.creates)
    replace(stacks, "_update_resource", roles.updates)
    replace(stacks, "_delete_resource", roles.deletes)
    replace(stacks, "_resolve_dynamic_references", roles.looks_up)


class _Roles:
    def __init__(self, region: Region) -> None:
        self._region = region
        self._place = Place(region.name, region.account)
        self._of_stacks: dict[str, str] = {}
        self._of_change_sets: dict[str, str] = {}

    # Who acts

    def of_a_stack(self, original: Handler) -> Handler:
        """An operation on a stack: the role in the request, else the one that the stack has."""

        def handle(params: dict[str, Any]) -> Any:
            helpers = ministack("services.cloudformation.helpers")
            role = str(helpers._p(params, "RoleARN") or "")
            stack = self._stack(params)
            return self._as(role or self._of_stacks.get(stack, ""), original, params, stack)

        return handle

    def of_a_new_change_set(self, original: Handler) -> Handler:
        """A change set keeps the role that it was made with, for its execution."""

        def handle(params: dict[str, Any]) -> Any:
            role = str(ministack("services.cloudformation.helpers")._p(params, "RoleARN") or "")
            role = role or self._of_stacks.get(self._stack(params), "")
            answer = self._as(role, original, params, "")
            made = re.search(r"<Id>([^<]+)</Id>", _text(answer))
            if role and made:
                self._of_change_sets[made.group(1)] = role
            return answer

        return handle

    def of_a_change_set(self, original: Handler) -> Handler:
        """The execution of a change set, which gives the stack its role."""

        def handle(params: dict[str, Any]) -> Any:
            stack = self._stack(params)
            name = str(ministack("services.cloudformation.helpers")._p(params, "ChangeSetName") or "")
            found = ministack("services.cloudformation")._change_sets
            for identifier, change_set in found.items():
                of_this = name == identifier or (
                    name == change_set.get("ChangeSetName") and change_set.get("StackName") == stack
                )
                if of_this and identifier in self._of_change_sets:
                    return self._as(self._of_change_sets[identifier], original, params, stack)
            return self._as(self._of_stacks.get(stack, ""), original, params, stack)

        return handle

    def of_the_caller(self, original: Handler) -> Handler:
        """A detection of drift: in the name of whoever asks, who needs the right for single resources too."""

        def handle(params: dict[str, Any]) -> Any:
            helpers = ministack("services.cloudformation.helpers")
            given = str(helpers._p(params, "StackName") or "")
            found = ministack("services.cloudformation.handlers")._resolve_stack(given)
            need = Need("cloudformation:DetectStackResourceDrift", str((found or {}).get("StackId", given)))
            actor = self._actor("")
            if not self._allows(actor, need):
                return helpers._error(
                    "AccessDenied",
                    f"User: {actor.arn} is not authorized to perform: {need.action} on resource: {need.on}",
                    403,
                )
            token = _actor.set(actor)
            try:
                return original(params)
            finally:
                _actor.reset(token)

        return handle

    def told(self, original: Handler) -> Handler:
        """A description of stacks, with the role that each of them has."""

        def handle(params: dict[str, Any]) -> Any:
            status, headers, _ = answer = original(params)
            text = NAMED.sub(lambda found: found.group(0) + self._role_of(found.group(1)), _text(answer))
            return status, headers, text.encode()

        return handle

    def _role_of(self, stack: str) -> str:
        """As an element of the answer; none for a stack without a role."""
        role = self._of_stacks.get(stack)
        return f"<RoleARN>{role}</RoleARN>" if role else ""

    @staticmethod
    def _stack(params: dict[str, Any]) -> str:
        """The stack's name, by its name or id."""
        given = str(ministack("services.cloudformation.helpers")._p(params, "StackName") or "")
        stack = ministack("services.cloudformation.handlers")._resolve_stack(given)
        return str(stack["StackName"]) if stack else given

    def _as(self, role: str, original: Handler, params: dict[str, Any], stack: str) -> Any:
        """Do it in the name of the role, or of the caller; remember the stack's role if it was accepted."""
        if role and not identity.trusts(role.rsplit("/", 1)[-1], SERVICE):
            error = ministack("services.cloudformation.helpers")._error
            return error("ValidationError", f"Role {role} is invalid or cannot be assumed")
        # What runs on after the answer is a task of its own, with a copy of this context.
        token = _actor.set(self._actor(role))
        try:
            answer = original(params)
        finally:
            _actor.reset(token)
        if role and stack and answer[0] < 400:
            self._of_stacks[stack] = role
        return answer

    def _actor(self, role: str) -> Actor:
        if role:
            name = role.rsplit("/", 1)[-1]
            return Actor(
                f"arn:aws:sts::{self._region.account}:assumed-role/{name}/AWSCloudFormation", role=role
            )
        evaluator = ministack("core.iam_evaluator")
        caller = evaluator.resolve_principal(evaluator._verified_key.get(), self._region.account)
        if isinstance(caller, evaluator.AuthError):
            raise PermissionError(f"CloudFormation was asked by nobody known: {caller.message}")
        return Actor(caller.arn, caller=caller)

    # What may be done

    def creates(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def create(kind: str, logical_id: str, props: dict[str, Any], stack: str) -> Any:
            self._check("create", kind, logical_id, stack, props)
            return original(kind, logical_id, props, stack)

        return create

    def updates(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def update(
            kind: str,
            physical_id: str,
            old: dict[str, Any],
            new: dict[str, Any],
            stack: str,
            logical_id: str | None = None,
            attributes: dict[str, Any] | None = None,
        ) -> Any:
            if old != new:
                replacing = ministack("services.cloudformation.stacks")._replacing_change(kind, old, new)
                if replacing:
                    self._check("create", kind, logical_id or physical_id, stack, new)
                else:
                    # A property that is taken away is undone by the calls that would have set it.
                    self._check("update", kind, logical_id or physical_id, stack, {**old, **new}, physical_id)
            return original(kind, physical_id, old, new, stack, logical_id, attributes)

        return update

    def deletes(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def delete(
            kind: str,
            physical_id: str,
            props: dict[str, Any],
            stack: str | None = None,
            logical_id: str | None = None,
        ) -> Any:
            self._check("delete", kind, logical_id or physical_id, stack or "", props, physical_id)
            return original(kind, physical_id, props, stack, logical_id)

        return delete

    def looks_up(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Parameters of Systems Manager that a template names are read in the actor's name."""

        def resolve(value: Any, *args: Any, **kwargs: Any) -> Any:
            for name in sorted(set(PARAMETER.findall(str(value)))):
                owner = self._region.account if not name.startswith("/aws/") else ""
                arn = f"arn:aws:ssm:{self._region.name}:{owner}:parameter/{name.lstrip('/')}"
                self._ask([Need("ssm:GetParameters", arn)])
            return original(value, *args, **kwargs)

        return resolve

    def refusal_to_read(
        self, kind: str, logical_id: str, stack: str, props: Mapping[str, Any] | None, physical_id: str
    ) -> str | None:
        """Why whoever acts may not read a resource, None if he may."""
        try:
            self._check("read", kind, logical_id, stack, props or {}, physical_id)
        except (Denied, handler_permissions.UnknownType) as refused:
            return str(refused)
        return None

    def _check(
        self,
        operation: str,
        kind: str,
        logical_id: str,
        stack: str,
        props: Mapping[str, Any],
        physical_id: str | None = None,
    ) -> None:
        given = props or {}
        resource = Resource(kind, logical_id, stack, given, physical_id, self._handed_on(kind, given))
        self._ask(handler_permissions.needs(operation, resource, self._place))

    def _ask(self, needs: Iterable[Need]) -> None:
        actor = _actor.get(None)
        for need in needs:
            if actor is None or not self._allows(actor, need):
                who = actor.arn if actor else "nobody"
                service = need.action.partition(":")[0].capitalize()
                raise Denied(
                    f'Resource handler returned message: "User: {who} is not authorized to perform: '
                    f"{need.action} on resource: {need.on} because no identity-based policy allows the "
                    f'{need.action} action (Service: {service}, Status Code: 403)" '
                    "(HandlerErrorCode: AccessDenied)"
                )

    def _allows(self, actor: Actor, need: Need) -> bool:
        if actor.role:
            return identity.role_allows(self._region, actor.role, need.action, need.on, **need.context)
        return identity.principal_allows(self._region, actor.caller, need.action, need.on, **need.context)

    def _handed_on(self, kind: str, props: Mapping[str, Any]) -> list[str]:
        """ARNs of the roles that a resource hands to its service."""
        names: list[str] = []
        if kind == "AWS::IAM::InstanceProfile":
            names = [str(role) for role in props.get("Roles") or ()]
        elif kind == "AWS::Lambda::Function":
            names = [str(props.get("Role", ""))]
        elif kind == "AWS::StepFunctions::StateMachine":
            names = [str(props.get("RoleArn", ""))]
        elif kind == "AWS::Events::Rule":
            names = [str(target["RoleArn"]) for target in props.get("Targets") or () if target.get("RoleArn")]
        elif kind == "AWS::Scheduler::Schedule":
            names = [str((props.get("Target") or {}).get("RoleArn", ""))]
        elif kind == "AWS::AutoScaling::AutoScalingGroup":
            names = self._of_launch_template((props.get("LaunchTemplate") or {}).get("LaunchTemplateId"))
        elif props.get("IamInstanceProfile"):
            names = self._of_profile({"Name": props["IamInstanceProfile"]})
        return [name if name.startswith("arn:") else self._place.iam(f"role/{name}") for name in names]

    def _of_launch_template(self, identifier: Any) -> list[str]:
        template = ministack("services.ec2")._launch_templates.get(identifier)
        versions = (template or {}).get("Versions") or ()
        data = versions[-1].get("LaunchTemplateData") or {} if versions else {}
        return self._of_profile(data.get("IamInstanceProfile") or {})

    def _of_profile(self, profile: Mapping[str, Any]) -> list[str]:
        arn = profile.get("Arn") or self._place.iam(f"instance-profile/{profile.get('Name')}")
        role = identity.role_of_profile(str(arn))
        return [role] if role else []


def _text(answer: Any) -> str:
    body = answer[2]
    return body.decode() if isinstance(body, bytes) else str(body)
