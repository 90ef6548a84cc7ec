"""An application load balancer: HAProxy on a server of its own, led by its runtime API.

As with an ALB, a new target gets requests after its first passed check, an unhealthy one comes back
after as many passed checks as its group asks for, and a draining one ends what it has begun. Unlike
an ALB it answers 503 when all targets are unhealthy; an ALB then tries them all.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.machines import haproxy
from rehearsal.machines.counters import Counted, Counters
from rehearsal.machines.haproxy import (
    REDIRECT,
    Listener,
    Member,
    Reading,
    Statistics,
    Target,
    TargetGroup,
    backend,
)
from rehearsal.machines.machines import Machines
from rehearsal.machines.server import Server

__all__ = ["REDIRECT", "Listener", "LoadBalancer", "Target", "TargetGroup"]

logger = logging.getLogger("region.load_balancer")

CONFIGURATION = "/etc/haproxy/haproxy.cfg"
STATE = "/run/haproxy/state"
START_SECONDS = 120
LOOK_SECONDS = 0.2  # between two looks at new and leaving targets


@dataclass
class Registrations:
    """What HAProxy holds of one group. Servers are named in `admitted` once they have a check behind them."""

    members: list[Member] = field(default_factory=list)
    leaving: list[Member] = field(default_factory=list)
    admitted: set[str] = field(default_factory=set)


class LoadBalancer:
    """HAProxy on a server of its own. Thread-safe."""

    def __init__(self, machines: Machines, server: Server) -> None:
        self.server = server
        self._machines = machines
        self._lock = threading.RLock()
        self._listeners: tuple[Listener, ...] = ()
        self._groups: dict[str, TargetGroup] = {}
        self._held: dict[str, Registrations] = {}
        self._counters = Counters()
        self._numbers = itertools.count(1)
        self._ended = threading.Event()

    @classmethod
    def start(cls, machines: Machines, name: str, addresses: Sequence[str]) -> LoadBalancer:
        """Boot the server; returns at once. `ready()` tells when it takes configurations.

        `addresses`: a private one of each subnet, the first of which its requests to targets come
        from, and at least one public one (203.0.113.0/24).
        """
        files = {CONFIGURATION: haproxy.configuration((), (), {}).encode()}
        self = cls(machines, machines.boot(name, addresses, ["haproxy"], files))
        threading.Thread(target=self._watch, name=f"load-balancer-{name}", daemon=True).start()
        return self

    def ready(self) -> bool:
        """HAProxy runs and answers."""
        try:
            return bool(self._ask("show info"))
        except OSError:
            return False

    def apply(self, listeners: Sequence[Listener], groups: Sequence[TargetGroup]) -> None:
        """Put this configuration in force; a change of targets alone breaks no connection.

        Listeners and other settings are changed by a reload, in which the former process ends what it
        has begun. Waits until HAProxy runs. Raises RuntimeError when HAProxy refuses the configuration.
        """
        self._wait_ready()
        with self._lock:
            same = _shape(listeners, groups) == _shape(self._listeners, list(self._groups.values()))
            self._listeners = tuple(listeners)
            self._groups = {group.arn: group for group in groups}
            commands = [line for group in groups for line in self._register(group)]
            if same:
                for command in commands:
                    self._command(command)
            else:
                self._reload()

    def health(self, arn: str) -> Mapping[str, tuple[str, str]]:
        """Target id → (state, reason) in ELBv2's words; reason is "" when healthy."""
        with self._lock:
            return self._health(arn, self._statistics())

    def _health(self, arn: str, seen: Mapping[tuple[str, str], Statistics]) -> Mapping[str, tuple[str, str]]:
        group, held = self._groups.get(arn), self._held.get(arn, Registrations())
        if group is None:
            return {}
        used = any(listener.default == arn for listener in self._listeners)
        states = {}
        for target in group.targets:
            server = next((m.server for m in held.members if m.target.id == target.id), "")
            line = seen.get((backend(arn), server))
            states[target.id] = haproxy.health(line, server in held.admitted, target.draining, used)
        return states

    def counted(self) -> Counted:
        """What it has counted since it was made, but for what a process answers that is already ending after
        a reload. Raises OSError or ValueError when HAProxy does not answer."""
        with self._lock:
            seen = self._count().servers
            return Counted(
                {arn: self._counters.of(backend(arn)) for arn in self._groups},
                self._counters.all,
                self._counters.own,
                {arn: tuple(state for state, _ in self._health(arn, seen).values()) for arn in self._groups},
            )

    def _count(self) -> Reading:
        reading = haproxy.reading(self._ask(haproxy.READ))
        self._counters.take(reading)
        return reading

    def sessions(self, arn: str, target: str) -> int:
        """Requests that the target is answering now."""
        with self._lock:
            held = self._held.get(arn, Registrations())
            seen = self._statistics()
            servers = [m.server for m in [*held.members, *held.leaving] if m.target.id == target]
        return sum(line.sessions for server in servers if (line := seen.get((backend(arn), server))))

    def stop(self) -> None:
        """End it with its server."""
        self._ended.set()
        self._machines.end(self.server.name)

    def _register(self, group: TargetGroup) -> Iterator[str]:
        """Bring what is held in line with the group's targets; the runtime commands that do so."""
        held = self._held.setdefault(group.arn, Registrations())
        wanted = {target.id: target for target in group.targets}
        for member in list(held.members):
            target = wanted.get(member.target.id)
            if target is None or not _same_registration(member.target, target):
                held.members.remove(member)
                held.leaving.append(member)
                yield f"set server {backend(group.arn)}/{member.server} state drain"
                if target is None:  # deregistered for good: AWS closes what is left after the delay
                    yield f"shutdown sessions server {backend(group.arn)}/{member.server}"
            elif target.draining and not member.target.draining:
                held.members[held.members.index(member)] = Member(member.server, target)
                yield f"set server {backend(group.arn)}/{member.server} state drain"
        present = {member.target.id for member in held.members}
        for target in group.targets:
            if target.id not in present and not target.draining:
                member = Member(f"target-{next(self._numbers)}", target)
                held.members.append(member)
                yield from haproxy.addition(group, member)

    def _reload(self) -> None:
        held = self._held = {arn: self._held[arn] for arn in self._groups}
        for listener in self._listeners:
            if listener.certificate_pem is not None:
                path = haproxy.certificate_file(listener)
                self.server.write(path, listener.certificate_pem.encode(), 0o600)
        members = {arn: registrations.members for arn, registrations in held.items()}
        admitted = {server for registrations in held.values() for server in registrations.admitted}
        text = haproxy.configuration(self._listeners, list(self._groups.values()), members, admitted)
        self.server.write(CONFIGURATION, text.encode())
        for registrations in held.values():
            registrations.leaving.clear()  # the former process sees them out
        former = self._process()
        Path(self.server.socket_path(STATE)).write_text(self._ask("show servers state"))
        self._count()
        done = self.server.run(["systemctl", "reload", "haproxy"])
        if done.code != 0:
            said = self.server.run(["haproxy", "-c", "-f", CONFIGURATION]).stderr.decode()
            raise RuntimeError(f"{self.server.name}: HAProxy refuses its configuration: {said}")
        self._wait_ready(former)
        for arn, registrations in held.items():
            for member in registrations.members:
                if member.target.draining:
                    self._command(f"set server {backend(arn)}/{member.server} state drain")

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                with self._lock:
                    self._look()
            except OSError:
                if not self.server.alive():
                    return
            except Exception:
                logger.exception("%s: looking at targets failed", self.server.name)

    def _look(self) -> None:
        """Admit targets that have their first check behind them; drop those that have left."""
        waiting = [
            (arn, held)
            for arn, held in self._held.items()
            if held.leaving or any(member.server not in held.admitted for member in held.members)
        ]
        seen = self._count().servers if waiting else {}
        for arn, held in waiting:
            for member in held.members:
                line = seen.get((backend(arn), member.server))
                if member.server not in held.admitted and line and haproxy.checked(line):
                    self._command(f"set server {backend(arn)}/{member.server} weight 1")
                    held.admitted.add(member.server)
            for member in list(held.leaving):
                line = seen.get((backend(arn), member.server))
                if line is None or line.sessions == 0:
                    self._drop(arn, member)
                    held.leaving.remove(member)
                    held.admitted.discard(member.server)

    def _drop(self, arn: str, member: Member) -> None:
        name = f"{backend(arn)}/{member.server}"
        for command in (f"disable health {name}", f"set server {name} state maint", f"del server {name}"):
            self._command(command)

    def _statistics(self) -> dict[tuple[str, str], Statistics]:
        try:
            return haproxy.statistics(self._ask("show stat -1 4 -1"))
        except OSError:
            return {}

    def _process(self) -> str:
        return next((line for line in self._ask("show info").splitlines() if line.startswith("Pid:")), "")

    def _wait_ready(self, former: str = "") -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self._process() != former:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.server.name}: HAProxy does not answer: {self.server.console()}")

    def _command(self, command: str) -> None:
        answer = self._ask(command).strip()
        if answer and not answer.startswith(haproxy.SUCCESSES):
            logger.warning("%s: %s: %s", self.server.name, command, answer)

    def _ask(self, command: str) -> str:
        """One runtime command and its answer. Raises OSError when HAProxy is not there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
            wire.settimeout(5)
            wire.connect(self.server.socket_path(haproxy.RUNTIME_SOCKET))
            wire.sendall(command.encode() + b"\n")
            answer = b""
            while piece := wire.recv(65536):
                answer += piece
        return answer.decode()


def _shape(listeners: Sequence[Listener], groups: Sequence[TargetGroup]) -> object:
    """What only a reload can change: everything but the targets."""
    return list(listeners), [
        (g.arn, g.health_path, g.matcher, g.interval, g.healthy, g.unhealthy, g.timeout) for g in groups
    ]


def _same_registration(held: Target, wanted: Target) -> bool:
    """Whether a target keeps its registration: one that comes back from draining gets a new one."""
    returned = held.draining and not wanted.draining
    return (held.address, held.port) == (wanted.address, wanted.port) and not returned
