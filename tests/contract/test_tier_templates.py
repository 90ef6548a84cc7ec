"""What the tiers promise whoever puts data and money into them, read from the templates themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from slipway import remedy
from tools.draw_network import TIERS, Template, inline_rules, load, of_type, paired_rules

TEMPLATES = {path.stem: load(path) for path in sorted(TIERS.glob("*.yaml"))}
ORDER = ["network", "certificate", "database", "storage", "web", "load_balancer"]
STATEFUL = {"RDS::DBInstance": "Snapshot", "S3::Bucket": "Retain", "Route53::HostedZone": "Retain"}


def resources(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for tier, template in TEMPLATES.items():
        for name, resource in of_type(template, kind).items():
            yield tier, name, dict(resource)


def statements(tier: str) -> Iterator[dict[str, Any]]:
    """All statements of all roles of a tier, those of both sides of an Fn::If too."""
    for role in of_type(TEMPLATES[tier], "IAM::Role").values():
        for policy in role["Properties"]["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def test_there_is_a_template_for_each_tier() -> None:
    assert sorted(TEMPLATES) == sorted(ORDER)


@pytest.mark.parametrize("tier", ORDER)
def test_cloudformation_takes_the_template_in_one_call(tier: str) -> None:
    assert (TIERS / f"{tier}.yaml").stat().st_size <= 51_200  # bytes of TemplateBody, CreateChangeSet


@pytest.mark.parametrize("tier", ORDER)
def test_every_tier_takes_the_environment(tier: str) -> None:
    assert "Environment" in TEMPLATES[tier]["Parameters"]


@pytest.mark.parametrize("tier", ORDER)
def test_parameters_are_what_cloudformation_need_not_look_up(tier: str) -> None:
    """It may look with the rights of PlanTier, which has none in EC2."""
    types = {parameter["Type"] for parameter in TEMPLATES[tier]["Parameters"].values()}
    assert types <= {"String", "Number", "CommaDelimitedList"}


def test_no_list_counts_on_empty_entries() -> None:
    lists = [
        parameter["Default"]
        for template in TEMPLATES.values()
        for parameter in template["Parameters"].values()
        if parameter["Type"] == "CommaDelimitedList" and "Default" in parameter
    ]
    assert lists
    assert all(all(text.split(",")) for text in lists)


@pytest.mark.parametrize("kind", sorted(STATEFUL))
def test_what_holds_data_outlives_its_stack(kind: str) -> None:
    found = list(resources(kind))
    assert found
    for _, name, resource in found:
        assert str(resource.get("DeletionPolicy")).startswith(STATEFUL[kind]), name
        assert resource.get("UpdateReplacePolicy") == STATEFUL[kind], name


def test_the_database_is_private_encrypted_and_backed_up() -> None:
    [(_, _, instance)] = resources("RDS::DBInstance")
    properties = instance["Properties"]
    assert properties["PubliclyAccessible"] is False
    assert properties["StorageEncrypted"] is True
    assert properties["DeletionProtection"] is True
    assert properties["CopyTagsToSnapshot"] is True
    assert properties["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in properties
    assert TEMPLATES["database"]["Parameters"]["BackupDays"]["MinValue"] >= 1


def test_one_role_alone_may_read_the_master_password() -> None:
    master = {"Fn::GetAtt": ["Instance", "MasterUserSecret.SecretArn"]}
    readers = [s for s in statements("database") if s["Action"] == "secretsmanager:GetSecretValue"]
    assert [s["Resource"] for s in readers] == [[master, {"Fn::GetAtt": ["ApplicationSecret", "Id"]}]]
    secrets_of_servers = [
        json.dumps(s["Resource"]) for s in statements("web") if s["Action"] == "secretsmanager:GetSecretValue"
    ]
    assert len(secrets_of_servers) == 2
    assert all("slipway/${Environment}/*" in s or "SecretArns" in s for s in secrets_of_servers)


@pytest.mark.parametrize("tier", ["database", "web"])
def test_no_role_may_do_everything(tier: str) -> None:
    for statement in statements(tier):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]


def test_from_the_internet_only_the_load_balancer_is_reached() -> None:
    network = TEMPLATES["network"]
    from_outside = {(r.target, r.ports) for r in inline_rules(network) if r.source == "internet"}
    assert from_outside == {("LoadBalancer", "80"), ("LoadBalancer", "443")}


def test_the_database_is_reached_by_the_application_and_its_function_alone() -> None:
    network = TEMPLATES["network"]
    ways = {(r.source, r.ports) for r in paired_rules(network) if r.target == "Database"}
    assert ways == {("Web", "3306"), ("Function", "3306")}
    assert not [r for r in inline_rules(network) if r.source == "Database"]


def test_every_group_says_what_it_lets_out() -> None:
    """Without a word EC2 adds a rule that lets out everything."""
    for name, group in of_type(TEMPLATES["network"], "EC2::SecurityGroup").items():
        assert group["Properties"]["SecurityGroupEgress"], name


def test_servers_answer_metadata_version_2_alone_on_encrypted_volumes() -> None:
    [(_, _, template)] = resources("EC2::LaunchTemplate")
    [(_, _, bastion)] = resources("EC2::Instance")
    for data in (template["Properties"]["LaunchTemplateData"], bastion["Properties"]):
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert all(device["Ebs"]["Encrypted"] for device in data["BlockDeviceMappings"])


def test_images_are_private_versioned_encrypted_and_travel_by_tls() -> None:
    [(_, _, bucket)] = resources("S3::Bucket")
    properties = bucket["Properties"]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketEncryption" in properties
    [(_, _, policy)] = resources("S3::BucketPolicy")
    [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_http_is_redirected_and_https_has_a_policy_with_tls_1_3() -> None:
    listeners = {
        r["Properties"]["Port"]: r["Properties"] for _, _, r in resources("ElasticLoadBalancingV2::Listener")
    }
    [redirect] = listeners[80]["DefaultActions"]
    assert redirect["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    assert listeners[443]["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")


def test_subnets_follow_each_other_over_two_zones() -> None:
    places = [
        (
            int(s["Properties"]["CidrBlock"]["Fn::Select"][0]),
            s["Properties"]["AvailabilityZone"]["Fn::Select"][0],
        )
        for s in of_type(TEMPLATES["network"], "EC2::Subnet").values()
    ]
    assert [number for number, _ in places] == list(range(6))
    assert all(zone != other for (_, zone), (_, other) in pairwise(places))


def conditions_used(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Condition" and isinstance(value, str):
                yield value
            elif key == "Fn::If":
                yield value[0]
                yield from conditions_used(value[1:])
            else:
                yield from conditions_used(value)
    elif isinstance(node, list):
        for item in node:
            yield from conditions_used(item)


@pytest.mark.parametrize("tier", ORDER)
def test_every_condition_is_used(tier: str) -> None:
    template: Template = TEMPLATES[tier]
    rest = {key: value for key, value in template.items() if key != "Conditions"}
    used = set(conditions_used(rest)) | set(conditions_used(template.get("Conditions", {})))
    assert set(template.get("Conditions", {})) <= used


def test_a_remedy_leaves_the_servers_role_the_policies_of_its_template() -> None:
    role = of_type(TEMPLATES["web"], "IAM::Role")["Role"]["Properties"]
    assert {policy["PolicyName"] for policy in role["Policies"]} == remedy.ROLE_POLICIES
    assert "ManagedPolicyArns" not in role
