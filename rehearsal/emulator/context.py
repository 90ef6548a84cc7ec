"""What the modules of the emulated region share: where it lives, its machines, and their wires.

A module never imports another service's module to change it; it connects to a signal here, or calls
a wire that its owner has set in `install`. So each module reads alone, and the order of installation
does not matter.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.emulator.addresses import AddressBook

if TYPE_CHECKING:
    from rehearsal.emulator.ec2 import Launch
    from rehearsal.emulator.library import Library
    from rehearsal.machines import LoadBalancer, Machines, Server

logger = logging.getLogger("region")


class Signal:
    """Something happened: everybody who connected is called, in order, in the caller's thread.

    A receiver that fails is logged and does not stop the others: the event did happen.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._receivers: list[Callable[[], None]] = []

    def connect(self, receiver: Callable[[], None]) -> None:
        """Call `receiver` whenever this happens."""
        self._receivers.append(receiver)

    def __call__(self) -> None:
        for receiver in list(self._receivers):
            try:
                receiver()
            except Exception:
                logger.exception("%s: %r failed", self.name, receiver)


def _signal(name: str) -> Any:
    return field(default_factory=lambda: Signal(name))


def _not_wired(name: str) -> Callable[..., Any]:
    def missing(*_args: object) -> Any:
        raise RuntimeError(f"region.{name} was called, but no module of the emulator has set it")

    return missing


@dataclass
class Region:
    """One emulated region. `machines` is None when only the control plane runs (workflow tests)."""

    run: Path
    """The folder that is deleted when the region goes down."""
    machines: Machines | None = None
    name: str = "eu-central-1"
    account: str = "000000000000"
    address: str = "169.254.170.1"
    port: int = 4566
    certificates: Path | None = None
    """PEM file of the certificate authority that functions and servers trust."""
    api_certificate: Path | None = None
    """PEM file (key, certificate) for AWS's names, with which the API also answers HTTPS."""
    log: Callable[[str], None] = logger.info
    addresses: AddressBook = field(default_factory=AddressBook)

    # Events
    instances_changed: Signal = _signal("instances_changed")
    """An instance began, became ready, or ended."""
    security_changed: Signal = _signal("security_changed")
    """A security group, a rule, or who is in a group changed: re-apply the firewall."""
    certificates_changed: Signal = _signal("certificates_changed")
    """A certificate was issued."""

    # Wires: set by the module that owns the answer
    instance_address: Callable[[str], str | None] = _not_wired("instance_address")
    """ec2: instance id → its private address while it is not terminated."""
    server: Callable[[str], Server | None] = _not_wired("server")
    """ec2: instance id → the server behind it, or None while there is none."""
    instance_credentials: Callable[[str], Mapping[str, Any] | None] = _not_wired("instance_credentials")
    """ec2: instance id → credentials of its role as instance metadata gives them out, None without a role."""
    reaches_aws: Callable[[str], bool] = _not_wired("reaches_aws")
    """ec2: whether a server's route (gateway, NAT, endpoints) leads to Systems Manager."""
    documents: Library = field(init=False)
    """ssm: the account's documents."""
    launch_instance: Callable[[Launch], str] = _not_wired("launch_instance")
    """ec2: start an instance and return its id; it is `pending` until its server runs."""
    end_instances: Callable[[Collection[str]], None] = _not_wired("end_instances")
    """ec2: terminate instances; returns at once."""
    register_targets: Callable[[str, Collection[str]], None] = _not_wired("register_targets")
    """elbv2: put instances (ids) into a target group (arn) on the group's port; repeated ids are no error."""
    deregister_targets: Callable[[str, Collection[str]], None] = _not_wired("deregister_targets")
    """elbv2: begin to drain the instances."""
    target_state: Callable[[str, str], str | None] = lambda _arn, _target: None
    """elbv2: (target group arn, instance id) → state as ELBv2 names it, or None if not registered."""

    load_balancers: Callable[[], Mapping[str, LoadBalancer]] = dict
    """elbv2: load balancer arn → what stands behind it, of those that are active."""

    put_metric: Callable[..., None] = _not_wired("put_metric")
    """cloudwatch: takes namespace, name, dimensions, value, seconds since 1970, unit of what was measured."""

    front_door: Callable[[], str | None] = lambda: None
    """elbv2: the public address that the host's ports lead to: the newest load balancer that answers."""

    may_read: Callable[[str, str, str, Mapping[str, Any] | None, str], str | None] = _not_wired("may_read")
    """stack_roles: (type, logical id, stack, properties, physical id) → why CloudFormation may not read the
    resource in the name of whoever it acts for, or None."""

    open_vpc: Callable[[str], None] = _not_wired("open_vpc")
    """vpc: make sure that the VPC (id) exists in the data plane before something is plugged into it."""
    lookups: list[Callable[[str, str, str], list[str] | None]] = field(default_factory=list)
    """Each: (lower-case name, record type, source address) → answers, or None if the name is not its own.
    The first that answers is believed; nobody's name does not exist. For rds, elbv2, route53."""

    members: list[Callable[[], Mapping[str, Collection[str]]]] = field(default_factory=list)
    """Each: private address → security group ids of what listens there. ec2, rds, elbv2, vpc_functions
    append one; security_groups joins them for the firewall."""
    interfaces: list[Callable[[], Mapping[str, str]]] = field(default_factory=list)
    """Each: private address → what AWS would describe the network interface with, of what a service runs in a
    subnet. rds, elbv2, vpc_functions append one; a server's has no description."""
    closing: list[Callable[[], None]] = field(default_factory=list)
    """Called in reverse order when the region goes down."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set as soon as the region is told to stop: whatever waits on a thread gives up."""

    @property
    def endpoint(self) -> str:
        """The AWS endpoint as functions and servers see it."""
        return f"http://{self.address}:{self.port}"

    def look_up(self, name: str, kind: str, source: str) -> list[str]:
        """What the region's resolver answers."""
        for lookup in self.lookups:
            answers = lookup(name, kind, source)
            if answers is not None:
                return answers
        return []

    def all_members(self) -> dict[str, set[str]]:
        """Every address with all security groups that apply to it."""
        joined: dict[str, set[str]] = {}
        for provider in self.members:
            for address, groups in provider().items():
                joined.setdefault(address, set()).update(groups)
        return joined

    def all_interfaces(self) -> dict[str, str]:
        """The descriptions of all network interfaces that services have made, by address."""
        return {address: said for provider in self.interfaces for address, said in provider().items()}

    def background(self, task: Callable[..., None], *args: object, name: str) -> threading.Thread:
        """Run `task` on a thread of its own; a failure is logged, not lost."""

        def guarded() -> None:
            try:
                task(*args)
            except Exception:
                logger.exception("%s failed", name)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Undo, last first, whatever the modules started."""
        for step in reversed(self.closing):
            try:
                step()
            except Exception:
                logger.exception("closing: %r failed", step)
