"""What whoever operates a stack must be allowed to, resource by resource, as CloudFormation asks for it.

`registry.json` has what AWS's own schemas say that the handler of a resource type calls; that is the most
that it ever calls, with every property set. `WHEN` says which of it belongs to which property, so that what
remains is what a resource with its own properties needs. A type that the registry file lacks needs
something that is not known here, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

REGISTRY = Path(__file__).with_name("registry.json")
NEVER: tuple[str, ...] = ()

# The type is older than the registry and has no schema with handlers. CloudFormation's own guide has no
# list; these are the calls that make and follow a change:
# https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetChange.html
RECORDS = [
    "route53:ChangeResourceRecordSets",
    "route53:GetChange",
    "route53:GetHostedZone",
    "route53:ListResourceRecordSets",
]
WITHOUT_HANDLERS = {
    "AWS::Route53::RecordSet": {
        "create": RECORDS,
        "read": ["route53:ListResourceRecordSets"],
        "update": RECORDS,
        "delete": RECORDS,
    }
}

# Type → action (or pattern) → the properties of which one has to be set for it to be called.
WHEN: dict[str, dict[str, tuple[str, ...]]] = {
    "AWS::AutoScaling::AutoScalingGroup": {
        "autoscaling:*LoadBalancers": ("LoadBalancerNames",),
        "autoscaling:*LoadBalancerTargetGroups": ("TargetGroupARNs",),
        "autoscaling:*TrafficSources": ("TrafficSources",),
        "autoscaling:*LifecycleHook": ("LifecycleHookSpecificationList",),
        "autoscaling:*MetricsCollection": ("MetricsCollection",),
        "autoscaling:*NotificationConfiguration": ("NotificationConfigurations",),
        # An update policy makes them, which is no property; ours have none.
        "autoscaling:*InstanceRefresh": NEVER,
        "cloudwatch:PutMetricAlarm": NEVER,
        # For images that the launch template leaves to EC2 to look up; ours are looked up by CloudFormation.
        "ec2:Get*": NEVER,
        "ssm:Get*": NEVER,
        "managed-fleets:*": NEVER,
        "vpc-lattice:*": ("TrafficSources",),
    },
    "AWS::AutoScaling::LifecycleHook": {"iam:PassRole": ("RoleARN",)},
    # (The alarms of a policy that tracks a target are made with Auto Scaling's own service-linked role.)
    "AWS::AutoScaling::ScalingPolicy": {"cloudwatch:GetMetricData": ("PredictiveScalingConfiguration",)},
    "AWS::CertificateManager::Certificate": {
        "acm-pca:*": ("CertificateAuthorityArn",),
        "acm:UpdateCertificateOptions": ("CertificateTransparencyLoggingPreference", "CertificateExport"),
        "route53:ChangeResourceRecordSets": ("DomainValidationOptions",),
    },
    "AWS::CloudWatch::Alarm": {},
    "AWS::DynamoDB::Table": {
        "dynamodb:*Item": ("ImportSourceSpecification",),
        "dynamodb:*KinesisStreamingDestination": ("KinesisStreamSpecification",),
        "dynamodb:*ResourcePolicy": ("ResourcePolicy",),
        "dynamodb:*TableReplica": NEVER,
        "dynamodb:Describe*Import": ("ImportSourceSpecification",),
        "dynamodb:ImportTable": ("ImportSourceSpecification",),
        "dynamodb:Query": NEVER,
        "dynamodb:Scan": NEVER,
        "dynamodb:UpdateContributorInsights": ("ContributorInsightsSpecification",),
        "dynamodb:UpdateTimeToLive": ("TimeToLiveSpecification",),
        "iam:CreateServiceLinkedRole": ("KinesisStreamSpecification",),
        "kinesis:*": ("KinesisStreamSpecification",),
        # The key that AWS manages for DynamoDB; its own policy lets the account use it.
        "kms:*": NEVER,
        "logs:*": ("ImportSourceSpecification",),
        "s3:*": ("ImportSourceSpecification",),
    },
    "AWS::EC2::EIP": {
        "ec2:AcceptAddressTransfer": ("TransferAddress",),
        "ec2:AssociateAddress": ("InstanceId",),
    },
    "AWS::EC2::Instance": {
        "ec2:*IamInstanceProfile": ("IamInstanceProfile",),
        "ec2:*IamInstanceProfileAssociation": ("IamInstanceProfile",),
        "ec2:*achVolume": ("Volumes",),
        "ec2:ModifyInstanceCreditSpecification": ("CreditSpecification",),
        "ec2:ModifyInstanceMaintenanceOptions": NEVER,
        "ec2:ModifyInstancePlacement": ("Affinity", "HostId", "Tenancy", "PlacementGroupName"),
        "ec2:ModifyPrivateDnsNameOptions": ("PrivateDnsNameOptions",),
        "ec2:*onitorInstances": ("Monitoring",),
        "iam:PassRole": ("IamInstanceProfile",),
        "ssm:CreateAssociation": ("SsmAssociations",),
        "ssm:DeleteAssociation": ("SsmAssociations",),
    },
    "AWS::EC2::NatGateway": {
        "ec2:*NatGatewayAddress": ("SecondaryAllocationIds", "SecondaryPrivateIpAddresses"),
    },
    "AWS::EC2::Subnet": {"ec2:*SubnetCidrBlock": ("Ipv6CidrBlock", "Ipv6CidrBlocks")},
    "AWS::EC2::VPC": {
        "ec2:CreateVpcEncryptionControl": ("VpcEncryptionControl",),
        "ec2:ModifyVpcTenancy": ("InstanceTenancy",),
    },
    "AWS::EC2::VPCEndpoint": {
        "vpc-lattice:*": ("ServiceNetworkArn",),
        "vpce:AllowMultiRegion": ("ServiceRegion",),
    },
    "AWS::EC2::VPCGatewayAttachment": {"ec2:??tachVpnGateway": ("VpnGatewayId",)},
    "AWS::ElasticLoadBalancingV2::Listener": {"cognito-idp:*": NEVER},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {
        "elasticloadbalancing:ModifyCapacityReservation": ("MinimumLoadBalancerCapacity",),
        "elasticloadbalancing:ModifyIpPools": ("Ipv4IpamPoolId",),
        "ec2:DescribeIpamPools": ("Ipv4IpamPoolId",),
    },
    "AWS::ElasticLoadBalancingV2::TargetGroup": {"elasticloadbalancing:*egisterTargets": ("Targets",)},
    "AWS::Events::Rule": {},
    "AWS::IAM::ManagedPolicy": {
        "iam:*GroupPolicy": ("Groups",),
        "iam:*RolePolicy": ("Roles",),
        "iam:*UserPolicy": ("Users",),
    },
    "AWS::IAM::Role": {
        "iam:AttachRolePolicy": ("ManagedPolicyArns",),
        "iam:DetachRolePolicy": ("ManagedPolicyArns",),
        "iam:*RolePermissionsBoundary": ("PermissionsBoundary",),
        "iam:*RolePolicy": ("Policies",),
    },
    "AWS::KMS::Key": {},
    "AWS::Lambda::Function": {
        "ec2:*": ("VpcConfig",),
        "elasticfilesystem:*": ("FileSystemConfigs",),
        "kms:*": ("KmsKeyArn",),
        "lambda:*CodeSigningConfig": ("CodeSigningConfigArn",),
        "lambda:GetFunctionCodeSigningConfig": ("*",),
        "lambda:GetLayerVersion": ("Layers",),
        "lambda:PassCapacityProvider": ("CapacityProviderConfig",),
        "lambda:PublishVersion": ("PublishToLatestPublished",),
        "lambda:*FunctionConcurrency": ("ReservedConcurrentExecutions",),
        "lambda:PutFunctionRecursionConfig": ("RecursiveLoop",),
        "lambda:PutFunctionScalingConfig": ("FunctionScalingConfig",),
        "lambda:PutRuntimeManagementConfig": ("RuntimeManagementConfig",),
        "s3:GetObjectVersion": NEVER,
        "s3files:*": ("FileSystemConfigs",),
    },
    "AWS::Lambda::LayerVersion": {"s3:GetObjectVersion": NEVER},
    "AWS::Logs::LogGroup": {
        "firehose:TagDeliveryStream": NEVER,
        "logs:*KmsKey": ("KmsKeyId",),
        "logs:*BearerTokenAuthentication": ("BearerTokenAuthenticationEnabled",),
        "logs:PutDataProtectionPolicy": ("DataProtectionPolicy",),
        "logs:DeleteDataProtectionPolicy": ("DataProtectionPolicy",),
        "logs:CreateLogDelivery": ("DataProtectionPolicy",),
        "logs:PutIndexPolicy": ("FieldIndexPolicies",),
        "logs:DeleteIndexPolicy": ("FieldIndexPolicies",),
        "logs:PutLogGroupDeletionProtection": ("DeletionProtectionEnabled",),
        "logs:PutResourcePolicy": ("ResourcePolicyDocument",),
        "logs:DeleteResourcePolicy": ("ResourcePolicyDocument",),
        # No action of S3 has such a name.
        "s3:REST.PUT.OBJECT": NEVER,
    },
    "AWS::RDS::DBInstance": {
        "iam:GetRole": ("MonitoringRoleArn",),
        "iam:ListRoles": ("AssociatedRoles", "MonitoringRoleArn"),
        "iam:PassRole": ("AssociatedRoles", "DomainIAMRoleName", "MonitoringRoleArn"),
        # The key that AWS manages for RDS lets whoever may use RDS in the account use it there.
        "kms:CreateGrant": ("KmsKeyId",),
        "kms:DescribeKey": ("KmsKeyId", "StorageEncrypted"),
        "rds:AddRoleToDBInstance": ("AssociatedRoles",),
        "rds:RemoveRoleFromDBInstance": ("AssociatedRoles",),
        "rds:CreateDBInstanceReadReplica": ("SourceDBInstanceIdentifier",),
        "rds:PromoteReadReplica": ("SourceDBInstanceIdentifier",),
        "rds:RestoreDBInstanceFromDBSnapshot": ("DBSnapshotIdentifier",),
        "rds:RestoreDBInstanceToPointInTime": ("SourceDbiResourceId", "UseLatestRestorableTime"),
        "rds:*DBInstanceAutomatedBackupsReplication": ("AutomaticBackupReplicationRegion",),
        "secretsmanager:*": ("ManageMasterUserPassword",),
    },
    "AWS::Route53::HostedZone": {
        "ec2:DescribeVpcs": ("VPCs",),
        "route53:*QueryLoggingConfig": ("QueryLoggingConfig",),
        "route53:*VPC*HostedZone": ("VPCs",),
        "route53:UpdateHostedZoneFeatures": ("HostedZoneFeatures",),
    },
    # (What only looks is asked for whatever is set.)
    "AWS::S3::Bucket": {
        "iam:PassRole": ("ReplicationConfiguration",),
        "s3:PutBucketAbac": ("AbacStatus",),
        "s3:PutAccelerateConfiguration": ("AccelerateConfiguration",),
        "s3:[PD]*AnalyticsConfiguration": ("AnalyticsConfigurations",),
        "s3:PutBucketAcl": ("AccessControl",),
        "s3:PutObjectAcl": ("AccessControl",),
        "s3:PutBucketCORS": ("CorsConfiguration",),
        "s3:DeleteBucketCors": ("CorsConfiguration",),
        "s3:DeleteBucketEncryption": NEVER,  # when the property is taken away
        "s3:DeleteBucketLifecycle": NEVER,
        "s3:PutBucketLogging": ("LoggingConfiguration",),
        "s3:[CDU]*BucketMetadata*": ("MetadataConfiguration", "MetadataTableConfiguration"),
        "s3:PutBucketNotification": ("NotificationConfiguration",),
        "s3:[PD]*BucketReplication": ("ReplicationConfiguration",),
        "s3:PutReplicationConfiguration": ("ReplicationConfiguration",),
        "s3:[PD]*BucketWebsite": ("WebsiteConfiguration",),
        "s3:DeleteObject": NEVER,  # CloudFormation deletes empty buckets alone
        "s3:PutEncryptionConfiguration": ("BucketEncryption",),
        "s3:PutIntelligentTieringConfiguration": ("IntelligentTieringConfigurations",),
        "s3:PutInventoryConfiguration": ("InventoryConfigurations",),
        "s3:PutLifecycleConfiguration": ("LifecycleConfiguration",),
        "s3:[PD]*MetricsConfiguration": ("MetricsConfigurations",),
        "s3:Put*ObjectLockConfiguration": ("ObjectLockEnabled", "ObjectLockConfiguration"),
        "s3tables:*": ("MetadataConfiguration", "MetadataTableConfiguration"),
    },
    "AWS::SNS::Subscription": {
        "iam:GetRole": ("SubscriptionRoleArn",),
        "iam:PassRole": ("SubscriptionRoleArn",),
    },
    "AWS::SNS::Topic": {
        "iam:GetRole": ("DeliveryStatusLogging",),
        "iam:PassRole": ("DeliveryStatusLogging",),
        "sns:*DataProtectionPolicy": ("DataProtectionPolicy",),
        "sns:*ubscribe": ("Subscription",),
    },
    "AWS::SSM::Document": {"iam:PassRole": NEVER, "s3:GetObject": ("Attachments",)},
    "AWS::SecretsManager::Secret": {
        # To compare a value that the template sets, and for import and drift. Ours are generated once, and
        # nobody who operates a stack reads them.
        "secretsmanager:GetSecretValue": ("SecretString",),
        "secretsmanager:GetRandomPassword": ("GenerateSecretString",),
        "secretsmanager:*Replica*": ("ReplicaRegions",),
    },
    "AWS::StepFunctions::StateMachine": {
        "kms:*": ("EncryptionConfiguration",),
        "s3:GetObject": ("DefinitionS3Location",),
        "s3:GetObjectVersion": NEVER,
    },
}

LINKED = {
    "AWS::AutoScaling::AutoScalingGroup": "autoscaling.amazonaws.com",
    "AWS::RDS::DBInstance": "rds.amazonaws.com",
    "AWS::RDS::DBParameterGroup": "rds.amazonaws.com",
    "AWS::RDS::DBSubnetGroup": "rds.amazonaws.com",
}
"""Whose service-linked role the first resource of a type makes."""

RECEIVERS = {
    "AWS::AutoScaling::AutoScalingGroup": "ec2.amazonaws.com",
    "AWS::EC2::Instance": "ec2.amazonaws.com",
    "AWS::Events::Rule": "events.amazonaws.com",
    "AWS::IAM::InstanceProfile": "ec2.amazonaws.com",
    "AWS::Lambda::Function": "lambda.amazonaws.com",
    "AWS::Scheduler::Schedule": "scheduler.amazonaws.com",
    "AWS::StepFunctions::StateMachine": "states.amazonaws.com",
}
"""To whom a resource hands the roles that it names."""

# Actions for which AWS knows no resource that could be named (Service Authorization Reference): asked for
# "*".
NAMELESS = (
    "acm:RequestCertificate",
    "autoscaling:Describe*",
    "cloudwatch:Describe*",
    "ec2:Describe*",
    "elasticloadbalancing:Describe*",
    "kms:CreateKey",
    "kms:ListAliases",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "rds:DescribeE*",
    "route53:CreateHostedZone",
    "route53:ListQueryLoggingConfigs",
    "secretsmanager:GetRandomPassword",
    "ssm:DescribeAssociation",
    "ssm:ListAssociations",
)


class UnknownType(Exception):
    """Nobody knows here what a resource type needs."""


@dataclass(frozen=True)
class Resource:
    """What is made, changed or taken away."""

    kind: str
    logical_id: str
    stack: str
    properties: Mapping[str, Any]
    physical_id: str | None = None
    """None while it is being made."""
    roles: Collection[str] = ()
    """ARNs of the roles that it hands to its service."""


@dataclass(frozen=True)
class Need:
    """One permission that an operation needs."""

    action: str
    on: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the ARNs are."""

    region: str
    account: str
    partition: str = "aws"

    def arn(self, service: str, rest: str) -> str:
        """An ARN with region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"

    def iam(self, rest: str) -> str:
        """An ARN of IAM, which has no region."""
        return f"arn:{self.partition}:iam::{self.account}:{rest}"


@cache
def registry() -> dict[str, dict[str, list[str]]]:
    """Type → operation → actions."""
    found: dict[str, dict[str, list[str]]] = json.loads(REGISTRY.read_text())
    return found | WITHOUT_HANDLERS


def actions(kind: str, operation: str, properties: Collection[str]) -> list[str]:
    """What the operation (create, update, delete) on a resource with these properties calls.

    A resource that was made or changed is read afterwards. Raises UnknownType.
    """
    known = registry().get(kind)
    if known is None:
        raise UnknownType(
            f"which permissions {kind} needs is not known to this region (rehearsal/emulator/registry.json)"
        )
    called = {*known.get(operation, ()), *(known.get("read", ()) if operation != "delete" else ())}
    return sorted(action for action in called if called_for(kind, action, properties))


def called_for(kind: str, action: str, properties: Collection[str]) -> bool:
    """Whether a resource with these properties has its handler make the call."""
    conditions = WHEN.get(kind, {})
    wanted = conditions.get(action)
    if wanted is None:
        patterns = [names for pattern, names in conditions.items() if fnmatchcase(action, pattern)]
        wanted = patterns[0] if patterns else ("*",)
    return "*" in wanted or any(name in properties for name in wanted)


def needs(operation: str, resource: Resource, place: Place) -> Iterator[Need]:
    """Every permission that the operation needs, with the resource that it is asked for.

    Raises UnknownType.
    """
    for action in actions(resource.kind, operation, resource.properties.keys()):
        if action == "iam:PassRole":
            context = {"iam:PassedToService": RECEIVERS.get(resource.kind, "")}
            yield from (Need(action, role, context) for role in resource.roles)
        elif action == "iam:CreateServiceLinkedRole":
            service = LINKED.get(resource.kind, "")
            yield Need(
                action, place.iam(f"role/aws-service-role/{service}/new"), {"iam:AWSServiceName": service}
            )
        else:
            yield from (Need(action, arn) for arn in asked_for(action, resource, place))


def asked_for(action: str, resource: Resource, place: Place) -> list[str]:
    """The ARNs that an action is checked against; "*" where AWS knows none."""
    if any(fnmatchcase(action, pattern) for pattern in NAMELESS):
        return ["*"]
    service = action.partition(":")[0].lower()
    make = _ARNS.get(service)
    return make(action, resource, place) if make else ["*"]


def _name(resource: Resource, *members: str) -> str:
    """The resource's name:

    what it is, what it is told to be, or what CloudFormation makes of the stack's name.
    """
    if resource.physical_id:
        return resource.physical_id
    given = next((str(resource.properties[name]) for name in members if resource.properties.get(name)), "")
    return given or f"{resource.stack}-{resource.logical_id}-NEW0NEW0NEW0"


def _s3(action: str, resource: Resource, place: Place) -> list[str]:
    properties = resource.properties
    if action == "s3:GetObject":
        return [f"arn:{place.partition}:s3:::{stored}" for stored in _stored(properties)]
    bucket = properties.get("Bucket") if resource.kind == "AWS::S3::BucketPolicy" else None
    return [f"arn:{place.partition}:s3:::{bucket or _name(resource, 'BucketName').lower()}"]


def _stored(properties: Mapping[str, Any]) -> Iterator[str]:
    """What a resource is made of, where that lies in a bucket: bucket/key."""
    for member in ("Code", "Content", "DefinitionS3Location"):
        place = properties.get(member)
        if isinstance(place, Mapping):
            bucket, key = place.get("S3Bucket") or place.get("Bucket"), place.get("S3Key") or place.get("Key")
            if bucket:
                yield f"{bucket}/{key}"


def _logs(action: str, resource: Resource, place: Place) -> list[str]:
    group = resource.properties.get("LogGroupName") or _name(resource)
    return [place.arn("logs", f"log-group:{group}")]


def _iam(action: str, resource: Resource, place: Place) -> list[str]:
    if resource.kind == "AWS::IAM::InstanceProfile":
        # The emulator's id of one is its ARN, CloudFormation's its name.
        profile = _name(resource, "InstanceProfileName").rpartition("instance-profile/")[2]
        return [place.iam(f"instance-profile/{profile}")]
    if resource.kind == "AWS::IAM::ManagedPolicy":
        name = resource.physical_id or place.iam(f"policy/{_name(resource, 'ManagedPolicyName')}")
        return [name]
    return [place.iam(f"role/{_name(resource, 'RoleName')}")]


def _rds(action: str, resource: Resource, place: Place) -> list[str]:
    kinds = {
        "AWS::RDS::DBInstance": "db",
        "AWS::RDS::DBParameterGroup": "pg",
        "AWS::RDS::DBSubnetGroup": "subgrp",
    }
    members = ("DBInstanceIdentifier", "DBParameterGroupName", "DBSubnetGroupName")
    own = place.arn("rds", f"{kinds[resource.kind]}:{_name(resource, *members).lower()}")
    if action == "rds:CreateDBSnapshot":
        return [own, place.arn("rds", f"snapshot:{resource.stack}-snapshot-{resource.logical_id}".lower())]
    if action != "rds:CreateDBInstance":
        return [own]
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonrds.html#amazonrds-CreateDBInstance
    others = {"pg": "DBParameterGroupName", "subgrp": "DBSubnetGroupName"}
    given = resource.properties
    named = [place.arn("rds", f"{kind}:{given[name]}") for kind, name in others.items() if given.get(name)]
    instance = {key: value for key, value in given.items() if key == "DBInstanceIdentifier"}
    plain = Resource(resource.kind, resource.logical_id, resource.stack, instance)
    return [place.arn("rds", f"db:{_name(plain, 'DBInstanceIdentifier').lower()}"), *named]


def _secretsmanager(action: str, resource: Resource, place: Place) -> list[str]:
    if resource.kind == "AWS::RDS::DBInstance":
        return [place.arn("secretsmanager", "secret:rds!db-00000000-0000-0000-0000-000000000000-NEW000")]
    if resource.physical_id and resource.physical_id.startswith("arn:"):
        return [resource.physical_id]
    return [place.arn("secretsmanager", f"secret:{_name(resource, 'Name')}-NEW000")]


def _kms(action: str, resource: Resource, place: Place) -> list[str]:
    return [place.arn("kms", f"key/{(resource.kind == 'AWS::KMS::Key' and resource.physical_id) or 'new'}")]


def _acm(action: str, resource: Resource, place: Place) -> list[str]:
    return [resource.physical_id or place.arn("acm", "certificate/new")]


def _route53(action: str, resource: Resource, place: Place) -> list[str]:
    if action == "route53:GetChange":
        return [f"arn:{place.partition}:route53:::change/NEW"]
    properties = resource.properties
    options = properties.get("DomainValidationOptions") or ()
    zones = {str(option["HostedZoneId"]) for option in options if option.get("HostedZoneId")}
    if resource.kind == "AWS::Route53::RecordSet":
        zones = {str(properties.get("HostedZoneId", ""))}
    if resource.kind == "AWS::Route53::HostedZone":
        zones = {resource.physical_id or "ZNEW"}
    return [f"arn:{place.partition}:route53:::hostedzone/{zone}" for zone in sorted(zones)]


def _lambda(action: str, resource: Resource, place: Place) -> list[str]:
    if action == "lambda:GetLayerVersion" and resource.kind == "AWS::Lambda::Function":
        return [str(layer) for layer in resource.properties.get("Layers") or ()]
    if resource.kind == "AWS::Lambda::LayerVersion":
        layer = place.arn("lambda", f"layer:{resource.properties.get('LayerName') or _name(resource)}")
        return [layer if action == "lambda:PublishLayerVersion" else f"{layer}:1"]
    return [place.arn("lambda", f"function:{_name(resource, 'FunctionName')}")]


def _elasticloadbalancing(action: str, resource: Resource, place: Place) -> list[str]:
    if resource.physical_id:
        return [resource.physical_id]
    kinds = {"Listener": "listener/app", "LoadBalancer": "loadbalancer/app", "TargetGroup": "targetgroup"}
    kind = resource.kind.rpartition("::")[2]
    return [place.arn("elasticloadbalancing", f"{kinds[kind]}/{_name(resource, 'Name')[:32]}/new")]


def _autoscaling(action: str, resource: Resource, place: Place) -> list[str]:
    name = _name(resource, "AutoScalingGroupName")
    if resource.kind != "AWS::AutoScaling::AutoScalingGroup":
        # What belongs to a group is asked for on that; a template that is only read has a Ref there.
        group = resource.properties.get("AutoScalingGroupName")
        name = group if isinstance(group, str) else f"{resource.stack}-Group-NEW0NEW0NEW0"
    return [place.arn("autoscaling", f"autoScalingGroup:new:autoScalingGroupName/{name}")]


def _ec2(action: str, resource: Resource, place: Place) -> list[str]:
    kind = resource.kind.rpartition("::")[2].lower()
    return [place.arn("ec2", f"{kind}/{resource.physical_id or 'new'}")]


def _dynamodb(action: str, resource: Resource, place: Place) -> list[str]:
    return [place.arn("dynamodb", f"table/{_name(resource, 'TableName')}")]


def _sns(action: str, resource: Resource, place: Place) -> list[str]:
    topic = resource.properties.get("TopicArn")
    if resource.physical_id and resource.physical_id.startswith("arn:"):
        return [resource.physical_id]
    return [str(topic or place.arn("sns", _name(resource, "TopicName")))]


def _states(action: str, resource: Resource, place: Place) -> list[str]:
    if resource.physical_id and resource.physical_id.startswith("arn:"):
        return [resource.physical_id]
    return [place.arn("states", f"stateMachine:{_name(resource, 'StateMachineName')}")]


def _events(action: str, resource: Resource, place: Place) -> list[str]:
    return [place.arn("events", f"rule/{_name(resource, 'Name').rpartition('rule/')[2]}")]


def _scheduler(action: str, resource: Resource, place: Place) -> list[str]:
    group = resource.properties.get("GroupName", "default")
    return [place.arn("scheduler", f"schedule/{group}/{_name(resource, 'Name')}")]


def _cloudwatch(action: str, resource: Resource, place: Place) -> list[str]:
    if resource.kind == "AWS::CloudWatch::Dashboard":  # they have no region
        name = _name(resource, "DashboardName")
        return [f"arn:{place.partition}:cloudwatch::{place.account}:dashboard/{name}"]
    return [place.arn("cloudwatch", f"alarm:{_name(resource, 'AlarmName')}")]


def _ssm(action: str, resource: Resource, place: Place) -> list[str]:
    return [place.arn("ssm", f"document/{_name(resource, 'Name')}")]


_ARNS = {
    "acm": _acm,
    "autoscaling": _autoscaling,
    "cloudwatch": _cloudwatch,
    "dynamodb": _dynamodb,
    "ec2": _ec2,
    "elasticloadbalancing": _elasticloadbalancing,
    "events": _events,
    "iam": _iam,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "rds": _rds,
    "route53": _route53,
    "s3": _s3,
    "scheduler": _scheduler,
    "secretsmanager": _secretsmanager,
    "sns": _sns,
    "ssm": _ssm,
    "states": _states,
}
