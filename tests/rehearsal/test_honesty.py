"""The region answers nothing that did not happen: a negative test for each rule, and its positive twin."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

import pytest
from cryptography import x509

from tests.rehearsal.account import Account, private_region, until

DOMAIN = "honest.example"
BUCKET = "honesty"

GREETING = """
import os, socket

def handler(event, context):
    with socket.create_connection((os.environ["DATABASE_HOST"], int(os.environ["DATABASE_PORT"])), 3) as wire:
        version, _, rest = wire.recv(200)[5:].partition(b"\\0")
        tls = bool(int.from_bytes(rest[13:15], "little") & 0x800)
        return {"source": wire.getsockname()[0], "greeting": version.decode(), "tls": tls}
"""
"""A function in the VPC that says what the database greets it with. Source: MySQL's protocol, HandshakeV10:
version ended by NUL, 4 bytes of thread, 8 of salt, a filler, the lower capabilities (0x800 = CLIENT_SSL)."""

SITE = """
set -e
mkdir -p /srv/site && hostname > /srv/site/up
systemctl is-active --quiet site ||
    systemd-run --quiet --unit=site python3 -m http.server 3000 --directory /srv/site
"""


@pytest.fixture(scope="module")
def account(able: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with private_region(tmp_path_factory.mktemp("region")) as found:
        yield found


@pytest.fixture(scope="module")
def world(account: Account) -> World:
    return World(account)


class World:
    """The tiers of one environment, deployed when a test first needs them."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @cached_property
    def network(self) -> dict[str, str]:
        return self.account.deploy("network", {"Cidr": "10.40.0.0/16"})

    @cached_property
    def certificate(self) -> dict[str, str]:
        return self.account.deploy("certificate", {"DomainName": DOMAIN, "IncludeWww": "false"})

    @cached_property
    def database(self) -> dict[str, str]:
        self.account.upload(BUCKET, "greeting.zip", {"create_database/app.py": GREETING})
        return self.account.deploy(
            "database",
            {
                "DatabaseName": "honest",
                "SubnetIds": self.network["DatabaseSubnetIds"],
                "SecurityGroupId": self.network["DatabaseSecurityGroupId"],
                "FunctionSubnetIds": self.network["FunctionSubnetIds"],
                "FunctionSecurityGroupId": self.network["FunctionSecurityGroupId"],
                "FunctionCodeBucket": BUCKET,
                "FunctionCodeKey": "greeting.zip",
            },
        )

    @cached_property
    def web(self) -> dict[str, str]:
        outputs = self.account.deploy(
            "web",
            {
                "VpcId": self.network["VpcId"],
                "SubnetIds": self.network["WebSubnetIds"],
                "SecurityGroupId": self.network["WebSecurityGroupId"],
                "OperatingSystem": "debian-12",
                "ImageBucketName": "none",
                "ArtifactBucket": BUCKET,
                "ArtifactPrefix": "none",
                "DeregistrationDelay": "8",
            },
        )
        group = self.account.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[outputs["AutoScalingGroupName"]]
        )["AutoScalingGroups"][0]
        self.servers = sorted(instance["InstanceId"] for instance in group["Instances"])
        self.account.on_servers(self.servers, SITE)
        return outputs

    @cached_property
    def load_balancer(self) -> dict[str, str]:
        return self.account.deploy(
            "load_balancer",
            {
                "SubnetIds": self.network["PublicSubnetIds"],
                "SecurityGroupId": self.network["LoadBalancerSecurityGroupId"],
                "TargetGroupArn": self.web["TargetGroupArn"],
                "TargetGroupFullName": self.web["TargetGroupArn"].rpartition(":")[2],
                "AutoScalingGroupName": self.web["AutoScalingGroupName"],
                "CertificateArn": self.certificate["CertificateArn"],
                "DomainName": DOMAIN,
                "IncludeWww": "false",
                "HostedZoneId": self.certificate["HostedZoneId"],
            },
        )

    def greet(self) -> dict[str, Any]:
        """What the function in the VPC answers: the database's greeting, or an error."""
        answer = self.account.client("lambda").invoke(FunctionName=self.database["CreateDatabaseFunctionArn"])
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        return found

    def health(self) -> dict[str, tuple[str, str]]:
        """Server → (state, reason)."""
        found = self.account.client("elbv2").describe_target_health(TargetGroupArn=self.web["TargetGroupArn"])
        return {
            one["Target"]["Id"]: (one["TargetHealth"]["State"], one["TargetHealth"].get("Reason", ""))
            for one in found["TargetHealthDescriptions"]
        }

    def states(self) -> set[str]:
        return {state for state, _reason in self.health().values()}

    def becomes(self, state: str, seconds: float = 120) -> bool:
        """Waits until every target is in a state; whether they came to it."""
        return bool(until(lambda: self.states() == {state}, seconds))


# --- certificates -------------------------------------------------------------------------------


def certificate_of(account: Account, stack: str) -> dict[str, Any]:
    """The stack's certificate; empty when it is not there yet."""
    resources = account.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    made = [one for one in resources if one["LogicalResourceId"] == "Certificate"]
    arn = made[0].get("PhysicalResourceId") if made else None
    if not arn:
        return {}
    found: dict[str, Any] = account.client("acm").describe_certificate(CertificateArn=arn)["Certificate"]
    return found


def validations(account: Account, stack: str) -> list[str]:
    """How far each of its names is validated."""
    options = certificate_of(account, stack)["DomainValidationOptions"]
    return [one["ValidationStatus"] for one in options]


def told(account: Account, stack: str, record: dict[str, str]) -> bool:
    """Whether the stack's events name the record, as CloudFormation's do."""
    return any(record["Name"] in reason and record["Value"] in reason for reason in account.reasons(stack))


def test_a_certificate_waits_for_its_record_at_another_provider(account: Account) -> None:
    stack = account.begin(
        "certificate", {"DomainName": "kept.example", "IncludeWww": "true", "Dns": "elsewhere"}, "elsewhere"
    )
    assert until(lambda: certificate_of(account, stack), 60)
    records = [one["ResourceRecord"] for one in certificate_of(account, stack)["DomainValidationOptions"]]
    for record in records:
        assert until(partial(told, account, stack, record), 60), account.reasons(stack)
    time.sleep(2)  # in which nothing may happen
    pending = certificate_of(account, stack)
    assert account.status(stack) == "CREATE_IN_PROGRESS"
    assert pending["Status"] == "PENDING_VALIDATION"
    assert "IssuedAt" not in pending

    zone = account.paths.run / "elsewhere.zone"
    lines = [f"{record['Name']} CNAME {record['Value']}" for record in records]
    zone.write_text("\n".join(["kept.example NS ns1.provider.example", lines[0], ""]))
    halves = ["SUCCESS", "PENDING_VALIDATION"]
    assert until(lambda: validations(account, stack) == halves, 60), validations(account, stack)
    time.sleep(2)  # in which nothing may happen
    assert validations(account, stack) == halves
    assert certificate_of(account, stack)["Status"] == "PENDING_VALIDATION"

    zone.write_text(zone.read_text() + lines[1] + "\n")
    arn = account.outputs(stack)["CertificateArn"]
    pem = account.client("acm").get_certificate(CertificateArn=arn)["Certificate"]
    issued = x509.load_pem_x509_certificate(pem.encode())
    authority = x509.load_pem_x509_certificate(account.paths.authority.read_bytes())
    issued.verify_directly_issued_by(authority)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"kept.example", "www.kept.example"}


def test_a_certificate_waits_until_its_zone_is_delegated(account: Account) -> None:
    delegations = account.paths.run / "delegations"
    delegations.write_text("# nothing is delegated\n")
    try:
        stack = account.begin(
            "certificate", {"DomainName": "new.example", "IncludeWww": "false"}, "delegated"
        )
        assert until(lambda: certificate_of(account, stack), 60)
        time.sleep(2)  # in which nothing may happen
        assert account.status(stack) == "CREATE_IN_PROGRESS"
        assert certificate_of(account, stack)["Status"] == "PENDING_VALIDATION"
        delegations.write_text("new.example\n")
        assert account.outputs(stack)["CertificateArn"]
    finally:
        delegations.unlink()


def test_a_listener_takes_no_certificate_that_is_not_issued(world: World) -> None:
    account = world.account
    load_balancer = world.load_balancer["LoadBalancerArn"]
    arn = account.client("acm").request_certificate(DomainName="never.example", ValidationMethod="DNS")[
        "CertificateArn"
    ]
    elbv2 = account.client("elbv2")
    with pytest.raises(elbv2.exceptions.ClientError, match="UnsupportedCertificate"):
        elbv2.create_listener(
            LoadBalancerArn=load_balancer,
            Port=8443,
            Protocol="HTTPS",
            Certificates=[{"CertificateArn": arn}],
            DefaultActions=[{"Type": "forward", "TargetGroupArn": world.web["TargetGroupArn"]}],
        )


# --- the database and its security group --------------------------------------------------------


def test_an_available_database_answers_in_its_subnet_to_who_may_ask(world: World) -> None:
    answer = world.greet()
    assert "MariaDB" in answer["greeting"], answer
    assert answer["tls"]
    assert answer["source"].startswith("10.40.")
    found = world.account.client("rds").describe_db_instances()["DBInstances"][0]
    assert found["DBInstanceStatus"] == "available"
    assert found["Endpoint"]["Address"] == world.database["Endpoint"]
    assert found["MasterUserSecret"]["SecretArn"] == world.database["MasterSecretArn"]


def test_a_closed_security_group_drops_the_connection(world: World) -> None:
    assert until(lambda: "greeting" in world.greet(), 60), world.greet()
    ec2 = world.account.client("ec2")
    group = world.network["DatabaseSecurityGroupId"]
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules)
    try:
        assert world.greet()["errorType"] == "TimeoutError"  # dropped in silence, not refused
    finally:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)
    assert until(lambda: "greeting" in world.greet(), 60), world.greet()


def test_a_database_is_in_creation_until_it_accepts(world: World) -> None:
    rds = world.account.client("rds")
    subnets = rds.describe_db_subnet_groups()["DBSubnetGroups"][0]["DBSubnetGroupName"]
    created = rds.create_db_instance(
        DBInstanceIdentifier="second",
        Engine="mysql",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="somebody",
        ManageMasterUserPassword=True,
        DBSubnetGroupName=subnets,
    )["DBInstance"]
    assert created["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in created
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier="second", WaiterConfig={"Delay": 1, "MaxAttempts": 240}
    )
    rds.delete_db_instance(DBInstanceIdentifier="second", FinalDBSnapshotIdentifier="last")
    assert until(lambda: len(rds.describe_db_instances()["DBInstances"]) == 1, 120)

    def snapshot() -> str:
        return str(rds.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"])

    assert until(lambda: snapshot() == "available", 60), snapshot()
    secrets = world.account.client("secretsmanager").list_secrets()["SecretList"]
    assert created["MasterUserSecret"]["SecretArn"] not in [secret["ARN"] for secret in secrets]


def test_a_snapshot_of_a_running_database_holds_what_was_in_it(world: World) -> None:
    rds = world.account.client("rds")
    assert world.database
    identifier = rds.describe_db_instances()["DBInstances"][0]["DBInstanceIdentifier"]
    asked = {"DBSnapshotIdentifier": "before-x", "DBInstanceIdentifier": identifier}
    made = rds.create_db_snapshot(**asked, Tags=[{"Key": "slipway:execution", "Value": "e"}])["DBSnapshot"]
    assert (made["Status"], made["PercentProgress"]) == ("creating", 0)
    assert made["TagList"] == [{"Key": "slipway:execution", "Value": "e"}]
    with pytest.raises(rds.exceptions.DBSnapshotAlreadyExistsFault):
        rds.create_db_snapshot(**asked)

    def status() -> str:
        return str(rds.describe_db_snapshots(DBSnapshotIdentifier="before-x")["DBSnapshots"][0]["Status"])

    assert until(lambda: status() == "available", 120)
    dump = world.account.paths.run / "rds" / "snapshots" / "before-x" / "snapshot.sql"
    assert "CREATE TABLE" in dump.read_text()
    assert rds.describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available"
    rds.delete_db_snapshot(DBSnapshotIdentifier="before-x")
    assert not dump.exists()


# --- the load balancer and its targets ----------------------------------------------------------


def test_targets_are_healthy_because_their_check_passed_and_the_site_answers(world: World) -> None:
    assert world.load_balancer
    assert world.becomes("healthy"), world.health()
    response = world.account.get(DOMAIN, "/up")
    assert response.status == 200
    assert response.read().decode().strip().startswith("ip-10-40-")


def test_a_wrong_health_path_makes_targets_unhealthy(world: World) -> None:
    elbv2 = world.account.client("elbv2")
    assert world.load_balancer
    assert world.becomes("healthy"), world.health()
    group = world.web["TargetGroupArn"]
    elbv2.modify_target_group(TargetGroupArn=group, HealthCheckPath="/nothing-here")
    try:
        assert world.becomes("unhealthy"), world.health()
        assert {reason for _, reason in world.health().values()} == {"Target.ResponseCodeMismatch"}
    finally:
        elbv2.modify_target_group(TargetGroupArn=group, HealthCheckPath="/up")
    assert world.becomes("healthy"), world.health()


def test_a_target_that_the_load_balancer_may_not_reach_is_unhealthy(world: World) -> None:
    ec2 = world.account.client("ec2")
    assert world.load_balancer
    assert world.becomes("healthy"), world.health()
    group = world.network["WebSecurityGroupId"]
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules)
    try:
        assert world.becomes("unhealthy"), world.health()
        assert {reason for _, reason in world.health().values()} == {"Target.Timeout"}
    finally:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)
    assert world.becomes("healthy"), world.health()


def test_a_deregistered_target_drains_for_the_whole_delay(world: World) -> None:
    elbv2 = world.account.client("elbv2")
    assert world.load_balancer
    assert world.becomes("healthy"), world.health()
    group, server = world.web["TargetGroupArn"], world.servers[0]
    begun = time.monotonic()
    elbv2.deregister_targets(TargetGroupArn=group, Targets=[{"Id": server}])
    assert world.health()[server] == ("draining", "Target.DeregistrationInProgress")
    assert until(lambda: server not in world.health(), 120), "the default is 300 s"
    assert time.monotonic() - begun >= 8  # the group's delay
    elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": server}])
    assert world.health()[server][0] in ("initial", "healthy")  # its checks are seconds apart
    assert world.becomes("healthy"), world.health()


def test_the_front_door_shows_a_certificate_for_its_own_names_only(world: World) -> None:
    assert world.load_balancer
    with pytest.raises(ssl.SSLCertVerificationError):
        world.account.get("another.example", "/up")


def test_a_subnet_in_use_cannot_be_deleted(world: World) -> None:
    assert world.database
    ec2 = world.account.client("ec2")
    subnet = world.network["DatabaseSubnetIds"].split(",")[0]
    with pytest.raises(ec2.exceptions.ClientError, match="DependencyViolation"):
        ec2.delete_subnet(SubnetId=subnet)
