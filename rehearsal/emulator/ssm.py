"""Systems Manager: documents, Run Command, managed servers, and the public parameters of images.

Documents and commands are kept here; parameters stay with the emulator, which does them well.
"""

from __future__ import annotations

import contextvars
import json
import math
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rehearsal.emulator import commands, documents, identity, images
from rehearsal.emulator.commands import Command, Invocation, Plugin
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.library import Document, Library, Refused

if TYPE_CHECKING:
    from rehearsal.machines import Server

RELIES_ON = (
    ("services.ssm", "handle_request"),
    ("services.ssm", "_parameters"),
    ("services.ec2", "_instances"),
    ("services.ec2", "_tags"),
    ("core.iam_actions", "extract_resource_arn"),
    ("core.iam_evaluator", "enforce"),
    ("core.responses", "error_response_json"),
    ("core.responses", "json_response"),
    ("core.router", "extract_access_key_id"),
)

AGENT_PERMISSIONS = ("ssm:UpdateInstanceInformation", "ec2messages:GetMessages")
"""Without these in its role the agent on a server never reports to Systems Manager."""

AGENT = "amazon-ssm-agent"
PING_SECONDS = 5.0
"""How long a server that answered counts as answering (AWS: the agent reports every five minutes)."""

DEFAULT_DELIVERY_SECONDS = 3600
Answer = tuple[int, dict[str, str], bytes]
_headers: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("ssm_headers")


def install(region: Region) -> None:
    """Put documents and Run Command in the place of the emulator's answers."""
    service = SystemsManager(region)
    module = ministack("services.ssm")
    replace(module, "handle_request", service.wrap)
    replace(ministack("core.iam_actions"), "extract_resource_arn", _document_arns(region))
    for name, value in images.public_parameters().items():
        module._parameters[name] = images.parameter_record(region.name, name, value)
    region.documents = service.library


class SystemsManager:
    """The API's answers."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self.library = Library(region)
        self._commands: dict[str, Command] = {}
        self._runner = commands.Runner(region, self.listens)
        self._platforms: dict[str, dict[str, str]] = {}
        self._pings: dict[str, float] = {}
        self._actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "SendCommand": self._send_command,
            "CancelCommand": self._cancel_command,
            "ListCommands": self._list_commands,
            "ListCommandInvocations": self._list_command_invocations,
            "GetCommandInvocation": self._get_command_invocation,
            "DescribeInstanceInformation": self._describe_instance_information,
            "CreateDocument": self._create_document,
            "UpdateDocument": self._update_document,
            "UpdateDocumentDefaultVersion": self._update_document_default_version,
            "DeleteDocument": self._delete_document,
            "GetDocument": self._get_document,
            "DescribeDocument": self._describe_document,
            "ListDocuments": self._list_documents,
            "ListDocumentVersions": self._list_document_versions,
        }

    def wrap(self, original: Any) -> Any:
        """The module's request handler with our actions before the emulator's."""
        responses = ministack("core.responses")

        async def handle(method: str, path: str, headers: Any, body: bytes, query: Any) -> Answer:
            action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
            answer = self._actions.get(action)
            if answer is None:
                result: Answer = await original(method, path, headers, body, query)
                return result
            token = _headers.set(headers)
            try:
                done: Answer = responses.json_response(answer(json.loads(body or b"{}")))
            except Refused as refused:
                done = responses.error_response_json(refused.code, str(refused), 400)
            finally:
                _headers.reset(token)
            return done

        return handle

    # Managed servers

    def online(self, instance: str) -> bool:
        """Whether the agent of this server can report: it runs, has the permissions, and a way to AWS."""
        server = self._region.server(instance)
        return (
            server is not None
            and server.running()
            and self._region.reaches_aws(instance)
            and self._agent_allowed(instance)
            and self._agent_runs(instance, server)
        )

    def listens(self, instance: str) -> bool:
        """Whether its agent takes a command, or tells how one went, at this very moment."""
        self._pings.pop(instance, None)
        return self.online(instance)

    def _agent_runs(self, instance: str, server: Server) -> bool:
        """Whether the agent's unit is active on the server; asked anew after `PING_SECONDS`."""
        if time.monotonic() - self._pings.get(instance, -PING_SECONDS) < PING_SECONDS:
            return True
        try:
            active = server.active(AGENT)
        except subprocess.TimeoutExpired:
            return False
        if active:
            self._pings[instance] = time.monotonic()
        return active

    def _agent_allowed(self, instance: str) -> bool:
        credentials = self._region.instance_credentials(instance)
        if credentials is None:
            return False
        arn = f"arn:aws:ec2:{self._region.name}:{self._region.account}:instance/{instance}"
        role = credentials["Role"]
        return all(identity.role_allows(self._region, role, action, arn) for action in AGENT_PERMISSIONS)

    def _platform(self, instance: str) -> dict[str, str]:
        """NAME and VERSION_ID of the server's own /etc/os-release."""
        if instance not in self._platforms:
            server = self._region.server(instance)
            if server is None:
                return {}
            text = server.run(["cat", "/etc/os-release"], timeout=30).stdout.decode("utf-8", "replace")
            pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
            self._platforms[instance] = {key: value.strip('"') for key, value in pairs}
        return self._platforms[instance]

    def _describe_instance_information(self, data: dict[str, Any]) -> dict[str, Any]:
        entries = []
        for instance, record in sorted(ministack("services.ec2")._instances.items()):
            if record["State"]["Name"] not in ("running", "shutting-down"):
                continue
            online = self.online(instance)
            if not online and instance not in self._platforms:
                continue  # Its agent has never reported.
            platform = self._platform(instance)
            entry = {
                "InstanceId": instance,
                "PingStatus": "Online" if online else "ConnectionLost",
                "LastPingDateTime": time.time(),
                "AgentVersion": "0.0.0.0",
                "PlatformType": "Linux",
                "PlatformName": platform.get("NAME", ""),
                "PlatformVersion": platform.get("VERSION_ID", ""),
                "ResourceType": "EC2Instance",
                "IPAddress": record.get("PrivateIpAddress", ""),
                "ComputerName": record.get("PrivateDnsName", ""),
            }
            if _passes(entry, _information_filters(data), _tags_of(instance)):
                entries.append(entry)
        return _page("InstanceInformationList", entries, data, 10)

    # Commands

    def _send_command(self, data: dict[str, Any]) -> dict[str, Any]:
        document = self.library.find(data.get("DocumentName") or "")
        version = document.pick(data.get("DocumentVersion"))
        if data.get("DocumentHash") and data["DocumentHash"] != version["hash"]:
            raise Refused("InvalidDocument", "The document hash does not match the document's content")
        try:
            values = documents.bind(version["parsed"], data.get("Parameters") or {})
        except documents.InvalidParameters as error:
            raise Refused("InvalidParameters", str(error)) from error
        delivery = int(data.get("TimeoutSeconds") or DEFAULT_DELIVERY_SECONDS)
        if not 30 <= delivery <= 2592000:
            raise Refused("ValidationException", "TimeoutSeconds has to be between 30 and 2592000")
        instances = self._targets(data)
        self._authorize(instances)
        steps = documents.steps(version["parsed"], values)
        command = Command(
            id=str(uuid.uuid4()),
            document=document.name,
            version=version["number"],
            steps=steps,
            request=data,
            invocations={i: Invocation(i, [Plugin(step) for step in steps]) for i in instances},
            requested=time.time(),
            delivery=delivery,
            concurrency=max(1, share(str(data.get("MaxConcurrency") or "50"), len(instances))),
            errors_allowed=share(str(data.get("MaxErrors") or "0"), len(instances)),
        )
        self._commands[command.id] = command
        answer = {"Command": self._command(command)}
        self._runner.start(command)
        return answer

    def _targets(self, data: dict[str, Any]) -> list[str]:
        """The servers a command is for: all of InstanceIds, and those that fit all Targets."""
        records = ministack("services.ec2")._instances
        named = list(data.get("InstanceIds") or [])
        invalid = [i for i in named if i not in records or records[i]["State"]["Name"] != "running"]
        invalid += [i for i in named if i not in invalid and not self.online(i)]
        if invalid:
            raise Refused(
                "InvalidInstanceId",
                f"Instances [[{', '.join(invalid)}]] not in a valid state for account {self._region.account}",
            )
        targets = data.get("Targets") or []
        if not targets and not named:
            raise Refused("ValidationException", "InstanceIds or Targets has to be given")
        if not targets:
            return named
        fitting = [i for i in records if all(_fits(i, target) for target in targets)]
        return named + [i for i in fitting if i not in named and self.online(i)]

    def _authorize(self, instances: list[str]) -> None:
        """SendCommand is allowed for each instance, by its tags too (the document was checked before)."""
        evaluator = ministack("core.iam_evaluator")
        key = ministack("core.router").extract_access_key_id(_headers.get(), {})
        for instance in instances:
            arn = f"arn:aws:ec2:{self._region.name}:{self._region.account}:instance/{instance}"
            tags = _tags_of(instance)
            context = {f"ssm:resourceTag/{name}": value for name, value in tags.items()}
            context |= {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
            denied = evaluator.enforce(
                key, "ssm:SendCommand", "ssm", self._region.name, resource_arn=arn, service_context=context
            )
            if denied is not None:
                who = getattr(denied, "principal_arn", "the caller")
                raise Refused(
                    "AccessDeniedException",
                    f"User: {who} is not authorized to perform: ssm:SendCommand on resource: {arn}",
                )

    def _cancel_command(self, data: dict[str, Any]) -> dict[str, Any]:
        command = self._commands.get(data.get("CommandId") or "")
        if command is None:
            raise Refused("InvalidCommandId", f"Command {data.get('CommandId')} does not exist")
        self._region.background(
            self._runner.cancel, command, data.get("InstanceIds") or [], name=f"ssm-cancel-{command.id[:8]}"
        )
        return {}

    def _list_commands(self, data: dict[str, Any]) -> dict[str, Any]:
        found = [
            self._command(command)
            for command in self._chosen(data)
            if not data.get("InstanceId") or data["InstanceId"] in command.invocations
        ]
        return _page("Commands", found, data, 50)

    def _list_command_invocations(self, data: dict[str, Any]) -> dict[str, Any]:
        detailed = str(data.get("Details")).lower() == "true"
        found = [
            self._invocation(command, invocation, detailed)
            for command in self._chosen(data)
            for invocation in command.invocations.values()
            if not data.get("InstanceId") or data["InstanceId"] == invocation.instance
        ]
        return _page("CommandInvocations", found, data, 50)

    def _chosen(self, data: dict[str, Any]) -> list[Command]:
        """Commands by id and Filters, newest first."""
        if data.get("CommandId") and data["CommandId"] not in self._commands:
            raise Refused("InvalidCommandId", f"Command {data['CommandId']} does not exist")
        chosen = [c for c in self._commands.values() if data.get("CommandId") in (None, c.id)]
        for condition in data.get("Filters") or []:
            chosen = [c for c in chosen if _command_fits(c, condition["key"], condition["value"])]
        return sorted(chosen, key=lambda command: command.requested, reverse=True)

    def _command(self, command: Command) -> dict[str, Any]:
        status, details = command.status()
        request = command.request
        invocations = command.invocations.values()
        return {
            "CommandId": command.id,
            "DocumentName": command.document,
            "DocumentVersion": command.version,
            "Comment": request.get("Comment", ""),
            "ExpiresAfter": command.requested + command.delivery + max(s.timeout for s in command.steps),
            "Parameters": request.get("Parameters") or {},
            "InstanceIds": request.get("InstanceIds") or [],
            "Targets": request.get("Targets") or [],
            "RequestedDateTime": command.requested,
            "Status": status,
            "StatusDetails": details,
            "OutputS3BucketName": request.get("OutputS3BucketName", ""),
            "OutputS3KeyPrefix": request.get("OutputS3KeyPrefix", ""),
            "MaxConcurrency": str(request.get("MaxConcurrency") or "50"),
            "MaxErrors": str(request.get("MaxErrors") or "0"),
            "TargetCount": len(invocations),
            "CompletedCount": sum(invocation.final for invocation in invocations),
            "ErrorCount": sum(invocation.status == "Failed" for invocation in invocations),
            "DeliveryTimedOutCount": sum(i.details == "DeliveryTimedOut" for i in invocations),
            "TimeoutSeconds": int(command.delivery),
            "CloudWatchOutputConfig": _log_config(command),
        }

    def _invocation(self, command: Command, invocation: Invocation, detailed: bool) -> dict[str, Any]:
        return {
            "CommandId": command.id,
            "InstanceId": invocation.instance,
            "InstanceName": "",
            "Comment": command.request.get("Comment", ""),
            "DocumentName": command.document,
            "DocumentVersion": command.version,
            "RequestedDateTime": command.requested,
            "Status": invocation.status,
            "StatusDetails": invocation.details,
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "CommandPlugins": [_plugin(plugin) for plugin in invocation.plugins] if detailed else [],
            "CloudWatchOutputConfig": _log_config(command),
        }

    def _get_command_invocation(self, data: dict[str, Any]) -> dict[str, Any]:
        command = self._commands.get(data.get("CommandId") or "")
        if command is None or data.get("InstanceId") not in command.invocations:
            raise Refused("InvocationDoesNotExist", "The command was not sent to this instance")
        invocation = command.invocations[data["InstanceId"]]
        plugin = _named_plugin(invocation, data.get("PluginName"))
        answer: dict[str, Any] = {
            "CommandId": command.id,
            "InstanceId": invocation.instance,
            "Comment": command.request.get("Comment", ""),
            "DocumentName": command.document,
            "DocumentVersion": command.version,
            "PluginName": plugin.step.name if plugin else "",
            "ResponseCode": plugin.code if plugin else -1,
            "Status": plugin.status if plugin else invocation.status,
            "StatusDetails": plugin.details if plugin else invocation.details,
            "ExecutionStartDateTime": _moment(plugin.started if plugin else None),
            "ExecutionEndDateTime": _moment(plugin.ended if plugin else None),
            "ExecutionElapsedTime": _elapsed(plugin),
            "StandardOutputContent": plugin.stdout[: documents.STDOUT_CHARACTERS] if plugin else "",
            "StandardOutputUrl": "",
            "StandardErrorContent": plugin.stderr[: documents.STDERR_CHARACTERS] if plugin else "",
            "StandardErrorUrl": "",
            "CloudWatchOutputConfig": _log_config(command),
        }
        return answer

    # Documents

    def _create_document(self, data: dict[str, Any]) -> dict[str, Any]:
        document = self.library.create(
            data["Name"],
            data["Content"],
            data.get("DocumentFormat") or "JSON",
            kind=data.get("DocumentType"),
            target_type=data.get("TargetType"),
            tags={tag["Key"]: tag["Value"] for tag in data.get("Tags") or []},
        )
        return {"DocumentDescription": self._description(document, document.pick("$LATEST"))}

    def _update_document(self, data: dict[str, Any]) -> dict[str, Any]:
        number = self.library.update(data["Name"], data["Content"], data.get("DocumentFormat") or "JSON")
        document = self.library.find(data["Name"])
        return {"DocumentDescription": self._description(document, document.pick(number))}

    def _update_document_default_version(self, data: dict[str, Any]) -> dict[str, Any]:
        document = self.library.find(data["Name"])
        document.default = document.pick(data["DocumentVersion"])["number"]
        return {"Description": {"Name": document.name, "DefaultVersion": document.default}}

    def _delete_document(self, data: dict[str, Any]) -> dict[str, Any]:
        self.library.delete(data["Name"])
        return {}

    def _get_document(self, data: dict[str, Any]) -> dict[str, Any]:
        document = self.library.find(data["Name"])
        version = document.pick(data.get("DocumentVersion"))
        wanted = data.get("DocumentFormat") or version["format"]
        content = version["content"]
        if wanted == "JSON" and version["format"] != "JSON":
            content = json.dumps(version["parsed"])
        return {
            "Name": document.name,
            "CreatedDate": version["created"],
            "DocumentVersion": version["number"],
            "Status": "Active",
            "Content": content,
            "DocumentType": document.kind,
            "DocumentFormat": wanted,
        }

    def _describe_document(self, data: dict[str, Any]) -> dict[str, Any]:
        document = self.library.find(data["Name"])
        return {"Document": self._description(document, document.pick(data.get("DocumentVersion")))}

    def _description(self, document: Document, version: dict[str, Any]) -> dict[str, Any]:
        parameters = version["parsed"].get("parameters") or {}
        return {
            "Name": document.name,
            "Hash": version["hash"],
            "HashType": "Sha256",
            "Owner": "Amazon" if document.name.startswith("AWS-") else self._region.account,
            "CreatedDate": version["created"],
            "Status": "Active",
            "DocumentVersion": version["number"],
            "Description": str(version["parsed"].get("description") or ""),
            "Parameters": [
                {
                    "Name": name,
                    "Type": "StringList" if parameter["type"] == "StringList" else "String",
                    "Description": str(parameter.get("description") or ""),
                    **({"DefaultValue": str(parameter["default"])} if "default" in parameter else {}),
                }
                for name, parameter in parameters.items()
            ],
            "PlatformTypes": ["Linux", "MacOS"],
            "DocumentType": document.kind,
            "SchemaVersion": "2.2",
            "LatestVersion": document.latest,
            "DefaultVersion": document.default,
            "DocumentFormat": version["format"],
            **({"TargetType": document.target_type} if document.target_type else {}),
            "Tags": [{"Key": key, "Value": value} for key, value in document.tags.items()],
        }

    def _list_documents(self, data: dict[str, Any]) -> dict[str, Any]:
        found = []
        for document in self.library.all():
            version = document.pick(None)
            entry = self._description(document, version)
            found.append({k: entry[k] for k in ("Name", "Owner", "DocumentVersion", "DocumentType", "Tags")})
        for condition in data.get("Filters") or []:
            found = [entry for entry in found if _document_fits(entry, condition)]
        return _page("DocumentIdentifiers", found, data, 50)

    def _list_document_versions(self, data: dict[str, Any]) -> dict[str, Any]:
        document = self.library.find(data["Name"])
        found = [
            {
                "Name": document.name,
                "DocumentVersion": version["number"],
                "CreatedDate": version["created"],
                "IsDefaultVersion": version["number"] == document.default,
                "DocumentFormat": version["format"],
                "Status": "Active",
            }
            for version in reversed(document.versions.values())
        ]
        return _page("DocumentVersions", found, data, 50)


def share(text: str, total: int) -> int:
    """MaxConcurrency or MaxErrors: a number, or a percentage of `total` (rounded up)."""
    if text.endswith("%"):
        return math.ceil(total * int(text[:-1]) / 100)
    return int(text)


def _document_arns(region: Region) -> Callable[[Any], Any]:
    """Let IAM see the document of a request: the emulator takes its name for a parameter's."""

    def make(original: Any) -> Any:
        def resource(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> Any:
            action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
            if service == "ssm" and (action == "SendCommand" or "Document" in action):
                data = json.loads(body or b"{}")
                name = data.get("DocumentName") or data.get("Name")
                if not name:
                    return "*"
                account = "" if str(name).startswith("AWS-") else region.account
                plain = str(name).rsplit("document/", 1)[-1]
                return f"arn:aws:ssm:{region.name}:{account}:document/{plain}"
            return original(service, method, path, headers, body, *rest)

        return resource

    return make


def _tags_of(instance: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in ministack("services.ec2")._tags.get(instance, [])}


def _fits(instance: str, target: Mapping[str, Any]) -> bool:
    """Whether an instance is meant by one entry of Targets."""
    key, values = str(target.get("Key", "")), [str(value) for value in target.get("Values") or []]
    if key.lower() == "instanceids":
        return instance in values
    if key.startswith("tag:"):
        return _tags_of(instance).get(key[len("tag:") :]) in values
    if key == "tag-key":
        return any(value in _tags_of(instance) for value in values)
    raise Refused("InvalidTarget", f"The target key {key} is not known")


def _information_filters(data: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Both generations of the filters as (key, values)."""
    new = [(f["Key"], f["Values"]) for f in data.get("Filters") or []]
    old = [(f["key"], f["valueSet"]) for f in data.get("InstanceInformationFilterList") or []]
    return [(str(key), list(values)) for key, values in new + old]


def _passes(entry: Mapping[str, Any], filters: list[tuple[str, list[str]]], tags: Mapping[str, str]) -> bool:
    members = {"InstanceIds": "InstanceId", "PingStatus": "PingStatus", "PlatformTypes": "PlatformType"}
    members |= {"ResourceType": "ResourceType", "AgentVersion": "AgentVersion"}
    for key, values in filters:
        if key.startswith("tag:"):
            if tags.get(key[len("tag:") :]) not in values:
                return False
        elif key == "tag-key":
            if not set(values) & set(tags):
                return False
        elif key not in members:
            raise Refused("InvalidInstanceInformationFilterValue", f"The filter {key} is not known")
        elif entry[members[key]] not in values:
            return False
    return True


def _command_fits(command: Command, key: str, value: str) -> bool:
    if key == "Status":
        return command.status()[0] == value
    if key == "DocumentName":
        return command.document == value
    if key == "ExecutionStage":
        under_way = command.status()[0] in ("Pending", "InProgress", "Cancelling")
        return under_way == (value == "Executing")
    raise Refused("InvalidFilterKey", f"The filter {key} is not known")


def _document_fits(entry: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    values = condition["Values"]
    if condition["Key"] == "Owner":
        self_owned = entry["Owner"] != "Amazon"
        return ("Self" in values and self_owned) or ("Amazon" in values and not self_owned) or "All" in values
    if condition["Key"] == "Name":
        return any(str(entry["Name"]).startswith(value) for value in values)
    if condition["Key"] == "DocumentType":
        return entry["DocumentType"] in values
    raise Refused("InvalidFilterKey", f"The filter {condition['Key']} is not known")


def _plugin(plugin: Plugin) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "Name": plugin.step.name,
        "Status": plugin.status,
        "StatusDetails": plugin.details,
        "ResponseCode": plugin.code,
        "Output": documents.plugin_output(plugin.stdout, plugin.stderr),
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
    }
    if plugin.started:
        answer["ResponseStartDateTime"] = plugin.started
    if plugin.ended:
        answer["ResponseFinishDateTime"] = plugin.ended
    return answer


def _named_plugin(invocation: Invocation, name: str | None) -> Plugin | None:
    """The step asked for; the only one if none is named; None when several steps have no name to go by."""
    if name:
        for plugin in invocation.plugins:
            if plugin.step.name == name:
                return plugin
        raise Refused("InvalidPluginName", f"The document has no step {name}")
    return invocation.plugins[0] if len(invocation.plugins) == 1 else None


def _log_config(command: Command) -> dict[str, Any]:
    return {
        "CloudWatchLogGroupName": command.log_group or "",
        "CloudWatchOutputEnabled": command.log_group is not None,
    }


def _moment(epoch: float | None) -> str:
    if epoch is None:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch)) + f".{int(epoch % 1 * 1000):03d}Z"


def _elapsed(plugin: Plugin | None) -> str:
    """ISO 8601 duration."""
    if plugin is None or plugin.started is None:
        return ""
    return f"PT{(plugin.ended or time.time()) - plugin.started:.3f}S"


def _page(name: str, entries: list[dict[str, Any]], data: Mapping[str, Any], size: int) -> dict[str, Any]:
    """One page of an answer; the token is the index of the next entry."""
    start = int(data.get("NextToken") or 0)
    end = start + int(data.get("MaxResults") or size)
    page: dict[str, Any] = {name: entries[start:end]}
    if end < len(entries):
        page["NextToken"] = str(end)
    return page
