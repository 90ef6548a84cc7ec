"""The whole of it on real servers: releases as a user makes them, seen from outside, from the database, from
the bucket; and releases that must fail, which have to leave the former one serving.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehearsal import visit
from tests.rehearsal import sought
from tests.rehearsal.rehearsed import Ended, Load, Planned, Rehearsed, eventually

DOMAIN = "arable.example"
Second = tuple[Ended, Load]


# What it would do


def test_a_plan_of_the_first_release_changes_nothing(first_plan: Planned) -> None:
    assert first_plan.before == first_plan.after


def test_a_plan_of_the_first_release_is_what_was_then_built(
    region: Rehearsed, first_plan: Planned, first: Ended
) -> None:
    answer = first_plan.answer
    assert (answer["before"], answer["blocked"], answer["allow"]) == (None, [], [])
    assert {row["status"] for row in answer["tiers"]} == {"new"}
    for row in answer["tiers"]:
        listed = region.client("cloudformation").list_stack_resources(StackName=row["stack"])
        built = {one["LogicalResourceId"] for one in listed["StackResourceSummaries"]}
        assert {change["resource"] for change in row["changes"]} == built, row["tier"]
    ran = [name.split("_")[0] for name in answer["migrations"]["pending"]]
    assert ran == first.receipt["migrations"]["ran"]
    assert answer["restorePoint"]["wanted"] is False


# The first release


def test_the_site_answers_over_https_with_the_release(region: Rehearsed, first: Ended) -> None:
    front = region.site().get("/")
    assert front.status == 200
    assert front.headers["X-Slipway-Release"] == first.given["release"]["id"]
    assert "Notes from the fields" in front.text


def test_its_certificate_holds_for_www_too_and_for_no_other_name(region: Rehearsed, first: Ended) -> None:
    assert region.site(f"www.{DOMAIN}").get("/up").status == 200
    with pytest.raises(OSError, match="certificate"):
        region.site("another.example").get("/up")


def test_port_80_leads_to_https(region: Rehearsed, first: Ended) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", region.ports.http, timeout=10)
    plain.request("GET", "/posts", headers={"Host": DOMAIN})
    answer = plain.getresponse()
    assert answer.status == 301
    assert answer.headers["Location"].startswith(f"https://{DOMAIN}")
    plain.close()


@pytest.fixture(scope="session")
def post(region: Rehearsed, first: Ended) -> visit.Post:
    """A post that a visitor wrote, with an image, under the first release."""
    return visit.write_post(region.site())


def test_a_post_with_an_image_can_be_read_back(region: Rehearsed, post: visit.Post) -> None:
    visit.read_back(region.site(), post)


def test_the_image_is_in_the_bucket(region: Rehearsed, post: visit.Post) -> None:
    assert visit.in_bucket(region.client("s3"), region.tier("storage")["ImageBucketName"], post.image)


def test_the_post_is_a_row_in_the_database(region: Rehearsed, post: visit.Post) -> None:
    assert visit.rows_with_title(region.sql, "arable", post.title) == 1


def test_both_servers_stand_in_different_zones_and_are_healthy(region: Rehearsed, first: Ended) -> None:
    servers = region.servers()
    described = region.client("ec2").describe_instances(InstanceIds=servers)["Reservations"]
    zones = {one["Placement"]["AvailabilityZone"] for group in described for one in group["Instances"]}
    assert len(zones) == len(servers) == 2
    assert {server: health["State"] for server, health in region.targets().items()} == dict.fromkeys(
        servers, "healthy"
    )


def test_the_receipt_is_the_output_and_is_kept(region: Rehearsed, first: Ended) -> None:
    receipt = first.receipt
    assert receipt["ending"] == "Succeeded"
    assert receipt["release"] == {"backup": True, **first.given["release"]}
    assert receipt["before"] is None
    assert sorted(one["server"] for one in receipt["servers"]) == sorted(region.servers())
    bucket, _, key = receipt["links"]["receipt"].removeprefix("s3://").partition("/")
    kept = json.loads(region.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    # The kept one was written a moment before its last states ended.
    assert {name: kept[name] for name in ("release", "ending", "servers", "execution")} == {
        name: receipt[name] for name in ("release", "ending", "servers", "execution")
    }


def test_no_secret_is_in_any_input_history_or_command(region: Rehearsed, first: Ended) -> None:
    secrets = region.client("secretsmanager")
    known: list[str] = []
    for page in secrets.get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            value = secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"]
            known.append(json.loads(value)["password"] if value.startswith("{") else value)
    assert len(known) >= 3
    said = everything_said(region)
    assert first.given["release"]["sha256"] in said
    assert [secret for secret in known if secret in said] == []


def everything_said(region: Rehearsed) -> str:
    """Every event of every execution, every command with its output, every function's log, as one text."""
    texts: list[str] = []
    states, ssm, logs = region.client("stepfunctions"), region.client("ssm"), region.client("logs")
    for machine in states.list_state_machines()["stateMachines"]:
        for execution in states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]:
            history = states.get_paginator("get_execution_history")
            pages = history.paginate(executionArn=execution["executionArn"])
            texts += [json.dumps(page["events"], default=str) for page in pages]
    for page in ssm.get_paginator("list_command_invocations").paginate(Details=True):
        texts.append(json.dumps(page["CommandInvocations"], default=str))
    texts.append(json.dumps(ssm.list_commands()["Commands"], default=str))
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            texts += [event["message"] for event in page["events"]]
    return "\n".join(texts)


def test_a_web_server_can_read_its_own_secrets_and_not_the_master_s(region: Rehearsed, first: Ended) -> None:
    server = region.servers()[0]
    master = region.tier("database")["MasterSecretArn"]

    def read(secret: str) -> Any:
        return region.on(server, f"aws secretsmanager get-secret-value --secret-id '{secret}' >/dev/null")

    assert read("slipway/arable/database").returncode == 0
    refused = read(master)
    assert refused.returncode != 0
    assert "AccessDenied" in refused.stderr


# The next release


def test_a_plan_of_the_next_release_changes_nothing(second_plan: Planned) -> None:
    assert second_plan.before == second_plan.after


def test_a_plan_tells_what_changes_and_what_the_gate_would_refuse(
    region: Rehearsed, second_plan: Planned, second: Second
) -> None:
    answer = second_plan.answer
    rows = {row["tier"]: row for row in answer["tiers"]}
    assert {"name": "MaxSize", "before": "4", "after": "6"} in rows["web"]["parameters"]
    group = next(change for change in rows["web"]["changes"] if change["resource"] == "Group")
    assert ("MaxSize", ["parameter MaxSize"]) in [(why["property"], why["causes"]) for why in group["why"]]
    assert "network/Vpc" in answer["allow"]
    said = "; ".join(answer["blocked"])
    assert "Vpc (AWS::EC2::VPC)" in said
    assert "be replaced (because of CidrBlock): lost would be the network" in said
    assert sorted(server for wave in answer["waves"] for server in wave["servers"]) == sorted(
        region.servers()
    )
    pending = [name.split("_")[0] for name in answer["migrations"]["pending"]]
    assert pending == second[0].receipt["migrations"]["pending"]
    assert answer["restorePoint"]["wanted"] is True
    for words in ("MaxSize: 4 → 6", "network/Vpc", "20261108080000", "would be made", *region.servers()):
        assert words in answer["text"]


def test_the_receipt_says_what_was_planned(first: Ended, second: Second) -> None:
    told = first.receipt["plan"]
    assert {row["status"] for row in told["tiers"]} == {"new"}
    assert "+ Vpc (AWS::EC2::VPC)" in told["text"]
    next_one = second[0].receipt["plan"]
    assert {row["status"] for row in next_one["tiers"]} == {"unchanged"}
    assert next_one["migrations"] == ["20261108080000"]
    assert second[0].receipt["restorePoint"]["snapshot"] in next_one["text"]


def test_the_second_release_serves_and_keeps_the_data(
    region: Rehearsed, post: visit.Post, second: Second
) -> None:
    ended, _ = second
    front = region.site().get("/")
    assert front.headers["X-Slipway-Release"] == ended.given["release"]["id"]
    assert "fields and places" in front.text
    visit.read_back(region.site(), post)
    assert region.sql("SELECT COUNT(*) FROM arable.posts WHERE place IS NULL").strip() != "0"


def test_no_visitor_noticed_the_second_release(first: Ended, second: Second) -> None:
    ended, load = second
    assert load.failures == {}
    assert set(load.answers) == {f"200 {one.given['release']['id']}" for one in (first, ended)}


def test_its_receipt_names_the_one_before(first: Ended, second: Second) -> None:
    assert second[0].receipt["before"] == first.given["release"]["id"]


def test_it_changed_no_infrastructure_and_took_few_transitions(second: Second) -> None:
    ended, _ = second
    assert not [
        state for state in ended.receipt["states"] if state["state"].endswith(("/ApplyTier", "/PlanTier"))
    ]
    # 80, and what its migration costs: restore point 2, Migrate 4.
    assert ended.walked <= 80 + 6


def test_its_migration_ran_after_a_restore_point_that_holds_the_data_as_it_was(
    region: Rehearsed, first: Ended, second: Second
) -> None:
    receipt = second[0].receipt
    assert receipt["migrations"]["pending"] == receipt["migrations"]["ran"] == ["20261108080000"]
    name = receipt["restorePoint"]["snapshot"]
    found = region.client("rds").describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"]
    assert [one["Status"] for one in found] == ["available"]
    dump = (region.paths.run / "rds" / "snapshots" / name / "snapshot.sql").read_text()
    assert "20261101090001" in dump, "a migration of the first release"
    assert "20261108080000" not in dump
    assert "`place`" not in dump
    assert first.receipt["restorePoint"] == {
        "snapshot": None,
        "why": "not needed: the database was empty",
    }


def test_the_same_input_again_changes_nothing_and_says_so(region: Rehearsed, second: Second) -> None:
    def running() -> set[str]:
        asked = (
            "systemctl show -p ActiveEnterTimestampMonotonic arable nginx; stat -c %Z /var/www/arable/current"
        )
        return {f"{server} {region.on(server, asked).stdout}" for server in region.servers()}

    before = running()
    again = region.succeed(second[0].given)
    assert again.receipt["unchanged"]
    assert again.walked <= 25
    assert not [state for state in again.receipt["states"] if "PlanTier" in state["state"]]
    assert running() == before


@contextmanager
def full(region: Rehearsed, server: str) -> Iterator[None]:
    """A disk of 8 MiB where the server keeps its releases, written until nothing fits any more."""
    fill = (
        "mount -t tmpfs -o size=8m full /var/www/arable && "
        "! dd if=/dev/zero of=/var/www/arable/rubbish bs=64k 2>/dev/null"
    )
    assert region.on(server, fill).returncode == 0
    try:
        yield
    finally:
        assert region.on(server, "umount /var/www/arable").returncode == 0


def test_everything_that_is_wrong_is_said_before_anything_is_changed(
    region: Rehearsed, second: Second
) -> None:
    """Wrong Ruby, no such alarm or secret, a full disk, a silent agent, a database that AWS will restart."""
    crowded, silent = region.servers()
    given = region.given("another-ruby")
    given["environment"]["secrets"] = {"API_KEY": "slipway/arable/nobody-made-it"}
    given["rollout"] = {**given.get("rollout", {}), "alarms": ["nobody-made-this-one"]}
    soon = datetime.now(UTC) + timedelta(minutes=30)
    instance = region.tier("database")["InstanceIdentifier"]
    maintenance = region.paths.run / "maintenance"
    maintenance.write_text(f"{instance} system-update {soon:%Y-%m-%dT%H:%M:%SZ}\n")
    assert region.on(silent, "systemctl stop amazon-ssm-agent").returncode == 0
    eventually(lambda: region.ping(silent) == "ConnectionLost", 120, f"nobody hears of {silent}")
    try:
        with full(region, crowded):
            ended = region.fail(given)
    finally:
        maintenance.unlink()
        assert region.on(silent, "systemctl start amazon-ssm-agent").returncode == 0
        eventually(lambda: region.ping(silent) == "Online", 120, f"{silent} is heard of again")
    assert (ended.error, ended.explanation["error"]) == ("FailedClean", "PreflightFailed")
    problems = {one["check"]: one for one in ended.explanation["details"]["problems"]}
    assert {name: one["where"] for name, one in problems.items()} == {
        "ruby": "environment.web.ruby",
        "agents": f"server {silent}",
        "disk": f"server {crowded}",
        "alarms": "rollout.alarms",
        "secrets": "environment.secrets.API_KEY",
        "maintenance": f"DB instance {instance}",
    }
    assert f"{crowded} has 0 MiB" in problems["disk"]["what"]
    for one in problems.values():
        assert f"{one['where']}: {one['what']}; {one['next']}" in ended.explanation["what"]
    assert "nothing was changed" in ended.explanation["next"]
    for state in ("CompareTiers", "DeployNetwork", "SuspendScaling", "Stage"):
        assert not region.left(ended.arn, state)
    serves(region, second[0])


def test_back_to_the_release_before_by_hand_and_forth_again(region: Rehearsed, second: Second) -> None:
    def released(name: str) -> Ended:
        given = {"environment": "arable", "release": {"id": name}, "rollout": second[0].given["rollout"]}
        ended = region.succeed(given)
        assert region.site().get("/up").headers["X-Slipway-Release"] == ended.receipt["release"]["id"]
        assert ended.walked <= 80
        assert staged_anew(region, ended) == []
        return ended

    back = released("previous")
    assert back.receipt["before"] == second[0].given["release"]["id"]
    assert back.receipt["backTo"]["migrationsSince"] == [
        {"release": second[0].given["release"]["id"], "migrations": ["20261108080000"]}
    ]
    assert back.receipt["backTo"]["restorePoints"] == [second[0].receipt["restorePoint"]["snapshot"]]
    forth = released(second[0].given["release"]["id"])
    assert forth.receipt["backTo"]["says"].startswith("No migration ran since")


def staged_anew(region: Rehearsed, ended: Ended) -> list[str]:
    """Servers that fetched the release in that execution, though they had it."""
    return [server for server, said in region.told(ended, "Stage").items() if said["changed"]]


# Releases that must fail, and what serves afterwards


def serves(region: Rehearsed, ended: Ended) -> None:
    """Both servers answer with this release, are healthy, and nobody holds the environment."""
    wanted = ended.given["release"]["id"]
    answers = {region.site().get("/").headers["X-Slipway-Release"] for _ in range(8)}
    assert answers == {wanted}
    eventually(
        lambda: {health["State"] for health in region.targets().values()} == {"healthy"}, 120, "all healthy"
    )
    table = region.client("dynamodb")
    key = {"pk": {"S": "ENVIRONMENT#arable"}, "sk": {"S": "LOCK"}}
    lock = table.get_item(TableName=region.outputs["TableName"], Key=key)["Item"]
    assert "holder" not in lock
    key["sk"] = {"S": "CURRENT"}
    current = table.get_item(TableName=region.outputs["TableName"], Key=key)["Item"]
    assert wanted in json.dumps(current)


def test_a_release_whose_health_path_fails_is_taken_back(region: Rehearsed, second: Second) -> None:
    ended = region.fail(region.given("unhealthy"))
    assert ended.error == "FailedClean"
    assert "500" in json.dumps(ended.explanation)
    serves(region, second[0])


def test_a_release_that_does_not_start_is_taken_back(region: Rehearsed, second: Second) -> None:
    ended = region.fail(region.given("crashing"))
    assert ended.error == "FailedClean"
    assert any(server in json.dumps(ended.explanation) for server in region.servers())
    serves(region, second[0])


def test_a_failing_migration_stops_the_release_with_its_reason(region: Rehearsed, second: Second) -> None:
    ended = region.fail(region.given("failing-migration"))
    assert "migrat" in ended.explanation["where"] + ended.explanation.get("phase", "")
    serves(region, second[0])


def test_a_wrong_password_stops_the_release_with_its_reason(region: Rehearsed, second: Second) -> None:
    user = json.loads(
        region.client("secretsmanager").get_secret_value(SecretId="slipway/arable/database")["SecretString"]
    )["username"]

    def change_password(execution: str) -> None:
        eventually(lambda: region.left(execution, "CreateDatabase"), 300, "CreateDatabase is over")
        region.sql(f"ALTER USER '{user}'@'%' IDENTIFIED BY 'another'")

    ended = region.fail(region.given("second"), meanwhile=change_password)
    assert ended.error == "FailedClean"
    assert "refuses the application's login" in ended.explanation["what"]
    assert "Access denied" in ended.explanation["what"]
    mended = region.succeed(region.given("second"))
    serves(region, mended)


@contextmanager
def closed_to_web_servers(region: Rehearsed) -> Iterator[None]:
    """The database's security group without its rule for web servers, which then is again as it was."""
    ec2 = region.client("ec2")
    network = region.tier("network")
    group, web = network["DatabaseSecurityGroupId"], network["WebSecurityGroupId"]
    allowed = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    rules = [
        {name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort")}
        | {"UserIdGroupPairs": [{"GroupId": web, "Description": pair["Description"]}]}
        for rule in allowed
        for pair in rule["UserIdGroupPairs"]
        if pair["GroupId"] == web
    ]
    assert rules
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules)
    try:
        yield
    finally:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)


def test_a_closed_database_stops_the_release_and_says_so(region: Rehearsed, second: Second) -> None:
    before = region.site().get("/up").headers["X-Slipway-Release"]
    with closed_to_web_servers(region):
        ended = region.fail(region.given("second"))
    assert "did not answer" in ended.explanation["what"]
    assert "security group" in ended.explanation["what"]
    assert region.site().get("/up").headers["X-Slipway-Release"] == before


def test_a_server_that_does_not_answer_is_unhealthy_and_left_out(region: Rehearsed, second: Second) -> None:
    server, other = region.servers()
    assert region.on(server, "systemctl stop nginx").returncode == 0
    try:
        eventually(lambda: region.targets()[server]["State"] == "unhealthy", 120, f"{server} is unhealthy")
        assert region.targets()[other]["State"] == "healthy"
        assert {region.site().get("/").status for _ in range(8)} == {200}
    finally:
        region.on(server, "systemctl start nginx")
    eventually(lambda: region.targets()[server]["State"] == "healthy", 120, f"{server} is healthy again")


def test_a_certificate_without_its_record_stays_pending_and_says_which(
    region: Rehearsed, first: Ended
) -> None:
    states = region.client("stepfunctions")
    machine = region.outputs["ReleaseStateMachineArn"].replace("slipway-release", "slipway-deploy-tier")
    environment = completed(region, first) | {"name": "kept"}
    environment["domain"] = environment["domain"] | {"name": "kept.example", "dns": "elsewhere"}
    lock = {
        "pk": {"S": "ENVIRONMENT#kept"},
        "sk": {"S": "LOCK"},
        "holder": {"S": "test"},
        "fence": {"N": "1"},
    }
    region.client("dynamodb").put_item(TableName=region.outputs["TableName"], Item=lock)
    given = {"environment": environment, "tier": "certificate", "outputs": {}, "allow": [], "remedy": False}
    given["lock"] = {"environment": "kept", "fence": 1}
    execution = states.start_execution(stateMachineArn=machine, name="kept-1", input=json.dumps(given))
    arn = execution["executionArn"]

    eventually(lambda: region.left(arn, "CheckCertificate"), 180, "the certificate is looked at")
    missing = asked_for(region, arn)
    assert {record["type"] for record in missing} == {"CNAME"}
    certificates = region.client("acm").list_certificates(CertificateStatuses=["PENDING_VALIDATION"])
    assert [one["DomainName"] for one in certificates["CertificateSummaryList"]] == ["kept.example"]
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"

    zone = region.paths.run / "elsewhere.zone"
    records = [f"{record['name']} {record['type']} {record['value']}" for record in missing]
    zone.write_text("\n".join(["kept.example NS ns1.provider.example", *records, ""]))
    eventually(
        lambda: states.describe_execution(executionArn=arn)["status"] == "SUCCEEDED", 240, "it is issued"
    )


def completed(region: Rehearsed, ended: Ended) -> dict[str, Any]:
    """The environment of a release with every default filled in, as its tiers were given it."""
    states = region.client("stepfunctions")
    machine = region.outputs["ReleaseStateMachineArn"].replace("slipway-release", "slipway-deploy-tier")
    for execution in states.list_executions(stateMachineArn=machine)["executions"]:
        given = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"])
        if given.get("AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID") == ended.arn:
            environment: dict[str, Any] = given["environment"]
            return environment
    raise AssertionError("the release deployed no tier")


def asked_for(region: Rehearsed, execution: str) -> list[dict[str, str]]:
    """The records that CheckCertificate said are missing, last."""
    found: list[dict[str, str]] = []

    def look() -> bool:
        pages = region.client("stepfunctions").get_paginator("get_execution_history")
        for page in pages.paginate(executionArn=execution):
            for event in page["events"]:
                output = event.get("taskSucceededEventDetails", {}).get("output", "{}")
                payload = json.loads(output).get("Payload") or {}
                if payload.get("missing"):
                    found[:] = payload["missing"]
        return bool(found)

    eventually(look, 120, "the missing records are named")
    return found


# What nobody may read


USER_SECRET = "slipway/arable/of-the-user"


@pytest.fixture(scope="session")
def with_secret(region: Rehearsed, first: Ended) -> tuple[Ended, str]:
    """A release with a secret of the user's, and all that was said meanwhile to those who listen."""
    value = f'it\'s "100 %" /+\\ & <{secrets.token_urlsafe(24)}>'
    region.client("secretsmanager").create_secret(Name=USER_SECRET, SecretString=value)
    given = region.given("second")
    given["environment"]["secrets"] = {"API_KEY": USER_SECRET}
    with sought.overheard(region, region.outputs["TopicArn"]) as heard:
        ended = region.succeed(given)
    return ended, "\n".join(heard)


def test_no_secret_is_anywhere_by_its_value(region: Rehearsed, with_secret: tuple[Ended, str]) -> None:
    """In every channel something is found that does go there, and no secret in any form."""
    ended, heard = with_secret
    known = {form for value in sought.values(region) for form in sought.forms(value)}
    assert len(sought.values(region)) >= 4
    assert min(map(len, known)) >= 10, "shorter ones are found anywhere"
    told = {**sought.channels(region), "messages and events": heard}
    print({channel: len(text) for channel, text in told.items()})
    release = ended.given["release"]["id"]
    wanted = {channel: CANARIES.get(channel.split(" of i-")[0], release) for channel in told}
    unseen = [channel for channel, text in told.items() if wanted[channel] not in text]
    leaking = [channel for channel, text in told.items() if any(form in text for form in known)]
    assert (unseen, leaking) == ([], [])
    # The application has them, from a file that nobody else may read.
    for server in region.servers():
        assert "API_KEY" in region.on(server, "cat /var/www/arable/shared/environment").stdout
        allowed = region.on(server, "stat -c '%a %U' /var/www/arable/shared/environment").stdout
        assert allowed == "600 root\n"


CANARIES = {
    "stacks": DOMAIN,
    "functions": "TABLE_NAME",
    "launch templates": "amazon-ssm-agent",
    "logs of functions": '"message":"done"',
    "journal": "(Rails), slot",
    "processes": "puma",
    "units": "arable@",
}
"""What is found in a channel to which the release's id does not go."""
