"""What our modules have in common when they make CloudFormation create the real thing.

A create handler of the emulator writes a record and is done. Ours may wait until the thing really
works: such types run on a thread of their own, show their physical id meanwhile as AWS does, and give
up when the stack is deleted or the region goes down.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack

RELIES_ON = (
    ("core.responses", "request_scope"),
    ("core.responses", "now_iso"),
    ("services.cloudformation", "_stacks"),
    ("services.cloudformation.provisioners", "_RESOURCE_HANDLERS"),
    ("services.cloudformation.stacks", "_add_event"),
    ("services.cloudformation.stacks", "_runs_on_worker_thread"),
)

Handler = Callable[..., Any]

POLL_SECONDS = 0.1
"""How often a waiting create looks again."""


class Interrupted(Exception):
    """The wait was given up: the stack is being deleted, or the region goes down."""


@contextlib.contextmanager
def scope(region: Region) -> Iterator[None]:
    """The emulator's stores as seen by the region's account: for threads that serve no request."""
    with ministack("core.responses").request_scope(region.account, region.name):
        yield


def wrap_action(service: Any, action: str, make: Callable[[Handler], Handler]) -> None:
    """Replace the handler of an API action in ``service._ACTION_MAP`` by ``make(original)``."""
    service._ACTION_MAP[action] = make(service._ACTION_MAP[action])


def wrap_type(resource_type: str, operation: str, make: Callable[[Handler], Handler]) -> None:
    """Replace the create, update or delete handler of a CloudFormation type by ``make(original)``.

    A handler that replaces a resource calls its siblings by their module name, so that name is
    replaced as well.
    """
    provisioners = ministack("services.cloudformation.provisioners")
    handlers = provisioners._RESOURCE_HANDLERS[resource_type]
    original = handlers[operation]
    made = make(original)

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return made(*args, **kwargs)

    handlers[operation] = replacement
    name = str(getattr(original, "__name__", ""))
    if getattr(provisioners, name, None) is original:
        setattr(provisioners, name, replacement)


def after(original: Handler, then: Callable[[], None]) -> Handler:
    """`original`, followed by `then` whether it changed something or not (`then` must be repeatable)."""

    @functools.wraps(original)
    def both(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        finally:
            then()

    return both


def notify(service: Any, actions: tuple[str, ...], types: tuple[str, ...], then: Callable[[], None]) -> None:
    """Call `then` after any of the API `actions` and of the CloudFormation operations on `types`."""
    for action in actions:
        wrap_action(service, action, lambda original: after(original, then))
    provisioners = ministack("services.cloudformation.provisioners")
    for resource_type in types:
        for operation in ("create", "update", "delete"):
            if operation in provisioners._RESOURCE_HANDLERS.get(resource_type, {}):
                wrap_type(resource_type, operation, lambda original: after(original, then))


def on_a_thread(*resource_types: str) -> None:
    """These types may block: CloudFormation runs them on a thread of their own."""
    stacks = ministack("services.cloudformation.stacks")
    original = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda kind: kind in resource_types or original(kind)


def initiated(
    stack_name: str, logical_id: str, resource_type: str, physical_id: str, props: Mapping[str, Any], why: str
) -> None:
    """Publish that creation began: the event with the physical id, and the resource as in progress.

    AWS: "Resource creation Initiated", and for a certificate a second event with the DNS record.
    """
    stack = ministack("services.cloudformation")._stacks.get(stack_name)
    if stack is None:
        return
    ministack("services.cloudformation.stacks")._add_event(
        stack["StackId"], stack_name, logical_id, resource_type, "CREATE_IN_PROGRESS", why, physical_id
    )
    known = stack.setdefault("_resources", {}).get(logical_id)
    if known is None or known["ResourceStatus"] == "CREATE_IN_PROGRESS":
        stack["_resources"][logical_id] = {
            "PhysicalResourceId": physical_id,
            "ResourceType": resource_type,
            "ResourceStatus": "CREATE_IN_PROGRESS",
            "LogicalResourceId": logical_id,
            "Properties": dict(props),
            "Attributes": {},
            "Timestamp": ministack("core.responses").now_iso(),
        }


def abandoned(stack_name: str, logical_id: str) -> None:
    """Take back what `initiated` showed, after the create failed and cleaned up behind itself."""
    stack: dict[str, Any] = ministack("services.cloudformation")._stacks.get(stack_name) or {}
    known = stack.get("_resources", {}).get(logical_id)
    if known is not None and known["ResourceStatus"] == "CREATE_IN_PROGRESS":
        del stack["_resources"][logical_id]


def wait(region: Region, stack_name: str, ready: Callable[[], bool]) -> None:
    """Return once `ready()`; what it raises fails the resource.

    There is no deadline here, as there is none in CloudFormation below twelve hours: the state machine
    that waits for the stack has its own.
    """
    while not ready():
        if region.stopping.is_set():
            raise Interrupted("the region goes down")
        if _deleting(stack_name):
            raise Interrupted("Resource creation cancelled")
        time.sleep(POLL_SECONDS)


def _deleting(stack_name: str) -> bool:
    stack = ministack("services.cloudformation")._stacks.get(stack_name) or {}
    return str(stack.get("StackStatus", "DELETE_COMPLETE")).startswith("DELETE_")
