"""Parameters of tiers: exactly what the templates take, and what each becomes."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import yaml

from slipway import tiers
from slipway.errors import TierFailed

SETTINGS = tiers.Settings(
    account="123456789012",
    region="eu-central-1",
    partition="aws",
    artifact_bucket="artifacts",
    command_log_group="/slipway/commands",
    runtime="python3.13",
    architecture="arm64",
    layer="arn:layer",
    code_key="functions/code.zip",
)

# Every output of every tier, as the templates promise them, with values that tell where they come from.
NAMES = {
    "network": (
        "VpcId PublicSubnetIds WebSubnetIds WebPublicAddresses DatabaseSubnetIds FunctionSubnetIds "
        "LoadBalancerSecurityGroupId WebSecurityGroupId DatabaseSecurityGroupId FunctionSecurityGroupId"
    ),
    "certificate": "CertificateArn HostedZoneId NameServers",
    "web": "AutoScalingGroupName TargetGroupArn",
}
OUTPUTS = {tier: {name: f"{tier}.{name}" for name in names.split()} for tier, names in NAMES.items()}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as nothing in particular."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)


def declared(tier: str) -> dict[str, Any]:
    parameters: dict[str, Any] = yaml.load(tiers.template(tier), _Loader)["Parameters"]
    return parameters


@pytest.mark.parametrize("tier", tiers.TIERS)
def test_exactly_what_the_template_takes(tier: str, environment: dict[str, Any]) -> None:
    given = tiers.parameters(tier, environment, OUTPUTS, SETTINGS)
    assert set(given) == set(declared(tier))
    assert all(isinstance(value, str) for value in given.values())


@pytest.mark.parametrize("tier", tiers.TIERS)
def test_the_template_fits_into_a_call(tier: str) -> None:
    assert len(tiers.template(tier).encode()) <= 51_200  # CloudFormation's limit of TemplateBody


def test_network(environment: dict[str, Any]) -> None:
    assert tiers.parameters("network", environment, {}, SETTINGS) == {
        "Environment": "arable",
        "Cidr": "10.20.0.0/16",
        "SubnetBits": "13",
        "NatGateways": "one",
        "BastionCidrs": "none,none,none,none,none",
    }


@pytest.mark.parametrize("prefix", range(16, 23))
def test_six_subnets_fit(prefix: int, environment: dict[str, Any]) -> None:
    environment["network"]["cidr"] = f"10.20.0.0/{prefix}"
    bits = int(tiers.parameters("network", environment, {}, SETTINGS)["SubnetBits"])
    subnets = list(ipaddress.IPv4Network(f"10.20.0.0/{prefix}").subnets(new_prefix=32 - bits))
    assert len(subnets) == 8
    assert 16 <= 32 - bits <= 28, "AWS's largest and smallest subnet"


def test_bastion(environment: dict[str, Any]) -> None:
    environment["network"]["bastion"]["allowedCidrs"] = ["203.0.113.7/32", "203.0.113.8/32"]
    given = tiers.parameters("network", environment, {}, SETTINGS)
    assert given["BastionCidrs"] == "203.0.113.7/32,203.0.113.8/32,none,none,none"


def test_database(environment: dict[str, Any]) -> None:
    given = tiers.parameters("database", environment, OUTPUTS, SETTINGS)
    assert given["SubnetIds"] == "network.DatabaseSubnetIds"
    assert given["SecurityGroupId"] == "network.DatabaseSecurityGroupId"
    assert given["FunctionSecurityGroupId"] == "network.FunctionSecurityGroupId"
    assert (given["FunctionCodeBucket"], given["FunctionCodeKey"]) == ("artifacts", "functions/code.zip")
    assert (given["StorageGiB"], given["BackupDays"], given["MultiAz"]) == ("20", "7", "false")


@pytest.mark.parametrize(
    ("instance_type", "architecture"),
    [
        *((name, "arm64") for name in ("t4g.micro", "c6gn.large", "m7gd.large", "g5g.xlarge", "im4gn.large")),
        *((name, "x86_64") for name in ("t3.micro", "g5.xlarge", "m7i-flex.large", "c7a.large")),
    ],
)
def test_architecture(instance_type: str, architecture: str, environment: dict[str, Any]) -> None:
    environment["web"]["instanceType"] = instance_type
    assert tiers.parameters("web", environment, OUTPUTS, SETTINGS)["Architecture"] == architecture


def test_web(environment: dict[str, Any]) -> None:
    given = tiers.parameters("web", environment, OUTPUTS, SETTINGS)
    assert given["SubnetIds"] == "network.WebSubnetIds"
    assert given["PublicAddresses"] == "network.WebPublicAddresses"
    assert given["ImageBucketName"] == "slipway-arable-images-123456789012-eu-central-1"
    assert (given["MinSize"], given["DesiredCapacity"], given["MaxSize"]) == ("2", "2", "4")
    assert given["ArtifactPrefix"] == "releases/"
    assert given["SecretArns"] == ""


def test_secrets_by_name_and_by_arn(environment: dict[str, Any]) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:other-AbCdEf"
    environment["secrets"] = {"A": "slipway/arable/key", "B": arn, "C": "slipway/arable/key"}
    given = tiers.parameters("web", environment, OUTPUTS, SETTINGS)["SecretArns"]
    by_name = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:slipway/arable/key-??????"
    assert given.split(",") == [arn, by_name]


def test_load_balancer(environment: dict[str, Any]) -> None:
    given = tiers.parameters("load_balancer", environment, OUTPUTS, SETTINGS)
    assert given["SubnetIds"] == "network.PublicSubnetIds"
    assert given["TargetGroupArn"] == "web.TargetGroupArn"
    assert given["HostedZoneId"] == "certificate.HostedZoneId"
    assert given["IncludeWww"] == "true"


def test_scaling_in_the_tiers_that_have_its_metrics(environment: dict[str, Any]) -> None:
    outputs = dict(OUTPUTS)
    outputs["web"] = {
        "AutoScalingGroupName": "group",
        "TargetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123",
    }
    for scaling, wanted in (
        ({}, ("0", "0")),
        ({"cpuPercent": 60, "requestsPerTarget": 0}, ("60", "0")),
        ({"cpuPercent": 0, "requestsPerTarget": 900}, ("0", "900")),
    ):
        environment["web"]["scaling"] = scaling
        web = tiers.parameters("web", environment, outputs, SETTINGS)
        balancer = tiers.parameters("load_balancer", environment, outputs, SETTINGS)
        assert (web["CpuPercent"], balancer["RequestsPerTarget"]) == wanted
        assert balancer["TargetGroupFullName"] == "targetgroup/web/0123"
        assert balancer["AutoScalingGroupName"] == "group"


def test_an_environment_that_was_recorded_before_there_was_scaling(environment: dict[str, Any]) -> None:
    del environment["web"]["scaling"]
    assert tiers.parameters("web", environment, OUTPUTS, SETTINGS)["CpuPercent"] == "0"


def test_an_output_that_is_missing_is_named(environment: dict[str, Any]) -> None:
    outputs = {**OUTPUTS, "network": {"VpcId": "vpc-1"}}
    with pytest.raises(TierFailed, match="WebSubnetIds"):
        tiers.parameters("web", environment, outputs, SETTINGS)


def test_names() -> None:
    assert tiers.stack_name("arable", "load_balancer") == "slipway-arable-load-balancer"
    assert tiers.tags("arable", "web") == {"slipway:environment": "arable", "slipway:tier": "web"}


def test_a_template_s_essence_has_no_comments_but_the_whole_of_its_texts() -> None:
    template = (
        "# a comment\nDescription: >-\n  of\n\n  a tier\nResources:\n  A:\n    # another\n"
        "    Script: !Sub |\n"
        "      #!/bin/bash\n\n      echo  \n    B: 1\n\n# the last\n"
    )
    assert tiers.essence(template) == (
        "Resources:\n  A:\n    Script: !Sub |\n      #!/bin/bash\n\n      echo  \n    B: 1"
    )
