"""Whether the servers of the Auto Scaling group are in service, and their agents online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway import waves
from slipway.aws import autoscaling, ec2, elb, ssm
from slipway.patience import DEFAULT, Patience, linger


def check(
    group: str,
    rollout: Mapping[str, Any],
    targets: str | None = None,
    patience: Patience = DEFAULT,
    newcomers: bool = True,
) -> dict[str, Any]:
    """{"status": "ready" | "waiting", "servers": [{"id", "zone", "address"}] that are, "waves": [{"servers":
    [ids]}] in which they get a release, "drainWaves": the same if they have to be drained, "detail": what the
    others lack, "joining": whether one of those takes the recorded release before it comes into service}.

    `targets`: ARN of the target group; `newcomers`: whether servers that are not in service yet are waited
    for (they take the recorded release by themselves)."""
    seen = linger(lambda: _look(group, newcomers), lambda seen: seen["status"] == "ready", patience)
    if seen["status"] == "waiting":
        trouble = last_failure(autoscaling.activities(group))
        seen["detail"] += f"; {trouble}" if trouble else ""
    found = seen["servers"]
    resting = idle([server["id"] for server in found], targets)
    drained = waves.cut(found, {**rollout, "strategy": "drain"}, resting)
    return {**seen, "waves": waves.cut(found, rollout, resting), "drainWaves": drained}


def idle(servers: Sequence[str], targets: str | None) -> set[str]:
    """Those that the load balancer sends nobody to; all if `targets` is None."""
    health = elb.health(targets) if targets else []
    healthy = {one["Target"]["Id"] for one in health if one["TargetHealth"]["State"] == "healthy"}
    return set(servers) - healthy


def _look(name: str, newcomers: bool = True) -> dict[str, Any]:
    group = autoscaling.group(name)
    if group is None:
        detail = f"the Auto Scaling group {name} is not there"
        return {"status": "waiting", "servers": [], "detail": detail, "joining": False}
    instances, desired = expected(group, newcomers)
    agents = ssm.agents([instance["InstanceId"] for instance in instances])
    return judged(instances, agents, desired)


def expected(group: Mapping[str, Any], newcomers: bool = True) -> tuple[list[Mapping[str, Any]], int]:
    """The instances that count, and how many there have to be: who does not launch brings nobody else."""
    instances, desired = list(group["Instances"]), int(group["DesiredCapacity"])
    if not newcomers:
        staying = [one for one in instances if not one["LifecycleState"].startswith("Pending")]
        desired -= len(instances) - len(staying)
        instances = staying
    suspended = {process["ProcessName"] for process in group.get("SuspendedProcesses", ())}
    return instances, min(desired, len(instances)) if "Launch" in suspended else desired


def judged(
    instances: Sequence[Mapping[str, Any]], agents: Mapping[str, Mapping[str, Any]], desired: int
) -> dict[str, Any]:
    """Ready when as many as desired are in service with their agents online, and none is still on its way."""
    lacking = {instance["InstanceId"]: _lack(instance, agents) for instance in instances}
    servers = sorted(
        (
            {
                "id": instance["InstanceId"],
                "zone": instance["AvailabilityZone"],
                "address": agents[instance["InstanceId"]].get("IPAddress", ""),
            }
            for instance in instances
            if not lacking[instance["InstanceId"]]
        ),
        key=lambda server: (server["zone"], server["id"]),
    )
    ready = len(servers) >= desired and not any(lack and lack != "leaves" for lack in lacking.values())
    waits = [f"{server} {lack}" for server, lack in sorted(lacking.items()) if lack]
    detail = ", ".join([f"{len(servers)} of {desired} servers are ready", *waits])
    joining = any(instance["LifecycleState"] == "Pending:Wait" for instance in instances)
    return {
        "status": "ready" if ready else "waiting",
        "servers": servers,
        "detail": detail,
        "joining": joining,
    }


def _lack(instance: Mapping[str, Any], agents: Mapping[str, Mapping[str, Any]]) -> str:
    """What a server lacks; nothing if it is ready."""
    state = instance["LifecycleState"]
    if _leaves(instance):
        return "leaves"
    if state != "InService":
        return f"is {state}"
    if instance["HealthStatus"].lower() != "healthy":
        return f"is {instance['HealthStatus']}"
    agent = agents.get(instance["InstanceId"])
    if agent is None:
        return "has not been heard of by Systems Manager"
    return "" if agent["PingStatus"] == "Online" else f"has an agent that is {agent['PingStatus']}"


def _leaves(instance: Mapping[str, Any]) -> bool:
    return str(instance["LifecycleState"]).startswith(("Terminat", "Detach"))


def gone(servers: Sequence[str]) -> set[str]:
    """Those that their group has let go since: scaled in, or ended by a person through the group.

    One that broke is not among them: while its group's processes are suspended it stays a member.
    """
    members = autoscaling.members(servers) if servers else {}
    return {server for server in servers if server not in members or _leaves(members[server])}


def lost(servers: Sequence[str]) -> set[str]:
    """Those that do not run any more: they broke, or somebody ended them."""
    states = ec2.states(servers)
    return {server for server in servers if states.get(server) not in ("pending", "running")}


def silent(servers: Sequence[str]) -> set[str]:
    """Those whose agent cannot be reached, whatever they do."""
    agents = ssm.agents(servers)
    return {server for server in servers if agents.get(server, {}).get("PingStatus") != "Online"}


def last_failure(activities: Sequence[Mapping[str, Any]]) -> str:
    """Why the group's last activity failed, if it did: a quota, an image that is not there, no capacity."""
    if not activities or activities[0].get("StatusCode") not in ("Failed", "Cancelled"):
        return ""
    return f"the group says: {activities[0].get('StatusMessage') or activities[0].get('Description', '')}"
