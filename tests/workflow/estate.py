"""An environment in an AWS account that is a few dictionaries, under the shipped handlers.

Servers, targets, stacks, snapshots, the database's schema, the commands and the table are remembered here;
what the functions do with them is their own code. Whatever has to be waited for takes looks, not time.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway import (
    commands,
    records,
    remedy,
    reported,
    settings,
    surroundings,
    task,
    tiers,
    validation,
    verification,
)
from slipway.aws import (
    autoscaling,
    cloudformation,
    cloudtrail,
    cloudwatch,
    dynamodb,
    ec2,
    elb,
    iam,
    messages,
    rds,
    s3,
    ssm,
    states,
)
from slipway.errors import AwsRefused, TierFailed
from slipway.tear_down import images
from tests.workflow.engine import Answer, Engine, Functions, TaskError
from tests.workflow.fleet import ENVIRONMENT, OUTPUTS, fleet, request

Json = dict[str, Any]

SERVERS = ("i-1", "i-2")
OTHER = "arn:aws:states:us-east-1:000000000000:execution:slipway-release:other"
GROUP = OUTPUTS["web"]["AutoScalingGroupName"]
MIGRATION = "20261122100000"
SURROUNDINGS = {
    "AWS_REGION": "us-east-1",
    "TABLE_NAME": "table",
    "ARTIFACT_BUCKET": "artifacts",
    "COMMAND_LOG_GROUP": "/slipway/commands",
    "DOCUMENT_PREFIX": "slipway",
    "TOPIC_ARN": "arn:topic",
    "METRICS_NAMESPACE": "slipway",
    "CONSECUTIVE_CHECKS": "1",
    "AUTOMATIC_REMEDY": "false",
    "CLOUDFORMATION_ROLE_ARN": "arn:role",
}
# Their handlers run as they are shipped. The others ask services that are not modelled here.
SHIPPED = (
    *("AcquireLock", "ReleaseLock", "TakeOver", "Preflight", "PreviewTiers", "WritePlan"),
    *("CompareTiers", "PlanTier", "ApplyTier", "CheckTier", "CheckDatabase"),
    *("CheckServers", "SuspendScaling", "ResumeScaling", "TellSuspended"),
    *("CreateRestorePoint", "CheckRestorePoint"),
    "RemedyStanding",
    *("StartCommand", "CheckCommand", "CheckCommands", "DrainServers", "CheckDrained", "RestoreServers"),
    *("PlanJoin", "CheckNewcomer", "StartJoinCommand", "CompleteJoin"),
    *("CheckTargets", "PlanRollBack", "VerifyRelease", "RecordRelease", "Notify", "ExplainFailure"),
    *("BeginCheck", "DetectDrift", "CheckStacks", "AskServers", "CheckReports"),
    *("RecordDrift", "RecordAnnounced"),
)
# Those of the tear-down, which no fleet stands in for.
TEAR_DOWN = (
    *("ValidateTearDown", "LockForTearDown", "ShowTearDown", "RemoveTiers", "EndDatabase", "EmptyBucket"),
    *("RecordTearDown", "ExplainTearDown"),
)


class Estate:
    """`looks`: how often whoever waits for something sees that it is not there yet.

    `previous`: the release that serves, None before the first one. `bad`: what cannot be activated, as
    (release, server). `never`: what is waited for in vain: database, servers, tier, messages,
    resume, command:<step>.
    """

    def __init__(self, patch: pytest.MonkeyPatch, previous: str | None = "r1", looks: int = 0) -> None:
        self.looks = looks
        self.bad: set[tuple[str, str]] = set()
        self.never: set[str] = set()
        self.missing: set[str] = set()  # secrets
        self.dark = False  # whether the load balancer was ever left without a server
        self.sickly = 0  # looks more that a target needs
        self.refusals = 0  # times that Auto Scaling may not be let go on yet
        self.stack_version = "1"  # what the tiers' templates say
        self.sizes: dict[str, str] = {}  # what the environment asks of a tier, if it is something else than 1
        self.wanted: Json = request(bakeSeconds=1)
        self.items: dict[tuple[str, str], Json] = {}
        self.serves: str | None = None  # the release before the one that is looked at
        self.stacks: dict[str, Json] = {}
        self.change_sets: dict[tuple[str, str], Json] = {}
        self.servers: dict[str, Json] = {
            name: {"release": previous, "in": True, "staged": {previous} - {None}} for name in SERVERS
        }
        self.other: str | None = None  # another release that runs; in service or not
        self.suspended: set[str] = set()
        self.policies: list[str] = []  # that somebody has attached to the servers' role
        self.rules: list[Json] = []  # that somebody has added to security groups
        self.drain_seconds = 300
        self.snapshots: dict[str, Json] = {}
        self.instance: str | None = "available"  # the DB instance's status
        self.final: list[str] = []  # snapshots with which instances were deleted
        self.images: int | None = 3  # versions in the bucket; None: it is gone
        self.foreign: list[Json] = []  # network interfaces of others
        self.schema: set[str] = {"20260101000000"} if previous else set()
        self.ran: Counter[str] = Counter()  # how often each migration was run
        self.commands: list[Json] = []
        self.objects: dict[str, Json] = {}
        self.announced: list[tuple[str, Json]] = []
        self.mails: list[str] = []
        self.metrics: list[Any] = []
        self._left: dict[object, int] = {}
        self._engine: Engine | None = None
        self._guard = threading.RLock()
        self._handlers = {name: _shipped(name) for name in SHIPPED}
        self._install(patch)
        if previous:
            for tier in OUTPUTS:
                self.stacks[_stack_of(tier)] = {
                    "version": "1",
                    "at": None,
                    "status": "CREATE_COMPLETE",
                    "given": self.parameters(tier, OUTPUTS),
                    "tags": tiers.tags("arable", tier),
                }
            self.became_current(previous)

    # --- what a test asks ---------------------------------------------------------------------------------

    def parameters(self, tier: str, outputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Of a tier as the release asks for it; some build on the tiers before them."""
        network, targets = ("network", "VpcId"), ("web", "TargetGroupArn")
        needed = {
            "database": [network],
            "web": [network],
            "load_balancer": [network, ("certificate", "CertificateArn"), targets],
        }
        given = {"Environment": "arable", "Size": self.sizes.get(tier, "1")}
        for before, name in needed.get(tier, []):
            if before not in outputs:
                raise TierFailed(f"the tier {tier} needs {before}", f"tier {tier}", "see the outputs")
            given[name] = outputs[before][name]
        return given

    def ready_at_once(self, *what: object) -> None:
        """These are not waited for, whatever else is: servers, site, (agent, server)."""
        self._left |= dict.fromkeys(what, 0)

    def by_hand(self, tier: str, **changes: Any) -> None:
        """Somebody changes a tier's stack without Slipway: its `version` (template), what it was `given`
        (parameters) or its `tags`."""
        self.stacks[_stack_of(tier)] |= changes

    def on(self, engine: Engine) -> Engine:
        self._engine = engine
        return engine

    def functions(self) -> Functions:
        answers: dict[str, Answer] = dict(self._handlers)
        answers["ValidateInput"] = lambda _payload: self._request()
        answers["CheckCertificate"] = self._certificate
        answers["CheckBake"] = lambda payload: {
            "status": "baking" if self._waits(("bake", *payload["servers"])) else "baked"
        }
        functions = fleet(**{name: self._one_by_one(answer) for name, answer in answers.items()})
        functions.answers |= {name: self._one_by_one(_shipped(name)) for name in TEAR_DOWN}
        return functions

    def _one_by_one(self, answer: Answer) -> Answer:
        def answered(payload: Json) -> Any:
            with self._guard:
                return answer(payload)

        return answered

    def holder(self) -> str | None:
        holder: str | None = self.items.get(("ENVIRONMENT#arable", "LOCK"), {}).get("holder")
        return holder

    def in_service(self) -> dict[str, Json]:
        """The servers that Auto Scaling has let in."""
        return {name: one for name, one in self.servers.items() if _state(one) == "InService"}

    def launch(self, name: str = "i-3") -> None:
        """Auto Scaling launches a server, and waits for its lifecycle action."""
        self.servers[name] = {"release": None, "in": False, "staged": set(), "state": "Pending:Wait"}

    def holds(self, its_servers: bool) -> None:
        """Another release runs, and has its servers already or waits for all of the group."""
        self.other = OTHER
        lock = {"holder": OTHER, "of": OTHER, "fence": 7, "release": "r0", "request": "{}", "since": "now"}
        self.items["ENVIRONMENT#arable", "LOCK"] = {"pk": "ENVIRONMENT#arable", "sk": "LOCK", **lock}
        if its_servers:
            scaling = {"group": GROUP, "processes": "", "fence": 7}
            self.items["ENVIRONMENT#arable", "SCALING"] = {
                "pk": "ENVIRONMENT#arable",
                "sk": "SCALING",
                **scaling,
            }

    def time_out(self) -> None:
        """The hook's time is over: servers that are still waited for are ended."""
        for name in [name for name, one in self.servers.items() if _state(one) != "InService"]:
            del self.servers[name]

    def releases(self) -> set[str | None]:
        """What the servers have."""
        return {server["release"] for server in self.in_service().values()}

    def all_in(self, healthy: bool = True) -> bool:
        """Whether every server is in the load balancer (and healthy there)."""
        wanted = ("healthy",) if healthy else ("healthy", "unhealthy")
        return all(self._target(name)["TargetHealth"]["State"] in wanted for name in self.in_service())

    def became_current(self, release: str) -> None:
        """It was released before, and succeeded."""
        self.serves = release
        named = {"id": release, "artifact": f"s3://artifacts/releases/{release}.tar.gz", "sha256": "0" * 64}
        records.set_current(self.environment(), named, 0, OUTPUTS)

    def slow_down(self) -> None:
        """From now on whatever is waited for takes its looks again."""
        self._left.clear()

    def heal(self) -> None:
        """From now on everything goes well, and at once."""
        self.looks = 0
        self._left.clear()
        self.bad.clear()
        self.never.clear()
        self.missing.clear()
        self.sickly = self.refusals = 0
        self.other = None
        self.wanted = {**self.wanted, "plan": False}

    def receipt(self, execution: str) -> Json | None:
        return self.objects.get(f"receipts/arable/{execution}.json")

    def told(self) -> list[str]:
        """The ends of releases of which somebody was told, by EventBridge and by mail."""
        ends = ("succeeded", "failed clean", "failed dirty")
        return [kind for kind, _ in self.announced if kind in ends]

    def deployed(self) -> bool:
        """Whether any stack has been changed."""
        return any(stack["at"] or stack["version"] != "1" for stack in self.stacks.values())

    def findings(self) -> set[str]:
        """What is recorded of the last check for drift."""
        item = self.items.get(("ENVIRONMENT#arable", "DRIFT"), {})
        return set(json.loads(item.get("document", "{}")).get("findings", {}))

    def was_checked(self, **findings: Json) -> None:
        """A check was made, in which these were found, and told."""
        document = {
            "checkedAt": "2026-11-21T10:00:00Z",
            "status": "drift" if findings else "clean",
            "findings": {one["key"]: one for one in findings.values()},
            "announcement": None,
        }
        key = {"pk": "ENVIRONMENT#arable", "sk": "DRIFT"}
        self.items["ENVIRONMENT#arable", "DRIFT"] = {
            **key,
            "version": 1,
            "execution": "arn:before",
            "document": json.dumps(document),
        }

    def migrate_commands(self) -> int:
        return sum(command["step"] == "migrate" for command in self.commands)

    # --- inside -------------------------------------------------------------------------------------------

    def _install(self, patch: pytest.MonkeyPatch) -> None:
        for name, value in SURROUNDINGS.items():
            patch.setenv(name, value)
        for module in [m for name, m in sys.modules.items() if name.startswith("slipway.")]:
            if hasattr(module, "linger"):
                patch.setattr(module, "linger", lambda look, _enough, _patience=None: look())
        patch.setattr(
            importlib.import_module("plan_tier.app"),
            "_parameters",
            lambda event, _context: self.parameters(event["tier"], event["outputs"]),
        )
        patch.setattr(
            settings, "parameters", lambda tier, _environment, outputs, _: self.parameters(tier, outputs)
        )
        patch.setattr(images, "SECONDS", 0)  # a portion a call
        patch.setattr(
            importlib.import_module("check_stacks.app"),
            "_parameters",
            lambda tier, event, _context: self.parameters(tier, event["current"]["outputs"]),
        )
        patch.setattr(validation, "again", lambda _validated, _given: self._request())
        patch.setattr(surroundings, "look", self._facts)
        task.logger.setLevel("CRITICAL")
        for service, fakes in self._services().items():
            for name, fake in fakes.items():
                patch.setattr(service, name, fake)

    def _services(self) -> dict[Any, dict[str, Callable[..., Any]]]:
        return {
            dynamodb: {
                "get": lambda pk, sk: dict(self.items.get((pk, sk), {})) or None,
                "put": self._put,
                "query": lambda pk: [item for key, item in sorted(self.items.items()) if key[0] == pk],
                "delete": lambda pk, sk: self.items.pop((pk, sk), None),
                "last": lambda pk, beginning, most: [
                    item
                    for key, item in sorted(self.items.items())
                    if key[0] == pk and key[1].startswith(beginning)
                ][-most:],
            },
            states: {
                "status": lambda arn: self._execution(arn)["status"],
                "described": self._described,
                "history": lambda arn: (list(self._history(arn)), True),
                "current_state": self._current_state,
            },
            cloudformation: {
                "describe": self._describe_stack,
                "create_change_set": self._create_change_set,
                "change_set": self._change_set,
                "delete_change_set": lambda stack, name: self.change_sets.pop((stack, name), None),
                "execute_change_set": self._execute_change_set,
                "protect": lambda _stack, _protected: None,
                "delete": self._delete_stack,
                "resources": self._resources,
                "detect_drift": self._detect_drift,
                "drift_detection": self._drift_detection,
                "drifted": lambda _stack: [],
                "template": self._template,
                "events": lambda _stack: iter(()),
            },
            autoscaling: {
                "group": self._group,
                "activities": lambda _name: [],
                "members": lambda servers: {
                    name: _instance(name, self.servers[name]) for name in servers if name in self.servers
                },
                "heartbeat": lambda action: self._awaited(action["EC2InstanceId"]),
                "complete": self._complete,
                "suspend": lambda _name, processes: self.suspended.update(processes),
                "resume": self._resume,
            },
            iam: {
                "attached_policies": lambda _role: list(self.policies),
                "inline_policies": lambda _role: sorted(remedy.ROLE_POLICIES),
                "detach": lambda _role, policy: self.policies.remove(policy),
            },
            ec2: {
                "states": lambda servers: dict.fromkeys(servers, "running"),
                "security_group_rules": lambda groups: [
                    one for one in self.rules if one["GroupId"] in groups
                ],
                "revoke": self.rules.remove,
                "of_environment": lambda _environment: list(self.servers),
                "interfaces": lambda _vpc: self.foreign,
                "security_groups": list,
                "subnets": lambda _vpc: [],
            },
            elb: {
                "health": self._health,
                "deregister": lambda _group, servers: self._move(servers, False),
                "register": lambda _group, servers: self._move(servers, True),
                "drain_seconds": lambda _group: self.drain_seconds,
                "set_drain_seconds": self._set_drain_seconds,
            },
            rds: {
                "instance": self._database,
                "create_snapshot": self._create_snapshot,
                "snapshot": self._snapshot,
                "unprotect": lambda _instance: None,
                "delete_with_snapshot": self._delete_database,
                "snapshots_of": lambda _instance: [{"DBSnapshotIdentifier": name} for name in self.final],
            },
            ssm: {
                "agents": lambda servers: {
                    name: {"PingStatus": "Online", "IPAddress": "10.0.0.1"}
                    for name in servers
                    if name in self.in_service()
                    or (name in self.servers and not self._waits(("agent", name)))
                },
                "send": self._send,
                "commands": lambda document, mark: [
                    one["CommandId"]
                    for one in self.commands
                    if one["document"] == document and one["Comment"].endswith(mark)
                ],
                "running": self._running,
                "invocations": self._invocations,
            },
            s3: {
                "put": self._put_object,
                "versions": self._versions,
                "delete_versions": self._delete_versions,
                "abort_uploads": lambda _bucket: None,
                "delete_bucket": self._delete_bucket,
            },
            cloudtrail: {"events": lambda _resource, _since: []},
            cloudwatch: {"put": lambda _namespace, values: self.metrics.extend(values)},
            messages: {
                "put_event": self._put_event,
                "publish": lambda _topic, subject, _message: self.mails.append(subject),
            },
            verification: {"fetch": lambda _url: self._site()},
        }

    def _waits(self, what: object, longer: int = 0) -> bool:
        """Whether this look sees that it is not there yet. `longer`: so many looks more than others."""
        left = self._left.setdefault(what, self.looks + longer)
        self._left[what] = max(0, left - 1)
        return left > 0

    def environment(self) -> Json:
        return {
            **ENVIRONMENT,
            "domain": {"name": "arable.example", "dns": "here"},
            "network": {"cidr": "10.20.0.0/16", "natGateways": "one", "bastion": {"allowedCidrs": []}},
        }

    def _request(self) -> Json:
        current = records.current("arable")
        same = current is not None and current["release"]["id"] == self.wanted["release"]["id"]
        return {
            **self.wanted,
            "environment": self.environment(),
            "previous": {"id": current["release"]["id"]} if current else None,
            "recorded": {"same": same, "outputs": current["outputs"] if current and same else {}},
            "archive": None,
        }

    def _facts(self, wanted: Json, *_: Any) -> Json:
        """Of the preflight: all is well, but for secrets that are missing."""
        names = wanted["environment"]["secrets"].values()
        return {
            **dict.fromkeys(
                ("fleet", "targets", "database", "maintenance", "snapshot", "certificate", "zone")
            ),
            **dict.fromkeys(("artifact", "reports")),
            "now": datetime.now(UTC),
            "request": wanted,
            "alarms": {},
            "secrets": {name: "missing" if name in self.missing else "there" for name in names},
            "quotas": [],
        }

    def _put_object(self, _bucket: str, key: str, content: bytes, kind: str) -> None:
        self.objects[key] = json.loads(content) if kind == "application/json" else {"text": content.decode()}

    def _put_event(self, source: str, kind: str, detail: str) -> None:
        if "messages" in self.never:
            raise RuntimeError("nobody is told")
        self.announced.append((kind, json.loads(detail)))
        if self._engine is not None:
            self._engine.events.append({"Source": source, "DetailType": kind, "Detail": detail})

    def _resume(self, _name: str, processes: Sequence[str]) -> None:
        self.refusals -= 1
        if self.refusals >= 0 or "resume" in self.never:
            raise AwsRefused("AccessDenied: is not authorized to perform that", "ResumeProcesses", "see why")
        self.suspended.difference_update(processes)

    # DynamoDB and Step Functions

    def _put(
        self, item: Mapping[str, Any], condition: str | None = None, values: Mapping[str, Any] | None = None
    ) -> bool:
        key = (str(item["pk"]), str(item["sk"]))
        there, given = self.items.get(key), dict(values or {})
        fence = (there or {}).get("fence", 0)
        holds = {
            None: True,
            "attribute_not_exists(pk)": there is None,
            "attribute_not_exists(pk) OR execution = :execution": there is None
            or there.get("execution") == given.get(":execution"),
            "fence = :seen": there is not None and fence == given.get(":seen"),
            "attribute_not_exists(pk) OR fence <= :fence": there is None or fence <= given.get(":fence", -1),
            "attribute_not_exists(pk) OR version = :seen": there is None
            or there.get("version") == given.get(":seen"),
        }[condition]
        if holds:
            self.items[key] = dict(item)
        return holds

    def _execution(self, arn: str) -> Json:
        if arn == OTHER:
            waits = self.other is not None and (self.looks == 0 or self._waits("other release"))
            return {"status": "RUNNING" if waits else "SUCCEEDED"}
        assert self._engine is not None
        return self._engine.described(arn)

    def _described(self, arn: str) -> Json:
        found = self._execution(arn)
        return {**found, "startDate": _moment(found["startDate"])}

    def _history(self, arn: str) -> Iterator[Json]:
        assert self._engine is not None
        for event in self._engine.history(arn):
            yield {"type": "TaskSubmitted", **event, "timestamp": _moment(event.get("timestamp"))}

    def _current_state(self, arn: str) -> str | None:
        entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in self._history(arn)]
        return next((name for name in reversed(entered) if name), None)

    # CloudFormation: a stack has a version, and so have the templates

    def _describe_stack(self, name: str) -> Json | None:
        stack = self.stacks.get(name)
        if stack is None:
            return None
        if stack["status"] == "DELETE_IN_PROGRESS":
            if "tier" not in self.never and not self._waits((name, "deleted")):
                del self.stacks[name]
            return {"StackName": name, "StackStatus": "DELETE_IN_PROGRESS"}
        if stack["at"] is not None and "tier" not in self.never and not self._waits((name, stack["at"])):
            stack |= {"version": stack["at"], "at": None, "status": "UPDATE_COMPLETE"}
        outputs = OUTPUTS[_tier_of(name)].items()
        return {
            "StackName": name,
            "StackStatus": stack["status"],
            "RoleARN": SURROUNDINGS["CLOUDFORMATION_ROLE_ARN"],
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in stack["given"].items()
            ],
            "Tags": [{"Key": key, "Value": value} for key, value in stack["tags"].items()],
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs],
        }

    def _create_change_set(
        self, stack: str, name: str, _kind: str, _body: str, given: Json, tags: Json, *_: Any
    ) -> None:
        there = self.stacks.get(stack)
        asked = {"version": self.stack_version, "given": dict(given), "tags": dict(tags)}
        changes = there is None or any(there[part] != wanted for part, wanted in asked.items())
        self.change_sets[stack, name] = {
            "asked": asked,
            "ChangeSetId": name,
            "Status": "CREATE_COMPLETE" if changes else "FAILED",
            "StatusReason": "" if changes else "The submitted information didn't contain changes",
            "ExecutionStatus": "AVAILABLE" if changes else "UNAVAILABLE",
            "Changes": [],
        }

    def _change_set(self, stack: str, name: str) -> Json | None:
        found = self.change_sets.get((stack, name))
        if found and self._waits(("change set", stack, name)):
            return {**found, "Status": "CREATE_IN_PROGRESS"}
        return found

    def _execute_change_set(self, stack: str, name: str) -> None:
        assert self.change_sets[stack, name]["ExecutionStatus"] == "AVAILABLE"
        self.change_sets[stack, name]["ExecutionStatus"] = "EXECUTE_COMPLETE"
        there = self.stacks.setdefault(stack, {"version": None})
        asked = self.change_sets[stack, name]["asked"]
        there |= {
            "at": asked["version"],
            "status": "UPDATE_IN_PROGRESS" if there["version"] else "CREATE_IN_PROGRESS",
            "given": asked["given"],
            "tags": asked["tags"],
        }

    def _detect_drift(self, stack: str) -> str | None:
        """None while CloudFormation is at another detection."""
        return None if self._waits(("other detection", stack)) else stack

    def _template(self, stack: str) -> str:
        built = tiers.template(_tier_of(stack))
        return built if self.stacks[stack]["version"] == self.stack_version else f"{built}Metadata: {{}}\n"

    def _drift_detection(self, stack: str) -> Json:
        if "detection" in self.never or self._waits(("detection", stack)):
            return {"DetectionStatus": "DETECTION_IN_PROGRESS"}
        return {"DetectionStatus": "DETECTION_COMPLETE", "StackDriftStatus": "IN_SYNC"}

    def _delete_stack(self, stack: str, _role: str) -> None:
        if stack in self.stacks:
            self.stacks[stack] |= {"status": "DELETE_IN_PROGRESS", "at": None}

    def _resources(self, stack: str) -> list[Json]:
        """What tear-downs ask for by name."""
        named = {
            "network": [("Vpc", "AWS::EC2::VPC", "vpc-1")],
            "database": [("Instance", "AWS::RDS::DBInstance", "slipway-db")],
            "storage": [
                ("ImageBucket", "AWS::S3::Bucket", "images"),
                ("SecretKeyBase", "AWS::SecretsManager::Secret", "arn:secret:key-base"),
            ],
        }
        return [
            {
                "LogicalResourceId": logical,
                "ResourceType": kind,
                "PhysicalResourceId": identifier,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for logical, kind, identifier in named.get(_tier_of(stack), [])
        ]

    def _certificate(self, payload: Json) -> Json:
        there = self.stacks[payload["stack"]]
        waits = there["at"] is not None
        missing = [{"name": "_x.arable.example", "type": "CNAME", "value": "_y.acm-validations.aws"}]
        return {
            "status": "pending" if waits else "issued",
            "missing": missing if waits else [],
            "detail": "set it" if waits else "",
        }

    # Servers

    def _group(self, _name: str) -> Json:
        instances = [_instance(name, server) for name, server in self.servers.items()]
        missing = "servers" in self.never or self._waits("servers")
        return {
            "AutoScalingGroupName": GROUP,
            "Instances": instances[: 1 if missing else None],
            "DesiredCapacity": len(self.servers),
            "SuspendedProcesses": [{"ProcessName": name} for name in sorted(self.suspended)],
        }

    def _move(self, servers: Sequence[str], inside: bool) -> None:
        served = any(server["in"] for server in self.servers.values())
        for name in servers:
            if self.servers[name]["in"] != inside:
                self.servers[name]["in"] = inside
                self._left.pop(("target", name), None)
        self.dark |= served and not any(server["in"] for server in self.servers.values())

    def _health(self, _group: str) -> list[Json]:
        """A target that is out, and has no connection any more, is not listed."""
        found = [self._target(name) for name in self.in_service()]
        return [one for one in found if one["TargetHealth"]["State"] != "unused"]

    def _target(self, name: str) -> Json:
        server = self.servers[name]
        slow = self._waits(("target", name), self.sickly)
        state = {
            (True, False): "healthy",
            (True, True): "initial",
            (False, False): "unused",
            (False, True): "draining",
        }[server["in"], slow]
        if state == "healthy" and server["release"] is None:
            state = "unhealthy"
        return {"Target": {"Id": name}, "TargetHealth": {"State": state, "Reason": "as modelled"}}

    def _awaited(self, name: str) -> bool:
        return name in self.servers and _state(self.servers[name]) == "Pending:Wait"

    def _complete(self, action: Mapping[str, str], result: str) -> bool:
        name = action["EC2InstanceId"]
        if not self._awaited(name):
            return False
        if result == "CONTINUE":
            self.servers[name] |= {"state": "InService", "in": True}
        else:
            del self.servers[name]
        return True

    def _set_drain_seconds(self, _group: str, seconds: int) -> None:
        self.drain_seconds = seconds

    def _site(self) -> verification.Answer:
        if self._waits("site"):
            return verification.Answer(503)
        serving = [server["release"] for server in self.servers.values() if server["in"]]
        return verification.Answer(200, serving[0] or "") if serving else verification.Answer(503)

    # The database

    def _database(self, _identifier: str) -> Json | None:
        if self.instance == "deleting" and "database" not in self.never and not self._waits("deleted"):
            self.instance = None
        if self.instance != "available":
            return {"DBInstanceStatus": self.instance} if self.instance else None
        waits = "database" in self.never or self._waits("database")
        return {"DBInstanceStatus": "creating" if waits else "available"}

    def _create_snapshot(self, _instance: str, name: str, tags: Mapping[str, str]) -> str:
        if name in self.snapshots:
            return "taken"
        if self._waits("snapshot can be begun"):
            return "busy"
        self.snapshots[name] = {"TagList": [{"Key": key, "Value": value} for key, value in tags.items()]}
        return "begun"

    def _delete_database(self, _instance: str, name: str) -> str:
        if self.instance == "deleting":
            return "busy"
        assert self.instance == "available", "deleted twice"
        self.instance = "deleting"
        self.final.append(name)
        self.snapshots[name] = {}
        return "begun"

    # The bucket with the images

    def _versions(self, _bucket: str) -> list[Json] | None:
        """A page has two of them."""
        if self.images is None:
            return None
        return [{"Key": "a.png", "VersionId": str(number)} for number in range(min(self.images, 2))]

    def _delete_versions(self, _bucket: str, which: Sequence[Json]) -> None:
        assert self.images is not None
        self.images -= len(which)

    def _delete_bucket(self, _bucket: str) -> None:
        assert self.images == 0
        self.images = None

    def _snapshot(self, name: str) -> Json | None:
        if name not in self.snapshots:
            return None
        status = "creating" if self._waits(("snapshot", name)) else "available"
        return {**self.snapshots[name], "Status": status}

    # Run Command: a command has its effect when it ends, which is when somebody has looked after it for long
    # enough, when the next one begins on a server of it, or some time after everything else (`pass_by`)

    def _send(self, document: str, servers: Sequence[str], parameters: Mapping[str, str], *rest: Any) -> str:
        step = document.removeprefix("slipway-")
        command = {
            "CommandId": f"command-{len(self.commands) + 1}",
            "document": document,
            "step": step,
            "Comment": rest[-1],
            "servers": list(servers),
            "parameters": dict(parameters),
            "results": {},
        }
        for earlier in self._unended(servers):  # a server does one step after the other
            self._end(earlier)
        self.commands.append(command)
        return str(command["CommandId"])

    def _unended(self, servers: Sequence[str]) -> list[Json]:
        return [one for one in self.commands if not one["results"] and set(servers) & set(one["servers"])]

    def _end(self, command: Json) -> None:
        if not command["results"]:
            for name in command["servers"]:
                command["results"][name] = self._steps(command["step"], name, command["parameters"])

    def pass_by(self) -> None:
        """What runs on servers comes to its end."""
        for command in self._unended(list(self.servers)):
            self._end(command)

    def _running(self) -> list[Json]:
        running = [one for one in self.commands if not one["results"] and self._waits(one["CommandId"])]
        for one in self.commands:
            if one not in running:
                self._end(one)
        return running

    def _invocations(self, command: str) -> list[Json]:
        found = next(one for one in self.commands if one["CommandId"] == command)
        if f"command:{found['step']}" in self.never or (not found["results"] and self._waits(command)):
            return [{"InstanceId": name, "Status": "InProgress"} for name in found["servers"]]
        self._end(found)
        return [
            {
                "InstanceId": name,
                "CommandId": command,
                "Status": "Success" if results[-1]["ok"] else "Failed",
                "CommandPlugins": [{"Output": json.dumps(result)} for result in results],
            }
            for name, results in found["results"].items()
        ]

    def _steps(self, document: str, name: str, parameters: Mapping[str, str]) -> list[Json]:
        """What a document's steps say; the first that fails is the last."""
        told: list[Json] = []
        for step in commands.steps(document):
            if all(one["ok"] for one in told):
                told.append(self._step(step, name, parameters))
        return told

    def _step(self, step: str, name: str, parameters: Mapping[str, str]) -> Json:
        if name not in self.servers:
            return {"step": step, "ok": False, "reason": "the server is gone"}
        server = self.servers[name]
        told: Json = {"step": step, "ok": True}
        if step == "stage":
            server["staged"].add(parameters["Release"])
            told["sideBySide"] = True
        elif step == "pending" and parameters["PendingOn"] != name:
            told["asked"] = reported.NOBODY
        elif step == "pending":
            pending = sorted({MIGRATION} - self.schema)
            told |= {"pending": pending, "number": len(pending), "empty": not self.schema}
        elif step == "migrate":
            done = sorted({MIGRATION} - self.schema)
            self.ran.update(done)
            self.schema.update(done)
            told |= {"migrations": done, "seconds": 1}
        elif step == "activate":
            told |= self._activate(name, parameters["Release"])
        elif step == "report":
            told["release"] = server["release"]
        return told

    def _activate(self, name: str, release: str) -> Json:
        """The document leaves the server on the release that it had when the new one does not answer."""
        if release not in self.servers[name]["staged"]:
            return {"ok": False, "reason": f"release {release} is not on this server"}
        if (release, name) in self.bad:
            return {"ok": False, "reason": f"{release} does not answer"}
        self.servers[name]["release"] = release
        return {}


def _shipped(name: str) -> Answer:
    module = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    handler = importlib.import_module(f"{module}.app").handler

    def answer(payload: Json) -> Any:
        try:
            return handler(payload, None)
        except Exception as error:  # as Lambda reports it
            raise TaskError(type(error).__name__, str(error)) from error

    return answer


def _stack_of(tier: str) -> str:
    return f"slipway-arable-{tier.replace('_', '-')}"


def _tier_of(stack: str) -> str:
    return stack.removeprefix("slipway-arable-").replace("-", "_")


def _state(server: Mapping[str, Any]) -> str:
    return str(server.get("state", "InService"))


def _instance(name: str, server: Mapping[str, Any]) -> Json:
    return {
        "InstanceId": name,
        "AvailabilityZone": "us-east-1a",
        "LifecycleState": _state(server),
        "HealthStatus": "Healthy",
    }


def _moment(value: Any) -> datetime:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value) if value else datetime.now(UTC)
