"""Auto Scaling groups whose instances are servers.

A group is brought to its desired capacity whenever it changes and whenever one of its servers ends;
new servers go to the zone with the fewest, wait for the group's lifecycle hooks (`lifecycle`), and go to the
target groups once they are in service. A server that leaves is drained first. Processes can be suspended:
Launch, Terminate, HealthCheck, ReplaceUnhealthy and AddToLoadBalancer then really stop; of the others (no
alarm, schedule, rebalancing or refresh is played here) it is kept that they are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.emulator import lifecycle
from rehearsal.emulator.addresses import NoFreeAddress
from rehearsal.emulator.context import Region
from rehearsal.emulator.ec2 import Launch
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, on_a_thread, scope, wait, wrap_action, wrap_type

RELIES_ON = (
    ("services.autoscaling", "_ACTION_MAP"),
    ("services.autoscaling", "_asgs"),
    ("services.autoscaling", "_tags"),
    ("services.autoscaling", "_reconcile_instances"),
    ("services.autoscaling", "_describe_asgs"),
    ("services.autoscaling", "_instance_member_xml"),
    ("services.autoscaling", "_parse_member_list"),
    ("services.autoscaling", "_error"),
    ("services.autoscaling", "_xml"),
    ("services.autoscaling", "_p"),
    ("services.ec2", "_instances"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_launch_templates"),
    ("services.ec2", "_resolve_launch_template_data"),
    ("services.ec2", "_resolve_iam_instance_profile"),
    ("services.cloudformation", "_stacks"),
    ("services.ssm", "_parameters"),
)

TYPE = "AWS::AutoScaling::AutoScalingGroup"
TICK_SECONDS = 0.5
PROCESSES = frozenset(
    {
        *("Launch", "Terminate", "AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck"),
        *("InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions"),
    }
)
RETRY_SECONDS = 10.0
"""Pause after a launch that failed, so that a server that cannot boot is not tried without end at once."""

logger = logging.getLogger("autoscaling")


class LaunchFailed(Exception):
    """A group cannot launch; the reason goes to its scaling activities."""


def install(region: Region) -> None:
    """Let groups launch, replace and end servers."""
    groups = Groups(region)
    service = ministack("services.autoscaling")
    service._reconcile_instances = groups.agree
    wrap_action(service, "CreateAutoScalingGroup", groups.with_targets)
    wrap_action(service, "SetDesiredCapacity", _within_bounds)
    wrap_action(service, "DescribeAutoScalingGroups", _with_what_is_left_out)
    replace(service, "_instance_member_xml", _with_instance_type)
    service._ACTION_MAP["DeleteAutoScalingGroup"] = groups.delete_action(
        service._ACTION_MAP["DeleteAutoScalingGroup"]
    )
    service._ACTION_MAP["DescribeScalingActivities"] = groups.describe_activities
    service._ACTION_MAP["TerminateInstanceInAutoScalingGroup"] = groups.terminate_action
    service._ACTION_MAP["SetInstanceHealth"] = groups.set_health
    service._ACTION_MAP["SuspendProcesses"] = groups.change_processes("SuspendProcesses")
    service._ACTION_MAP["ResumeProcesses"] = groups.change_processes("ResumeProcesses")
    service._ACTION_MAP["StartInstanceRefresh"] = _not_offered("StartInstanceRefresh")
    service._ACTION_MAP["CompleteLifecycleAction"] = groups.hooks.complete
    service._ACTION_MAP["RecordLifecycleActionHeartbeat"] = groups.hooks.heartbeat
    wrap_action(service, "PutLifecycleHook", lifecycle.offered)
    wrap_type(lifecycle.TYPE, "create", lifecycle.made)
    wrap_type(TYPE, "create", groups.created)
    wrap_type(TYPE, "update", groups.updated)
    wrap_type(TYPE, "delete", groups.deleted)
    on_a_thread(TYPE)
    region.instances_changed.connect(groups.tick)
    region.background(groups.run, name="autoscaling")


class Groups:
    """Keeps every group at its desired capacity."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._lock = threading.RLock()
        self._activities: dict[str, list[dict[str, str]]] = {}
        self._pause_until: dict[str, float] = {}
        self._registered: set[tuple[str, str]] = set()
        self.hooks = lifecycle.Hooks(self.agree)

    def run(self) -> None:
        """Look after all groups until the region goes down."""
        while not self._region.stopping.wait(TICK_SECONDS):
            self.tick()

    def tick(self) -> None:
        """Look once after every group."""
        with scope(self._region):
            for group in list(ministack("services.autoscaling")._asgs.values()):
                try:
                    self.agree(group)
                except Exception:
                    logger.exception("group %s", group["AutoScalingGroupName"])

    def agree(self, group: dict[str, Any]) -> None:
        """One step from what is to what is wanted. Quick: servers boot and end in the background."""
        with self._lock, scope(self._region):
            self._follow(group)
            if not suspended(group, "ReplaceUnhealthy"):
                self._replace_unhealthy(group)
            serving = [i for i in group["Instances"] if not _leaving(i)]
            surplus = len(serving) - int(group["DesiredCapacity"])
            if surplus > 0 and not suspended(group, "Terminate"):
                for instance in oldest_of_fullest_zone(serving, surplus):
                    self._retire(group, instance, "a difference between desired and actual capacity")
            for _ in range(-surplus):
                if suspended(group, "Launch") or not self._launch(group):
                    break
            self._register(group)

    def _follow(self, group: dict[str, Any]) -> None:
        """Take over what became of the instances."""
        records = ministack("services.ec2")._instances
        for instance in list(group["Instances"]):
            identifier = instance["InstanceId"]
            record = records.get(identifier)
            state = record["State"]["Name"] if record else "terminated"
            if state == "running" and instance["LifecycleState"] in ("Pending", "Pending:Wait"):
                self._admit(group, instance)
            elif state in ("shutting-down", "terminated") and _kept(group, instance):
                instance["HealthStatus"] = "Unhealthy"
            elif state == "terminated":
                self._left(group, instance, record)
            elif state == "shutting-down" and not _leaving(instance):
                instance["LifecycleState"] = "Terminating"
                self._deregister(group, identifier)
            elif instance["LifecycleState"] == "Terminating" and self._drained(group, identifier):
                self._region.end_instances([identifier])

    def _admit(self, group: dict[str, Any], instance: dict[str, Any]) -> None:
        """A server that runs comes into service, or goes, as its hooks say."""
        identifier = instance["InstanceId"]
        if instance["LifecycleState"] == "Pending" and self.hooks.begin(group, instance):
            instance["LifecycleState"] = "Pending:Wait"
        result, why = self.hooks.verdict(group, instance)
        if result == "CONTINUE":
            instance["LifecycleState"] = "InService"
            self._note(group, "Successful", f"Launching a new EC2 instance: {identifier}")
        elif result == "ABANDON":
            self._note(group, "Cancelled", f"Launching a new EC2 instance: {identifier}. {why}")
            self._retire(group, instance, "an abandoned lifecycle action")

    def _left(
        self, group: dict[str, Any], instance: dict[str, Any], record: Mapping[str, Any] | None
    ) -> None:
        identifier = instance["InstanceId"]
        group["Instances"].remove(instance)
        self._deregister(group, identifier)
        reason = (record or {}).get("StateReason")
        if instance["LifecycleState"] == "Pending":
            self._pause_until[group["AutoScalingGroupName"]] = time.monotonic() + RETRY_SECONDS
            self._note(group, "Failed", f"Launching a new EC2 instance: {identifier}. {reason or ''}")
        else:
            self._note(group, "Successful", f"Terminating EC2 instance: {identifier}. {reason or ''}")

    def _replace_unhealthy(self, group: dict[str, Any]) -> None:
        for instance in group["Instances"]:
            if instance["LifecycleState"] == "InService" and self._unhealthy(group, instance):
                instance["HealthStatus"] = "Unhealthy"
                self._retire(group, instance, "an instance being unhealthy")

    def _unhealthy(self, group: Mapping[str, Any], instance: Mapping[str, Any]) -> bool:
        if instance["HealthStatus"] == "Unhealthy":
            return True
        if group["HealthCheckType"] != "ELB":
            return False
        if time.monotonic() - instance["_launched"] < int(group["HealthCheckGracePeriod"]):
            return False
        states = [self._region.target_state(arn, instance["InstanceId"]) for arn in _target_groups(group)]
        return "unhealthy" in states

    def _launch(self, group: dict[str, Any]) -> bool:
        """Start one instance; False if that is not possible now."""
        name = group["AutoScalingGroupName"]
        if time.monotonic() < self._pause_until.get(name, 0.0) or self._region.stopping.is_set():
            return False
        try:
            launch = self._template(group)
            identifier = self._region.launch_instance(launch)
        except (LaunchFailed, NoFreeAddress, KeyError) as error:
            self._pause_until[name] = time.monotonic() + RETRY_SECONDS
            self._note(group, "Failed", f"Launching a new EC2 instance. {error}")
            return False
        record = ministack("services.ec2")._instances[identifier]
        group["Instances"].append(
            {
                "InstanceId": identifier,
                "LifecycleState": "Pending",
                "HealthStatus": "Healthy",
                "AvailabilityZone": record["Placement"]["AvailabilityZone"],
                "ProtectedFromScaleIn": group["NewInstancesProtectedFromScaleIn"],
                "LaunchTemplate": dict(group.get("LaunchTemplate") or {}),
                "LaunchConfigurationName": group.get("LaunchConfigurationName", ""),
                "_launched": time.monotonic(),
            }
        )
        return True

    def _template(self, group: Mapping[str, Any]) -> Launch:
        """What the group's launch template says, for the subnet with the fewest of the group's servers."""
        ec2 = ministack("services.ec2")
        data, _, error = ec2._resolve_launch_template_data(group.get("LaunchTemplate") or {})
        if error or not data:
            raise LaunchFailed("the group has no launch template that exists")
        subnets = [ec2._subnets[s.strip()] for s in group["VPCZoneIdentifier"].split(",") if s.strip()]
        if not subnets:
            raise LaunchFailed("the group names no subnet")
        counts = [i["AvailabilityZone"] for i in group["Instances"]]
        subnet = min(subnets, key=lambda each: counts.count(each["AvailabilityZone"]))
        profile = data.get("IamInstanceProfile") or {}
        resolved, refused = ec2._resolve_iam_instance_profile(
            iam_arn=profile.get("Arn", ""), iam_name=profile.get("Name", "")
        )
        if refused:
            raise LaunchFailed(f"Invalid IAM instance profile {profile}")
        return from_template(data, subnet["SubnetId"], resolved, self._tags(group, data))

    @staticmethod
    def _tags(group: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str]:
        tags = {
            tag["Key"]: tag["Value"]
            for spec in data.get("TagSpecifications") or ()
            if spec.get("ResourceType") == "instance"
            for tag in spec.get("Tags") or ()
        }
        tags |= {tag["Key"]: tag["Value"] for tag in group["Tags"] if tag.get("PropagateAtLaunch")}
        return tags | {"aws:autoscaling:groupName": group["AutoScalingGroupName"]}

    # Targets

    def _register(self, group: Mapping[str, Any]) -> None:
        """Put servers that came into service into the group's target groups, each once."""
        for arn in _target_groups(group):
            fresh = [
                i["InstanceId"]
                for i in group["Instances"]
                if i["LifecycleState"] == "InService" and (arn, i["InstanceId"]) not in self._registered
            ]
            if fresh:
                if not suspended(group, "AddToLoadBalancer"):
                    self._region.register_targets(arn, fresh)
                # On AWS, too, servers that came while it was suspended are not added afterwards.
                self._registered.update((arn, identifier) for identifier in fresh)

    def _deregister(self, group: Mapping[str, Any], identifier: str) -> None:
        for arn in _target_groups(group):
            if (arn, identifier) in self._registered:
                self._registered.discard((arn, identifier))
                self._region.deregister_targets(arn, [identifier])

    def _drained(self, group: Mapping[str, Any], identifier: str) -> bool:
        states = [self._region.target_state(arn, identifier) for arn in _target_groups(group)]
        return "draining" not in states

    def _retire(self, group: dict[str, Any], instance: dict[str, Any], why: str) -> None:
        """Take an instance out of the load balancer; it is terminated when it is drained."""
        instance["LifecycleState"] = "Terminating"
        self._deregister(group, instance["InstanceId"])
        self._note(
            group, "InProgress", f"Terminating EC2 instance: {instance['InstanceId']}. In response to {why}."
        )

    def _note(self, group: Mapping[str, Any], status: str, description: str) -> None:
        logger.info("%s: %s (%s)", group["AutoScalingGroupName"], description, status)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        activities = self._activities.setdefault(group["AutoScalingGroupName"], [])
        activities.insert(0, {"status": status, "description": description, "time": now})
        for number, activity in enumerate(reversed(activities), 1):
            activity["id"] = f"{number:08d}"

    # CloudFormation

    def created(self, original: Handler) -> Handler:
        """The type's create: returns when the group has its desired capacity in service."""

        def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
            if props.get("LifecycleHookSpecificationList"):
                raise ValueError(f"LifecycleHookSpecificationList is not offered here: take {lifecycle.TYPE}")
            with self._lock:
                name, attributes = original(logical_id, props, stack_name)
                self._take(name, props)
            try:
                self._stabilize(name, stack_name)
            except BaseException:
                self._delete(name)
                raise
            return name, attributes

        return create

    def updated(self, original: Handler) -> Handler:
        """The type's update: returns when the group has its desired capacity in service."""

        def update(
            physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, *rest: Any
        ) -> Any:
            before = dict(ministack("services.autoscaling")._asgs.get(physical_id) or {})
            with self._lock:
                name, attributes = original(physical_id, old, new, stack_name, *rest)
                if name == physical_id and ignores_unmodified_sizes(stack_name, physical_id):
                    group = ministack("services.autoscaling")._asgs[name]
                    group.update(kept_sizes(before, old, new, group))
                self._take(name, new)
            self._stabilize(name, stack_name)
            return name, attributes

        return update

    def deleted(self, original: Handler) -> Handler:
        """The type's delete: returns when the last server is gone."""

        def delete(physical_id: str, props: dict[str, Any]) -> Any:
            self._dissolve(physical_id)
            return original(physical_id, props)

        return delete

    def _take(self, name: str, props: Mapping[str, Any]) -> None:
        """What the emulator's handler leaves out."""
        service = ministack("services.autoscaling")
        group = service._asgs[name]
        group["TargetGroupARNs"] = list(props.get("TargetGroupARNs") or [])
        subnets = [s for s in group["VPCZoneIdentifier"].split(",") if s]
        known = ministack("services.ec2")._subnets
        group["AvailabilityZones"] = sorted({known[s]["AvailabilityZone"] for s in subnets if s in known})
        self.agree(group)

    def _stabilize(self, name: str, stack_name: str) -> None:
        if self._region.machines is None:
            group = ministack("services.autoscaling")._asgs[name]
            if int(group["DesiredCapacity"]) > 0:
                raise ValueError(f"Group did not stabilize. {_sizes(group, 0)}: the region has no servers")
            return

        def ready() -> bool:
            group = ministack("services.autoscaling")._asgs.get(name)
            if group is None:
                raise ValueError(f"group {name} was deleted")
            serving = [i for i in group["Instances"] if i["LifecycleState"] == "InService"]
            failures = [a for a in self._activities.get(name, []) if a["status"] == "Failed"]
            if len(failures) >= 3 and not serving:
                reason = failures[0]["description"]
                raise ValueError(f"Group did not stabilize. {_sizes(group, len(serving))}. {reason}")
            return len(serving) == int(group["DesiredCapacity"]) == len(group["Instances"])

        wait(self._region, stack_name, ready)

    def _dissolve(self, name: str) -> None:
        """End all servers of the group and wait until they are gone."""
        with scope(self._region):
            group = ministack("services.autoscaling")._asgs.get(name)
        if group is None:
            return
        with self._lock:
            group.update(MinSize=0, MaxSize=0, DesiredCapacity=0)
            self.agree(group)
        while group["Instances"] and not self._region.stopping.wait(0.2):
            self.agree(group)

    # API

    def with_targets(self, original: Handler) -> Handler:
        """CreateAutoScalingGroup that keeps TargetGroupARNs."""
        service = ministack("services.autoscaling")

        def create(params: dict[str, Any]) -> Any:
            answer = original(params)
            name = service._p(params, "AutoScalingGroupName")
            arns = service._parse_member_list(params, "TargetGroupARNs")
            if answer[0] == 200 and arns:
                service._asgs[name]["TargetGroupARNs"] = arns
            return answer

        return create

    def delete_action(self, original: Handler) -> Handler:
        """DeleteAutoScalingGroup: refused while it has servers, unless forced; then they end first."""
        service = ministack("services.autoscaling")

        def delete(params: dict[str, Any]) -> Any:
            name = service._p(params, "AutoScalingGroupName")
            group = service._asgs.get(name)
            if group is None or not group["Instances"]:
                return original(params)
            if str(service._p(params, "ForceDelete")).lower() != "true":
                return service._error(
                    "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances in it."
                )
            self._region.background(self._delete, name, name=f"delete-{name}")
            return service._xml(200, "DeleteAutoScalingGroupResponse", "<DeleteAutoScalingGroupResult/>")

        return delete

    def _delete(self, name: str) -> None:
        self._dissolve(name)
        with scope(self._region):
            for store in ("_asgs", "_tags"):
                getattr(ministack("services.autoscaling"), store).pop(name, None)

    def terminate_action(self, params: dict[str, Any]) -> Any:
        """TerminateInstanceInAutoScalingGroup."""
        service = ministack("services.autoscaling")
        identifier = service._p(params, "InstanceId")
        group, instance = self._find(identifier)
        if group is None or instance is None:
            return service._error("ValidationError", f"Instance Id not found - {identifier}")
        with self._lock:
            if str(service._p(params, "ShouldDecrementDesiredCapacity")).lower() == "true":
                group["DesiredCapacity"] -= 1
            self._retire(group, instance, "a user request")
            self.agree(group)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        name = group["AutoScalingGroupName"]
        activity = _activity_xml(
            "Activity", name, {"id": "0", "status": "InProgress", "description": identifier, "time": now}
        )
        return service._xml(
            200,
            "TerminateInstanceInAutoScalingGroupResponse",
            f"<TerminateInstanceInAutoScalingGroupResult>{activity}</TerminateInstanceInAutoScalingGroupResult>",
        )

    def change_processes(self, action: str) -> Handler:
        """SuspendProcesses or ResumeProcesses; none named: all."""
        service = ministack("services.autoscaling")

        def change(params: dict[str, Any]) -> Any:
            name = service._p(params, "AutoScalingGroupName")
            group = service._asgs.get(name)
            named = service._parse_member_list(params, "ScalingProcesses")
            if group is None:
                return service._error("ValidationError", f"AutoScalingGroup name not found - null ({name})")
            if unknown := set(named) - PROCESSES:
                return service._error("ValidationError", f"Unknown process types: {sorted(unknown)}")
            with self._lock:
                before = set(group.get("_suspended", ()))
                chosen = set(named) or set(PROCESSES)
                group["_suspended"] = before | chosen if action == "SuspendProcesses" else before - chosen
                self.agree(group)
            return service._xml(200, f"{action}Response", "")

        return change

    def set_health(self, params: dict[str, Any]) -> Any:
        """SetInstanceHealth."""
        service = ministack("services.autoscaling")
        identifier = service._p(params, "InstanceId")
        group, instance = self._find(identifier)
        if group is None or instance is None:
            return service._error("ValidationError", f"Instance Id not found - {identifier}")
        instance["HealthStatus"] = service._p(params, "HealthStatus")
        self.agree(group)
        return service._xml(200, "SetInstanceHealthResponse", "")

    @staticmethod
    def _find(identifier: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        for group in ministack("services.autoscaling")._asgs.values():
            for instance in group["Instances"]:
                if instance["InstanceId"] == identifier:
                    return group, instance
        return None, None

    def describe_activities(self, params: dict[str, Any]) -> Any:
        """DescribeScalingActivities."""
        service = ministack("services.autoscaling")
        wanted = service._p(params, "AutoScalingGroupName")
        members = "".join(
            _activity_xml("member", name, activity)
            for name, activities in self._activities.items()
            if not wanted or name == wanted
            for activity in activities[:100]
        )
        return service._xml(
            200,
            "DescribeScalingActivitiesResponse",
            f"<DescribeScalingActivitiesResult><Activities>{members}</Activities></DescribeScalingActivitiesResult>",
        )


def from_template(
    data: Mapping[str, Any], subnet: str, profile: Mapping[str, str] | None, tags: Mapping[str, str]
) -> Launch:
    """Launch template data (CloudFormation's or the API's shape) for one subnet."""
    interfaces = data.get("NetworkInterfaces") or [{}]
    first = interfaces[0]
    groups = first.get("Groups") or first.get("SecurityGroupIds") or data.get("SecurityGroupIds") or ()
    public = first.get("AssociatePublicIpAddress")
    return Launch(
        subnet=subnet,
        image=str(data.get("ImageId") or ""),
        type=str(data.get("InstanceType") or "t3.micro"),
        groups=tuple(groups),
        user_data=str(data.get("UserData") or ""),
        profile=profile,
        public=None if public is None else str(public).lower() == "true",
        key_name=str(data.get("KeyName") or ""),
        metadata=data.get("MetadataOptions") or {},
        tags=tags,
    )


def ignores_unmodified_sizes(stack_name: str, physical_id: str) -> bool:
    """Whether the group's UpdatePolicy in its stack says so.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html
    """
    stack = ministack("services.cloudformation")._stacks.get(stack_name) or {}
    for logical_id, made in (stack.get("_resources") or {}).items():
        if made.get("PhysicalResourceId") == physical_id:
            declared = (stack.get("_template") or {}).get("Resources", {}).get(logical_id, {})
            policy = (declared.get("UpdatePolicy") or {}).get("AutoScalingScheduledAction") or {}
            return str(policy.get("IgnoreUnmodifiedGroupSizeProperties")).lower() == "true"
    return False


def kept_sizes(
    before: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, int]:
    """The sizes of a group whose template changed from `old` to `new`, if unmodified ones stay as they were.

    Auto Scaling moves a desired capacity that is outside of its bounds to the nearest one.
    """
    sizes = {
        name: int(before[name] if str(old.get(name)) == str(new.get(name)) else after[name])
        for name in ("MinSize", "MaxSize", "DesiredCapacity")
    }
    wanted = max(sizes["MinSize"], min(sizes["MaxSize"], sizes["DesiredCapacity"]))
    return {**sizes, "DesiredCapacity": wanted}


def oldest_of_fullest_zone(instances: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Which to end when there are too many: from the zone with the most, the one launched first.

    The default termination policy without its look at billing hours and template versions. Instances
    protected from scale-in stay.
    """
    left = [i for i in instances if not i["ProtectedFromScaleIn"]]
    chosen: list[dict[str, Any]] = []
    while left and len(chosen) < number:
        zones = [i["AvailabilityZone"] for i in left]
        fullest = max(zones, key=zones.count)
        oldest = min(
            (i for i in left if i["AvailabilityZone"] == fullest), key=lambda each: each["_launched"]
        )
        left.remove(oldest)
        chosen.append(oldest)
    return chosen


def suspended(group: Mapping[str, Any], process: str) -> bool:
    """Whether a process of the group is suspended."""
    return process in group.get("_suspended", ())


def _kept(group: Mapping[str, Any], instance: Mapping[str, Any]) -> bool:
    """Whether a server that broke stays a member: health checks find it, but nobody replaces it."""
    return suspended(group, "ReplaceUnhealthy") and instance["LifecycleState"] == "InService"


def _leaving(instance: Mapping[str, Any]) -> bool:
    return str(instance["LifecycleState"]).startswith("Terminat")


def _target_groups(group: Mapping[str, Any]) -> list[str]:
    return list(group.get("TargetGroupARNs") or [])


def _sizes(group: Mapping[str, Any], current: int) -> str:
    """The numbers of CloudFormation's message."""
    sizes = (current, group["MinSize"], group["DesiredCapacity"], group["MaxSize"])
    return "{current/minSize/desiredCapacity/maxSize} = {" + ", ".join(map(str, sizes)) + "}"


def _activity_xml(tag: str, group: str, activity: Mapping[str, str]) -> str:
    progress = 50 if activity["status"] == "InProgress" else 100
    return (
        f"<{tag}><ActivityId>{activity['id']}</ActivityId><AutoScalingGroupName>{group}</AutoScalingGroupName>"
        f"<Description>{activity['description']}</Description><Cause>{activity['description']}</Cause>"
        f"<StartTime>{activity['time']}</StartTime><StatusCode>{activity['status']}</StatusCode>"
        f"<Progress>{progress}</Progress></{tag}>"
    )


def _within_bounds(original: Handler) -> Handler:
    """SetDesiredCapacity that refuses what the group's sizes do not allow."""
    service = ministack("services.autoscaling")

    def change(params: dict[str, Any]) -> Any:
        group = service._asgs.get(service._p(params, "AutoScalingGroupName"))
        wanted = service._p(params, "DesiredCapacity")
        if group is not None and str(wanted).isdigit():
            for word, bound, wrong in (
                ("above max", int(group["MaxSize"]), int(wanted) > int(group["MaxSize"])),
                ("below min", int(group["MinSize"]), int(wanted) < int(group["MinSize"])),
            ):
                if wrong:
                    text = f"New SetDesiredCapacity value {wanted} is {word} value {bound}"
                    return service._error("ValidationError", f"{text} for the AutoScalingGroup.")
        return original(params)

    return change


def _with_what_is_left_out(original: Handler) -> Handler:
    """DescribeAutoScalingGroups with each group's TargetGroupARNs and SuspendedProcesses."""

    def describe(params: dict[str, Any]) -> Any:
        status, headers, body = original(params)
        text = body.decode()
        for name, group in ministack("services.autoscaling")._asgs.items():
            arns = "".join(f"<member>{arn}</member>" for arn in _target_groups(group))
            marker = f"<AutoScalingGroupName>{name}</AutoScalingGroupName><AutoScalingGroupARN>"
            processes = "".join(
                f"<member><ProcessName>{process}</ProcessName>"
                "<SuspensionReason>User suspended</SuspensionReason></member>"
                for process in sorted(group.get("_suspended", ()))
            )
            added = f"<TargetGroupARNs>{arns}</TargetGroupARNs>"
            added += f"<SuspendedProcesses>{processes}</SuspendedProcesses>"
            text = text.replace(marker, added + marker)
        return status, headers, text.encode()

    return describe


def _with_instance_type(original: Handler) -> Handler:
    """Instances of a group with their type."""

    def member(instance: Mapping[str, Any], include_group_name: str = "") -> str:
        text = str(original(instance, include_group_name))
        record = ministack("services.ec2")._instances.get(instance["InstanceId"])
        kind = record["InstanceType"] if record else ""
        return text.replace("<member>", f"<member><InstanceType>{kind}</InstanceType>", 1)

    return member


def _not_offered(action: str) -> Handler:
    def refuse(_params: dict[str, Any]) -> Any:
        return ministack("services.autoscaling")._error(
            "ValidationError", f"{action} is not offered by the rehearsal"
        )

    return refuse
