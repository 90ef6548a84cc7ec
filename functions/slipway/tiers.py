"""A tier of an environment as a CloudFormation stack: its name, its template, its parameters. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.artifact import PREFIX
from slipway.errors import TierFailed

Environment = Mapping[str, Any]
Outputs = Mapping[str, Mapping[str, str]]
Parameters = dict[str, str]

# Connections to a server that leaves the load balancer may go on for so many seconds, unless a release asks
# for another number (slipway.targets then sets it): the default of rollout.drainSeconds.
DEREGISTRATION_DELAY = 30

# A template's condition can only look into a list whose length it knows. Entries that are not used say so: an
# empty one at the end may be cut off where CloudFormation makes a list of the text.
BASTION_CIDRS = 5
NO_CIDR = "none"

# Families of instance types with a processor by AWS have a g after the generation: t4g, m7gd, c6gn.
GRAVITON = re.compile(r"^[a-z]+\d+g[a-z]*\.")

# YAML's block scalars: a key, or an entry of a list, and then | or >.
BEGINS_A_TEXT = re.compile(r"(^|\s)[|>][-+0-9]{0,2}$")


@dataclass(frozen=True)
class Settings:
    """What a tier needs to know of the orchestrator. `code` is where the create-database function's code
    lies."""

    account: str
    region: str
    partition: str
    artifact_bucket: str
    command_log_group: str
    runtime: str = ""
    architecture: str = ""
    layer: str = ""
    code_key: str = ""


def stack_name(environment: str, tier: str) -> str:
    return f"slipway-{environment}-{tier.replace('_', '-')}"


def tags(environment: str, tier: str) -> dict[str, str]:
    return {"slipway:environment": environment, "slipway:tier": tier}


def template(tier: str) -> str:
    """The tier's template, as it travels with the code."""
    return (Path(__file__).parent.parent / "tiers" / f"{tier}.yaml").read_text()


def digest() -> str:
    """Of all templates: another one means that an environment may be built differently than it was."""
    return digest_of(template(tier) for tier in TIERS)


def digest_of(templates: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(map(essence, templates)).encode()).hexdigest()


def same(tier: str, text: str) -> bool:
    """Whether CloudFormation would see the tier's template in this one."""
    return essence(text) == essence(template(tier))


def essence(text: str) -> str:
    """A template without that in which CloudFormation sees no change: comments on lines of their own, blank
    lines, the description. When nothing else differs a stack keeps the template that it has. Lines of a text
    in the template (a script for the servers) are no comments, whatever they begin with."""
    lines = []
    described = False
    text_within = -1  # the indentation that a text's lines exceed, if one has begun
    for line in text.splitlines():
        bare = line.strip()
        indentation = len(line) - len(line.lstrip())
        if text_within >= 0 and (not bare or indentation > text_within):
            lines.append(line)
            continue
        text_within = -1
        if bare and not line.startswith((" ", "#")):
            described = line.startswith("Description:")
        if bare and not described and not bare.startswith("#"):
            lines.append(line.rstrip())
            text_within = indentation if BEGINS_A_TEXT.search(bare) else -1
    return "\n".join(lines)


def image_bucket(environment: str, account: str, region: str) -> str:
    return f"slipway-{environment}-images-{account}-{region}"


def parameters(tier: str, environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    """The template's parameters; `outputs` are those of the tiers before it, by tier.

    Raises TierFailed if one of those is missing.
    """
    try:
        of_tier = _TIERS[tier](environment, outputs, settings)
    except KeyError as missing:
        raise TierFailed(
            f"the tier {tier} needs {missing} of a tier before it",
            f"tier {tier}",
            "see the outputs of those stacks",
        ) from missing
    return {"Environment": environment["name"], **of_tier}


def _network(environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    network = environment["network"]
    bastion = (list(network["bastion"]["allowedCidrs"]) + [NO_CIDR] * BASTION_CIDRS)[:BASTION_CIDRS]
    # Each of six subnets gets an eighth of the VPC: its address has as many bits as are left, less three.
    bits = 32 - ipaddress.IPv4Network(network["cidr"]).prefixlen - 3
    return {
        "Cidr": network["cidr"],
        "SubnetBits": str(bits),
        "NatGateways": network["natGateways"],
        "BastionCidrs": ",".join(bastion),
    }


def _certificate(environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    domain = environment["domain"]
    return {
        "DomainName": domain["name"],
        "IncludeWww": _flag(domain["www"]),
        "Dns": domain["dns"],
        "HostedZoneId": domain["hostedZoneId"],
    }


def _database(environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    database, network = environment["database"], outputs["network"]
    return {
        "DatabaseName": database["name"],
        "InstanceClass": database["instanceClass"],
        "StorageGiB": str(database["storageGiB"]),
        "BackupDays": str(database["backupDays"]),
        "MultiAz": _flag(database["multiAz"]),
        "SubnetIds": network["DatabaseSubnetIds"],
        "SecurityGroupId": network["DatabaseSecurityGroupId"],
        "FunctionSubnetIds": network["FunctionSubnetIds"],
        "FunctionSecurityGroupId": network["FunctionSecurityGroupId"],
        "FunctionCodeBucket": settings.artifact_bucket,
        "FunctionCodeKey": settings.code_key,
        "FunctionRuntime": settings.runtime,
        "FunctionArchitecture": settings.architecture,
        "FunctionLayerArn": settings.layer,
    }


def _storage(environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    return {}


def _web(environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    web, network = environment["web"], outputs["network"]
    return {
        "VpcId": network["VpcId"],
        "SubnetIds": network["WebSubnetIds"],
        "SecurityGroupId": network["WebSecurityGroupId"],
        "PublicAddresses": network["WebPublicAddresses"],
        "InstanceType": web["instanceType"],
        "Architecture": "arm64" if GRAVITON.match(web["instanceType"]) else "x86_64",
        "OperatingSystem": web["operatingSystem"],
        "ImageId": web["imageId"],
        "MinSize": str(web["min"]),
        "MaxSize": str(web["max"]),
        "DesiredCapacity": str(web["desired"]),
        "CpuPercent": str(_scaling(web, "cpuPercent")),
        "HealthPath": web["healthPath"],
        "DeregistrationDelay": str(DEREGISTRATION_DELAY),
        "ImageBucketName": image_bucket(environment["name"], settings.account, settings.region),
        "SecretArns": ",".join(secret_arns(environment["secrets"].values(), settings)),
        "ArtifactBucket": settings.artifact_bucket,
        "ArtifactPrefix": PREFIX,
        "CommandLogGroup": settings.command_log_group,
    }


def _load_balancer(environment: Environment, outputs: Outputs, settings: Settings) -> Parameters:
    domain, network, certificate = environment["domain"], outputs["network"], outputs["certificate"]
    return {
        "SubnetIds": network["PublicSubnetIds"],
        "SecurityGroupId": network["LoadBalancerSecurityGroupId"],
        "TargetGroupArn": outputs["web"]["TargetGroupArn"],
        # (Not an output of its own: the tier of an environment that was built before would not have it.)
        "TargetGroupFullName": outputs["web"]["TargetGroupArn"].rpartition(":")[2],
        "AutoScalingGroupName": outputs["web"]["AutoScalingGroupName"],
        "RequestsPerTarget": str(_scaling(environment["web"], "requestsPerTarget")),
        "CertificateArn": certificate["CertificateArn"],
        "DomainName": domain["name"],
        "IncludeWww": _flag(domain["www"]),
        "HostedZoneId": certificate["HostedZoneId"],
    }


def _scaling(web: Mapping[str, Any], what: str) -> int:
    """0 if the number of servers does not follow that, as in environments recorded before it could."""
    return int(web.get("scaling", {}).get(what, 0))


def secret_arns(secrets: Any, settings: Settings) -> list[str]:
    """ARNs for a policy, of secrets given by name or ARN.

    Secrets Manager puts a hyphen and six characters of its own behind a name: six question marks stand for
    them.
    """
    prefix = f"arn:{settings.partition}:secretsmanager:{settings.region}:{settings.account}:secret:"
    arns = {secret if secret.startswith("arn:") else f"{prefix}{secret}-??????" for secret in secrets}
    return sorted(arns)


def _flag(value: bool) -> str:
    return "true" if value else "false"


_TIERS: Mapping[str, Callable[[Environment, Outputs, Settings], Parameters]] = {
    "network": _network,
    "certificate": _certificate,
    "database": _database,
    "storage": _storage,
    "web": _web,
    "load_balancer": _load_balancer,
}

# In the order of a release.
TIERS = tuple(_TIERS)
