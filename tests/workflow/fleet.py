"""An environment that answers as the task functions do: two servers, six tiers, one recorded release before.

Everything goes well unless a test says otherwise: it replaces single answers, by a function of the payload,
by `fails(error)`, or by `then(first, second, …)` for a sequence (the last one stays).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from slipway import joining, waves
from slipway import plan as plans
from tests.workflow.engine import PREFIX, Answer, Functions, TaskError

SERVERS = ("i-1", "i-2")
OUTPUTS: dict[str, dict[str, str]] = {
    "network": {
        "VpcId": "vpc-1",
        "WebSubnetIds": "subnet-1,subnet-2",
        "WebSecurityGroupId": "sg-web",
    },
    "certificate": {"CertificateArn": "arn:certificate"},
    "database": {
        "Endpoint": "db.internal",
        "Port": "3306",
        "InstanceIdentifier": "slipway-db",
        "ApplicationSecretArn": "arn:secret:database",
        "CreateDatabaseFunctionArn": PREFIX + "CreateDatabase",
    },
    "storage": {"ImageBucketName": "images", "SecretKeyBaseArn": "arn:secret:key-base"},
    "web": {
        "AutoScalingGroupName": "group",
        "TargetGroupArn": "arn:targets",
        "InstanceRoleName": "slipway-arable-web-Role",
    },
    "load_balancer": {"Url": "https://arable.example"},
}
STAYS = {"check": "Auto Scaling", "where": "group", "what": "it stays suspended", "next": "resume it"}
RELEASE = {
    "id": "r2",
    "artifact": "s3://artifacts/releases/r2.tar.gz",
    "sha256": "0" * 64,
    "migrate": True,
    "backup": True,
}
ENVIRONMENT = {
    "name": "arable",
    "application": "arable",
    "database": {"name": "arable"},
    "web": {"ruby": "3.1", "healthPath": "/up"},
    "variables": {"GREETING": "Łąka"},
    "secrets": {"API_KEY": "slipway/arable/api-key"},
}


ROLLOUT = {
    "strategy": "drain",
    "canary": 1,
    "batch": "25%",
    "bakeSeconds": 0,
    "drainSeconds": 1,
    "alarms": [],
    "onFailure": "rollback",
}


def request(
    *,
    previous: str | None = "r1",
    migrate: bool = True,
    same: bool = False,
    plan: bool = False,
    remedy: bool = False,
    **rollout: Any,
) -> dict[str, Any]:
    """A completed request, as ValidateInput answers it."""
    return {
        "environment": ENVIRONMENT,
        "release": {**RELEASE, "migrate": migrate},
        "rollout": {**ROLLOUT, **rollout},
        "allow": ["Bucket"],
        "remedy": remedy,
        "plan": plan,
        "previous": {"id": previous} if previous else None,
        "backTo": None,
        "recorded": {"same": same, "outputs": OUTPUTS if same else {}},
    }


def fleet(servers: tuple[str, ...] = SERVERS, /, **overrides: Answer) -> Functions:
    """The functions of an environment where nothing goes wrong, but for `overrides` (by function name)."""
    answers: dict[str, Answer] = {
        "ValidateInput": always(request()),
        "AcquireLock": locked(1),
        "Preflight": always({"problems": [], "warnings": [], "servers": []}),
        "PlanTier": unchanged,
        "CompareTiers": standing(),
        "PreviewTiers": previewed,
        "WritePlan": lambda payload: {"plan": True, "text": "", "servers": payload["servers"]},
        "ApplyTier": always({}),
        "CheckTier": complete,
        "CheckCertificate": always({"status": "issued", "missing": [], "detail": ""}),
        "CheckDatabase": always({"status": "ready", "detail": "available"}),
        "CreateDatabase": always({"database": "arable", "username": "arable", "created": False}),
        "CheckServers": ready(*servers),
        "SuspendScaling": always({"processes": ["Launch"]}),
        "ResumeScaling": always({"processes": ["Launch"]}),
        "RemedyStanding": always({"policies": [], "processes": []}),
        "TellSuspended": lambda payload: {
            "warnings": [STAYS],
            "next": f"{STAYS['what']}; {STAYS['next']}",
            "receipt": payload["receipt"],
        },
        "CreateRestorePoint": always(snapshot("available")),
        "CheckRestorePoint": always(snapshot("available")),
        "StartCommand": succeeded,
        "CheckCommand": succeeded,
        "DrainServers": always({"status": "drained"}),
        "CheckDrained": always({"status": "drained"}),
        "RestoreServers": always({"status": "healthy", "targets": []}),
        "CheckTargets": always({"status": "healthy", "targets": []}),
        "CheckBake": always({"status": "baked"}),
        "PlanRollBack": lambda payload: {
            "waves": waves.back(payload["waves"], waves.begun(payload["cause"])),
            "lost": [],
        },
        "VerifyRelease": always(
            {"status": "verified", "detail": "", "url": "https://arable.example", "targets": []}
        ),
        "RecordRelease": lambda payload: {
            "ending": payload["ending"],
            "release": payload["request"]["release"]["id"],
        },
        "ReleaseLock": always({}),
        "Notify": always({}),
        "ExplainFailure": explained,
        "TakeOver": always({"status": "nothing"}),
        "CheckCommands": always({"status": "quiet", "detail": ""}),
        "BeginCheck": begun,
        "DetectDrift": always({"detections": [{"tier": tier, "detection": tier} for tier in OUTPUTS]}),
        "CheckStacks": always({"status": "looked", **NOTHING, "stacks": [], "ignored": []}),
        "AskServers": always({"command": "command-1", "asked": list(servers), "silent": []}),
        "CheckReports": always({"status": "heard", **NOTHING, "servers": []}),
        "CheckStanding": always({**NOTHING, "certificateDays": 100}),
        "RecordDrift": always(recorded()),
        "RecordAnnounced": always({}),
        "PlanJoin": then(always(join("wanted")), always(join("ready"))),
        "CheckNewcomer": always({"status": "online", "detail": "Online"}),
        "StartJoinCommand": lambda payload: reported(
            succeeded({**payload, "servers": [payload["action"]["EC2InstanceId"]]}), "r1"
        ),
        "CompleteJoin": lambda payload: {"status": "abandoned" if payload["failure"] else "joined"},
    }
    unknown = overrides.keys() - answers.keys()
    if unknown:
        raise ValueError(f"no such function: {unknown}")
    return Functions({**answers, **overrides})


NOTHING: dict[str, Any] = {"findings": [], "more": 0}


def begun(payload: dict[str, Any]) -> dict[str, Any]:
    """Of BeginCheck: an environment by its name, or both that there are."""
    if "environment" not in payload["input"]:
        return {"status": "many", "environments": ["arable", "meadow"]}
    return {
        "status": "begun",
        "environment": payload["input"]["environment"],
        "detail": "",
        "fence": 1,
        "current": {"environment": ENVIRONMENT, "release": RELEASE, "outputs": OUTPUTS, "templates": ""},
        "remedy": "asked" if payload["input"].get("remedy") else "",
    }


def recorded(found: bool = False, gone: bool = False, remedy: bool = False) -> dict[str, Any]:
    """Of RecordDrift: whether there is something new, something that has gone, something to be put right."""
    told = {"what": "1 finding", "findings": []}
    return {
        "status": "drift" if found else "clean",
        "environment": "arable",
        "counts": {"high": int(found), "medium": 0, "low": 0},
        "report": "s3://artifacts/drift/arable/latest.json",
        "found": told if found else None,
        "gone": told if gone else None,
        "remedy": ["security_group_open|web|sgr-1"] if remedy else [],
    }


def launched(server: str = "i-3", token: str = "token-1") -> dict[str, Any]:
    """EventBridge's event about a new server."""
    detail = {
        "LifecycleActionToken": token,
        "AutoScalingGroupName": "slipway-arable-web-Group",
        "LifecycleHookName": "slipway-arable-web-JoinHook",
        "EC2InstanceId": server,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "NotificationMetadata": "arable",
        "Origin": "EC2",
        "Destination": "AutoScalingGroup",
    }
    return {"detail-type": "EC2 Instance-launch Lifecycle Action", "detail": detail}


def join(status: str, release: str = "r1") -> dict[str, Any]:
    """Of PlanJoin."""
    current = {"environment": ENVIRONMENT, "release": {**RELEASE, "id": release}, "outputs": OUTPUTS}
    steps = joining.steps(current, "us-east-1") if status == "wanted" else []
    return {"status": status, "release": release, "of": joining.digest(current), "steps": steps}


def reported(told: dict[str, Any], release: str) -> dict[str, Any]:
    """A step's answer, in which the server says what it has."""
    for one in told["results"]:
        one["result"] |= {"release": release}
    return told


def locked(fence: int) -> Answer:
    """Of AcquireLock: nothing has changed since the input was validated."""
    return lambda payload: {"fence": fence, "request": payload["request"]}


def always(answer: Any) -> Answer:
    return lambda _payload: answer


def fails(error: str, what: str = "it broke") -> Answer:
    """Raises as a function does: the message is the JSON that explains it."""

    def raising(_payload: dict[str, Any]) -> Any:
        raise TaskError(error, json.dumps({"what": what, "where": "there", "next": "try again"}))

    return raising


def then(*answers: Answer) -> Answer:
    """One after the other; the last for ever."""
    left = list(answers)

    def answer(payload: dict[str, Any]) -> Any:
        current = left.pop(0) if len(left) > 1 else left[0]
        return current(payload)

    return answer


def when(condition: Callable[[dict[str, Any]], bool], answer: Answer, otherwise: Answer) -> Answer:
    return lambda payload: (answer if condition(payload) else otherwise)(payload)


def ready(*servers: str) -> Answer:
    """Of CheckServers: all of these are in service; waves are cut as the real one cuts them."""
    found = [online(server) for server in servers]
    return lambda payload: {
        "status": "ready",
        "servers": found,
        "waves": waves.cut(found, payload["rollout"]),
        "drainWaves": waves.cut(found, {**payload["rollout"], "strategy": "drain"}),
        "detail": "",
        "joining": False,
    }


def online(server: str) -> dict[str, str]:
    return {"id": server, "zone": "eu-central-1a", "address": "10.20.64.10"}


def plan(payload: dict[str, Any], status: str) -> dict[str, Any]:
    tier = payload["tier"]
    return {
        "status": status,
        "stack": f"slipway-arable-{tier}",
        "changeSet": f"arn:change-set/{tier}" if status == "planned" else None,
        "row": plans.row(tier, f"slipway-arable-{tier}", "changed" if status == "planned" else "unchanged"),
        "outputs": OUTPUTS[tier] if status == "unchanged" else {},
    }


def unchanged(payload: dict[str, Any]) -> dict[str, Any]:
    return plan(payload, "unchanged")


def planned(payload: dict[str, Any]) -> dict[str, Any]:
    return plan(payload, "planned")


def busy(payload: dict[str, Any]) -> dict[str, Any]:
    return plan(payload, "busy")


def standing(*names: str) -> Answer:
    """Of CompareTiers: these tiers are what is asked for; the others have to be planned."""
    found = {
        tier: {"outputs": OUTPUTS[tier], "row": plans.row(tier, f"slipway-arable-{tier}", "unchanged")}
        for tier in names
    }
    others = {tier: "it has another template" for tier in OUTPUTS if tier not in names}
    return always({"standing": found, "others": others})


def previewed(payload: dict[str, Any]) -> dict[str, Any]:
    """Of PreviewTiers: nothing would be changed."""
    rows = [plans.row(tier, f"slipway-arable-{tier}", "unchanged") for tier in OUTPUTS]
    return {
        "status": "discarded" if payload["discard"] else "previewed",
        "rows": rows,
        "outputs": OUTPUTS,
        "detail": "",
    }


def complete(payload: dict[str, Any]) -> dict[str, Any]:
    return {"status": "complete", "outputs": OUTPUTS[payload["tier"]], "detail": ""}


def in_progress(_payload: dict[str, Any]) -> dict[str, Any]:
    return {"status": "in_progress", "outputs": {}, "detail": "CREATE_IN_PROGRESS"}


RESULTS: dict[str, dict[str, Any]] = {
    "configure": {"pending": [], "number": 0, "empty": False},
    "migrate": {"migrations": ["20261108080000"], "seconds": 2},
}


def pending(*versions: str, empty: bool = False) -> Answer:
    """StartCommand of a fleet whose database lacks these migrations."""

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        told = succeeded(payload)
        if payload["step"] == "configure":
            told["results"][0]["result"] |= {"pending": list(versions), "empty": empty}
        return told

    return answer


def without_the_first(payload: dict[str, Any]) -> dict[str, Any]:
    """Of a fleet whose first server leaves its group while the servers are configured."""
    told = succeeded(payload)
    if payload["step"] == "configure":
        del told["results"][0]
    return told


def saying_nothing(payload: dict[str, Any]) -> dict[str, Any]:
    """Of a fleet in which every server takes another one for the one that is to ask for migrations."""
    told = succeeded(payload)
    if payload["step"] == "configure":
        for one in told["results"]:
            one["result"] = {"step": "pending", "ok": True, "asked": "nobody"}
    return told


def snapshot(status: str) -> dict[str, Any]:
    return {"status": status, "snapshot": None if status == "busy" else "before-r2", "detail": status}


def succeeded(payload: dict[str, Any]) -> dict[str, Any]:
    asked = payload.get("parameters", {}).get("PendingOn")
    results = [
        {
            "server": server,
            "status": "Success",
            "seconds": 1.5,
            "result": {"step": payload["step"], "ok": True, **_result(payload["step"], server, asked)},
        }
        for server in payload["servers"]
    ]
    return {"commandId": "command-1", "status": "succeeded", "results": results}


def _result(step: str, server: str, asked: str | None) -> dict[str, Any]:
    if step == "configure" and asked not in (None, server):
        return {"asked": "nobody"}
    return RESULTS.get(step, {})


def running(_payload: dict[str, Any]) -> dict[str, Any]:
    return {"commandId": "command-1", "status": "running", "results": []}


def explained(payload: dict[str, Any]) -> dict[str, Any]:
    """Dirty if a roll-back failed, as the real one; the explanation carries what it was told."""
    dirty = payload["rollback"] is not None and payload["rollback"]["status"] == "failed"
    return {
        "ending": "FailedDirty" if dirty else "FailedClean",
        "error": payload["error"],
        "what": payload["cause"],
        "where": payload["phase"],
        "next": "try again",
        "rollback": payload["rollback"],
    }
