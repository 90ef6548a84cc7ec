"""Load balancers: an Application Load Balancer is a HAProxy; what its checks say is a target's health.

A deregistered target drains for the group's whole `deregistration_delay.timeout_seconds` and is shown as
`draining` until then, as on AWS: "even though target deregistration is complete, the status of the target
is displayed as draining until the deregistration delay timeout expires" (ELBv2 documentation, "Target
groups: deregistration delay").
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from rehearsal.emulator import acm, provisioning
from rehearsal.emulator.balancers import DRAINING_UNTIL, Balancers, zone_of_target, zones_of
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, after, notify, scope, wrap_action, wrap_type

RELIES_ON = (
    ("services.alb", "handle_request"),
    ("services.alb", "find_lb_for_host"),
    ("services.alb", "_find_lb_by_name"),
    ("core.concurrency", "run_offloop"),
    ("services.alb", "_ACTION_MAP"),
    ("services.alb", "_lbs"),
    ("services.alb", "_tgs"),
    ("services.alb", "_listeners"),
    ("services.alb", "_targets"),
    ("services.alb", "_lb_attrs"),
    ("services.alb", "_tg_attrs"),
    ("services.alb", "_lb_xml"),
    ("services.alb", "_tg_xml"),
    ("services.alb", "_parse_actions"),
    ("services.alb", "_parse_certificate_arns"),
    ("services.alb", "_parse_member_list"),
    ("services.alb", "_parse_targets_param"),
    ("services.alb", "_xml"),
    ("services.alb", "_empty"),
    ("services.alb", "_error"),
    ("services.alb", "_p"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_vpcs"),
    ("services.ec2", "_instances"),
    ("services.cloudformation.provisioners", "_elbv2_load_balancer_delete"),
    ("services.cloudformation.provisioners", "_elbv2_as_list"),
)

LOAD_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
LISTENER = "AWS::ElasticLoadBalancingV2::Listener"
TARGET_GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"
LISTENER_RULE = "AWS::ElasticLoadBalancingV2::ListenerRule"

NOT_OFFERED = ("CreateRule", "ModifyRule", "SetRulePriorities", "SetSubnets", "SetIpAddressType")

DELAY = "deregistration_delay.timeout_seconds"
DEFAULT_DELAY = 300.0

DESCRIPTIONS = {
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.ResponseCodeMismatch": "Health checks failed with these codes",
    "Target.Timeout": "Request timed out",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.InvalidState": "Target is in the stopped or terminated state",
}
"""TargetHealth: reason → description. Source: ELBv2 API reference, TargetHealth."""


class NotOffered(ValueError):
    """The rehearsal has nothing real for this."""


def install(region: Region) -> None:
    """Put a HAProxy behind every load balancer and its checks behind every target's health."""
    alb = ministack("services.alb")
    balancers = Balancers(region)
    service = _Service(region, balancers)
    region.members.append(balancers.members)
    region.interfaces.append(balancers.descriptions)
    region.lookups.insert(0, balancers.lookup)
    region.front_door = balancers.front
    region.load_balancers = balancers.running
    region.register_targets = service.register_instances
    region.deregister_targets = service.deregister_instances
    region.target_state = service.state
    for signal in (region.instances_changed, region.certificates_changed):
        signal.connect(balancers.changed)
    replace(alb, "handle_request", _health_off_the_loop)
    # The emulator would forward requests itself, past HAProxy and the security groups.
    for finder in ("find_lb_for_host", "_find_lb_by_name"):
        replace(alb, finder, lambda _original: _nowhere)
    _wrap_api(alb, service)
    _wrap_stacks(service)
    replace(alb, "_lb_xml", lambda _original: service.load_balancer_xml)
    replace(alb, "_tg_xml", _target_group_xml)
    notify(
        alb,
        tuple(action for action in alb._ACTION_MAP if not action.startswith("Describe")),
        (LOAD_BALANCER, LISTENER, TARGET_GROUP),
        balancers.changed,
    )
    region.background(balancers.run, name="elbv2")


def _nowhere(_name: str) -> None:
    """No load balancer of the emulator's own."""


def _health_off_the_loop(original: Handler) -> Handler:
    """DescribeTargetHealth asks HAProxy, which may be reloading: the server must not wait for it."""

    async def handle(method: str, path: str, headers: Any, body: Any, query: Mapping[str, Any]) -> Any:
        request = original(method, path, headers, body, query)
        text = body.decode() if isinstance(body, bytes) else str(body or "")
        if "Action=DescribeTargetHealth" not in text:
            return await request
        return await ministack("core.concurrency").run_offloop(_result, request)

    return handle


def _result(request: Coroutine[Any, None, Any]) -> Any:
    """What a coroutine returns that never really waits."""
    try:
        request.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the emulator's ELBv2 handler waits: it was synchronous in the version relied on")


def _wrap_api(alb: Any, service: _Service) -> None:
    for action in NOT_OFFERED:
        alb._ACTION_MAP[action] = _refuse(action)
    wrap_action(alb, "CreateLoadBalancer", service.create_by_api)
    wrap_action(alb, "DeleteLoadBalancer", service.delete_by_api)
    wrap_action(alb, "CreateListener", _checked_listener_by_api)
    wrap_action(alb, "ModifyListener", _checked_listener_by_api)
    wrap_action(alb, "DeleteTargetGroup", _unused_by_api)
    wrap_action(alb, "SetSecurityGroups", lambda original: after(original, service.region.security_changed))
    alb._ACTION_MAP["RegisterTargets"] = service.register_by_api
    alb._ACTION_MAP["DeregisterTargets"] = service.deregister_by_api
    alb._ACTION_MAP["DescribeTargetHealth"] = service.describe_health


def _wrap_stacks(service: _Service) -> None:
    provisioning.on_a_thread(LOAD_BALANCER)
    wrap_type(LOAD_BALANCER, "create", service.create_by_stack)
    wrap_type(LOAD_BALANCER, "update", service.update_by_stack)
    wrap_type(LOAD_BALANCER, "delete", service.delete_by_stack)
    wrap_type(LISTENER, "create", _listener_created_by_stack)
    wrap_type(LISTENER, "update", _listener_updated_by_stack)
    wrap_type(TARGET_GROUP, "delete", _unused_by_stack)
    for operation in ("create", "update"):
        wrap_type(LISTENER_RULE, operation, lambda _original: _refuse_rule)


def _refuse(action: str) -> Handler:
    def refused(_params: Mapping[str, Any]) -> Any:
        return ministack("services.alb")._error(
            "OperationNotPermitted", f"{action} is not offered by the rehearsal"
        )

    return refused


def _refuse_rule(*_args: Any) -> Any:
    raise NotOffered("listener rules are not offered by the rehearsal")


# --- decisions ----------------------------------------------------------------------------------


def load_balancer_problem(kind: str, subnets: Iterable[Mapping[str, Any] | None]) -> str | None:
    """Why a load balancer of this type in these subnets (None: there is no such subnet) is refused."""
    if kind not in ("", "application"):
        return f"the rehearsal offers application load balancers only, not {kind!r}"
    found = list(subnets)
    if None in found:
        return "One or more subnets do not exist"
    if len({subnet["AvailabilityZone"] for subnet in found if subnet}) < 2:
        return "At least two subnets in two different Availability Zones must be specified"
    return None


def action_problem(actions: Iterable[Mapping[str, Any]]) -> str | None:
    """Why default actions cannot be carried out here."""
    for action in actions:
        redirect = action.get("RedirectConfig") or {}
        if action.get("Type") == "redirect":
            if redirect.get("Protocol") != "HTTPS" or redirect.get("StatusCode") != "HTTP_301":
                return "the rehearsal offers redirects to HTTPS with HTTP_301 only"
        elif action.get("Type") != "forward":
            return f"the rehearsal offers no default action of type {action.get('Type')!r}"
    return None


def certificate_problem(protocol: str, certificate_arns: Collection[str]) -> str | None:
    """Why a listener cannot present its certificate: ELBv2 takes an issued one only."""
    if protocol != "HTTPS":
        return None
    if not certificate_arns:
        return "A certificate must be specified for HTTPS listeners"
    certificates = ministack("services.acm")._certificates
    for arn in certificate_arns:
        if arn not in certificates:
            return f"Certificate '{arn}' not found"
        if not acm.issued(certificates[arn]):
            return (
                f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, "
                "and a supported key size."
            )
    return None


def users(group_arn: str) -> list[str]:
    """The load balancers with a listener that forwards to the group."""
    return sorted(
        {
            one["LoadBalancerArn"]
            for one in ministack("services.alb")._listeners.values()
            if any(action.get("TargetGroupArn") == group_arn for action in one["DefaultActions"])
        }
    )


def delay(attributes: Iterable[Mapping[str, str]]) -> float:
    """A target group's deregistration delay in seconds."""
    for attribute in attributes:
        if attribute["Key"] == DELAY:
            return float(attribute["Value"])
    return DEFAULT_DELAY


def is_protected(attributes: Iterable[Mapping[str, str]]) -> bool:
    """Whether a load balancer's deletion protection is on."""
    return any(a["Key"] == "deletion_protection.enabled" and a["Value"] == "true" for a in attributes)


def port_of(target: Mapping[str, Any], group: Mapping[str, Any]) -> int:
    """The port of a registration: its own, or the group's."""
    return int(target.get("Port") or group["Port"])


# --- listeners and target groups ----------------------------------------------------------------


def _checked_listener_by_api(original: Handler) -> Handler:
    alb = ministack("services.alb")

    @functools.wraps(original)
    def handler(params: dict[str, Any]) -> Any:
        existing = alb._listeners.get(alb._p(params, "ListenerArn")) or {}
        protocol = alb._p(params, "Protocol") or existing.get("Protocol", "HTTP")
        certificates = alb._parse_certificate_arns(params) or existing.get("Certificates", [])
        if problem := certificate_problem(protocol, certificates):
            return alb._error("UnsupportedCertificate", problem)
        if problem := action_problem(alb._parse_actions(params, "DefaultActions")):
            return alb._error("OperationNotPermitted", problem)
        return original(params)

    return handler


def _check_listener(props: Mapping[str, Any]) -> None:
    arns = [one["CertificateArn"] for one in props.get("Certificates") or ()]
    problem = certificate_problem(props.get("Protocol", "HTTP"), arns)
    if problem := problem or action_problem(props.get("DefaultActions") or ()):
        raise NotOffered(problem)


def _listener_created_by_stack(original: Handler) -> Handler:
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        _check_listener(props)
        return original(logical_id, props, stack_name)

    return create


def _listener_updated_by_stack(original: Handler) -> Handler:
    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], *names: Any) -> Any:
        _check_listener(new)
        return original(physical_id, old, new, *names)

    return update


def _in_use(group_arn: str) -> str | None:
    used = users(group_arn)
    return f"Target group '{group_arn}' is currently in use by a listener or a rule" if used else None


def _unused_by_api(original: Handler) -> Handler:
    alb = ministack("services.alb")

    @functools.wraps(original)
    def delete(params: dict[str, Any]) -> Any:
        problem = _in_use(alb._p(params, "TargetGroupArn"))
        return alb._error("ResourceInUse", problem) if problem else original(params)

    return delete


def _unused_by_stack(original: Handler) -> Handler:
    def delete(physical_id: str, props: dict[str, Any]) -> Any:
        if problem := _in_use(physical_id):
            raise ValueError(problem)
        return original(physical_id, props)

    return delete


def _target_group_xml(original: Handler) -> Handler:
    """The load balancers of a group are those whose listeners forward to it now."""

    @functools.wraps(original)
    def rendered(group: dict[str, Any]) -> str:
        return str(original(group | {"LoadBalancerArns": users(group["TargetGroupArn"])}))

    return rendered


# --- load balancers and targets -----------------------------------------------------------------


class _Service:
    """Handlers that need to know what stands behind a load balancer."""

    def __init__(self, region: Region, balancers: Balancers) -> None:
        self.region = region
        self._balancers = balancers

    def create_by_api(self, original: Handler) -> Handler:
        """CreateLoadBalancer; the answer says `provisioning`."""
        alb = ministack("services.alb")

        @functools.wraps(original)
        def create(params: dict[str, Any]) -> Any:
            subnets = _subnets(alb._parse_member_list(params, "Subnets"))
            if problem := load_balancer_problem(alb._p(params, "Type"), subnets):
                return alb._error("ValidationError", problem)
            before = set(alb._lbs.keys())
            status, headers, body = original(params)
            for arn in set(alb._lbs.keys()) - before:
                _correct(alb._lbs[arn])
                body = alb._xml(
                    200, "CreateLoadBalancer", f"<LoadBalancers>{alb._lb_xml(alb._lbs[arn])}</LoadBalancers>"
                )[2]
            return status, headers, body

        return create

    def delete_by_api(self, original: Handler) -> Handler:
        """DeleteLoadBalancer: its listeners go with it."""
        alb = ministack("services.alb")

        @functools.wraps(original)
        def delete(params: dict[str, Any]) -> Any:
            arn = alb._p(params, "LoadBalancerArn")
            if is_protected(alb._lb_attrs.get(arn, ())):
                return alb._error(
                    "OperationNotPermitted",
                    f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled",
                )
            for listener_arn, listener in alb._listeners.items():
                if listener["LoadBalancerArn"] == arn:
                    alb._delete_listener({"ListenerArn": [listener_arn]})
            return original(params)

        return delete

    def create_by_stack(self, original: Handler) -> Handler:
        """Complete once the load balancer is active."""
        alb = ministack("services.alb")

        def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
            as_list = ministack("services.cloudformation.provisioners")._elbv2_as_list
            subnets = _subnets(as_list(props.get("Subnets")))
            if problem := load_balancer_problem(props.get("Type", ""), subnets):
                raise NotOffered(problem)
            arn, attributes = original(logical_id, props, stack_name)
            _correct(alb._lbs[arn])
            self._balancers.changed()
            why = "Resource creation Initiated"
            try:
                provisioning.initiated(stack_name, logical_id, LOAD_BALANCER, arn, props, why)
                provisioning.wait(self.region, stack_name, lambda: self._active(arn))
            except BaseException:
                provisioning.abandoned(stack_name, logical_id)
                alb._lbs.pop(arn, None)
                self._balancers.changed()
                raise
            return arn, attributes | {"SecurityGroups": alb._lbs[arn]["SecurityGroups"]}

        return create

    def update_by_stack(self, original: Handler) -> Handler:
        """Groups and attributes in place; other subnets are not offered."""
        as_list = ministack("services.cloudformation.provisioners")._elbv2_as_list

        def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], *names: Any) -> Any:
            if set(as_list(old.get("Subnets"))) != set(as_list(new.get("Subnets"))):
                raise NotOffered("the rehearsal cannot move a load balancer to other subnets")
            result = original(physical_id, old, new, *names)
            self.region.security_changed()
            return result

        return update

    def delete_by_stack(self, original: Handler) -> Handler:
        """Waits until the HAProxy is gone and its addresses are free."""
        alb = ministack("services.alb")

        def delete(physical_id: str, props: dict[str, Any]) -> Any:
            if is_protected(alb._lb_attrs.get(physical_id, ())):
                raise ValueError(
                    f"Load balancer '{physical_id}' cannot be deleted because deletion protection is enabled"
                )
            balancer = self._balancers.get(physical_id)
            result = original(physical_id, props)
            self._balancers.changed()
            while balancer is not None and not balancer.stopped.wait(provisioning.POLL_SECONDS):
                if self.region.stopping.is_set():
                    raise provisioning.Interrupted("the region goes down")
            return result

        return delete

    def _active(self, arn: str) -> bool:
        balancer = self._balancers.get(arn)
        if balancer is not None and balancer.state == "failed":
            raise RuntimeError("the load balancer did not start")
        return balancer is not None and balancer.state == "active"

    def load_balancer_xml(self, record: Mapping[str, Any]) -> str:
        """A load balancer as DescribeLoadBalancers shows it."""
        balancer = self._balancers.get(record["LoadBalancerArn"])
        state = balancer.state if balancer is not None else "provisioning"
        zones = "".join(
            f"<member><ZoneName>{subnet['AvailabilityZone']}</ZoneName>"
            f"<SubnetId>{subnet['SubnetId']}</SubnetId><LoadBalancerAddresses/></member>"
            for subnet in _subnets(record["Subnets"])
            if subnet
        )
        groups = "".join(f"<member>{group}</member>" for group in record["SecurityGroups"])
        simple = {
            "LoadBalancerArn": record["LoadBalancerArn"],
            "LoadBalancerName": record["LoadBalancerName"],
            "DNSName": record["DNSName"],
            "CanonicalHostedZoneId": "Z35SXDOTRQ7X7K",  # what the emulator's GetAtt answers
            "CreatedTime": record["CreatedTime"],
            "Scheme": record["Scheme"],
            "VpcId": record["VpcId"],
            "Type": record["Type"],
            "IpAddressType": record.get("IpAddressType", "ipv4"),
        }
        fields = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in simple.items())
        return (
            f"<member>{fields}<State><Code>{state}</Code></State>"
            f"<AvailabilityZones>{zones}</AvailabilityZones><SecurityGroups>{groups}</SecurityGroups></member>"
        )

    # targets

    def register_instances(self, group_arn: str, instances: Collection[str]) -> None:
        """Wire for Auto Scaling. Unknown groups are an error (KeyError)."""
        with scope(self.region):
            self._register(group_arn, [{"Id": instance} for instance in instances])

    def deregister_instances(self, group_arn: str, instances: Collection[str]) -> None:
        """Wire for Auto Scaling; instances that are not registered are ignored."""
        with scope(self.region):
            if group_arn in ministack("services.alb")._tgs:
                self._deregister(group_arn, [{"Id": instance} for instance in instances])

    def state(self, group_arn: str, instance: str) -> str | None:
        """Wire for Auto Scaling: the state of a registered instance, None for any other."""
        with scope(self.region):
            alb = ministack("services.alb")
            for target in alb._targets.get(group_arn, ()):
                if target["Id"] == instance:
                    return self._health(alb._tgs[group_arn], target)[0]
        return None

    def register_by_api(self, params: dict[str, Any]) -> Any:
        """RegisterTargets: on the group's port unless another is given."""
        alb = ministack("services.alb")
        group_arn, targets = alb._p(params, "TargetGroupArn"), alb._parse_targets_param(params)
        group = alb._tgs.get(group_arn)
        if group is None:
            return alb._error("TargetGroupNotFound", f"Target group '{group_arn}' not found.")
        missing = [t["Id"] for t in targets if group["TargetType"] == "instance" and not self._runs(t["Id"])]
        if missing:
            named = ", ".join(f"'{one}'" for one in missing)
            return alb._error(
                "InvalidTarget",
                f"The following targets are not in a running state and cannot be registered: {named}",
            )
        self._register(group_arn, targets)
        return alb._empty("RegisterTargets")

    def deregister_by_api(self, params: dict[str, Any]) -> Any:
        """DeregisterTargets: draining begins."""
        alb = ministack("services.alb")
        group_arn, targets = alb._p(params, "TargetGroupArn"), alb._parse_targets_param(params)
        if group_arn not in alb._tgs:
            return alb._error("TargetGroupNotFound", f"Target group '{group_arn}' not found.")
        self._deregister(group_arn, targets)
        return alb._empty("DeregisterTargets")

    def _runs(self, instance: str) -> bool:
        return self.region.instance_address(instance) is not None

    def _register(self, group_arn: str, targets: Iterable[Mapping[str, Any]]) -> None:
        alb = ministack("services.alb")
        group = alb._tgs[group_arn]
        registered = alb._targets.setdefault(group_arn, [])
        for target in targets:
            same = _registration(registered, target["Id"], port_of(target, group), group)
            if same is None:
                registered.append({"Id": target["Id"], "Port": port_of(target, group)})
            else:
                same.pop(DRAINING_UNTIL, None)
        self._balancers.changed()

    def _deregister(self, group_arn: str, targets: Iterable[Mapping[str, Any]]) -> None:
        """Without a port, every registration of the id goes. Who is draining already keeps its time."""
        alb = ministack("services.alb")
        group = alb._tgs[group_arn]
        out = time.time() + delay(alb._tg_attrs.get(group_arn, ()))
        for target in targets:
            for one in alb._targets.get(group_arn, ()):
                wanted = target.get("Port")
                if one["Id"] == target["Id"] and wanted in (None, port_of(one, group)):
                    one.setdefault(DRAINING_UNTIL, out)
        self._balancers.changed()

    def describe_health(self, params: dict[str, Any]) -> Any:
        """DescribeTargetHealth: of all registered targets, or of those asked for."""
        alb = ministack("services.alb")
        group_arn = alb._p(params, "TargetGroupArn")
        group = alb._tgs.get(group_arn)
        if group is None:
            return alb._error("TargetGroupNotFound", f"Target group '{group_arn}' not found.")
        registered = alb._targets.get(group_arn, [])
        asked = alb._parse_targets_param(params) or registered
        members = "".join(
            health_xml(target["Id"], port_of(target, group), *self._asked(group, registered, target))
            for target in asked
        )
        inner = f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"
        return alb._xml(200, "DescribeTargetHealth", inner)

    def _asked(
        self, group: Mapping[str, Any], registered: list[dict[str, Any]], target: Mapping[str, Any]
    ) -> tuple[str, str]:
        same = _registration(registered, target["Id"], port_of(target, group), group)
        return self._health(group, same) if same is not None else ("unused", "Target.NotRegistered")

    def _health(self, group: Mapping[str, Any], target: Mapping[str, Any]) -> tuple[str, str]:
        """(state, reason) of a registered target. Health itself is known to HAProxy alone."""
        arn = group["TargetGroupArn"]
        balancers = users(arn)
        if DRAINING_UNTIL in target:
            return "draining", "Target.DeregistrationInProgress"
        if group["TargetType"] == "instance" and not self._runs(target["Id"]):
            return "unused", "Target.InvalidState"
        zone = zone_of_target(target["Id"])
        if not any(zone is None or zone in zones_of(balancer) for balancer in balancers):
            return "unused", "Target.NotInUse"
        found = self._balancers.health(arn, f"{target['Id']}:{port_of(target, group)}")
        return found if found is not None else ("initial", "Elb.RegistrationInProgress")


def _subnets(ids: Iterable[str]) -> list[Mapping[str, Any] | None]:
    known = ministack("services.ec2")._subnets
    return [known.get(one) for one in ids]


def _correct(record: dict[str, Any]) -> None:
    """What the emulator does not know of a new load balancer: its VPC, its default group, that it begins."""
    ec2 = ministack("services.ec2")
    record["VpcId"] = ec2._subnets[record["Subnets"][0]]["VpcId"]
    record["State"] = "provisioning"
    if not record["SecurityGroups"]:
        record["SecurityGroups"] = [ec2._vpcs[record["VpcId"]]["DefaultSecurityGroupId"]]


def _registration(
    registered: Iterable[dict[str, Any]], target_id: str, port: int, group: Mapping[str, Any]
) -> dict[str, Any] | None:
    for one in registered:
        if one["Id"] == target_id and port_of(one, group) == port:
            return one
    return None


def health_xml(target_id: str, port: int, state: str, reason: str) -> str:
    """A member of TargetHealthDescriptions."""
    why = f"<Reason>{reason}</Reason><Description>{DESCRIPTIONS.get(reason, reason)}</Description>"
    return (
        f"<member><Target><Id>{escape(target_id)}</Id><Port>{port}</Port></Target>"
        f"<HealthCheckPort>{port}</HealthCheckPort>"
        f"<TargetHealth><State>{state}</State>{why if reason else ''}</TargetHealth></member>"
    )
