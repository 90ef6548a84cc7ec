"""Instances that are servers: an address from their subnet, the states of a machine that really boots.

`pending` → its server's first process runs → `running`; `shutting-down` → the server is gone →
`terminated`. A server that dies by itself takes its instance along.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rehearsal.emulator import identity, images
from rehearsal.emulator.addresses import NoFreeAddress
from rehearsal.emulator.context import Region
from rehearsal.emulator.internals import ministack, replace
from rehearsal.emulator.provisioning import Handler, scope, wrap_action

if TYPE_CHECKING:
    from rehearsal.machines import Instance, Server

RELIES_ON = (
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_instances"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_volumes"),
    ("services.ec2", "_tags"),
    ("services.ec2", "_route_tables"),
    ("services.ec2", "_nat_gateways"),
    ("services.ec2", "_vpc_endpoints"),
    ("services.ec2", "_STUB_AMIS"),
    ("services.ec2", "_launch_instances_internal"),
    ("services.ec2", "_instance_xml"),
    ("services.ec2", "_matches_filters"),
    ("services.ec2", "_parse_filters"),
    ("services.ec2", "_parse_member_list"),
    ("services.ec2", "_error"),
    ("services.ec2", "_xml"),
    ("services.ec2", "_p"),
)

logger = logging.getLogger("ec2")

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}
"""Codes of instance states. Source: EC2 API reference, InstanceState."""

LIVE = ("pending", "running", "shutting-down")
WATCH_SECONDS = 0.5

METADATA: Mapping[str, Any] = {
    "HttpEndpoint": "enabled",
    "HttpTokens": "optional",
    "HttpPutResponseHopLimit": 1,
}
"""Without options of its own. Source: EC2 API reference, InstanceMetadataOptionsRequest."""

TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian's programs look for certificate authorities."""


@dataclass(frozen=True)
class Launch:
    """What an instance is started with. `public`: None leaves it to the subnet. `user_data` in base64."""

    subnet: str
    image: str = "ami-00000000000000000"
    type: str = "t3.micro"
    groups: tuple[str, ...] = ()
    user_data: str = ""
    profile: Mapping[str, str] | None = None
    public: bool | None = None
    address: str | None = None
    key_name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def install(region: Region) -> None:
    """Put servers behind the emulator's instances."""
    instances = Instances(region)
    ec2 = ministack("services.ec2")
    ec2._STUB_AMIS.extend(images.stub_images())
    replace(ec2, "_launch_instances_internal", instances.wrap_launch)
    replace(ec2, "_instance_xml", _without_empty_addresses)
    replace(ec2, "_matches_filters", _all_filters)
    wrap_action(ec2, "DescribeInstances", _known_filters)
    wrap_action(ec2, "RunInstances", instances.wrap_run)
    ec2._ACTION_MAP["TerminateInstances"] = instances.terminate_action
    ec2._ACTION_MAP["DescribeInstanceStatus"] = instances.describe_status
    ec2._ACTION_MAP["RebootInstances"] = instances.reboot
    ec2._ACTION_MAP["ModifyInstanceMetadataOptions"] = instances.modify_metadata
    for action in ("StopInstances", "StartInstances"):
        ec2._ACTION_MAP[action] = _not_offered(action)
    region.launch_instance = instances.launch
    region.end_instances = instances.end
    region.server = instances.server
    region.instance_address = instances.address
    region.instance_credentials = instances.credentials
    region.reaches_aws = instances.reaches_aws
    region.members.append(instances.members)
    region.lookups.append(names(region))
    if region.machines is not None:
        region.machines.metadata.who = instances.metadata
        region.background(instances.watch, name="instances")


class Instances:
    """The records of the emulator and the servers behind them."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._launch: Any = None

    @property
    def _records(self) -> Any:
        return ministack("services.ec2")._instances

    # Beginning

    def wrap_launch(self, original: Any) -> Any:
        """The emulator's ``_launch_instances_internal``, by which RunInstances makes its records."""
        self._launch = original

        def launched(
            image_id: str, instance_type: str, subnet_id: str, count: int, **options: Any
        ) -> list[dict[str, Any]]:
            launch = Launch(
                subnet=subnet_id,
                image=image_id,
                type=instance_type,
                groups=tuple(options.get("sg_ids") or ()),
                user_data=options.get("user_data") or "",
                profile=options.get("iam_profile"),
                address=options.get("requested_private_ip") or None,
                key_name=options.get("key_name") or "",
            )
            return [self._records[self.launch(launch)] for _ in range(count)]

        return launched

    def wrap_run(self, original: Handler) -> Handler:
        """RunInstances that refuses a full or unknown subnet."""
        ec2 = ministack("services.ec2")

        def run(params: dict[str, Any]) -> Any:
            try:
                return original(params)
            except NoFreeAddress as error:
                return ec2._error("InsufficientFreeAddressesInSubnet", str(error), 400)
            except KeyError as error:
                return ec2._error("InvalidSubnetID.NotFound", f"The subnet ID {error} does not exist", 400)

        return run

    def launch(self, launch: Launch) -> str:
        """Make the record, `pending`, and start its server. `NoFreeAddress`, KeyError for no such subnet."""
        with scope(self._region):
            ec2 = ministack("services.ec2")
            subnet = ec2._subnets[launch.subnet]
            address = self._region.addresses.take(subnet["CidrBlock"], wanted=launch.address)
            public = subnet["MapPublicIpOnLaunch"] if launch.public is None else launch.public
            record = self._launch(
                image_id=launch.image,
                instance_type=launch.type,
                subnet_id=launch.subnet,
                count=1,
                key_name=launch.key_name,
                user_data=launch.user_data,
                sg_ids=list(launch.groups) or None,
                requested_private_ip=address,
                iam_profile=launch.profile,
            )[0]
            instance = str(record["InstanceId"])
            record.update(
                State={"Code": STATES["pending"], "Name": "pending"},
                PublicIpAddress=self._region.addresses.take_public() if public else "",
                PublicDnsName="",
                PrivateDnsName=f"{host_name(address)}.{self._region.name}.compute.internal",
                Placement={"AvailabilityZone": subnet["AvailabilityZone"], "Tenancy": "default"},
                MetadataOptions={**METADATA, **metadata_options(launch.metadata)},
            )
            for mapping in record["BlockDeviceMappings"]:
                ec2._volumes[mapping["Ebs"]["VolumeId"]]["AvailabilityZone"] = subnet["AvailabilityZone"]
            if launch.tags:
                ec2._tags[instance] = [{"Key": key, "Value": value} for key, value in launch.tags.items()]
        self._region.background(self._boot, instance, name=f"boot-{instance}")
        return instance

    def _boot(self, instance: str) -> None:
        machines = self._region.machines
        if machines is None:
            return  # Without servers an instance stays pending: it would be a lie that it runs.
        with scope(self._region):
            record = self._records[instance]
            try:
                self._region.open_vpc(record["VpcId"])
                self._region.security_changed()
                files = server_files(record, self._region.name)
                machines.boot(instance, self._addresses(record), start_units(record), files)
            except Exception:
                logger.exception("%s does not boot", instance)
                self._fail(instance, "Server.InternalError: Internal error on launch")
                return
            if record["State"]["Name"] == "pending":
                self._set(record, "running")
        self._region.instances_changed()

    @staticmethod
    def _addresses(record: Mapping[str, Any]) -> list[str]:
        return [a for a in (record["PrivateIpAddress"], record["PublicIpAddress"]) if a]

    # Ending

    def end(self, instances: Collection[str]) -> None:
        """Terminate: the state changes at once, the server ends in order in the background."""
        for instance in instances:
            record = self._records[instance]
            if record["State"]["Name"] in ("pending", "running"):
                self._set(record, "shutting-down")
                self._region.background(self._end, instance, name=f"end-{instance}")

    def _end(self, instance: str) -> None:
        machines = self._region.machines
        if machines is not None:
            machines.end(instance)
        self._gone(instance)

    def _fail(self, instance: str, reason: str) -> None:
        machines = self._region.machines
        if machines is not None:
            machines.end(instance, orderly=False)
        self._records[instance]["StateReason"] = reason
        self._gone(instance)

    def _gone(self, instance: str) -> None:
        with scope(self._region):
            record = self._records[instance]
            for address in self._addresses(record):
                self._region.addresses.release(address)
            self._set(record, "terminated")
            record["_terminated_at"] = time.time()
            ec2 = ministack("services.ec2")
            for mapping in record["BlockDeviceMappings"]:
                ec2._volumes.pop(mapping["Ebs"]["VolumeId"], None)
        self._region.instances_changed()

    def watch(self) -> None:
        """Notice servers that died by themselves, until the region goes down."""
        machines = self._region.machines
        while machines is not None and not self._region.stopping.wait(WATCH_SECONDS):
            with scope(self._region):
                running = [i for i, record in self._records.items() if record["State"]["Name"] == "running"]
            for instance in running:
                server = machines.get(instance)
                if server is None or not server.alive():
                    logger.warning("the server of %s is gone", instance)
                    self._fail(instance, "Server.InternalError: the server is gone")

    @staticmethod
    def _set(record: dict[str, Any], state: str) -> None:
        record["State"] = {"Code": STATES[state], "Name": state}

    # Answers

    def server(self, instance: str) -> Server | None:
        """The server of a running instance."""
        machines = self._region.machines
        with scope(self._region):
            record = self._records.get(instance)
        if machines is None or record is None or record["State"]["Name"] != "running":
            return None
        return machines.get(instance)

    def address(self, instance: str) -> str | None:
        """Its private address until it is terminated."""
        with scope(self._region):
            record = self._records.get(instance)
        if record is None or record["State"]["Name"] not in LIVE:
            return None
        return str(record["PrivateIpAddress"])

    def credentials(self, instance: str) -> Mapping[str, Any] | None:
        """Credentials of the instance's role, if EC2 may assume it."""
        with scope(self._region):
            profile = (self._records[instance].get("IamInstanceProfile") or {}).get("Arn")
            role = identity.role_of_profile(profile) if profile else None
            if role is None or not identity.trusts(role, "ec2.amazonaws.com"):
                return None
            generation = int(time.time() // identity.ROLE_SESSION_SECONDS)
            return identity.role_credentials(self._region.account, role, instance, generation)

    def members(self) -> dict[str, list[str]]:
        """Addresses of all servers with their security groups."""
        with scope(self._region):
            return {
                address: [group["GroupId"] for group in record["SecurityGroups"]]
                for record in list(self._records.values())
                if record["State"]["Name"] in LIVE
                for address in self._addresses(record)
            }

    def reaches_aws(self, instance: str) -> bool:
        """Whether there is a way from the instance's subnet to Systems Manager."""
        with scope(self._region):
            record, ec2 = self._records[instance], ministack("services.ec2")
            return leads_out(
                record["SubnetId"],
                record["VpcId"],
                bool(record["PublicIpAddress"]),
                Routes(
                    list(ec2._route_tables.values()),
                    dict(ec2._nat_gateways.items()),
                    list(ec2._vpc_endpoints.values()),
                ),
            )

    def metadata(self, source: str) -> Instance | None:
        """What the metadata service tells the server at this address."""
        from rehearsal.machines import Credentials, Instance  # noqa: PLC0415 - not there without servers

        with scope(self._region):
            records = [r for r in list(self._records.values()) if r["State"]["Name"] in LIVE]
        record = next((r for r in records if source in self._addresses(r)), None)
        if record is None:
            return None
        instance = str(record["InstanceId"])
        profile = (record.get("IamInstanceProfile") or {}).get("Arn")

        def credentials() -> Credentials:
            known = self.credentials(instance)
            if known is None:
                raise LookupError(f"{instance} has no role that EC2 may assume")
            expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(known["Expiration"]))
            return Credentials(known["AccessKeyId"], known["SecretAccessKey"], known["Token"], expiration)

        with scope(self._region):
            role = identity.role_of_profile(profile) if profile else None
        has_credentials = self.credentials(instance) is not None
        return Instance(
            id=instance,
            zone=record["Placement"]["AvailabilityZone"],
            region=self._region.name,
            private_address=record["PrivateIpAddress"],
            type=record["InstanceType"],
            image=record["ImageId"],
            account=self._region.account,
            role=role if has_credentials else None,
            profile_arn=profile,
            credentials=credentials if has_credentials else None,
            public_address=record["PublicIpAddress"] or None,
            user_data=user_data(record) or None,
            tokens_required=record["MetadataOptions"]["HttpTokens"] == "required",
            answers=record["MetadataOptions"]["HttpEndpoint"] == "enabled",
        )

    # API

    def terminate_action(self, params: dict[str, Any]) -> Any:
        """TerminateInstances."""
        ec2 = ministack("services.ec2")
        wanted = ec2._parse_member_list(params, "InstanceId")
        for instance in wanted:
            if instance not in self._records:
                return _no_such_instance(instance)
        before = {instance: self._records[instance]["State"] for instance in wanted}
        self.end(wanted)
        items = "".join(
            f"<item><instanceId>{instance}</instanceId>"
            f"{_state_xml('currentState', self._records[instance]['State'])}"
            f"{_state_xml('previousState', before[instance])}</item>"
            for instance in wanted
        )
        return ec2._xml(200, "TerminateInstancesResponse", f"<instancesSet>{items}</instancesSet>")

    def reboot(self, params: dict[str, Any]) -> Any:
        """RebootInstances: the server's own systemd reboots it."""
        ec2 = ministack("services.ec2")
        wanted = ec2._parse_member_list(params, "InstanceId")
        for instance in wanted:
            if instance not in self._records:
                return _no_such_instance(instance)
        for instance in wanted:
            server = self.server(instance)
            if server is not None:
                self._region.background(
                    lambda each: each.run(["systemctl", "--no-block", "reboot"]),
                    server,
                    name=f"reboot-{instance}",
                )
        return ec2._xml(200, "RebootInstancesResponse", "<return>true</return>")

    def modify_metadata(self, params: dict[str, Any]) -> Any:
        """ModifyInstanceMetadataOptions: holds for the next question already."""
        ec2 = ministack("services.ec2")
        instance = ec2._p(params, "InstanceId")
        if instance not in self._records:
            return _no_such_instance(instance)
        options = self._records[instance]["MetadataOptions"]
        options.update(metadata_options({name: ec2._p(params, name) for name in METADATA}))
        answer = f"<instanceId>{instance}</instanceId>{metadata_xml(options, 'instanceMetadataOptions')}"
        return ec2._xml(200, "ModifyInstanceMetadataOptionsResponse", answer)

    def describe_status(self, params: dict[str, Any]) -> Any:
        """DescribeInstanceStatus: `ok` once the server's start is over."""
        ec2 = ministack("services.ec2")
        wanted = ec2._parse_member_list(params, "InstanceId")
        every = str(ec2._p(params, "IncludeAllInstances")).lower() == "true"
        items = ""
        for instance, record in list(self._records.items()):
            if wanted and instance not in wanted:
                continue
            if not every and record["State"]["Name"] != "running":
                continue
            items += self._status_xml(instance, record)
        return ec2._xml(
            200, "DescribeInstanceStatusResponse", f"<instanceStatusSet>{items}</instanceStatusSet>"
        )

    def _status_xml(self, instance: str, record: Mapping[str, Any]) -> str:
        server = self.server(instance)
        if server is None:
            status, reachable = "not-applicable", None
        else:
            status, reachable = ("ok", "passed") if server.running() else ("initializing", "initializing")
        detail = (
            f"<details><item><name>reachability</name><status>{reachable}</status></item></details>"
            if reachable
            else ""
        )
        return (
            f"<item><instanceId>{instance}</instanceId>"
            f"<availabilityZone>{record['Placement']['AvailabilityZone']}</availabilityZone>"
            f"{_state_xml('instanceState', record['State'])}"
            f"<systemStatus><status>{status}</status>{detail}</systemStatus>"
            f"<instanceStatus><status>{status}</status>{detail}</instanceStatus></item>"
        )


@dataclass(frozen=True)
class Routes:
    """The account's route tables, NAT gateways (by id) and VPC endpoints, as the emulator records them."""

    tables: Sequence[Mapping[str, Any]]
    nat_gateways: Mapping[str, Mapping[str, Any]]
    endpoints: Sequence[Mapping[str, Any]]


def leads_out(subnet: str, vpc: str, public: bool, routes: Routes) -> bool:
    """Whether a server in `subnet` reaches Systems Manager.

    By the internet gateway (with a public address), by a NAT gateway that itself reaches it, or by the
    interface endpoints for the agent's services (user guide, "Improve the security of EC2 instances by
    using VPC endpoints for Systems Manager": ssm and ssmmessages; ec2messages is no longer needed).
    """
    services = {
        str(endpoint["ServiceName"]).rsplit(".", 1)[-1]
        for endpoint in routes.endpoints
        if endpoint["VpcId"] == vpc and endpoint["VpcEndpointType"] == "Interface"
    }
    if {"ssm", "ssmmessages"} <= services:
        return True
    default = default_route(subnet, vpc, routes.tables)
    if default.get("GatewayId", "").startswith("igw-"):
        return public
    gateway = routes.nat_gateways.get(default.get("NatGatewayId", ""))
    if gateway is None or gateway["State"] != "available":
        return False
    beyond = default_route(gateway["SubnetId"], vpc, routes.tables)
    return beyond.get("GatewayId", "").startswith("igw-")


def default_route(subnet: str, vpc: str, tables: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """The route of 0.0.0.0/0 in the subnet's table (the VPC's main one if it has none); {} without."""
    main: Mapping[str, Any] | None = None
    own: Mapping[str, Any] | None = None
    for table in tables:
        for association in table["Associations"]:
            if association.get("SubnetId") == subnet:
                own = table
            if association.get("Main") and table["VpcId"] == vpc:
                main = table
    for route in (own or main or {"Routes": []})["Routes"]:
        if route.get("DestinationCidrBlock") == "0.0.0.0/0":
            found: Mapping[str, str] = route
            return found
    return {}


def host_name(address: str) -> str:
    """EC2's name for a private address: 10.0.0.5 → ip-10-0-0-5."""
    return "ip-" + address.replace(".", "-")


def names(region: Region) -> Callable[[str, str, str], list[str] | None]:
    """Lookup of the servers' private names, and of AWS's own endpoints (all are the region's address)."""
    private = re.compile(rf"ip-(\d+)-(\d+)-(\d+)-(\d+)\.{re.escape(region.name)}\.compute\.internal")

    def lookup(name: str, kind: str, _source: str) -> list[str] | None:
        server = private.fullmatch(name)
        if server:
            return [".".join(server.groups())] if kind == "A" else []
        if name == "amazonaws.com" or name.endswith(".amazonaws.com"):
            return [region.address] if kind == "A" else []
        return None

    return lookup


def user_data(record: Mapping[str, Any]) -> bytes:
    """The user data of an instance as its server sees it."""
    text = record.get("UserData") or ""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return str(text).encode()


AGENT_UNIT = b"""[Unit]
Description=Stands for the Systems Manager agent: commands come in from the region while this is active

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true

[Install]
WantedBy=multi-user.target
"""

USER_DATA_UNIT = b"""[Unit]
Description=Run the instance's user data once, as cloud-init does
After=network.target
ConditionPathExists=!/var/lib/cloud/instance/sem-user-data

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=/bin/touch /var/lib/cloud/instance/sem-user-data
ExecStart=/bin/sh -c 'chmod 700 /var/lib/cloud/instance/user-data && exec /var/lib/cloud/instance/user-data'
StandardOutput=append:/var/log/cloud-init-output.log
StandardError=inherit

[Install]
WantedBy=multi-user.target
"""


def start_units(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Units that run at the first start: the user data, or at least the agent, which images bring enabled."""
    return ("user-data",) if user_data(record).startswith(b"#!") else ("amazon-ssm-agent",)


def server_files(record: Mapping[str, Any], region: str) -> dict[str, bytes]:
    """Files that an instance's server starts with: its name, its user data, the agent, whom it trusts.

    Names of AWS lead to the region, whose certificate comes from the region's own authority; programs
    that bring a list of authorities of their own are pointed to the system's. The region in root's
    configuration stands for version 2 of the CLI, which asks the metadata for it.
    """
    trust = {"AWS_CA_BUNDLE": TRUSTED, "SSL_CERT_FILE": TRUSTED}
    services = " ".join(f'"{name}={value}"' for name, value in trust.items())
    files = {
        "/etc/hostname": f"{record['PrivateDnsName']}\n".encode(),
        "/lib/systemd/system/amazon-ssm-agent.service": AGENT_UNIT,
        "/etc/systemd/system.conf.d/trust.conf": (
            f"[Manager]\nDefaultEnvironment=\nDefaultEnvironment={services}\n".encode()
        ),
        "/etc/environment": "".join(f"{name}={value}\n" for name, value in trust.items()).encode(),
        "/root/.aws/config": f"[default]\nregion = {region}\n".encode(),
    }
    given = user_data(record)
    if given.startswith(b"#!"):
        files["/var/lib/cloud/instance/user-data"] = given
        files["/lib/systemd/system/user-data.service"] = USER_DATA_UNIT
    return files


FILTERS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "availability-zone": lambda record: [record["Placement"]["AvailabilityZone"]],
    "iam-instance-profile.arn": lambda record: [(record.get("IamInstanceProfile") or {}).get("Arn", "")],
    "instance-id": lambda record: [record["InstanceId"]],
    "instance.group-id": lambda record: [group["GroupId"] for group in record["SecurityGroups"]],
    "ip-address": lambda record: [record["PublicIpAddress"]],
    "private-dns-name": lambda record: [record["PrivateDnsName"]],
    "private-ip-address": lambda record: [record["PrivateIpAddress"]],
    "subnet-id": lambda record: [record["SubnetId"]],
    "vpc-id": lambda record: [record["VpcId"]],
}
"""Filters of DescribeInstances that the emulator would pass over, with the values they look at."""

FILTERS_OF_THE_EMULATOR = ("instance-state-name", "instance-type", "image-id", "tag-key", "tag-value")


def _all_filters(original: Handler) -> Handler:
    def matches(record: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
        wanted = [(FILTERS[name](record), values) for name, values in filters.items() if name in FILTERS]
        return bool(original(record, filters)) and all(set(found) & set(values) for found, values in wanted)

    return matches


def _known_filters(original: Handler) -> Handler:
    """DescribeInstances that refuses a filter which nobody would apply."""
    ec2 = ministack("services.ec2")

    def describe(params: dict[str, Any]) -> Any:
        for name in ec2._parse_filters(params):
            if name not in FILTERS and name not in FILTERS_OF_THE_EMULATOR and not name.startswith("tag:"):
                return ec2._error("InvalidParameterValue", f"The filter '{name}' is invalid", 400)
        return original(params)

    return describe


def _without_empty_addresses(original: Callable[[Any], str]) -> Callable[[Any], str]:
    """An instance without a public address has no such member at all; each has its metadata options."""

    def rendered(record: Mapping[str, Any]) -> str:
        text, end, rest = original(record).replace("<ipAddress></ipAddress>", "").rpartition("</item>")
        return text + metadata_xml(record.get("MetadataOptions", METADATA), "metadataOptions") + end + rest

    return rendered


def metadata_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of a launch template or a request: those that are known here, and given."""
    return {
        name: int(given[name]) if isinstance(default, int) else str(given[name])
        for name, default in METADATA.items()
        if given.get(name) not in (None, "")
    }


def metadata_xml(options: Mapping[str, Any], tag: str) -> str:
    """The member metadataOptions of an instance."""
    members = "".join(
        f"<{name[0].lower()}{name[1:]}>{value}</{name[0].lower()}{name[1:]}>"
        for name, value in options.items()
    )
    return f"<{tag}><state>applied</state>{members}</{tag}>"


def _not_offered(action: str) -> Handler:
    """A server's disk ends with it here; so nothing may claim to stop and start one."""

    def refuse(_params: dict[str, Any]) -> Any:
        return ministack("services.ec2")._error(
            "UnsupportedOperation", f"{action} is not offered by the rehearsal", 400
        )

    return refuse


def _no_such_instance(instance: str) -> Any:
    return ministack("services.ec2")._error(
        "InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist", 400
    )


def _state_xml(tag: str, state: Mapping[str, Any]) -> str:
    return f"<{tag}><code>{state['Code']}</code><name>{state['Name']}</name></{tag}>"
