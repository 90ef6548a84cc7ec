"""What the other services have now of what the stacks made: from the records that the balancers, databases,
groups, names and buckets of the region follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from rehearsal.emulator.drift_shapes import Properties, Readers, alike, attributes, shaped, taken
from rehearsal.emulator.internals import ministack

RELIES_ON = (
    ("services.acm", "_certificates"),
    ("services.alb", "_lbs"),
    ("services.alb", "_lb_attrs"),
    ("services.alb", "_listeners"),
    ("services.alb", "_tags"),
    ("services.alb", "_tg_attrs"),
    ("services.alb", "_tgs"),
    ("services.autoscaling", "_asgs"),
    ("services.autoscaling", "_hooks"),
    ("services.autoscaling", "_policies"),
    ("services.cloudformation.drift", "_read_lambda_function"),
    ("services.cloudformation.drift", "_read_iam_role"),
    ("services.cloudformation.provisioners", "_r53_record_set_build_rs"),
    ("services.cloudformation.provisioners", "_r53_resolve_hosted_zone_id"),
    ("services.iam", "_instance_profiles"),
    ("services.iam", "_roles"),
    ("services.lambda_svc", "_functions"),
    ("services.rds", "_instances"),
    ("services.rds", "_param_groups"),
    ("services.rds", "_subnet_groups"),
    ("services.rds", "_tags"),
    ("services.route53", "_records"),
    ("services.route53", "_rs_key"),
    ("services.route53", "_zones"),
    ("services.s3", "_bucket_encryption"),
    ("services.s3", "_bucket_lifecycle"),
    ("services.s3", "_bucket_policies"),
    ("services.s3", "_bucket_tags"),
    ("services.s3", "_bucket_versioning"),
    ("services.s3", "_buckets"),
)


# RDS


def _database(identifier: str, props: Properties) -> dict[str, Any] | None:
    found = ministack("services.rds")._instances.get(identifier)
    if found is None or found["DBInstanceStatus"] == "deleting":
        return None
    # The type takes a major version for any of its minor ones, as RDS does.
    version = str(found["EngineVersion"])
    wanted = str(props.get("EngineVersion", ""))
    same = version == wanted or version.startswith(f"{wanted}.")
    named = (
        *("Engine", "DBInstanceClass", "MasterUsername", "StorageType", "AllocatedStorage"),
        *("StorageEncrypted", "MultiAZ", "PubliclyAccessible", "BackupRetentionPeriod"),
        *("PreferredBackupWindow", "PreferredMaintenanceWindow", "CopyTagsToSnapshot"),
        *("DeletionProtection", "AutoMinorVersionUpgrade", "MaxAllocatedStorage"),
    )
    groups = found["DBParameterGroups"]
    return taken(
        props,
        {
            **{name: found.get(name) for name in named},
            "EngineVersion": wanted if same else version,
            "DBParameterGroupName": groups[0]["DBParameterGroupName"] if groups else None,
            "DBSubnetGroupName": found["DBSubnetGroup"]["DBSubnetGroupName"],
            "VPCSecurityGroups": [one["VpcSecurityGroupId"] for one in found["VpcSecurityGroups"]],
            "ManageMasterUserPassword": "MasterUserSecret" in found,
            "Tags": list(found.get("TagList") or ()),
        },
    )


def _subnet_group(name: str, props: Properties) -> dict[str, Any] | None:
    rds = ministack("services.rds")
    found = rds._subnet_groups.get(name)
    if found is None:
        return None
    return taken(
        props,
        {
            "DBSubnetGroupName": name,
            "DBSubnetGroupDescription": found["DBSubnetGroupDescription"],
            "SubnetIds": [one["SubnetIdentifier"] for one in found["Subnets"]],
            "Tags": list(rds._tags.get(found["DBSubnetGroupArn"]) or ()),
        },
    )


def _parameter_group(name: str, props: Properties) -> dict[str, Any] | None:
    """Parameters that the template does not name are left alone, as the type's handler does."""
    rds = ministack("services.rds")
    found = rds._param_groups.get(name)
    if found is None:
        return None
    values = {key: one["ParameterValue"] for key, one in found.get("Parameters", {}).items()}
    return taken(
        props,
        {
            "Family": found["DBParameterGroupFamily"],
            "Description": found["Description"],
            "Parameters": values,
            "Tags": list(rds._tags.get(found["DBParameterGroupArn"]) or ()),
        },
    )


# ELBv2


def _load_balancer(arn: str, props: Properties) -> dict[str, Any] | None:
    alb = ministack("services.alb")
    found = alb._lbs.get(arn)
    if found is None:
        return None
    return taken(
        props,
        {
            **{name: found.get(name) for name in ("Type", "Scheme", "IpAddressType", "Subnets")},
            "Name": found["LoadBalancerName"],
            "SecurityGroups": found["SecurityGroups"],
            "LoadBalancerAttributes": attributes(props.get("LoadBalancerAttributes"), alb._lb_attrs[arn]),
            "Tags": list(alb._tags.get(arn) or ()),
        },
    )


def _listener(arn: str, props: Properties) -> dict[str, Any] | None:
    alb = ministack("services.alb")
    found = alb._listeners.get(arn)
    if found is None:
        return None
    return taken(
        props,
        {
            **{name: found.get(name) for name in ("LoadBalancerArn", "Port", "Protocol", "SslPolicy")},
            "Certificates": [{"CertificateArn": one} for one in found.get("Certificates", ())],
            "DefaultActions": found["DefaultActions"],
            "Tags": list(alb._tags.get(arn) or ()),
        },
    )


HEALTH_CHECK = (
    *("HealthCheckProtocol", "HealthCheckPort", "HealthCheckEnabled", "HealthCheckPath"),
    *("HealthCheckIntervalSeconds", "HealthCheckTimeoutSeconds"),
    *("HealthyThresholdCount", "UnhealthyThresholdCount", "Matcher"),
)


def _target_group(arn: str, props: Properties) -> dict[str, Any] | None:
    alb = ministack("services.alb")
    found = alb._tgs.get(arn)
    if found is None:
        return None
    return taken(
        props,
        {
            **{name: found.get(name) for name in ("Protocol", "Port", "VpcId", "TargetType", *HEALTH_CHECK)},
            "Name": found["TargetGroupName"],
            "TargetGroupAttributes": attributes(props.get("TargetGroupAttributes"), alb._tg_attrs[arn]),
            "Tags": list(alb._tags.get(arn) or ()),
        },
    )


# Auto Scaling


def _group(name: str, props: Properties) -> dict[str, Any] | None:
    """The capacity that scaling has set is a difference: who wants none, filters it."""
    found = ministack("services.autoscaling")._asgs.get(name)
    if found is None:
        return None
    zones = [one.strip() for one in found["VPCZoneIdentifier"].split(",") if one.strip()]
    named = (
        *("MinSize", "MaxSize", "DesiredCapacity", "HealthCheckType", "HealthCheckGracePeriod"),
        *("TerminationPolicies", "NewInstancesProtectedFromScaleIn", "LaunchTemplate"),
    )
    return taken(
        props,
        {
            **{one: found.get(one) for one in named},
            "VPCZoneIdentifier": zones,
            "TargetGroupARNs": found.get("TargetGroupARNs", []),
            "Cooldown": found.get("DefaultCooldown"),
            "Tags": [
                {"Key": one["Key"], "Value": one["Value"]}
                for one in found["Tags"]
                if not one["Key"].startswith("aws:")
            ],
        },
    )


def _hook(name: str, props: Properties) -> dict[str, Any] | None:
    group = props.get("AutoScalingGroupName")
    found = ministack("services.autoscaling")._hooks.get(f"{group}/{name}")
    return None if found is None else taken(props, found)


def _policy(arn: str, props: Properties) -> dict[str, Any] | None:
    policies = ministack("services.autoscaling")._policies.values()
    found = next((one for one in policies if one["PolicyARN"] == arn), None)
    if found is None:
        return None
    tracked = dict(found.get("TargetTrackingConfiguration") or {})
    wanted = (props.get("TargetTrackingConfiguration") or {}).get("TargetValue")
    if wanted is not None and float(wanted) == float(tracked.get("TargetValue", -1)):
        tracked["TargetValue"] = wanted  # 60 and "60" and 60.0 are one target
    return taken(props, {**found, "TargetTrackingConfiguration": tracked or None})


# Names and certificates


def _name(value: str) -> str:
    return value.lower().rstrip(".").removeprefix("dualstack.")


def _record_set(_identifier: str, props: Properties) -> dict[str, Any] | None:
    route53 = ministack("services.route53")
    provisioners = ministack("services.cloudformation.provisioners")
    zone = provisioners._r53_resolve_hosted_zone_id(props)
    key = route53._rs_key(provisioners._r53_record_set_build_rs(props))
    found = next((one for one in route53._records.get(zone, ()) if route53._rs_key(one) == key), None)
    if found is None:
        return None
    alias = found.get("AliasTarget")
    if alias is not None:
        wanted = (props.get("AliasTarget") or {}).get("DNSName")
        alias = {**alias, "DNSName": alike(wanted, alias["DNSName"].rstrip("."), _name)}
    return taken(
        props,
        {
            "HostedZoneId": props.get("HostedZoneId"),
            "Name": alike(props["Name"], found["Name"], _name),
            "Type": found["Type"],
            "TTL": found.get("TTL"),
            "ResourceRecords": found.get("ResourceRecords"),
            "AliasTarget": alias,
        },
    )


def _zone(identifier: str, props: Properties) -> dict[str, Any] | None:
    found = ministack("services.route53")._zones.get(identifier)
    if found is None:
        return None
    return taken(
        props,
        {
            "Name": alike(props.get("Name"), found["name"], _name),
            "HostedZoneConfig": {"Comment": found.get("comment", "")},
        },
    )


def _certificate(arn: str, props: Properties) -> dict[str, Any] | None:
    """How it is validated is write-only (schema of the type). ACM lists the domain among its other names."""
    found = ministack("services.acm")._certificates.get(arn)
    if found is None:
        return None
    listed = props.get("SubjectAlternativeNames") or ()
    others = [n for n in found["SubjectAlternativeNames"] if n != found["DomainName"] or n in listed]
    return taken(
        props,
        {"DomainName": found["DomainName"], "SubjectAlternativeNames": others, "Tags": found.get("Tags")},
    )


# S3


def _bucket(name: str, props: Properties) -> dict[str, Any] | None:
    s3 = ministack("services.s3")
    found = s3._buckets.get(name)
    if found is None:
        return None
    versioning = s3._bucket_versioning.get(name)
    tags = s3._bucket_tags.get(name) or {}
    return taken(
        props,
        {
            "BucketName": name,
            "VersioningConfiguration": {"Status": versioning} if versioning else None,
            "PublicAccessBlockConfiguration": _flags(found.get("_public_access_block")),
            "OwnershipControls": _ownership(found.get("_ownership_controls")),
            "BucketEncryption": _encryption(s3._bucket_encryption.get(name)),
            "LifecycleConfiguration": _lifecycle(s3._bucket_lifecycle.get(name)),
            "Tags": [{"Key": key, "Value": value} for key, value in dict(tags).items()],
        },
    )


def _elements(xml: str | bytes | None) -> list[tuple[str, str]]:
    """(name without namespace, text) of every element of a stored configuration."""
    if not xml:
        return []
    root = ElementTree.fromstring(xml)
    return [(one.tag.rpartition("}")[2], (one.text or "").strip()) for one in root.iter()]


def _flags(xml: str | None) -> dict[str, bool] | None:
    found = {name: text == "true" for name, text in _elements(xml) if text in ("true", "false")}
    return found or None


def _ownership(xml: str | None) -> dict[str, Any] | None:
    found = [{name: text} for name, text in _elements(xml) if name == "ObjectOwnership"]
    return {"Rules": found} if found else None


def _encryption(xml: str | None) -> dict[str, Any] | None:
    """Of a bucket that was never told: none, though S3 encrypts what is put into it."""
    members = {"SSEAlgorithm": "SSEAlgorithm", "KMSMasterKeyID": "KMSMasterKeyID"}
    found = {members[name]: text for name, text in _elements(xml) if name in members and text}
    if not found:
        return None
    return {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": found}]}


def _lifecycle(rules: Any) -> dict[str, Any] | None:
    if not isinstance(rules, list):
        return None
    return {"Rules": [{"Id" if name == "ID" else name: rule[name] for name in rule} for rule in rules]}


def _bucket_policy(_identifier: str, props: Properties) -> dict[str, Any] | None:
    found = ministack("services.s3")._bucket_policies.get(str(props.get("Bucket")))
    if not found:
        return None
    return {"Bucket": props["Bucket"], "PolicyDocument": json.loads(found)}


# IAM and Lambda


def _role(name: str, props: Properties) -> dict[str, Any] | None:
    """Inline policies all of them, managed ones if the template names any."""
    found = ministack("services.cloudformation.drift")._read_iam_role(name, props)
    if found is None:
        return None
    role = ministack("services.iam")._roles[name]
    inline = [
        {"PolicyName": policy, "PolicyDocument": _parsed(document)}
        for policy, document in role["InlinePolicies"].items()
    ]
    return {**found, "Policies": inline, "ManagedPolicyArns": list(role["AttachedPolicies"])}


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document


def _profile(arn: str, props: Properties) -> dict[str, Any] | None:
    """(The emulator's physical id is the ARN, AWS's the name.)"""
    profiles = list(ministack("services.iam")._instance_profiles.values())
    found = next((one for one in profiles if arn in (one["Arn"], one["InstanceProfileName"])), None)
    if found is None:
        return None
    name = found["InstanceProfileName"]
    return taken(props, {"InstanceProfileName": name, "Path": found["Path"], "Roles": list(found["Roles"])})


def _function(name: str, props: Properties) -> dict[str, Any] | None:
    """The code is write-only (schema of the type)."""
    found = ministack("services.cloudformation.drift")._read_lambda_function(name, props)
    if found is None:
        return None
    config: Mapping[str, Any] = ministack("services.lambda_svc")._functions[name]["config"]
    layers = [one["Arn"] if isinstance(one, Mapping) else one for one in config.get("Layers") or ()]
    logging = shaped(props.get("LoggingConfig"), config.get("LoggingConfig"))
    network = shaped(props.get("VpcConfig"), config.get("VpcConfig"))
    more = {"Layers": layers, "LoggingConfig": logging, "VpcConfig": network}
    return {**found, **{key: value for key, value in more.items() if value is not None}}


READERS: Readers = {
    "AWS::RDS::DBInstance": (
        _database,
        frozenset(
            {
                *("Engine", "EngineVersion", "DBInstanceClass", "DBParameterGroupName", "MasterUsername"),
                *("ManageMasterUserPassword", "StorageType", "AllocatedStorage", "MaxAllocatedStorage"),
                *("StorageEncrypted", "MultiAZ", "DBSubnetGroupName", "VPCSecurityGroups"),
                *("PubliclyAccessible", "BackupRetentionPeriod", "PreferredBackupWindow"),
                *("PreferredMaintenanceWindow", "CopyTagsToSnapshot", "DeletionProtection"),
                *("AutoMinorVersionUpgrade", "Tags"),
            }
        ),
    ),
    "AWS::RDS::DBSubnetGroup": (
        _subnet_group,
        frozenset({"DBSubnetGroupName", "DBSubnetGroupDescription", "SubnetIds", "Tags"}),
    ),
    "AWS::RDS::DBParameterGroup": (
        _parameter_group,
        frozenset({"Family", "Description", "Parameters", "Tags"}),
    ),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": (
        _load_balancer,
        frozenset(
            {
                *("Name", "Type", "Scheme", "IpAddressType", "Subnets", "SecurityGroups"),
                *("LoadBalancerAttributes", "Tags"),
            }
        ),
    ),
    "AWS::ElasticLoadBalancingV2::Listener": (
        _listener,
        frozenset(
            {"LoadBalancerArn", "Port", "Protocol", "SslPolicy", "Certificates", "DefaultActions", "Tags"}
        ),
    ),
    "AWS::ElasticLoadBalancingV2::TargetGroup": (
        _target_group,
        frozenset(
            {
                *("Name", "Protocol", "Port", "VpcId", "TargetType", *HEALTH_CHECK),
                *("TargetGroupAttributes", "Tags"),
            }
        ),
    ),
    "AWS::AutoScaling::AutoScalingGroup": (
        _group,
        frozenset(
            {
                *("MinSize", "MaxSize", "DesiredCapacity", "HealthCheckType", "HealthCheckGracePeriod"),
                *("TerminationPolicies", "NewInstancesProtectedFromScaleIn", "LaunchTemplate"),
                *("VPCZoneIdentifier", "TargetGroupARNs", "Cooldown"),
            }
        ),
    ),
    "AWS::AutoScaling::LifecycleHook": (
        _hook,
        frozenset(
            {
                *("AutoScalingGroupName", "LifecycleHookName", "LifecycleTransition", "DefaultResult"),
                *("HeartbeatTimeout", "NotificationMetadata", "NotificationTargetARN", "RoleARN"),
            }
        ),
    ),
    "AWS::AutoScaling::ScalingPolicy": (
        _policy,
        frozenset(
            {
                *("AutoScalingGroupName", "PolicyType", "EstimatedInstanceWarmup"),
                "TargetTrackingConfiguration",
            }
        ),
    ),
    "AWS::Route53::RecordSet": (
        _record_set,
        frozenset({"HostedZoneId", "Name", "Type", "TTL", "ResourceRecords", "AliasTarget"}),
    ),
    "AWS::Route53::HostedZone": (_zone, frozenset({"Name", "HostedZoneConfig"})),
    "AWS::CertificateManager::Certificate": (
        _certificate,
        frozenset({"DomainName", "SubjectAlternativeNames", "Tags"}),
    ),
    "AWS::S3::Bucket": (
        _bucket,
        frozenset(
            {
                *("BucketName", "VersioningConfiguration", "PublicAccessBlockConfiguration"),
                *("OwnershipControls", "BucketEncryption", "LifecycleConfiguration", "Tags"),
            }
        ),
    ),
    "AWS::S3::BucketPolicy": (_bucket_policy, frozenset({"Bucket", "PolicyDocument"})),
    "AWS::IAM::Role": (
        _role,
        frozenset(
            {
                *("RoleName", "Path", "Description", "MaxSessionDuration", "AssumeRolePolicyDocument"),
                *("Policies", "ManagedPolicyArns", "Tags"),
            }
        ),
    ),
    "AWS::IAM::InstanceProfile": (_profile, frozenset({"InstanceProfileName", "Path", "Roles"})),
    "AWS::Lambda::Function": (
        _function,
        frozenset(
            {
                *("FunctionName", "Runtime", "Handler", "Role", "Timeout", "MemorySize", "Description"),
                *("Architectures", "PackageType", "Environment", "EphemeralStorage", "TracingConfig"),
                *("Layers", "LoggingConfig", "VpcConfig", "Tags"),
            }
        ),
    ),
}
