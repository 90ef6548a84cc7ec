"""Functions in a VPC: each lives in a network namespace of its own, with an address of its subnet.

So the security groups of the function and of what it talks to decide about its packets, as for any
server. The Lambda runtime API needs no way in: the emulator's listening socket for it is opened inside
the function's namespace, where it is 127.0.0.1, as in Lambda's own sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, scope, wrap_type

RELIES_ON = (
    ("core.lambda_runtime", "ProvidedWorker._spawn"),
    ("services.lambda_svc", "_functions"),
    ("services.lambda_svc", "_vpc_config_with_id"),
    ("services.lambda_svc", "invalidate_worker"),
    ("services.ec2", "_subnets"),
)

CLONE_NEWNET = 0x40000000
"""Kind of namespace, for setns(2)."""

LOOK_SECONDS = 2.0
"""How soon a deleted function gives its address back."""


def install(region: Region) -> None:
    """Start functions with a VpcConfig where their subnet is."""
    interfaces = _Interfaces(region)
    region.members.append(interfaces.members)
    region.interfaces.append(interfaces.descriptions)
    worker = ministack("core.lambda_runtime").ProvidedWorker
    replace(worker, "_spawn", lambda original: _spawn_in_the_vpc(interfaces, original))
    for operation in ("create", "update"):
        wrap_type("AWS::Lambda::Function", operation, _keep_vpc_config)
    wrap_type("AWS::Lambda::Function", "delete", lambda original: _let_go(interfaces, original))
    region.background(interfaces.sweep, name="vpc-functions")


def vpc_of(config: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(subnet ids, security group ids) of a function's configuration, None for one outside any VPC."""
    given = config.get("VpcConfig") or {}
    subnets = tuple(given.get("SubnetIds") or ())
    return (subnets, tuple(given.get("SecurityGroupIds") or ())) if subnets else None


def _keep_vpc_config(original: Handler) -> Handler:
    """A function in a stack: the emulator's handlers drop its VpcConfig."""
    functions = ministack("services.lambda_svc")

    @functools.wraps(original)
    def handler(*args: Any, **kwargs: Any) -> Any:
        # create(logical id, props, stack name), update(physical id, old props, new props, …)
        props = args[1] if isinstance(args[2], str) else args[2]
        name, attributes = original(*args, **kwargs)
        functions._functions[name]["config"]["VpcConfig"] = functions._vpc_config_with_id(
            props.get("VpcConfig")
        )
        return name, attributes

    return handler


def _let_go(interfaces: _Interfaces, original: Handler) -> Handler:
    """CloudFormation has deleted a function when Lambda has let go of its network interface (minutes on AWS);
    one that is deleted through the API keeps it a little longer (`sweep`)."""

    @functools.wraps(original)
    def delete(physical_id: str, *args: Any) -> Any:
        answer = original(physical_id, *args)
        interfaces.let_go(physical_id.rpartition(":")[2])
        return answer

    return delete


@dataclass(frozen=True)
class _Interface:
    """A function's place in its VPC."""

    namespace: Path
    address: str
    groups: tuple[str, ...]
    vpc: tuple[tuple[str, ...], tuple[str, ...]]


class _Interfaces:
    """The places of all functions in VPCs, one a function. Thread-safe."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._lock = threading.RLock()
        self._interfaces: dict[str, _Interface] = {}

    def members(self) -> dict[str, Collection[str]]:
        """For the firewall: address → security groups."""
        with self._lock:
            return {one.address: one.groups for one in self._interfaces.values()}

    def descriptions(self) -> dict[str, str]:
        """As Lambda describes them: the function's name, and a mark of its own."""
        with self._lock:
            return {
                one.address: f"AWS Lambda VPC ENI-{name}-{uuid.uuid5(uuid.NAMESPACE_DNS, one.address)}"
                for name, one in self._interfaces.items()
            }

    def let_go(self, name: str) -> None:
        """Give the place of a function back, if it has one."""
        with self._lock:
            known = name in self._interfaces
            if known:
                ministack("services.lambda_svc").invalidate_worker(name)
                self._remove(name)
        if known:
            self._region.security_changed()

    def place(self, name: str, vpc: tuple[tuple[str, ...], tuple[str, ...]]) -> Path:
        """The network namespace of a function, made when it runs for the first time."""
        machines = self._region.machines
        if machines is None:
            raise RuntimeError(f"{name} has a VpcConfig, and there is no network in this region")
        with self._lock:
            known = self._interfaces.get(name)
            if known is not None and known.vpc == vpc:
                return known.namespace
            if known is not None:
                self._remove(name)
            subnet = ministack("services.ec2")._subnets[vpc[0][0]]
            self._region.open_vpc(subnet["VpcId"])
            address = self._region.addresses.take(subnet["CidrBlock"])
            try:
                namespace = machines.network.plug(f"function-{name}", [address])
            except BaseException:
                self._region.addresses.release(address)
                raise
            self._interfaces[name] = _Interface(namespace, address, vpc[1], vpc)
        self._region.security_changed()
        return namespace

    def sweep(self) -> None:
        """Give back the places of functions that are gone, until the region stops."""
        while not self._region.stopping.wait(LOOK_SECONDS):
            with self._lock, scope(self._region):
                existing = set(ministack("services.lambda_svc")._functions.keys())
                gone = [name for name in self._interfaces if name not in existing]
                for name in gone:
                    ministack("services.lambda_svc").invalidate_worker(name)
                    self._remove(name)
            if gone:
                self._region.security_changed()

    def _remove(self, name: str) -> None:
        one = self._interfaces.pop(name)
        if self._region.machines is not None:
            self._region.machines.network.unplug(f"function-{name}")
        self._region.addresses.release(one.address)


def _spawn_in_the_vpc(interfaces: _Interfaces, original: Handler) -> Handler:
    """The emulator's `_spawn`, which opens the runtime API and forks the function's process."""

    @functools.wraps(original)
    def spawn(self: Any, *args: Any, **kwargs: Any) -> Any:
        vpc = vpc_of(self.config)
        if vpc is None:
            return original(self, *args, **kwargs)
        with inside(interfaces.place(str(self.config["FunctionName"]), vpc)):
            return original(self, *args, **kwargs)

    return spawn


@contextlib.contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """This thread, and what it starts, in another network namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(namespace, os.O_RDONLY)
    try:
        _enter(libc, other)
        try:
            yield
        finally:
            _enter(libc, own)
    finally:
        os.close(own)
        os.close(other)


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
