"""What the emulated services decide, apart from any server: names, rules, records, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.emulator import (
    acm,
    balancer_metrics,
    balancers,
    buckets,
    databases,
    ec2,
    elbv2,
    rds,
    route53,
    security_groups,
    service_quotas,
    vpc,
)
from rehearsal.machines import Count, Counted, Rule
from rehearsal.machines.load_balancer import REDIRECT

# --- names --------------------------------------------------------------------------------------

PUBLIC = {"Z1": "arable.example", "Z2": "other.example", "Z3": "arable.example"}


@pytest.mark.parametrize(
    ("lines", "visible"),
    [
        (None, ["Z1", "Z2"]),  # no file: everything is delegated, of two equal names the older zone
        ([], []),
        ([["Arable.Example."]], ["Z1"]),
        ([["arable.example", "Z3"]], ["Z3"]),
        ([["arable.example", "Z9"]], []),  # the registrar points at a zone that is gone
    ],
)
def test_the_world_sees_delegated_zones_only(lines: list[list[str]] | None, visible: list[str]) -> None:
    assert route53.delegated(PUBLIC, lines) == visible


def zone(*records: route53.Record) -> route53.Zone:
    return route53.Zone("arable.example", records)


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("arable.example", "MX", ("10 mail.arable.example.",)),
        ("arable.example", "TXT", None),
        ("any.arable.example", "A", ("203.0.113.9",)),  # the wildcard
        (
            "mail.arable.example",
            "A",
            None,
        ),  # exists with another type: the wildcard does not answer (RFC 4592)
        ("deep.any.arable.example", "A", None),
    ],
)
def test_a_zone_answers_for_its_names(name: str, kind: str, values: tuple[str, ...] | None) -> None:
    served = zone(
        route53.Record("arable.example", "MX", ("10 mail.arable.example.",)),
        route53.Record("mail.arable.example", "AAAA", ("2001:db8::1",)),
        route53.Record("*.arable.example", "A", ("203.0.113.9",)),
    )
    found = route53.find(name, kind, served)
    assert (found.values if found else None) == values


def test_aliases_and_cnames_lead_on() -> None:
    served = zone(
        route53.Record("arable.example", "A", alias="lb-1.eu-central-1.elb.amazonaws.com"),
        route53.Record("www.arable.example", "CNAME", ("arable.example.",)),
    )
    assert route53.further("arable.example", "A", served) == "lb-1.eu-central-1.elb.amazonaws.com"
    assert route53.further("arable.example", "MX", served) is None
    assert route53.further("www.arable.example", "A", served) == "arable.example"
    assert route53.further("www.arable.example", "CNAME", served) is None


def test_the_longest_zone_serves_a_name_and_the_first_of_equals() -> None:
    elsewhere = route53.Zone("arable.example", ())
    ours = route53.Zone("arable.example", ())
    child = route53.Zone("sub.arable.example", ())
    zones = [elsewhere, ours, child]
    assert route53.serving("www.arable.example", zones) is elsewhere
    assert route53.serving("x.sub.arable.example", zones) is child
    assert route53.serving("notarable.example", zones) is None


def test_another_provider_is_a_zone_with_an_ns_record() -> None:
    lines = [
        ["kept.example", "NS", "ns1.provider.example"],
        ["www.kept.example", "txt", '"two', 'words"'],
        ["stray.example", "A", "203.0.113.1"],
        ["broken"],
    ]
    zones = route53.elsewhere(lines)
    assert [one.name for one in zones] == ["kept.example"]
    assert route53.find("www.kept.example", "TXT", zones[0]) == route53.Record(
        "www.kept.example", "TXT", ('"two words"',)
    )


def test_every_zone_has_name_servers_of_its_own_under_four_domains() -> None:
    servers = route53.name_servers(lambda limit: limit - 1)
    assert servers == [
        "ns-511.awsdns-63.com.",
        "ns-1023.awsdns-63.net.",
        "ns-1535.awsdns-63.org.",
        "ns-2047.awsdns-63.co.uk.",
    ]


# --- security groups ----------------------------------------------------------------------------


def prefix_list(_list_id: str) -> list[str]:
    return ["169.254.170.1/32"]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        ({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, [Rule("all", 0, 65535, "0.0.0.0/0")]),
        (
            {
                "IpProtocol": "6",
                "FromPort": 3306,
                "ToPort": 3306,
                "UserIdGroupPairs": [{"GroupId": "sg-1"}, {"GroupId": "sg-2", "UserId": "0"}],
            },
            [Rule("tcp", 3306, 3306, "sg-1"), Rule("tcp", 3306, 3306, "sg-2")],
        ),
        (
            {
                "IpProtocol": "tcp",
                "FromPort": 443,
                "ToPort": 443,
                "PrefixListIds": [{"PrefixListId": "pl-1"}],
            },
            [Rule("tcp", 443, 443, "169.254.170.1/32")],
        ),
        (
            {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
            [Rule("icmp", 0, 65535, "10.0.0.0/8")],
        ),
        ({"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}, []),
    ],
)
def test_permissions_become_rules(permission: dict[str, Any], expected: list[Rule]) -> None:
    assert list(security_groups.rules(permission, prefix_list)) == expected


def test_a_rule_is_revoked_whatever_its_description_and_grouping() -> None:
    held = {
        "IpProtocol": "tcp",
        "FromPort": 80,
        "ToPort": 80,
        "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}, {"CidrIp": "192.0.2.0/24"}],
        "UserIdGroupPairs": [{"GroupId": "sg-1", "Description": "web", "UserId": "000000000000"}],
    }
    asked = {
        "IpProtocol": "6",
        "FromPort": 80,
        "ToPort": 80,
        "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
        "UserIdGroupPairs": [{"GroupId": "sg-1"}],
    }
    assert security_groups.atoms(asked) < security_groups.atoms(held)
    left = security_groups.without(held, security_groups.atoms(asked))
    assert left is not None
    assert security_groups.atoms(left) == {("tcp", 80, 80, "IpRanges", "192.0.2.0/24")}
    assert security_groups.without(left, security_groups.atoms(left)) is None


# --- networks -----------------------------------------------------------------------------------


def test_a_subnet_counts_what_aws_keeps_and_what_is_taken() -> None:
    assert vpc.available("10.20.0.0/25", 0) == 123
    assert vpc.available("10.20.0.0/28", 11) == 0


def test_networks_may_not_overlap() -> None:
    vpcs = [{"VpcId": "vpc-1", "CidrBlock": "10.20.0.0/16"}]
    assert vpc.overlapping("10.20.128.0/17", vpcs) == "vpc-1"
    assert vpc.overlapping("10.21.0.0/16", vpcs) is None


# --- certificates -------------------------------------------------------------------------------


def test_a_wildcard_shares_the_record_of_its_base() -> None:
    base = acm.pending_option("arable.example", "DNS")
    wildcard = acm.pending_option("*.arable.example", "DNS")
    other = acm.pending_option("www.arable.example", "DNS")
    assert base["ResourceRecord"] == wildcard["ResourceRecord"]
    assert base["ResourceRecord"] != other["ResourceRecord"]
    assert base["ValidationStatus"] == "PENDING_VALIDATION"
    assert base["ResourceRecord"]["Name"].endswith(".arable.example.")


def test_a_certificate_counts_as_issued_only_with_a_key() -> None:
    assert not acm.issued({"Status": "ISSUED", "_private_key": ""})
    assert not acm.issued({"Status": "PENDING_VALIDATION", "_private_key": "key"})
    assert acm.issued({"Status": "ISSUED", "_private_key": "key"})


def test_the_stack_says_which_record_it_waits_for() -> None:
    option = {"ResourceRecord": {"Name": "_a.b.", "Type": "CNAME", "Value": "_c.d."}}
    assert acm.explanation(option) == "Content of DNS Record is: {Name: _a.b.,Type: CNAME,Value: _c.d.}"


def test_only_zones_that_the_template_names_are_written() -> None:
    options = [{"DomainName": "a.example", "HostedZoneId": "Z1"}, {"DomainName": "b.example"}]
    assert acm.zones_named({"DomainValidationOptions": options}) == {"a.example": "Z1"}
    assert acm.zones_named({}) == {}


def test_a_pem_is_split_into_key_certificate_and_chain() -> None:
    key, own, root = (f"-----BEGIN {name}-----\nx\n-----END {name}-----\n" for name in ("K", "C", "R"))
    assert acm.split(key + own + root) == (key, own, root)


# --- databases ----------------------------------------------------------------------------------


def test_parameters_become_statements_and_refusals_are_found_by_their_line() -> None:
    wanted = {"slow_query_log": "1", "long_query_time": "0.5", "init_connect": "SET @a='x\\y'"}
    assert databases.statements(wanted).splitlines() == [
        "SET GLOBAL init_connect = 'SET @a=''x\\\\y''';",
        "SET GLOBAL long_query_time = 0.5;",
        "SET GLOBAL slow_query_log = 1;",
    ]
    errors = "ERROR 1193 (HY000) at line 1: Unknown system variable 'init_connect'\nWarning\n"
    assert databases.refused_lines(errors) == [1]


def test_a_parameter_name_cannot_carry_a_statement() -> None:
    with pytest.raises(ValueError, match="no name of a parameter"):
        databases.statements({"a = 1; DROP DATABASE b; SET GLOBAL c": "1"})


@pytest.mark.parametrize(
    ("engine", "has_group", "problem"),
    [
        ("mysql", True, None),
        ("mariadb", True, None),
        ("postgres", True, "offers the engines mysql and mariadb"),
        ("mysql", False, "DBSubnetGroupName"),
    ],
)
def test_an_instance_that_cannot_be_real_is_refused(
    engine: str, has_group: bool, problem: str | None
) -> None:
    found = rds.refusal(engine, has_group)
    assert (problem in found) if problem and found else found == problem


def test_a_managed_password_is_in_no_record() -> None:
    assert rds.secret_xml(None) == ""
    assert rds.secret_xml({"SecretArn": "arn", "SecretStatus": "active", "KmsKeyId": ""}) == (
        "<MasterUserSecret><SecretArn>arn</SecretArn><SecretStatus>active</SecretStatus></MasterUserSecret>"
    )
    assert len({databases.new_password() for _ in range(5)}) == 5
    assert databases.new_password().isalnum()


# --- load balancers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "offered"),
    [
        ([{"Type": "forward", "TargetGroupArn": "arn"}], True),
        ([{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "StatusCode": "HTTP_301"}}], True),
        ([{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "StatusCode": "HTTP_302"}}], False),
        ([{"Type": "fixed-response"}], False),
    ],
)
def test_actions_that_nobody_would_carry_out_are_refused(
    actions: list[dict[str, Any]], offered: bool
) -> None:
    assert (elbv2.action_problem(actions) is None) == offered


def test_a_load_balancer_needs_two_zones() -> None:
    one, two = {"AvailabilityZone": "a"}, {"AvailabilityZone": "b"}
    assert elbv2.load_balancer_problem("application", [one, two]) is None
    assert "two different" in str(elbv2.load_balancer_problem("", [one, one]))
    assert "do not exist" in str(elbv2.load_balancer_problem("", [one, None]))
    assert "application" in str(elbv2.load_balancer_problem("network", [one, two]))


def test_the_deregistration_delay_is_the_groups_or_five_minutes() -> None:
    assert elbv2.delay([{"Key": "stickiness.enabled", "Value": "false"}]) == 300
    assert elbv2.delay([{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}]) == 30


def test_the_first_action_that_answers_is_the_default() -> None:
    assert balancers.default([{"Type": "forward", "TargetGroupArn": "arn"}]) == "arn"
    assert balancers.default([{"Type": "redirect"}]) == REDIRECT
    assert balancers.default([]) == ""


# --- quotas and maintenance -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "code", "lines", "default", "value"),
    [
        ("vpc", "L-F678F1CE", [], False, 5),
        ("vpc", "L-F678F1CE", [["vpc", "L-F678F1CE", "2"]], False, 2),
        ("vpc", "L-F678F1CE", [["vpc", "L-F678F1CE", "2"]], True, 5),
        ("ec2", "L-1216C47A", [], False, 256),
        ("ec2", "L-1216C47A", [], True, 5),
        ("ec2", "L-FFFFFFFF", [], False, None),
    ],
)
def test_quotas(service: str, code: str, lines: list[list[str]], default: bool, value: float | None) -> None:
    assert service_quotas.value(service, code, lines, default) == value


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("t3.micro", 2),
        ("t4g.small", 2),
        ("t2.micro", 1),
        ("m6g.medium", 1),
        ("m5.xlarge", 4),
        ("c5.9xlarge", 36),
    ],
)
def test_processors_of_a_type(kind: str, number: int) -> None:
    assert service_quotas.processors(kind) == number


def test_maintenance_is_pending_for_the_instance_that_is_named() -> None:
    lines = [
        ["db-1", "system-update", "2026-11-23T04:00:00Z"],
        ["db-2", "os-upgrade", "2026-11-24T04:00:00Z"],
    ]
    said = rds.maintenance_xml("arn:aws:rds:eu-central-1:000000000000:db:db-1", lines)
    assert "<Action>system-update</Action>" in said
    assert "os-upgrade" not in said
    assert "<ResourceIdentifier>" not in rds.maintenance_xml("arn:aws:rds:eu-central-1:0:db:db-3", lines)


# --- metrics of load balancers ---------------------------------------------------------------------

ELB = "arn:aws:elasticloadbalancing:eu-central-1:000000000000"
BALANCER, TARGETS = f"{ELB}:loadbalancer/app/arable/0123", f"{ELB}:targetgroup/arable/4567"
WHOLE = {"LoadBalancer": "app/arable/0123"}
OF_GROUP = {"TargetGroup": "targetgroup/arable/4567", **WHOLE}


def metrics(before: Counted, now: Counted) -> list[tuple[str, int, dict[str, str]]]:
    found = balancer_metrics.points(BALANCER, before, now, 60)
    return [(point.metric, point.value, point.dimensions) for point in found]


def test_metrics_are_what_came_since_the_last_look() -> None:
    before = Counted({TARGETS: Count(10, 4)}, Count(12, 5), own=1)
    now = Counted({TARGETS: Count(30, 6)}, Count(32, 7), own=4, states={TARGETS: ("healthy", "unhealthy")})
    assert metrics(before, now) == [
        ("RequestCount", 20, WHOLE),
        ("HTTPCode_Target_5XX_Count", 2, WHOLE),
        ("HTTPCode_ELB_5XX_Count", 3, WHOLE),
        ("RequestCount", 20, OF_GROUP),
        ("HTTPCode_Target_5XX_Count", 2, OF_GROUP),
        ("HealthyHostCount", 1, OF_GROUP),
        ("UnHealthyHostCount", 1, OF_GROUP),
    ]


def test_where_nothing_came_there_are_no_errors_and_without_targets_no_hosts() -> None:
    same = Counted({TARGETS: Count(10, 4)}, Count(10, 4), own=1, states={TARGETS: ()})
    assert metrics(same, same) == [("RequestCount", 0, WHOLE), ("RequestCount", 0, OF_GROUP)]


def test_targets_that_drain_or_are_new_are_neither_healthy_nor_unhealthy() -> None:
    now = Counted({TARGETS: Count()}, states={TARGETS: ("draining", "initial")})
    assert metrics(now, now)[-2:] == [("HealthyHostCount", 0, OF_GROUP), ("UnHealthyHostCount", 0, OF_GROUP)]


@pytest.mark.parametrize(("moment", "minute"), [(120.1, 60), (124.9, 60), (125.1, 120), (180.0, 120)])
def test_what_came_before_a_full_minute_belongs_to_the_minute_before(moment: float, minute: int) -> None:
    assert balancer_metrics.minute_of(moment) == minute


# --- what a check of drift asks for -------------------------------------------------------------


def test_rules_that_were_added_together_are_told_one_by_one() -> None:
    ports = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    together = {**ports, "IpRanges": [{"CidrIp": "10.0.0.0/8"}, {"CidrIp": "192.0.2.0/24"}]}
    together |= {"UserIdGroupPairs": [{"GroupId": "sg-1"}], "SecurityGroupRuleId": "sgr-1"}
    found = security_groups.singles(together)
    assert [security_groups.atoms(one) for one in found] == [
        {("tcp", 22, 22, "IpRanges", "10.0.0.0/8")},
        {("tcp", 22, 22, "IpRanges", "192.0.2.0/24")},
        {("tcp", 22, 22, "UserIdGroupPairs", "sg-1")},
    ]
    assert not any("SecurityGroupRuleId" in one for one in found)
    assert security_groups.singles(found[0]) == [found[0]]


def test_metadata_options_are_those_that_were_given() -> None:
    given = {"HttpTokens": "required", "HttpPutResponseHopLimit": "2", "HttpEndpoint": "", "Other": "x"}
    options = {**ec2.METADATA, **ec2.metadata_options(given)}
    assert options == {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    assert ec2.metadata_xml(options, "metadataOptions") == (
        "<metadataOptions><state>applied</state><httpEndpoint>enabled</httpEndpoint>"
        "<httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit></metadataOptions>"
    )


def test_the_status_of_a_policy() -> None:
    assert b"<IsPublic>TRUE</IsPublic>" in buckets.status_xml(True)
    assert b"<IsPublic>FALSE</IsPublic>" in buckets.status_xml(False)
