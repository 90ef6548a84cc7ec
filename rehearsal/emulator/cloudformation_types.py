"""CloudFormation types that the emulator does not have, or has without what the templates need."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.emulator.context import Region
from rehearsal.emulator.ec2 import Launch
from rehearsal.emulator.internals import ministack
from rehearsal.emulator.library import Refused
from rehearsal.emulator.provisioning import on_a_thread, wait

RELIES_ON = (
    ("services.cloudformation.provisioners", "_RESOURCE_HANDLERS"),
    ("services.cloudformation.provisioners", "_REPLACING_PROPERTIES"),
    ("services.cloudformation.provisioners", "_STACK_TAG_PROPERTY"),
    ("services.cloudformation.provisioners", "_ec2_apply_tags"),
    ("services.cloudformation.provisioners", "_ec2_sg_permissions"),
    ("services.cloudformation.provisioners", "_physical_name"),
    ("services.cloudformation.provisioners", "_sm_secret_string"),
    ("services.ec2", "_ACTION_MAP"),
    ("services.ec2", "_addresses"),
    ("services.ec2", "_nat_gateways"),
    ("services.ec2", "_security_groups"),
    ("services.ec2", "_instances"),
    ("services.ec2", "_subnets"),
    ("services.ec2", "_resolve_iam_instance_profile"),
    ("services.secretsmanager", "_get_random_password"),
)

Created = tuple[str, dict[str, Any]]

REPLACING = {
    "AWS::AutoScaling::AutoScalingGroup": ("AutoScalingGroupName", "InstanceId"),
    "AWS::EC2::InternetGateway": (),
    "AWS::EC2::LaunchTemplate": ("LaunchTemplateName",),
    "AWS::EC2::Route": (
        *("RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId"),
    ),
    "AWS::EC2::RouteTable": ("VpcId",),
    "AWS::EC2::SecurityGroup": ("GroupDescription", "GroupName", "VpcId"),
    "AWS::EC2::Subnet": (
        *("AvailabilityZone", "AvailabilityZoneId", "CidrBlock", "Ipv4IpamPoolId", "Ipv4NetmaskLength"),
        *("Ipv6IpamPoolId", "Ipv6Native", "Ipv6NetmaskLength", "OutpostArn", "VpcId"),
    ),
    "AWS::EC2::SubnetRouteTableAssociation": ("SubnetId",),
    "AWS::EC2::VPC": ("CidrBlock", "Ipv4IpamPoolId", "Ipv4NetmaskLength"),
    "AWS::EC2::VPCEndpoint": ("ServiceName", "ServiceRegion", "VpcEndpointType", "VpcId"),
    "AWS::EC2::VPCGatewayAttachment": ("VpcId",),
    "AWS::ElasticLoadBalancingV2::Listener": ("LoadBalancerArn",),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::Route53::HostedZone": ("Name",),
    "AWS::Route53::RecordSet": ("HostedZoneId", "HostedZoneName", "Name"),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::S3::BucketPolicy": ("Bucket",),
    "AWS::SecretsManager::Secret": ("Name",),
}
"""Properties whose change replaces a resource, of types of which the emulator says that any change might.
Source: CloudFormation template reference, "Update requires"."""


def install(region: Region) -> None:
    """Add the types, with the properties whose change replaces the resource."""
    types = _Types(region)
    _add("AWS::EC2::EIP", types.address_create, types.address_update, types.address_delete)
    _replacing("AWS::EC2::EIP", "Domain", "NetworkBorderGroup", "TransferAddress", "Address")
    _add("AWS::EC2::NatGateway", types.nat_create, types.nat_update, types.nat_delete)
    _replacing("AWS::EC2::NatGateway", "SubnetId", "AllocationId", "ConnectivityType", "PrivateIpAddress")
    for direction in ("Ingress", "Egress"):
        rules = _Rules(region, direction)
        _add(f"AWS::EC2::SecurityGroup{direction}", rules.create, rules.update, rules.delete)
        _replacing(f"AWS::EC2::SecurityGroup{direction}", *_Rules.REPLACING)
    _add("AWS::EC2::Instance", types.instance_create, types.instance_update, types.instance_delete)
    _replacing(
        "AWS::EC2::Instance", "ImageId", "SubnetId", "NetworkInterfaces", "KeyName", "PrivateIpAddress",
        "AvailabilityZone", "BlockDeviceMappings", "LaunchTemplate", "SecurityGroups",
    )  # fmt: skip
    on_a_thread("AWS::EC2::Instance")
    _add("AWS::SSM::Document", types.document_create, types.document_update, types.document_delete)
    _replacing("AWS::SSM::Document", "Name", "DocumentType", "Attachments")
    provisioners = ministack("services.cloudformation.provisioners")
    for resource_type, properties in REPLACING.items():
        if resource_type not in provisioners._REPLACING_PROPERTIES:
            _replacing(resource_type, *properties)
    for kind in ("EIP", "NatGateway", "Instance"):
        provisioners._STACK_TAG_PROPERTY[f"AWS::EC2::{kind}"] = ("Tags", "list")
    provisioners._STACK_TAG_PROPERTY["AWS::SSM::Document"] = ("Tags", "list")
    provisioners._sm_secret_string = secret_string(provisioners._sm_secret_string)


def _add(
    resource_type: str,
    create: Callable[[str, dict[str, Any], str], Created],
    update: Callable[[str, dict[str, Any], dict[str, Any], str], Created],
    delete: Callable[[str, dict[str, Any]], None],
) -> None:
    handlers = ministack("services.cloudformation.provisioners")._RESOURCE_HANDLERS
    handlers[resource_type] = {"create": create, "update": update, "delete": delete}


def _replacing(resource_type: str, *properties: str) -> None:
    """Changes of these properties replace the resource (CloudFormation's template reference)."""
    ministack("services.cloudformation.provisioners")._REPLACING_PROPERTIES[resource_type] = properties


def call(action: str, **parameters: str) -> str:
    """An action of EC2's API, in process; its XML, or ValueError with AWS's message."""
    status, _, body = ministack("services.ec2")._ACTION_MAP[action](parameters)
    text: str = body.decode()
    if status >= 400:
        found = re.search(r"<Message>\s*(.*?)\s*</Message>", text, re.DOTALL)
        raise ValueError(found.group(1) if found else text)
    return text


def member(xml: str, tag: str) -> str:
    """The first `tag` of an answer."""
    found = re.search(rf"<{tag}>\s*(.*?)\s*</{tag}>", xml, re.DOTALL)
    if found is None:
        raise ValueError(f"the answer has no {tag}")
    return found.group(1)


class _Types:
    """Handlers of the emulator's form: create(logical id, properties, stack), update, delete."""

    def __init__(self, region: Region) -> None:
        self._region = region

    # Elastic IP

    def address_create(self, _logical_id: str, props: dict[str, Any], _stack: str) -> Created:
        allocation = member(call("AllocateAddress", Domain="vpc"), "allocationId")
        record = ministack("services.ec2")._addresses[allocation]
        record["PublicIp"] = self._region.addresses.take_public()
        ministack("services.cloudformation.provisioners")._ec2_apply_tags(allocation, props)
        if props.get("InstanceId"):
            call("AssociateAddress", AllocationId=allocation, InstanceId=props["InstanceId"])
        return record["PublicIp"], {"AllocationId": allocation, "PublicIp": record["PublicIp"]}

    def address_update(self, public: str, old: dict[str, Any], new: dict[str, Any], _stack: str) -> Created:
        allocation = self._allocation(public)
        ministack("services.cloudformation.provisioners")._ec2_apply_tags(allocation, new, old)
        return public, {"AllocationId": allocation, "PublicIp": public}

    def address_delete(self, public: str, _props: dict[str, Any]) -> None:
        allocation = self._allocation(public)
        if allocation:
            call("ReleaseAddress", AllocationId=allocation)
            self._region.addresses.release(public)

    @staticmethod
    def _allocation(public: str) -> str:
        records = ministack("services.ec2")._addresses.values()
        return next((r["AllocationId"] for r in records if r["PublicIp"] == public), "")

    # NAT gateway

    def nat_create(self, _logical_id: str, props: dict[str, Any], _stack: str) -> Created:
        kind = str(props.get("ConnectivityType") or "public")
        allocation = str(props.get("AllocationId") or "")
        if kind == "public" and allocation not in ministack("services.ec2")._addresses:
            raise ValueError(f"Elastic IP address {allocation or '(none)'} could not be found")
        if props.get("SubnetId") not in ministack("services.ec2")._subnets:
            raise ValueError(f"The subnet ID '{props.get('SubnetId')}' does not exist")
        answer = call(
            "CreateNatGateway", SubnetId=props["SubnetId"], AllocationId=allocation, ConnectivityType=kind
        )
        identifier = member(answer, "natGatewayId")
        ministack("services.cloudformation.provisioners")._ec2_apply_tags(identifier, props)
        return identifier, {"NatGatewayId": identifier}

    def nat_update(self, identifier: str, old: dict[str, Any], new: dict[str, Any], _stack: str) -> Created:
        ministack("services.cloudformation.provisioners")._ec2_apply_tags(identifier, new, old)
        return identifier, {"NatGatewayId": identifier}

    def nat_delete(self, identifier: str, _props: dict[str, Any]) -> None:
        if identifier in ministack("services.ec2")._nat_gateways:
            call("DeleteNatGateway", NatGatewayId=identifier)

    # Instance

    def instance_create(self, _logical_id: str, props: dict[str, Any], stack: str) -> Created:
        identifier = self._region.launch_instance(launch_of(props))
        ministack("services.cloudformation.provisioners")._ec2_apply_tags(identifier, props)
        if self._region.machines is None:
            self._region.end_instances([identifier])
            raise ValueError("The instance does not start: the region has no servers")

        def ready() -> bool:
            record = ministack("services.ec2")._instances[identifier]
            if record["State"]["Name"] not in ("pending", "running"):
                raise ValueError(f"Instance {identifier} did not stabilize: {record.get('StateReason')}")
            return bool(record["State"]["Name"] == "running")

        try:
            wait(self._region, stack, ready)
        except BaseException:
            self._region.end_instances([identifier])
            raise
        return identifier, _instance_attributes(identifier)

    def instance_update(
        self, identifier: str, old: dict[str, Any], new: dict[str, Any], _stack: str
    ) -> Created:
        ministack("services.cloudformation.provisioners")._ec2_apply_tags(identifier, new, old)
        record = ministack("services.ec2")._instances[identifier]
        groups = launch_of(new).groups
        if groups:
            known = ministack("services.ec2")._security_groups
            record["SecurityGroups"] = [
                {"GroupId": group, "GroupName": known[group]["GroupName"]} for group in groups
            ]
            self._region.security_changed()
        return identifier, _instance_attributes(identifier)

    def instance_delete(self, identifier: str, _props: dict[str, Any]) -> None:
        records = ministack("services.ec2")._instances
        if identifier not in records:
            return
        self._region.end_instances([identifier])
        while identifier in records and records[identifier]["State"]["Name"] != "terminated":
            if self._region.stopping.wait(0.2):
                return

    # Document

    def document_create(self, logical_id: str, props: dict[str, Any], stack: str) -> Created:
        physical_name = ministack("services.cloudformation.provisioners")._physical_name
        name = str(props.get("Name") or physical_name(stack, logical_id))
        content, form = document_content(props)
        try:
            self._region.documents.create(
                name,
                content,
                form,
                kind=props.get("DocumentType"),
                target_type=props.get("TargetType"),
                tags={tag["Key"]: tag["Value"] for tag in props.get("Tags") or ()},
            )
        except Refused as refused:
            raise ValueError(f"{refused.code}: {refused}") from refused
        return name, {}

    def document_update(self, name: str, old: dict[str, Any], new: dict[str, Any], _stack: str) -> Created:
        document = self._region.documents.find(name)
        content, form = document_content(new)
        if content != document_content(old)[0]:
            if new.get("UpdateMethod") != "NewVersion":
                raise ValueError(
                    "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                    f"Rename {name} and update the stack again, or set UpdateMethod to NewVersion."
                )
            try:
                document.default = self._region.documents.update(name, content, form)
            except Refused as refused:
                raise ValueError(f"{refused.code}: {refused}") from refused
        document.target_type = new.get("TargetType")
        document.tags = {tag["Key"]: tag["Value"] for tag in new.get("Tags") or ()}
        return name, {}

    def document_delete(self, name: str, _props: dict[str, Any]) -> None:
        try:
            self._region.documents.delete(name)
        except Refused:
            return


def document_content(props: Mapping[str, Any]) -> tuple[str, str]:
    """Content and format of an AWS::SSM::Document as the service stores them."""
    content = props.get("Content")
    if isinstance(content, str):
        return content, str(props.get("DocumentFormat") or "JSON")
    return json.dumps(content, sort_keys=False), "JSON"


def launch_of(props: Mapping[str, Any]) -> Launch:
    """An AWS::EC2::Instance as what is started."""
    interface = (props.get("NetworkInterfaces") or [{}])[0]
    public = interface.get("AssociatePublicIpAddress")
    profile = props.get("IamInstanceProfile")
    resolved = None
    if profile:
        resolved, refused = ministack("services.ec2")._resolve_iam_instance_profile(iam_name=str(profile))
        if refused:
            raise ValueError(f"Invalid IAM Instance Profile name {profile}")
    return Launch(
        subnet=str(interface.get("SubnetId") or props.get("SubnetId") or ""),
        image=str(props.get("ImageId") or ""),
        type=str(props.get("InstanceType") or "m1.small"),
        groups=tuple(interface.get("GroupSet") or props.get("SecurityGroupIds") or ()),
        user_data=str(props.get("UserData") or ""),
        profile=resolved,
        public=None if public is None else str(public).lower() == "true",
        address=interface.get("PrivateIpAddress") or props.get("PrivateIpAddress"),
        key_name=str(props.get("KeyName") or ""),
        metadata=props.get("MetadataOptions") or {},
    )


def _instance_attributes(identifier: str) -> dict[str, Any]:
    record = ministack("services.ec2")._instances[identifier]
    return {
        "InstanceId": identifier,
        "PrivateIp": record["PrivateIpAddress"],
        "PublicIp": record["PublicIpAddress"],
        "PrivateDnsName": record["PrivateDnsName"],
        "PublicDnsName": record["PublicDnsName"],
        "AvailabilityZone": record["Placement"]["AvailabilityZone"],
        "VpcId": record["VpcId"],
    }


class _Rules:
    """AWS::EC2::SecurityGroupIngress and …Egress: one rule of a group each."""

    REPLACING = (
        "GroupId", "GroupName", "IpProtocol", "FromPort", "ToPort", "CidrIp", "CidrIpv6",
        "SourceSecurityGroupId", "DestinationSecurityGroupId", "SourcePrefixListId",
        "DestinationPrefixListId",
    )  # fmt: skip

    def __init__(self, region: Region, direction: str) -> None:
        self._region = region
        self._list = "IpPermissions" if direction == "Ingress" else "IpPermissionsEgress"
        self._kind = direction.lower()

    def create(self, logical_id: str, props: dict[str, Any], stack: str) -> Created:
        rules = self._rules_of(props)
        permission = self._permission(props)
        if permission in rules:
            raise ValueError("the specified rule already exists (InvalidPermission.Duplicate)")
        rules.append(permission)
        self._region.security_changed()
        name = ministack("services.cloudformation.provisioners")._physical_name
        return f"sgr-{name(stack, logical_id)[-13:].lower()}", {}

    def update(self, identifier: str, old: dict[str, Any], new: dict[str, Any], _stack: str) -> Created:
        """Only a description can change in place."""
        rules = self._rules_of(new)
        before = self._permission(old)
        if before in rules:
            rules[rules.index(before)] = self._permission(new)
        return identifier, {}

    def delete(self, _identifier: str, props: dict[str, Any]) -> None:
        group = ministack("services.ec2")._security_groups.get(props.get("GroupId"))
        permission = self._permission(props)
        if group is not None and permission in group[self._list]:
            group[self._list].remove(permission)
            self._region.security_changed()

    def _rules_of(self, props: Mapping[str, Any]) -> list[Any]:
        group = ministack("services.ec2")._security_groups.get(props.get("GroupId"))
        if group is None:
            raise ValueError(f"The security group '{props.get('GroupId')}' does not exist")
        rules: list[Any] = group[self._list]
        return rules

    @staticmethod
    def _permission(props: Mapping[str, Any]) -> Any:
        return ministack("services.cloudformation.provisioners")._ec2_sg_permissions([props])[0]


GENERATED = (
    "ExcludeCharacters", "ExcludeLowercase", "ExcludeNumbers", "ExcludePunctuation", "ExcludeUppercase",
    "IncludeSpace", "PasswordLength", "RequireEachIncludedType",
)  # fmt: skip
"""Members of GenerateSecretString that say how the password looks, as GetRandomPassword takes them."""


def secret_string(original: Callable[..., Any]) -> Callable[..., Any]:
    """The value of a generated secret, by the rules of GetRandomPassword; else what the emulator takes."""

    def value(props: Mapping[str, Any], *rest: Any) -> Any:
        generate = props.get("GenerateSecretString")
        if generate is None:
            return original(props, *rest)
        wishes = {name: _plain(generate[name]) for name in GENERATED if name in generate}
        status, _, body = ministack("services.secretsmanager")._get_random_password(wishes)
        answer = json.loads(body)
        if status >= 400:
            raise ValueError(answer.get("message") or answer.get("Message") or "GetRandomPassword failed")
        password = answer["RandomPassword"]
        if "GenerateStringKey" not in generate:
            return password
        template = json.loads(generate.get("SecretStringTemplate") or "{}")
        return json.dumps(template | {generate["GenerateStringKey"]: password})

    return value


def _plain(value: Any) -> Any:
    """Template values can be strings where the API has numbers and truth values."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if isinstance(value, str) and value.isdigit() else value
