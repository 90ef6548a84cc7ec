"""A new server takes the release that is recorded for its environment, before Auto Scaling lets it in.

Auto Scaling tells of the server by a lifecycle action: {"AutoScalingGroupName", "LifecycleHookName",
"LifecycleActionToken", "EC2InstanceId", "NotificationMetadata": the environment}. The server is nobody's but
ours until the action is completed, so nothing here needs the environment's lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from slipway import failure, lock, records, scaling
from slipway.aws import autoscaling, ssm
from slipway.patience import DEFAULT, Patience, linger

Json = Mapping[str, Any]

# How long each step may take, in seconds: as long as the steps of its document may together.
SECONDS = {"stage": 2790, "configure": 480, "activate": 360, "report": 60}

# What the comments of its commands begin with: a clean-up waits for those of a release alone.
SENDER = "slipway-join"

# So many servers in a row that cannot take a release, and no further one is launched: each costs at least a
# minute of an instance, and Auto Scaling replaces an abandoned one at once, for ever.
MOST_ABANDONED = 3


def begin(action: Json, execution: str) -> bool:
    """Whether this execution is the one that sees to the server: events may come twice."""
    return records.claim_join(environment_of(action), action["LifecycleActionToken"], execution)


def plan(action: Json, given: str | None, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status", "release": its id or None, "of": digest of what is recorded, "steps": [{"step",
    "parameters", "seconds"}]}. `given`: the digest of what the server has got already.

    status: gone (Auto Scaling waits for this server no more) · unknown (no environment of ours) · waiting (a
    release is on its way, and its outcome counts) · unreleased (nothing is recorded: the server comes into
    service as it is, and the first release reaches it) · wanted (the steps are to be done) · ready.
    """
    if not autoscaling.heartbeat(action):
        return _planned("gone")
    return linger(
        lambda: _look(environment_of(action), given), lambda seen: seen["status"] != "waiting", patience
    )


def _look(environment: str, given: str | None) -> dict[str, Any]:
    # What runs before what is recorded: a release that has ended by the second look has recorded by then.
    if _release(environment) == "has its servers":
        return _planned("waiting")
    current = records.current(environment)
    if current is None:
        return _planned("unreleased" if lock.known(environment) else "unknown")
    if digest(current) == given:
        return _planned("ready", current)
    return _planned("wanted", current)


def _release(environment: str) -> str:
    """none · waits for servers (for all of the group) · has its servers (and reaches no others)."""
    holder = lock.held_by_release(environment)
    if holder is None:
        return "none"
    held = scaling.held(environment, int(holder["fence"]))
    return "has its servers" if held else "waits for servers"


def _planned(status: str, current: Json | None = None) -> dict[str, Any]:
    return {
        "status": status,
        "release": current["release"]["id"] if current else None,
        "of": digest(current) if current else None,
        "steps": steps(current, os.environ["AWS_REGION"]) if current and status == "wanted" else [],
    }


def digest(current: Json) -> str:
    """Of all that a server is given: another one means that it has to be given it again."""
    return hashlib.sha256(json.dumps(current, sort_keys=True).encode()).hexdigest()[:16]


def steps(current: Json, region: str) -> list[dict[str, Any]]:
    """[{"step", "parameters", "seconds"}] that give a server what is recorded, as a release would."""
    environment, release, outputs = current["environment"], current["release"], current["outputs"]
    application = {"Application": environment["application"]}
    parameters: dict[str, dict[str, Any]] = {
        "stage": {
            "Ruby": environment["web"]["ruby"],
            "Release": release["id"],
            "Artifact": release["artifact"],
            "Sha256": release["sha256"],
            "Verify": "false",
            "WarmOn": "none",
        },
        "configure": {
            "Environment": environment["name"],
            "DatabaseHost": outputs["database"]["Endpoint"],
            "DatabasePort": outputs["database"]["Port"],
            "DatabaseName": environment["database"]["name"],
            "DatabaseSecret": outputs["database"]["ApplicationSecretArn"],
            "SecretKeyBase": outputs["storage"]["SecretKeyBaseArn"],
            "Bucket": outputs["storage"]["ImageBucketName"],
            "Region": region,
            "Variables": environment["variables"],
            "Secrets": environment["secrets"],
            "Release": release["id"],
            # It takes what others have migrated for.
            "PendingOn": "none",
            "WarmOn": "none",
        },
        # Nobody is served by it yet: there is nothing to be beside of.
        "activate": {
            "Release": release["id"],
            "HealthPath": environment["web"]["healthPath"],
            "Strategy": "drain",
        },
        "report": {"Depth": "quick"},
    }
    return [
        {"step": step, "parameters": {**application, **parameters[step]}, "seconds": seconds}
        for step, seconds in SECONDS.items()
    ]


def agent(action: Json, patience: Patience = DEFAULT) -> dict[str, Any]:
    """{"status": "online" | "waiting", "detail"}: whether steps can be run on the server."""
    server = action["EC2InstanceId"]
    seen = linger(lambda: ssm.agents([server]), lambda seen: _online(seen, server), patience)
    said = seen.get(server, {}).get("PingStatus", "nobody has heard of it")
    return {"status": "online" if _online(seen, server) else "waiting", "detail": str(said)}


def _online(agents: Json, server: str) -> bool:
    return bool(agents.get(server, {}).get("PingStatus") == "Online")


def complete(action: Json, failed: Json | None) -> dict[str, Any]:
    """{"status", …}: lets the server in, or has Auto Scaling end it. `failed`: {"Error", "Cause"} of what
    went wrong.

    status: joined · gone (it was not waited for any more) · left (it is in service without a release: one is
    on its way that prepares it, and waits for it) · abandoned. If something went wrong there are also
    "error", "what", "where", "next", "server", "environment", "release", "launching": goes on | stopped.
    """
    environment = environment_of(action)
    if failed is None:
        records.add_joined(environment, _now())
        return {"status": "joined" if autoscaling.complete(action, "CONTINUE") else "gone"}
    current = records.current(environment)
    told = explained(action, failed, current["release"]["id"] if current else None)
    if _release(environment) == "waits for servers":
        return {**told, "status": "left" if autoscaling.complete(action, "CONTINUE") else "gone"}
    return _abandon(action, told)


def _abandon(action: Json, told: dict[str, Any]) -> dict[str, Any]:
    """Written down first, and no further launch if that is one too many: Auto Scaling replaces at once what
    is abandoned. Made again after it was completed, it finds itself written down."""
    environment, group = told["environment"], action["AutoScalingGroupName"]
    release, token = str(told["release"]), action["LifecycleActionToken"]
    if not autoscaling.heartbeat(action) and not records.was_abandoned(environment, release, token):
        return {**told, "status": "gone"}
    records.add_abandoned(environment, release, token, _now())
    number = records.abandoned(environment, release)
    if number >= MOST_ABANDONED:
        scaling.stop_launching(environment, group)
        told |= {"launching": "stopped", "next": f"{told['next']}. {stopped(number, group)}"}
    autoscaling.complete(action, "ABANDON")
    return {**told, "status": "abandoned"}


def explained(action: Json, failed: Json, release: str | None) -> dict[str, Any]:
    """What went wrong, for people and programs."""
    named = failure.unwrap(str(failed["Error"]), str(failed.get("Cause") or ""))
    server = action["EC2InstanceId"]
    return {
        "error": named.error,
        "what": f"the new server {server} could not take release {release}: {named.what}",
        "where": named.where or f"server {server}",
        "next": named.next or "see the history of the execution",
        "server": server,
        "environment": environment_of(action),
        "release": release,
        "launching": "goes on",
        "details": dict(named.details or {}),
    }


def stopped(number: int, group: str) -> str:
    return (
        f"{number} new servers in a row could not take this release, so no further one is launched (process "
        "Launch is suspended); those in service go on serving. Put right what is wrong and start a release: "
        "at its end launching goes on. Or have it go on at once: aws autoscaling resume-processes "
        f"--auto-scaling-group-name {group} --scaling-processes Launch"
    )


def environment_of(action: Json) -> str:
    return str(action["NotificationMetadata"])


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
