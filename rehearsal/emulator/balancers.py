"""The HAProxys behind the load balancers on record: one thread keeps them in agreement.

The emulator's records say what is wanted. Whatever changes them wakes the thread, which boots, feeds and
stops load balancers and ends the draining of targets. Nothing here answers a request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.provisioning import POLL_SECONDS, scope
from rehearsal.machines import Listener, LoadBalancer, Target, TargetGroup
from rehearsal.machines.load_balancer import REDIRECT

logger = logging.getLogger("region.elbv2")

DRAINING_UNTIL = "_draining_until"
"""Key of a registered target that is being deregistered: the time (seconds since 1970) when it is out."""

IDLE_SECONDS = 1.0
"""The longest pause of the thread: so late, at most, does a draining target leave after its time."""

READY_SECONDS = 300.0
"""After that a load balancer whose HAProxy does not answer has failed. It takes 2 s on a machine at rest."""


@dataclass
class Balancer:
    """What stands behind a load balancer. `addresses`: subnet id → private address."""

    name: str
    addresses: dict[str, str]
    public: str | None
    state: str = "provisioning"
    server: LoadBalancer | None = None
    applied: object = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def all_addresses(self) -> list[str]:
        """Private ones first: the first is the source of its requests to targets."""
        return [*self.addresses.values(), *([self.public] if self.public else [])]


class Balancers:
    """All load balancers of the region. Thread-safe."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._balancers: dict[str, Balancer] = {}

    # --- questions

    def get(self, arn: str) -> Balancer | None:
        """What stands behind a load balancer, if anything yet."""
        with self._lock:
            return self._balancers.get(arn)

    def members(self) -> dict[str, Collection[str]]:
        """For the firewall: every address, private or public → security groups."""
        with self._lock, scope(self._region):
            records = ministack("services.alb")._lbs
            return {
                address: list(records[arn]["SecurityGroups"])
                for arn, balancer in self._balancers.items()
                if arn in records
                for address in balancer.all_addresses()
            }

    def descriptions(self) -> dict[str, str]:
        """Of every address: how AWS describes a load balancer's network interfaces."""
        with self._lock:
            return {
                address: f"ELB {arn.partition(':loadbalancer/')[2]}"
                for arn, balancer in self._balancers.items()
                for address in balancer.all_addresses()
            }

    def lookup(self, name: str, kind: str, _source: str) -> list[str] | None:
        """For the DNS: a load balancer's name is its public address, inside a VPC too, as on AWS."""
        if not name.endswith(f".{self._region.name}.elb.amazonaws.com"):
            return None
        with scope(self._region):
            for arn, record in ministack("services.alb")._lbs.items():
                balancer = self.get(arn)
                if record["DNSName"].lower() == name.removeprefix("dualstack.") and balancer and kind == "A":
                    return [balancer.public] if balancer.public else list(balancer.addresses.values())
        return []

    def front(self) -> str | None:
        """The public address of the newest internet-facing load balancer that answers."""
        with self._lock:
            active = [b.public for b in self._balancers.values() if b.public and b.state == "active"]
        return active[-1] if active else None

    def running(self) -> dict[str, LoadBalancer]:
        """Those that are active, by ARN."""
        with self._lock:
            return {arn: b.server for arn, b in self._balancers.items() if b.server and b.state == "active"}

    def health(self, group_arn: str, target: str) -> tuple[str, str] | None:
        """(state, reason) of a target as its load balancer's checks have it; None while nobody checks."""
        for server in self.running().values():
            found = server.health(group_arn).get(target)
            if found is not None:
                return found
        return None

    # --- the thread

    def changed(self) -> None:
        """Something on record changed: look again soon."""
        self._wake.set()

    def run(self) -> None:
        """Until the region stops."""
        while not self._region.stopping.is_set():
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
            try:
                with scope(self._region):
                    self._agree()
            except Exception:
                logger.exception("load balancers could not be brought in agreement; trying again")
                self._region.stopping.wait(IDLE_SECONDS)

    def _agree(self) -> None:
        records = ministack("services.alb")._lbs
        with self._lock:
            known = dict(self._balancers)
        for arn in known.keys() - records.keys():
            self._stop(arn, known[arn])
        for arn, record in records.items():
            if arn not in known:
                self._begin(arn, record)
        remove_drained(time.time())
        for arn, balancer in known.items():
            if arn in records and balancer.state == "active":
                self._feed(arn, balancer)

    def _begin(self, arn: str, record: Mapping[str, Any]) -> None:
        subnets = ministack("services.ec2")._subnets
        taken = {
            subnet_id: self._region.addresses.take(subnets[subnet_id]["CidrBlock"])
            for subnet_id in record["Subnets"]
        }
        facing = record["Scheme"] == "internet-facing"
        public = self._region.addresses.take_public() if facing else None
        name = f"elb-{record['LoadBalancerName']}-{arn.rsplit('/', 1)[-1][:8]}"
        balancer = Balancer(name, taken, public)
        with self._lock:
            self._balancers[arn] = balancer
        self._region.security_changed()
        if self._region.machines is not None:
            self._region.open_vpc(record["VpcId"])
            self._region.background(self._boot, balancer, name=name)

    def _boot(self, balancer: Balancer) -> None:
        """Active once HAProxy answers."""
        assert self._region.machines is not None
        try:
            server = LoadBalancer.start(self._region.machines, balancer.name, balancer.all_addresses())
            deadline = time.monotonic() + READY_SECONDS
            while not server.ready():
                if time.monotonic() > deadline or self._region.stopping.is_set():
                    raise TimeoutError(f"{balancer.name}: HAProxy does not answer")
                time.sleep(POLL_SECONDS)
        except Exception:
            balancer.state = "failed"
            raise
        balancer.server = server
        balancer.state = "active"
        self.changed()

    def _stop(self, arn: str, balancer: Balancer) -> None:
        if balancer.state == "provisioning" and self._region.machines is not None:
            return  # it is still booting: next time
        if balancer.server is not None:
            balancer.server.stop()
        with self._lock:
            self._balancers.pop(arn, None)
        for address in balancer.all_addresses():
            self._region.addresses.release(address)
        balancer.stopped.set()
        self._region.security_changed()

    def _feed(self, arn: str, balancer: Balancer) -> None:
        """A HAProxy that refuses its configuration keeps the former one, and is told again later."""
        try:
            wanted = configuration(arn, self._address_of)
            if wanted != balancer.applied and balancer.server is not None:
                balancer.server.apply(*wanted)
                balancer.applied = wanted
        except Exception:
            logger.exception("%s could not be configured; trying again", balancer.name)

    def _address_of(self, target_id: str) -> str | None:
        if target_id.startswith("i-"):
            return self._region.instance_address(target_id)
        return target_id


# --- the emulator's records, read ---------------------------------------------------------------


def remove_drained(now: float) -> None:
    """Take out the targets whose deregistration delay is over."""
    registered = ministack("services.alb")._targets
    for group_arn, targets in registered.items():
        kept = [target for target in targets if target.get(DRAINING_UNTIL, now + 1) > now]
        if len(kept) < len(targets):
            registered[group_arn] = kept


def configuration(load_balancer_arn: str, address_of: Any) -> tuple[list[Listener], list[TargetGroup]]:
    """What a load balancer's HAProxy should do. `address_of`: target id → address, or None if it has none."""
    alb = ministack("services.alb")
    certificates = ministack("services.acm")._certificates
    own = [one for one in alb._listeners.values() if one["LoadBalancerArn"] == load_balancer_arn]
    listeners = [Listener(one["Port"], pem(one, certificates), default(one["DefaultActions"])) for one in own]
    zones = zones_of(load_balancer_arn)
    groups = []
    for arn in sorted({each.default for each in listeners} & set(alb._tgs.keys())):
        group = alb._tgs[arn]
        targets = reachable(alb._targets.get(arn, ()), group["Port"], zones, address_of)
        groups.append(target_group(group, targets))
    return listeners, groups


def pem(listener: Mapping[str, Any], certificates: Mapping[str, Mapping[str, str]]) -> str | None:
    """Key, certificate and chain of a TLS listener; None for plain HTTP."""
    if listener["Protocol"] != "HTTPS":
        return None
    certificate = certificates[listener["Certificates"][0]]
    return certificate["_private_key"] + certificate["_pem_body"] + certificate["_pem_chain"]


def default(actions: Iterable[Mapping[str, Any]]) -> str:
    """The default action as the machines take it: REDIRECT, or the ARN of a target group."""
    for action in actions:
        if action["Type"] == "redirect":
            return REDIRECT
        if action["Type"] == "forward":
            return str(action["TargetGroupArn"])
    return ""


def zones_of(load_balancer_arn: str) -> set[str]:
    """The availability zones that a load balancer serves."""
    subnets = ministack("services.ec2")._subnets
    record = ministack("services.alb")._lbs.get(load_balancer_arn) or {}
    return {subnets[one]["AvailabilityZone"] for one in record.get("Subnets", ()) if one in subnets}


def zone_of_target(target_id: str) -> str | None:
    """The availability zone of an instance; None for an address."""
    instance = ministack("services.ec2")._instances.get(target_id)
    return instance["Placement"]["AvailabilityZone"] if instance else None


def reachable(
    registered: Iterable[Mapping[str, Any]], group_port: int, zones: Collection[str], address_of: Any
) -> tuple[Target, ...]:
    """The registered targets that the load balancer can send to, in the order of registration."""
    found = []
    for one in registered:
        address = address_of(one["Id"])
        zone = zone_of_target(one["Id"])
        if address is not None and (zone is None or zone in zones):
            port = int(one.get("Port", group_port))
            found.append(Target(f"{one['Id']}:{port}", address, port, DRAINING_UNTIL in one))
    return tuple(found)


def target_group(record: Mapping[str, Any], targets: tuple[Target, ...]) -> TargetGroup:
    """A target group on record → as the machines take it."""
    return TargetGroup(
        arn=record["TargetGroupArn"],
        health_path=record["HealthCheckPath"],
        matcher=record["Matcher"]["HttpCode"],
        interval=record["HealthCheckIntervalSeconds"],
        healthy=record["HealthyThresholdCount"],
        unhealthy=record["UnhealthyThresholdCount"],
        timeout=record["HealthCheckTimeoutSeconds"],
        targets=targets,
    )
