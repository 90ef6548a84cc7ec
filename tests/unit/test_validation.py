"""The whole validation, with a table and a bucket."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import boto3
import pytest

from slipway import artifact, records, tiers, validation
from slipway.errors import InvalidInput
from tests.unit.conftest import BUCKET, TABLE, event
from validate_input.app import handler

CONTENT = b"the application" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "releases/arable.tar.gz"
RELEASE = {"id": "1", "artifact": f"s3://{BUCKET}/{KEY}", "sha256": SHA256}

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture(autouse=True)
def _uploaded(aws: None) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=CONTENT)


def ask(given: Any) -> dict[str, Any]:
    return handler({"input": given, "execution": {"arn": "a", "name": "n", "startedAt": "s"}}, None)


def problems_of(given: Any) -> list[dict[str, str]]:
    with pytest.raises(InvalidInput) as raised:
        ask(given)
    problems: list[dict[str, str]] = json.loads(str(raised.value))["problems"]
    return problems


def full(**changes: Any) -> dict[str, Any]:
    return {**event("first-release"), "release": {**RELEASE, **changes}}


def test_a_first_release() -> None:
    answer = ask(full())
    assert answer["previous"] is None
    assert answer["release"] == {**RELEASE, "migrate": True, "backup": True}
    assert answer["rollout"]["drainSeconds"] == 30
    assert answer["environment"]["web"]["imageId"] == ""


def test_it_changes_nothing() -> None:
    ask(full())
    assert boto3.client("dynamodb").scan(TableName=TABLE)["Count"] == 0
    assert boto3.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


def test_by_name(environment: dict[str, Any]) -> None:
    before = {"id": "0", "artifact": "s3://artifacts/releases/0.tar.gz", "sha256": "b" * 64, "migrate": True}
    records.set_current(environment, before, 1)
    answer = ask({"environment": "arable", "release": RELEASE})
    assert answer["environment"] == environment
    assert answer["previous"] == {key: before[key] for key in ("id", "artifact", "sha256")}


def test_a_record_of_an_older_version_is_completed(environment: dict[str, Any]) -> None:
    del environment["secrets"]
    records.set_current(environment, {**RELEASE, "migrate": True}, 1)
    assert ask({"environment": "arable", "release": RELEASE})["environment"]["secrets"] == {}


# --- what was released before -----------------------------------------------------------------------------


def released(environment: dict[str, Any], name: str, moment: str, ending: str = "Succeeded") -> None:
    """A release in the history, of this content."""
    release = {**RELEASE, "id": name, "migrate": True, "backup": True}
    if ending == "Succeeded":
        records.set_current(environment, release, 1, {"web": {"Group": "g"}}, tiers.digest())
    records.add_history(
        "arable",
        moment,
        name,
        f"run-{name}",
        {"release": release, "ending": ending, "migrations": {"ran": ["2026"]}},
    )


def test_the_same_input_again_is_known_as_that(environment: dict[str, Any]) -> None:
    released(environment, "1", "2026-11-22T10:00:00Z")
    assert ask(full())["recorded"] == {"same": True, "outputs": {"web": {"Group": "g"}}}
    assert ask({"environment": "arable", "release": RELEASE})["recorded"]["same"]


def test_what_is_not_the_same(environment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    other = full()
    other["environment"]["variables"] = {"A": "b"}
    assert ask(full())["recorded"] == {"same": False, "outputs": {}}
    released(environment, "1", "2026-11-22T10:00:00Z")
    assert not ask(other)["recorded"]["same"]
    assert not ask(full(id="2"))["recorded"]["same"]
    monkeypatch.setattr(tiers, "digest", lambda: "of another version of Slipway")
    assert not ask(full())["recorded"]["same"]


def test_after_a_failure_nothing_is_taken_as_recorded(environment: dict[str, Any]) -> None:
    released(environment, "1", "2026-11-22T10:00:00Z")
    released(environment, "2", "2026-11-22T11:00:00Z", "FailedClean")
    assert not ask(full())["recorded"]["same"]


def test_back_to_the_release_before(environment: dict[str, Any]) -> None:
    released(environment, "1", "2026-11-22T10:00:00Z")
    released(environment, "2", "2026-11-22T11:00:00Z")
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=KEY)  # the servers have it still
    answer = ask({"environment": "arable", "release": {"id": "previous"}})
    assert answer["release"] == {**RELEASE, "migrate": False, "backup": True}
    assert answer["backTo"]["migrationsSince"] == [{"release": "2", "migrations": ["2026"]}]
    assert answer["previous"]["id"] == "2"


def test_a_request_is_brought_up_to_date(environment: dict[str, Any]) -> None:
    """Another release ended between its validation and its lock."""
    released(environment, "1", "2026-11-22T10:00:00Z")
    given = {"environment": "arable", "release": {**RELEASE, "id": "3"}}
    validated = ask(given)
    changed = {**environment, "web": {**environment["web"], "max": 7}}
    released(changed, "2", "2026-11-22T11:00:00Z")
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=KEY)  # it was looked at once
    now = validation.again({**validated, "more": "of other states"}, given)
    assert (validated["previous"]["id"], now["previous"]["id"]) == ("1", "2")
    assert now["environment"]["web"]["max"] == 7
    assert (now["archive"], now["more"]) == (validated["archive"], "of other states")


def test_the_release_before_is_the_one_before_what_serves_now(environment: dict[str, Any]) -> None:
    released(environment, "1", "2026-11-22T10:00:00Z")
    released(environment, "2", "2026-11-22T11:00:00Z")
    given = {"environment": "arable", "release": {"id": "previous"}}
    validated = ask(given)
    released(environment, "3", "2026-11-22T12:00:00Z")
    assert validated["release"]["id"] == "1"
    assert validation.again(validated, given)["release"]["id"] == "2"


def test_what_cannot_be_released_any_more_is_refused(environment: dict[str, Any]) -> None:
    validated = ask(full())
    records.register({"name": "other", "network": {"cidr": "10.20.0.0/20"}})
    with pytest.raises(InvalidInput, match="overlaps"):
        validation.again(validated, full())


def test_a_remedy_of_what_serves(environment: dict[str, Any]) -> None:
    serves = {"id": "0", "artifact": "s3://artifacts/releases/0.tar.gz", "sha256": "b" * 64, "migrate": True}
    records.set_current(environment, serves, 1)
    answer = ask({"environment": "arable", "release": {"id": "current"}, "remedy": True})
    assert answer["release"] == {**serves, "migrate": False, "backup": True}
    assert answer["remedy"] is True
    assert answer["backTo"] is None
    assert answer["previous"]["id"] == "0"


def test_back_to_what_never_was(environment: dict[str, Any]) -> None:
    released(environment, "1", "2026-11-22T10:00:00Z")
    (problem,) = problems_of({"environment": "arable", "release": {"id": "7"}})
    assert problem["path"] == "release.id"


def test_an_unknown_name() -> None:
    (problem,) = problems_of({"environment": "harable", "release": RELEASE})
    assert problem["path"] == "environment"
    assert "no release has succeeded" in problem["what"]


def test_a_missing_artifact() -> None:
    (problem,) = problems_of(full(artifact=f"s3://{BUCKET}/releases/other.tar.gz"))
    assert problem["path"] == "release.artifact"
    assert "not there" in problem["what"]


@pytest.mark.parametrize("where", ["s3://elsewhere/releases/a.tar.gz", f"s3://{BUCKET}/receipts/a.tar.gz"])
def test_an_artifact_that_servers_may_not_read(where: str) -> None:
    (problem,) = problems_of(full(artifact=where))
    assert problem["path"] == "release.artifact"
    assert problem["allowed"] == f"s3://{BUCKET}/releases/….tar.gz"


def test_another_sha256() -> None:
    (problem,) = problems_of(full(sha256="0" * 64))
    assert problem["path"] == "release.sha256"
    assert SHA256 in problem["what"]


def test_all_problems_at_once() -> None:
    given = full(sha256="0" * 64)
    given["environment"]["web"].update(min=3, max=2, ruby="3.1")
    given["environment"]["network"]["cidr"] = "8.8.0.0/16"
    assert [problem["path"] for problem in problems_of(given)] == [
        "environment.network.cidr",
        "environment.web.min",
        "environment.web.ruby",
        "release.sha256",
    ]


def test_the_network_of_another_environment(environment: dict[str, Any]) -> None:
    records.register({**environment, "name": "shop"})
    (problem,) = problems_of(full())
    assert "overlaps 10.20.0.0/16 of the environment shop" in problem["what"]


def test_the_text_of_the_error_is_an_explanation() -> None:
    with pytest.raises(InvalidInput) as raised:
        ask({"environment": "arable", "release": {**RELEASE, "id": "a b"}, "dry": 1})
    told = json.loads(str(raised.value))
    assert told["what"].endswith("(and 1 more)")
    assert told["where"] == "release.id, dry"
    assert "nothing was changed" in told["next"]


def test_a_checksum_that_s3_knows_is_not_computed_again() -> None:
    checksum = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert artifact.known_sha256({"ChecksumSHA256": checksum, "ChecksumType": "FULL_OBJECT"}) == SHA256
    assert artifact.known_sha256({"ChecksumSHA256": checksum}) == SHA256


@pytest.mark.parametrize(
    "head", [{}, {"ChecksumSHA256": "AAAA-3"}, {"ChecksumSHA256": "AAAA", "ChecksumType": "COMPOSITE"}]
)
def test_a_checksum_of_parts_is_none(head: dict[str, str]) -> None:
    assert artifact.known_sha256(head) is None
