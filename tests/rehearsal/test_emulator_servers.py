"""Instances, groups and commands of the emulated region are what happens on real servers.

An environment of its own (network and web servers, no release), so that nothing here disturbs another test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.host import ROOT
from tests.rehearsal.rehearsed import Rehearsed

NETWORK = {"Environment": "servers", "Cidr": "10.77.0.0/16", "NatGateways": "one"}
FINAL = ("Success", "Failed", "TimedOut", "Cancelled")


def until(what: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true answer of `what`."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.1)
    return answer


@dataclass
class Servers:
    """The servers of the environment."""

    region: Rehearsed
    group: str
    log_group: str

    def instances(self, state: str = "InService") -> list[str]:
        """Instances of the group in a state."""
        groups = self.region.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.group]
        )["AutoScalingGroups"]
        return [i["InstanceId"] for i in groups[0]["Instances"] if i["LifecycleState"] == state]

    def online(self) -> list[str]:
        """Those whose agent is there."""
        known = self.region.client("ssm").describe_instance_information(
            Filters=[{"Key": "tag:slipway:environment", "Values": ["servers"]}]
        )["InstanceInformationList"]
        return sorted(one["InstanceId"] for one in known if one["PingStatus"] == "Online")

    def settled(self, number: int) -> list[str]:
        """The instances, once there are `number` of them, in service and online."""

        def look() -> list[str] | bool:
            self.admit()
            found = sorted(self.instances())
            return len(found) == number and self.online() == found and found

        return list(until(look))

    def admit(self, result: str = "CONTINUE") -> None:
        """What waits for the tier's hook comes into service: the orchestrator leaves alone what it does not
        know."""
        scaling = self.region.client("autoscaling")
        [hook] = scaling.describe_lifecycle_hooks(AutoScalingGroupName=self.group)["LifecycleHooks"]
        for waiting in self.instances("Pending:Wait"):
            scaling.complete_lifecycle_action(
                AutoScalingGroupName=self.group,
                LifecycleHookName=hook["LifecycleHookName"],
                InstanceId=waiting,
                LifecycleActionResult=result,
            )

    def targets(self) -> list[str]:
        """The servers that the load balancer would send to."""
        arn = self.region.tier("web", "servers")["TargetGroupArn"]
        found = self.region.client("elbv2").describe_target_health(TargetGroupArn=arn)
        return [one["Target"]["Id"] for one in found["TargetHealthDescriptions"]]

    def send(self, instance: str, script: str, **options: Any) -> str:
        """Send a script to an instance; the command's id."""
        sent = self.region.client("ssm").send_command(
            DocumentName="AWS-RunShellScript",
            InstanceIds=[instance],
            Parameters={"commands": [script], **options.pop("parameters", {})},
            **options,
        )
        return str(sent["Command"]["CommandId"])

    def ended(self, command: str, instance: str) -> dict[str, Any]:
        """The invocation when it is over."""

        def look() -> dict[str, Any] | None:
            try:
                found: dict[str, Any] = self.region.client("ssm").get_command_invocation(
                    CommandId=command, InstanceId=instance
                )
            except ClientError:
                return None
            return found if found["Status"] in FINAL else None

        found: dict[str, Any] = until(look)
        return found

    def run(self, instance: str, script: str, **options: Any) -> dict[str, Any]:
        """Run a script on an instance."""
        return self.ended(self.send(instance, script, **options), instance)


def stack(region: Rehearsed, tier: str, parameters: dict[str, str]) -> dict[str, str]:
    """Bring one of the shipped tiers up; its outputs."""
    formation = region.client("cloudformation")
    name = f"slipway-servers-{tier}"
    formation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "tiers" / f"{tier}.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": "slipway:environment", "Value": "servers"}],
    )
    formation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 240}
    )
    found = formation.describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


@pytest.fixture(scope="module")
def servers(region: Rehearsed) -> Iterator[Servers]:
    """Two web servers in an environment without a release; ended at the end."""
    network = stack(region, "network", NETWORK)
    web = stack(
        region,
        "web",
        {
            "Environment": "servers",
            "VpcId": network["VpcId"],
            "SubnetIds": network["WebSubnetIds"],
            "SecurityGroupId": network["WebSecurityGroupId"],
            "PublicAddresses": "false",
            "InstanceType": "t3.micro",
            "OperatingSystem": "debian-12",
            "MinSize": "1",
            "MaxSize": "3",
            "DesiredCapacity": "2",
            "HealthPath": "/up",
            "DeregistrationDelay": "5",
            "ImageBucketName": "slipway-servers-images",
            "ArtifactBucket": region.outputs["ArtifactBucket"],
            "ArtifactPrefix": "releases/",
            "CommandLogGroup": "/slipway/commands",
        },
    )
    yield Servers(region, web["AutoScalingGroupName"], "/slipway/commands")
    formation = region.client("cloudformation")
    for name in ("slipway-servers-web", "slipway-servers-network"):
        formation.delete_stack(StackName=name)
        formation.get_waiter("stack_delete_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 240}
        )


def test_servers_stand_in_their_subnets_one_in_each_zone(servers: Servers) -> None:
    wanted = servers.settled(2)
    described = servers.region.client("ec2").describe_instances(InstanceIds=wanted)["Reservations"]
    instances = [instance for one in described for instance in one["Instances"]]
    assert len({instance["Placement"]["AvailabilityZone"] for instance in instances}) == 2
    for instance in instances:
        address = servers.run(instance["InstanceId"], "hostname -I")["StandardOutputContent"].strip()
        assert address == instance["PrivateIpAddress"]
        assert address.startswith("10.77.")
        assert "PublicIpAddress" not in instance
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert tags["aws:autoscaling:groupName"] == servers.group


def test_a_command_is_what_the_script_does(servers: Servers) -> None:
    one = servers.settled(2)[0]
    done = servers.run(one, "echo out; echo err >&2; exit 7")
    assert (done["Status"], done["ResponseCode"]) == ("Failed", 7)
    assert done["StandardOutputContent"] == "out\n"
    assert done["StandardErrorContent"] == "err\nfailed to run commands: exit status 7"


def test_a_step_that_takes_too_long_is_killed_with_its_children(servers: Servers) -> None:
    one = servers.settled(2)[0]
    done = servers.run(one, "sleep 4321 & sleep 4321", parameters={"executionTimeout": ["1"]})
    assert (done["Status"], done["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    until(lambda: servers.run(one, "pgrep -x sleep")["Status"] == "Failed")


def test_a_cancelled_command_is_killed(servers: Servers) -> None:
    one = servers.settled(2)[0]
    command = servers.send(one, "sleep 1234 & sleep 1234")
    until(lambda: servers.run(one, "pgrep -x sleep")["Status"] == "Success")
    servers.region.client("ssm").cancel_command(CommandId=command)
    assert servers.ended(command, one)["Status"] == "Cancelled"
    until(lambda: servers.run(one, "pgrep -x sleep")["Status"] == "Failed")


def test_a_server_has_its_roles_rights_and_no_others(servers: Servers) -> None:
    one = servers.settled(2)[0]
    bucket = servers.region.outputs["ArtifactBucket"]
    s3 = servers.region.client("s3")
    s3.put_object(Bucket=bucket, Key="releases/readable", Body=b"yes")
    s3.put_object(Bucket=bucket, Key="receipts/private", Body=b"no")
    assert servers.run(one, f"aws s3 cp s3://{bucket}/releases/readable -")["StandardOutputContent"] == "yes"
    refused = servers.run(one, f"aws s3 cp s3://{bucket}/receipts/private -")
    assert refused["Status"] == "Failed"
    assert "403" in refused["StandardErrorContent"] or "AccessDenied" in refused["StandardErrorContent"]


def test_output_goes_to_the_log_group_under_the_names_of_the_service(servers: Servers) -> None:
    one = servers.settled(2)[0]
    output = {"CloudWatchOutputEnabled": True, "CloudWatchLogGroupName": servers.log_group}
    command = servers.send(one, "echo to the log", CloudWatchOutputConfig=output)
    servers.ended(command, one)
    logs = servers.region.client("logs")
    stream = f"{command}/{one}/runShellScript/stdout"

    def written() -> list[str]:
        streams = logs.describe_log_streams(logGroupName=servers.log_group, logStreamNamePrefix=command)
        if not streams["logStreams"]:
            return []
        events = logs.get_log_events(logGroupName=servers.log_group, logStreamName=stream)["events"]
        return [event["message"] for event in events]

    assert until(written) == ["to the log"]


def test_a_server_that_dies_is_noticed_and_replaced(servers: Servers) -> None:
    before = servers.settled(2)
    lost = servers.send(before[0], "poweroff -f")
    assert servers.ended(lost, before[0])["Status"] == "Failed"
    until(lambda: before[0] not in servers.instances())
    after = servers.settled(2)
    assert before[1] in after
    assert before[0] not in after


def test_a_terminated_instance_takes_its_server_along_and_is_replaced(servers: Servers) -> None:
    before = servers.settled(2)
    ec2 = servers.region.client("ec2")
    ending = ec2.terminate_instances(InstanceIds=[before[0]])["TerminatingInstances"][0]
    assert ending["CurrentState"]["Name"] == "shutting-down"
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        servers.send(before[0], "true")
    after = servers.settled(2)
    assert before[0] not in after


def test_a_group_follows_its_desired_capacity_within_its_bounds(servers: Servers) -> None:
    servers.settled(2)
    scaling = servers.region.client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName=servers.group, DesiredCapacity=3)
    assert len(servers.settled(3)) == 3
    with pytest.raises(ClientError, match="above max value 3"):
        scaling.set_desired_capacity(AutoScalingGroupName=servers.group, DesiredCapacity=4)
    scaling.set_desired_capacity(AutoScalingGroupName=servers.group, DesiredCapacity=2)
    servers.settled(2)


def test_a_new_server_waits_for_the_hook_outside_the_load_balancer(servers: Servers) -> None:
    before = servers.settled(2)
    scaling = servers.region.client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName=servers.group, DesiredCapacity=3)
    [abandoned] = until(lambda: servers.instances("Pending:Wait"))
    assert abandoned not in servers.targets()
    servers.admit("ABANDON")
    [admitted] = until(lambda: [one for one in servers.instances("Pending:Wait") if one != abandoned])
    until(lambda: abandoned not in servers.online())
    said = [
        one["Description"]
        for one in scaling.describe_scaling_activities(AutoScalingGroupName=servers.group)["Activities"]
        if one["StatusCode"] == "Cancelled"
    ]
    assert any(abandoned in one and "Completed with ABANDON Result" in one for one in said)
    assert set(servers.targets()) == set(before)
    servers.admit()
    assert servers.settled(3) == sorted([*before, admitted])
    assert admitted in servers.targets()
    scaling.set_desired_capacity(AutoScalingGroupName=servers.group, DesiredCapacity=2)
    servers.settled(2)


def test_while_its_processes_are_suspended_a_group_replaces_nobody(servers: Servers) -> None:
    before = servers.settled(2)
    scaling = servers.region.client("autoscaling")
    with pytest.raises(ClientError, match="Unknown process"):
        scaling.suspend_processes(AutoScalingGroupName=servers.group, ScalingProcesses=["Lunch"])
    scaling.suspend_processes(
        AutoScalingGroupName=servers.group, ScalingProcesses=["Launch", "ReplaceUnhealthy"]
    )
    servers.region.client("ec2").terminate_instances(InstanceIds=[before[0]])
    until(lambda: servers.online() == [before[1]])

    def health() -> dict[str, str]:
        members = scaling.describe_auto_scaling_instances(InstanceIds=before)["AutoScalingInstances"]
        return {one["InstanceId"]: one["HealthStatus"] for one in members}

    until(lambda: health() == {before[0]: "Unhealthy", before[1]: "Healthy"})
    time.sleep(2)
    assert len(health()) == len(servers.instances()) == 2
    scaling.resume_processes(
        AutoScalingGroupName=servers.group, ScalingProcesses=["Launch", "ReplaceUnhealthy"]
    )
    assert before[0] not in servers.settled(2)


def test_without_a_way_out_the_agent_is_not_online(servers: Servers) -> None:
    """Last: the private subnets lose their route to the NAT gateway, and get it back."""
    servers.settled(2)
    ec2 = servers.region.client("ec2")
    tables = ec2.describe_route_tables(Filters=[{"Name": "tag:slipway:environment", "Values": ["servers"]}])
    private = [
        (table["RouteTableId"], route["NatGatewayId"])
        for table in tables["RouteTables"]
        for route in table["Routes"]
        if route.get("NatGatewayId")
    ]
    assert private
    for table, _ in private:
        ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    until(lambda: servers.online() == [])
    for table, gateway in private:
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    servers.settled(2)
