"""What a check remembers of those before it: since when, told or not, gone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway import lock
from slipway.aws import cloudtrail, cloudwatch, dynamodb, s3, states
from slipway.drift import record, report, trail
from slipway.drift.finding import Finding, bounded, finding, shown, worst_first
from slipway.errors import TransientAwsError
from tests.unit.fakes import refused
from tests.unit.golden import Case, cases

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SETTINGS = record.Settings("artifacts", "slipway", 1)
TIERS = {"network": "network", "slipway-db": "database"}


def of_key(key: str, **more: Any) -> Any:
    kind, where, detail = key.split("|")
    made = finding(
        kind, TIERS.get(where.split("/")[0], "servers"), where, "it differs",
        expected="r2", found="r1", remedy="release again", detail=detail, resource=where,
    )  # fmt: skip
    return {**made, **more}


@cases("drift_memory")
def test_merging(case: Case) -> None:
    before = {
        "findings": {key: of_key(key, **known) for key, known in case["before"].items()},
        "announcement": case["announcement"],
    }
    if case["announcement"]:
        gone = [{**of_key(one["key"]), **one} for one in case["announcement"]["gone"]]
        before["announcement"] = {**case["announcement"], "gone": gone}
    after = record.merged(
        before,
        [of_key(key) for key in case["found"]],
        record.Unclear(**case["unclear"]),
        "now",
        case["consecutive"],
        case["told"],
    )
    expected = case["expected"]
    assert [one["key"] for one in after.new] == expected["new"]
    assert [one["key"] for one in after.gone] == expected["gone"]
    assert after.findings.keys() == expected["known"].keys()
    for key, known in expected["known"].items():
        assert known.items() <= after.findings[key].items(), key


# --- the table --------------------------------------------------------------------------------------------


class Account:
    """The table, the bucket, CloudWatch and CloudTrail, as dictionaries."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.metrics: list[Any] = []
        self.statuses: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.since: list[datetime] = []
        patch.setattr(dynamodb, "get", lambda pk, sk: self.items.get((pk, sk)))
        patch.setattr(dynamodb, "put", self._put)
        patch.setattr(states, "status", lambda arn: self.statuses.get(arn, "SUCCEEDED"))
        patch.setattr(s3, "put", lambda _b, key, content, _t: self.objects.update({key: content}))
        patch.setattr(cloudwatch, "put", lambda _n, values: self.metrics.append(values))
        patch.setattr(cloudtrail, "events", self._events)

    def _put(self, item: Any, condition: str = "", values: Any = None) -> bool:
        there = self.items.get((item["pk"], item["sk"]))
        assert condition == "attribute_not_exists(pk) OR version = :seen"
        if there is not None and there["version"] != values[":seen"]:
            return False
        self.items[item["pk"], item["sk"]] = dict(item)
        return True

    def _events(self, resource: str, since: datetime) -> list[dict[str, Any]]:
        self.asked.append(resource)
        self.since.append(since)
        return self.events

    def latest(self) -> Any:
        return json.loads(self.objects["drift/arable/latest.json"])


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


def looked(
    *findings: Finding, execution: str = "arn:1", fence: int = 0, days: int | None = 90
) -> record.Looked:
    nothing: dict[str, Any] = {"findings": [], "more": 0}
    servers = [
        {"id": "i-1", "release": "r1", "reported": True},
        {"id": "i-2", "release": "r2", "reported": True},
    ]
    return record.Looked(
        environment="arable",
        fence=fence,
        current={"environment": {"name": "arable"}, "release": {"id": "r2"}, "outputs": {}},
        infrastructure={
            **nothing,
            "stacks": [{"tier": "network", "status": "CREATE_COMPLETE", "notChecked": []}],
            "ignored": [],
        },
        servers={"findings": list(findings), "more": 0, "servers": servers},
        standing={**nothing, "certificateDays": days},
        execution={"arn": execution, "name": "1", "startedAt": "2026-11-22T09:59:30Z"},
    )


RELEASE = "server_release|i-1|"


def test_a_finding_is_recorded_reported_measured_and_told_once(account: Account) -> None:
    first = record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    assert first["status"] == "drift"
    assert first["counts"] == {"high": 1, "medium": 0, "low": 0}
    assert first["gone"] is None
    assert first["found"]["what"].splitlines() == [
        "1 finding is new: 1 high",
        "- high: i-1: it differs (expected r2, found r1)",
    ]
    assert first["report"] == "s3://artifacts/drift/arable/latest.json"
    told = account.latest()
    assert told["findings"][0]["since"] == "2026-11-22T10:00:00Z"
    assert not {"announced", "resource"} & told["findings"][0].keys()
    assert (told["seconds"], told["status"], told["release"]) == (30, "drift", {"id": "r2"})
    assert (
        account.objects["drift/arable/2026-11-22T10:00:00Z.json"]
        == account.objects["drift/arable/latest.json"]
    )
    assert b"<!DOCTYPE html>" in account.objects["drift/arable/latest.html"]
    assert ("ServersOffRelease", 1, "Count", {"Environment": "arable"}) in account.metrics[0]
    assert ("HighFindings", 1, "Count", {}) in account.metrics[0]
    record.announced("arable", "arn:1")

    second = record.record(looked(of_key(RELEASE), execution="arn:2"), SETTINGS, NOW)
    assert (second["status"], second["found"], second["gone"]) == ("drift", None, None)
    assert account.latest()["findings"][0]["seen"] == 2

    third = record.record(looked(execution="arn:3"), SETTINGS, NOW)
    assert (third["status"], third["found"]) == ("clean", None)
    assert third["gone"]["what"].splitlines() == ["1 finding is gone: 1 high", "- high: i-1: it differs"]
    record.announced("arable", "arn:3")

    fourth = record.record(looked(execution="arn:4"), SETTINGS, NOW)
    assert (fourth["status"], fourth["found"], fourth["gone"]) == ("clean", None, None)


def test_asked_again_by_the_same_execution_it_answers_the_same(account: Account) -> None:
    first = record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    assert record.record(looked(of_key(RELEASE)), SETTINGS, NOW) == first
    assert account.items["ENVIRONMENT#arable", "DRIFT"]["version"] == 1


def test_what_could_not_be_told_is_told_by_the_next_check(account: Account) -> None:
    record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    account.statuses["arn:1"] = "FAILED"
    assert record.record(looked(of_key(RELEASE), execution="arn:2"), SETTINGS, NOW)["found"] is not None


def test_what_another_check_is_telling_is_not_told_twice(account: Account) -> None:
    record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    account.statuses["arn:1"] = "RUNNING"
    assert record.record(looked(of_key(RELEASE), execution="arn:2"), SETTINGS, NOW)["found"] is None


def test_only_who_announced_it_notes_it_as_told(account: Account) -> None:
    record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    record.announced("arable", "arn:somebody")
    assert (
        json.loads(account.items["ENVIRONMENT#arable", "DRIFT"]["document"])["announcement"]["by"] == "arn:1"
    )


def test_two_checks_at_once_do_not_overwrite_each_other(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamodb, "put", lambda *_: False)
    with pytest.raises(TransientAwsError, match="another check"):
        record.record(looked(), SETTINGS, NOW)


@pytest.mark.parametrize("lock_item", [{"fence": 1, "holder": "arn:release"}, {"fence": 2}])
def test_a_release_in_between_throws_everything_away(account: Account, lock_item: dict[str, Any]) -> None:
    account.items["ENVIRONMENT#arable", "LOCK"] = lock_item
    account.statuses["arn:release"] = "RUNNING"
    answer = record.record(looked(of_key(RELEASE), fence=1), SETTINGS, NOW)
    assert answer["status"] == "postponed"
    assert (answer["found"], answer["gone"]) == (None, None)
    assert ("ENVIRONMENT#arable", "DRIFT") not in account.items
    assert not account.objects
    assert not account.metrics


def test_a_holder_that_has_ended_is_nobody(account: Account) -> None:
    account.items["ENVIRONMENT#arable", "LOCK"] = {"fence": 1, "holder": "arn:dead"}
    account.statuses["arn:dead"] = "ABORTED"
    assert lock.seen("arable") == {"fence": 1, "holder": ""}
    assert record.record(looked(fence=1), SETTINGS, NOW)["status"] == "clean"


def test_what_was_not_found_often_enough_is_reported_apart_and_not_counted(account: Account) -> None:
    thrice = record.Settings("artifacts", "slipway", 3)
    for number in (1, 2):
        answer = record.record(looked(of_key(RELEASE), execution=f"arn:{number}"), thrice, NOW)
        assert (answer["status"], answer["found"]) == ("clean", None)
        assert [one["seen"] for one in account.latest()["unconfirmed"]] == [number]
    answer = record.record(looked(of_key(RELEASE), execution="arn:3"), thrice, NOW)
    assert (answer["status"], answer["found"] is None) == ("drift", False)


# --- who --------------------------------------------------------------------------------------------------


OWN = "slipway-"


def event(name: str = "AuthorizeSecurityGroupIngress", user: str = "eve", **more: Any) -> dict[str, Any]:
    identity = json.dumps({"userIdentity": {"arn": f"arn:aws:sts::1:assumed-role/Admin/{user}", **more}})
    return {
        "EventName": name,
        "EventTime": NOW,
        "Username": user,
        "ReadOnly": "false",
        "CloudTrailEvent": identity,
    }


def test_the_last_person_who_changed_it_is_named() -> None:
    looks = {**event("DescribeSecurityGroups", "adam"), "ReadOnly": "true"}
    by_aws = event("UpdateAutoScalingGroup", "AutoScaling", invokedBy="autoscaling.amazonaws.com")
    by_slipway = event("ModifyDBInstance", "AWSCloudFormation")
    assert trail.who([looks, by_aws, by_slipway, event(), event(user="earlier")], OWN) == {
        "name": "eve",
        "at": "2026-11-22T10:00:00Z",
        "event": "AuthorizeSecurityGroupIngress",
    }
    assert trail.who([looks], OWN) is None
    assert trail.who([{**event(), "CloudTrailEvent": "not JSON"}], OWN) is not None
    attempt = {**event(), "CloudTrailEvent": json.dumps({"errorCode": "Client.UnauthorizedOperation"})}
    assert trail.who([attempt], OWN) is None


def test_new_findings_are_asked_after_and_old_ones_are_not(account: Account) -> None:
    account.events = [event()]
    record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    assert account.asked == ["i-1"]
    assert account.latest()["findings"][0]["who"]["name"] == "eve"
    record.record(looked(of_key(RELEASE), execution="arn:2"), SETTINGS, NOW)
    assert account.asked == ["i-1"]
    assert account.latest()["findings"][0]["who"]["name"] == "eve"


def test_one_that_the_trail_does_not_know_is_asked_after_in_three_checks(account: Account) -> None:
    for number in range(5):
        record.record(looked(of_key(RELEASE), execution=f"arn:{number}"), SETTINGS, NOW)
    assert account.asked == ["i-1"] * 3


def test_who_did_it_is_looked_for_since_the_check_before_it_was_first_found(account: Account) -> None:
    """CloudTrail is some minutes late: the next check finds who did what this one found."""
    record.record(looked(), SETTINGS, NOW)
    for day in (1, 2):
        record.record(
            looked(of_key(RELEASE), execution=f"arn:day {day}"), SETTINGS, NOW + timedelta(days=day)
        )
    assert account.since == [NOW - record.SLACK] * 2


def test_what_the_first_check_finds_may_have_been_done_long_ago(account: Account) -> None:
    record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    record.record(looked(of_key(RELEASE), execution="arn:2"), SETTINGS, NOW + timedelta(days=1))
    assert account.since[0] == NOW - record.TRAIL
    assert account.since[1] < NOW


def test_what_slipway_itself_did_is_nobody_s_deed() -> None:
    def of(role: str, session: str) -> dict[str, Any]:
        arn = f"arn:aws:sts::1:assumed-role/{role}/{session}"
        told = {
            **event("CreateDBSnapshot", session),
            "CloudTrailEvent": json.dumps({"userIdentity": {"arn": arn}}),
        }
        return dict(told)

    ours = of("slipway-CreateRestorePointFunctionRole-1ABC", "slipway-create-restore-point")
    named = trail.who([ours, event()], OWN)
    assert named is not None
    assert named["name"] == "eve"
    theirs = of("slipway-operators", "martha")
    named = trail.who([theirs, event()], OWN)
    assert named is not None
    assert named["name"] == "martha"


def test_a_trail_that_is_refused_names_nobody(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise refused("AccessDeniedException", "LookupEvents")

    monkeypatch.setattr(cloudtrail, "events", refuse)
    record.record(looked(of_key(RELEASE)), SETTINGS, NOW)
    assert account.latest()["findings"][0]["who"] is None


# --- findings ---------------------------------------------------------------------------------------------


def test_a_look_hands_on_the_worst_and_says_how_many_it_leaves_out() -> None:
    found = [of_key(f"server_restarted|i-{number:03d}|") for number in range(100)] + [
        of_key("server_release|i-x|")
    ]
    handed = bounded(found)
    assert handed["more"] == 41
    assert handed["findings"][0]["kind"] == "server_release"
    assert handed["findings"] == worst_first(handed["findings"])
    assert len(json.dumps(handed)) < 256 * 1024 / 3


def test_a_look_of_long_findings_fits_into_its_part_of_a_payload() -> None:
    long = [of_key(f"server_release|i-{number}|", found="\u20ac" * 400) for number in range(60)]
    handed = bounded(long)
    assert 0 < len(handed["findings"]) < 60
    assert len(handed["findings"]) + handed["more"] == 60
    assert len(json.dumps(handed)) <= 51 * 1024


def test_what_is_remembered_fits_into_the_table_however_long_more_is_found_than_told(
    account: Account,
) -> None:
    """While a look leaves findings out, what was found before may be there all the same: it is kept."""
    for number in range(12):
        found = [
            of_key(f"server_release|i-{number}-{server}|", found="x" * 400, remedy="y" * 400)
            for server in range(120)
        ]
        seen = looked(*found, execution=f"arn:{number}")
        record.record(replace(seen, servers={**seen.servers, "more": int(number < 9)}), SETTINGS, NOW)
        [item] = account.items.values()
        assert len(item["document"]) < 400_000
        kept = json.loads(item["document"])["findings"]
        assert {one["key"] for one in found} <= kept.keys()


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 10_000)) == 401


def test_a_message_names_twenty_and_counts_the_others() -> None:
    told = report.message("found", [of_key(f"server_release|i-{number}|") for number in range(30)], "s3://x")
    assert (len(told["findings"]), told["more"]) == (20, 10)
    assert told["what"].startswith("30 findings are new: 30 high\n")
