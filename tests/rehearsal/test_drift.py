"""What somebody does to servers and their region behind Slipway's back is found, told once, and put right;
of an environment that nobody has touched nothing is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.rehearsal.faults import PATIENCE, all_healthy, served, suspended
from tests.rehearsal.rehearsed import Rehearsed, eventually

CHECKS = 20
TOLD = ("NotifyFound", "NotifyGone")
"""States of a check in which somebody is told."""


@dataclass(frozen=True)
class Checked:
    """A check that has ended: its output, and the report that it wrote."""

    arn: str
    output: dict[str, Any]
    report: dict[str, Any]

    @property
    def kinds(self) -> Counter[str]:
        return Counter(one["kind"] for one in self.report.get("findings", []))


class Drift:
    """The checks of the environment."""

    def __init__(self, region: Rehearsed, before: str) -> None:
        self.region = region
        self.before = before
        """Id of the release before the one that serves: it is on the servers too."""
        self.machine = region.outputs["CheckDriftStateMachineArn"]
        self._states = region.client("stepfunctions")

    def check(self, **more: Any) -> Checked:
        """A check that was not postponed."""
        while True:
            self.settled()
            given = json.dumps({"environment": "arable", **more})
            arn = self._states.start_execution(stateMachineArn=self.machine, input=given)["executionArn"]
            output = self._ended(arn)
            if output["status"] != "postponed":
                bucket, _, key = output["report"].removeprefix("s3://").partition("/")
                found = self.region.client("s3").get_object(Bucket=bucket, Key=key)
                return Checked(arn, output, json.loads(found["Body"].read()))

    def _ended(self, arn: str) -> dict[str, Any]:
        eventually(lambda: self._described(arn)["status"] != "RUNNING", PATIENCE, f"{arn} has ended")
        found = self._described(arn)
        assert found["status"] == "SUCCEEDED", found.get("cause")
        return dict(json.loads(found["output"]))

    def _described(self, arn: str) -> dict[str, Any]:
        return dict(self._states.describe_execution(executionArn=arn))

    def settled(self) -> None:
        """No check runs, of those that releases have started either."""

        def quiet() -> bool:
            running = self._states.list_executions(stateMachineArn=self.machine, statusFilter="RUNNING")
            return not running["executions"]

        eventually(quiet, PATIENCE, "no check runs")

    def told(self, state: str) -> int:
        """How many checks have gone through a state, of all that there were."""
        found = self._states.list_executions(stateMachineArn=self.machine, statusFilter="SUCCEEDED")
        return sum(self.region.left(one["executionArn"], state) for one in found["executions"])

    def remedied(self, checked: Checked) -> dict[str, Any]:
        """The release that the check has started, once it has ended."""
        name = checked.arn.rsplit(":", 1)[-1][:60]
        arn = checked.arn.replace("-check-drift:", "-release:").rsplit(":", 1)[0] + f":{name}-remedy"
        eventually(lambda: self._described(arn)["status"] != "RUNNING", PATIENCE, f"{arn} has ended")
        return self._described(arn)


@pytest.fixture(scope="module")
def drift(region: Rehearsed) -> Drift:
    """Of an environment in which a release serves, and the one before is still on the servers."""
    before = region.succeed(region.given("second")).given["release"]["id"]
    region.succeed(region.given("second"))
    found = Drift(region, before)
    found.check()  # what was done in the region before is told as gone by now
    return found


def test_of_an_untouched_environment_nothing_is_told(drift: Drift) -> None:
    """While scaling adds a server, and takes it away again, too."""
    region = drift.region
    group = region.tier("web")["AutoScalingGroupName"]
    scaled = {CHECKS // 4: 3, CHECKS // 2: 2}
    before = drift.told("NotifyFound")
    for number in range(CHECKS):
        if number in scaled:
            region.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=group, DesiredCapacity=scaled[number]
            )
        report = drift.check().report
        assert report["findings"] == [], f"check {number + 1}"
        assert (report["status"], report["gone"]) == ("clean", [])
        if number == CHECKS // 2 - 1:
            eventually(lambda: len(region.servers()) == 3, PATIENCE, "a third server is in service")
            assert drift.check().report["findings"] == []
    assert drift.told("NotifyFound") == before
    eventually(lambda: len(region.servers()) == 2, PATIENCE, "two servers are in service")


# Behind Slipway's back


@dataclass
class Tampered:
    """What was done to the environment, and the findings that it has to give: (kind, part of where)."""

    region: Rehearsed
    expected: list[tuple[str, str]]
    before: dict[str, int]
    """How often was told what had been found, and had gone."""

    def client(self, service: str) -> Any:
        return self.region.client(service)

    def everything(self, before: str) -> None:
        """`before`: the id of the release before."""
        # A server that has come since that release does not have it.
        has = f"test -d /var/www/arable/releases/{before}"
        edited, other = sorted(
            self.region.servers(), key=lambda server: self.region.on(server, has).returncode, reverse=True
        )
        for tamper in (
            self.rule,
            self.database,
            self.listener,
            self.alias,
            self.bucket,
            self.policy,
            self.process,
        ):
            tamper()
        self.code(edited)
        self.configuration(edited)
        self.another_release(other, before)
        self.service(edited)

    def rule(self) -> None:
        """Of the groups of web servers and database, whose templates leave this direction to single rules."""
        network = self.region.tier("network")
        ranges = [{"CidrIp": "203.0.113.0/24", "Description": "only for today"}]
        for name, port, kind in (
            ("WebSecurityGroup", 22, "security_group_open"),
            ("DatabaseSecurityGroup", 3306, "database_reachable"),
        ):
            permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
            self.client("ec2").authorize_security_group_ingress(
                GroupId=network[f"{name}Id"], IpPermissions=[permission]
            )
            self.expected.append((kind, name))

    def database(self) -> None:
        instance = self.region.tier("database")["InstanceIdentifier"]
        self.client("rds").modify_db_instance(
            DBInstanceIdentifier=instance, DBInstanceClass="db.t4g.large", ApplyImmediately=True
        )
        self.expected.append(("stack_resource_modified", "database/Instance"))

    def listener(self) -> None:
        balancer = self.region.tier("load_balancer")["LoadBalancerArn"]
        listeners = self.client("elbv2").describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        [plain] = [one["ListenerArn"] for one in listeners if one["Port"] == 80]
        self.client("elbv2").delete_listener(ListenerArn=plain)
        self.expected.append(("redirect_missing", ""))

    def alias(self) -> None:
        zone = self.region.tier("certificate")["HostedZoneId"]
        record = {
            "Name": "arable.example",
            "Type": "A",
            "TTL": 60,
            "ResourceRecords": [{"Value": "203.0.113.80"}],
        }
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record}]
        self.client("route53").change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": changes}
        )
        self.expected.append(("alias_elsewhere", "arable.example"))

    def bucket(self) -> None:
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        bucket = self.region.tier("storage")["ImageBucketName"]
        self.client("s3").put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(names, False)
        )
        self.expected.append(("bucket_public", bucket))

    def policy(self) -> None:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
        iam, role = self.client("iam"), self.region.tier("web")["InstanceRoleName"]
        made = iam.create_policy(PolicyName="for-a-moment", PolicyDocument=json.dumps(document))
        iam.attach_role_policy(RoleName=role, PolicyArn=made["Policy"]["Arn"])
        self.expected.append(("role_policy_added", role))

    def process(self) -> None:
        group = self.region.tier("web")["AutoScalingGroupName"]
        self.client("autoscaling").suspend_processes(
            AutoScalingGroupName=group, ScalingProcesses=["ReplaceUnhealthy"]
        )
        self.expected.append(("scaling_suspended", group))

    # On the servers

    def code(self, server: str) -> None:
        done = self.region.on(server, 'echo "# by hand" >> /var/www/arable/current/config/routes.rb')
        assert done.returncode == 0, done.stderr
        self.expected.append(("server_code", server))

    def configuration(self, server: str) -> None:
        done = self.region.on(server, 'echo "# by hand" >> /etc/nginx/conf.d/slipway-arable.conf')
        assert done.returncode == 0, done.stderr
        self.expected.append(("server_configuration", server))

    def service(self, server: str) -> None:
        done = self.region.on(server, "systemctl stop nginx")
        assert done.returncode == 0, done.stderr
        self.expected.append(("server_service", server))

    def another_release(self, server: str, release: str) -> None:
        """With the document that releases are activated with, and no release."""
        ssm = self.client("ssm")
        sent = ssm.send_command(
            DocumentName="slipway-activate",
            InstanceIds=[server],
            Parameters={"Application": ["arable"], "Release": [release], "HealthPath": ["/up"]},
        )["Command"]["CommandId"]

        def ended() -> dict[str, Any]:
            return dict(ssm.get_command_invocation(CommandId=sent, InstanceId=server))

        eventually(lambda: ended()["Status"] not in ("Pending", "InProgress"), PATIENCE, "activated")
        assert ended()["Status"] == "Success", ended()
        self.expected.append(("server_release", server))


@pytest.fixture(scope="module")
def tampered(drift: Drift) -> Tampered:
    drift.settled()
    found = Tampered(drift.region, [], {state: drift.told(state) for state in TOLD})
    found.everything(drift.before)
    return found


BESIDES = {"target_unhealthy", "stack_resource_deleted"}
"""What is found because of the same: who stops nginx has made a target unhealthy."""


@pytest.fixture(scope="module")
def found(drift: Drift, tampered: Tampered) -> Checked:
    """The check after the tampering, once the load balancer has seen what happened to its target."""
    states = drift.region.targets
    eventually(
        lambda: any(one["State"] == "unhealthy" for one in states().values()), PATIENCE, "a target fails"
    )
    return drift.check()


def test_everything_is_found(found: Checked, tampered: Tampered) -> None:
    findings = found.report["findings"]
    for kind, where in tampered.expected:
        matching = [
            one for one in findings if one["kind"] == kind and where in f"{one['where']} {one['what']}"
        ]
        assert matching, f"{kind} at {where}: {[(one['kind'], one['where']) for one in findings]}"
        assert all(one["expected"] != one["found"] and one["remedy"] for one in matching)
    assert {one["kind"] for one in findings} <= {kind for kind, _ in tampered.expected} | BESIDES


def test_who_did_it_is_said_where_the_trail_knows(found: Checked) -> None:
    known = {one["kind"]: one["who"]["name"] for one in found.report["findings"] if one["who"]}
    assert known["stack_resource_modified"] == "operator"
    assert set(known.values()) == {"operator"}


def test_it_is_told_once(drift: Drift, tampered: Tampered, found: Checked) -> None:
    assert drift.told("NotifyFound") == tampered.before["NotifyFound"] + 1
    again = drift.check()
    assert again.kinds == found.kinds
    assert drift.told("NotifyFound") == tampered.before["NotifyFound"] + 1


def test_a_remedy_puts_everything_back_and_that_is_told(
    drift: Drift, tampered: Tampered, found: Checked
) -> None:
    region = drift.region
    ended = drift.remedied(drift.check(remedy=True))
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    current = json.loads(ended["output"])["release"]["id"]
    assert served(region) == {current}
    all_healthy(region)
    assert suspended(region) == set()
    gone = tampered.before["NotifyGone"]
    eventually(lambda: drift.told("NotifyGone") > gone, PATIENCE, "what has gone is told")
    assert drift.check().report["findings"] == []
    assert drift.told("NotifyFound") == tampered.before["NotifyFound"] + 1


# What nobody but a person can put right


@contextmanager
def silent(region: Rehearsed, server: str) -> Iterator[None]:
    region.on(server, "systemctl stop amazon-ssm-agent")
    eventually(lambda: region.ping(server) == "ConnectionLost", PATIENCE, "nobody hears of it")
    yield
    region.on(server, "systemctl start amazon-ssm-agent")
    eventually(lambda: region.ping(server) == "Online", PATIENCE, "it is heard of again")


@contextmanager
def certificate_near_its_end(region: Rehearsed, _server: str) -> Iterator[None]:
    ends = region.paths.run / "certificate_ends"
    ends.write_text(f"arable.example {(datetime.now(UTC) + timedelta(days=12)).isoformat()}\n")
    yield
    ends.unlink()


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(silent, "server_silent"), (certificate_near_its_end, "certificate_expires")],
    ids=["an agent is silent", "a certificate is near its end"],
)
def test_what_a_remedy_cannot_put_right(drift: Drift, trouble: Callable[..., Any], kind: str) -> None:
    server = sorted(drift.region.servers())[0]
    drift.settled()
    before = [drift.told(state) for state in TOLD]
    with trouble(drift.region, server):
        checked = drift.check()
        assert checked.kinds[kind] == 1, checked.report["findings"]
        assert not any(one["remediable"] for one in checked.report["findings"] if one["kind"] == kind)
    assert drift.check().report["findings"] == []
    assert [drift.told(state) for state in TOLD] == [times + 1 for times in before]
