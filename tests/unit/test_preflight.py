"""Every check of the preflight: quiet when all is well, and what it says when it is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway import failure, preflight
from slipway.preflight import Unknown

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ARCHIVE = {
    "sha256": "0" * 64,
    "bytes": 30 * 2**20,
    "unpackedBytes": 100 * 2**20,
    "members": 900,
    "trouble": "",
    "ruby": "3.4.1",
    "rails": "8.0.1",
    "bundledGems": True,
    "files": ["Gemfile", "Gemfile.lock", "config.ru"],
    "migrations": [],
    "migrationsInAll": 0,
}
REPORT = {
    "ruby": "3.4.1",
    "staged": ["r1"],
    "disk": {"sizeMiB": 8000, "freeMiB": 4000, "freeInodes": 10000},
    "memory": {"totalMiB": 1000, "availableMiB": 500, "applicationMiB": 150},
}


def request(**parts: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "environment": {
            "name": "arable",
            "domain": {"name": "arable.example", "dns": "route53", "hostedZoneId": ""},
            "web": {"ruby": "3.4", "min": 2, "desired": 2, "max": 4},
            "secrets": {"API_KEY": "slipway/arable/api-key"},
        },
        "release": {"id": "r2", "artifact": "s3://b/releases/r2.tar.gz", "migrate": True, "backup": True},
        "rollout": {"strategy": "drain", "canary": 1, "batch": "25%", "alarms": ["errors"]},
        "archive": ARCHIVE,
        "previous": {"id": "r1"},
    }
    for part, change in parts.items():
        whole[part] = {**whole[part], **change} if isinstance(change, dict) and whole[part] else change
    return whole


def server(name: str, **changes: Any) -> dict[str, Any]:
    return {"id": name, "zone": "a", "state": "InService", "agent": "Online", **changes}


def answer(name: str, **changes: Any) -> dict[str, Any]:
    result = {**REPORT, **changes}
    return {"server": name, "status": "Success", "result": result, "fine": True, "why": ""}


def target(name: str, state: str = "healthy") -> dict[str, str]:
    return {"server": name, "state": state, "reason": "" if state == "healthy" else "answers 500"}


def facts(**changes: Any) -> dict[str, Any]:
    """All is well with a next release to two servers, but for the changes."""
    return {
        "now": NOW,
        "request": request(),
        "fleet": {"name": "group", "desired": 2, "instances": [server("i-1"), server("i-2")]},
        "targets": [target("i-1"), target("i-2")],
        "artifact": None,
        "reports": [answer("i-1"), answer("i-2")],
        "alarms": {"errors": "OK"},
        "secrets": {"slipway/arable/api-key": "there"},
        "database": {"id": "slipway-db", "arn": "arn:db", "status": "available"},
        "maintenance": [],
        "snapshot": {"name": "before-r2", "status": None},
        "certificate": {"arn": "arn:certificate", "until": NOW + timedelta(days=100), "renewal": ""},
        "zone": {"zone": "arable.example", "servers": ["ns1", "ns2"], "delegated": ["ns2", "ns1"]},
        "quotas": [],
        **changes,
    }


def found(**changes: Any) -> list[tuple[str, str, str]]:
    """(problem or warning, check, where) of everything that is found."""
    judgement = preflight.judged(facts(**changes))
    return [
        (kind, one["check"], one["where"]) for kind in ("problems", "warnings") for one in judgement[kind]
    ]


def said(**changes: Any) -> str:
    """The one thing that is found, as text."""
    judgement = preflight.judged(facts(**changes))
    (one,) = [*judgement["problems"], *judgement["warnings"]]
    return f"{one['what']}; {one['next']}"


def test_all_is_well() -> None:
    assert preflight.judged(facts()) == {"problems": [], "warnings": []}


def test_a_first_release_has_nothing_that_could_be_looked_at() -> None:
    nothing = dict.fromkeys(
        ("fleet", "targets", "reports", "database", "maintenance", "snapshot", "certificate"), None
    )
    first = {**nothing, "request": request(previous=None), "zone": None}
    assert found(**first) == [("warnings", "delegation", "environment.domain.name")]


@pytest.mark.parametrize(
    ("archive", "what"),
    [
        ({"trouble": "is not a whole tar.gz (it ends in the middle)"}, "is not a whole tar.gz"),
        ({"files": ["Gemfile"]}, "has no Gemfile.lock, no config.ru at its root"),
    ],
)
def test_the_archive(archive: dict[str, Any], what: str) -> None:
    changed = request(archive=archive)
    assert found(request=changed) == [("problems", "archive", "release.artifact")]
    assert what in said(request=changed)


def test_a_release_that_is_brought_back_needs_no_archive_while_servers_have_it() -> None:
    back = request(archive=None, release={"id": "r1"})
    assert found(request=back, artifact=False) == []
    assert found(request=back, artifact=True, reports=[answer("i-1", staged=[])]) == []
    assert found(request=back, artifact=False, reports=[answer("i-1"), answer("i-2", staged=["r3"])]) == [
        ("problems", "kept release", "server i-2")
    ]
    assert found(request=back, artifact=False, reports=None) == [("problems", "kept release", "release.id")]


@pytest.mark.parametrize("wanted", ["3.1.2", "3.3", "2.7.8"])
def test_another_ruby(wanted: str) -> None:
    changed = request(archive={"ruby": wanted, "rails": None})
    assert found(request=changed) == [("problems", "ruby", "environment.web.ruby")]
    assert f"the release wants Ruby {wanted}, and the servers have 3.4" in said(request=changed)


def test_the_last_number_of_ruby_is_a_warning() -> None:
    assert found(reports=[answer("i-1", ruby="3.4.7"), answer("i-2")]) == [("warnings", "ruby", "server i-1")]
    # A server whose Ruby will be replaced, or that has none yet, says nothing.
    assert found(reports=[answer("i-1", ruby="3.2.1"), answer("i-2", ruby=None)]) == []
    assert found(request=request(archive={"ruby": "3.4"}), reports=[answer("i-1")]) == []
    assert found(request=request(archive={"ruby": None})) == []


@pytest.mark.parametrize(
    ("rails", "ruby", "problem"),
    [
        ("8.0.1", "3.1", True),
        ("8.1.0", "3.1", True),
        ("8.0.1", "3.2", False),
        ("7.2.2", "3.1", False),
        ("6.1.7.10", "3.1", False),
        (None, "3.1", False),
    ],
)
def test_rails_against_ruby(rails: str | None, ruby: str, problem: bool) -> None:
    changed = request(archive={"rails": rails, "ruby": None}, environment={"web": {"ruby": ruby}})
    assert found(request=changed) == ([("problems", "rails", "environment.web.ruby")] if problem else [])


def test_agents() -> None:
    def fleet(*instances: dict[str, Any]) -> dict[str, Any]:
        return {"name": "group", "desired": 2, "instances": list(instances)}

    silent = fleet(server("i-1"), server("i-2", agent="ConnectionLost"))
    assert found(fleet=silent) == [("problems", "agents", "server i-2")]
    assert "its agent is ConnectionLost" in said(fleet=silent)
    assert found(fleet=fleet(server("i-1"), server("i-2", agent=None))) == [
        ("warnings", "agents", "server i-2")
    ]
    on_its_way = fleet(server("i-1"), server("i-2", state="Pending", agent=None))
    assert ("warnings", "agents", "group group") in found(fleet=on_its_way)
    assert found(fleet=silent, request=request(previous=None), reports=None) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": "InProgress"}, "has not answered in time"),
        ({"status": "Failed", "why": "df: no such file"}, "cannot say what it runs: df: no such file"),
    ],
)
def test_servers_that_do_not_answer(changes: dict[str, Any], what: str) -> None:
    mute = {**answer("i-2"), "result": None, "fine": False, **changes}
    assert found(reports=[answer("i-1"), mute]) == [("problems", "servers", "server i-2")]
    assert what in said(reports=[answer("i-1"), mute])


def test_room_on_the_disk() -> None:
    assert preflight.room_needed(ARCHIVE) == 31 + 2 * 101 + 64
    assert preflight.room_needed({"bytes": 1, "unpackedBytes": 1}) == 256, "stage asks for that in any case"
    full = {"disk": {"sizeMiB": 8000, "freeMiB": 200, "freeInodes": 1}}
    assert found(reports=[answer("i-1"), answer("i-2", **full)]) == [("problems", "disk", "server i-2")]
    assert "i-2 has 200 MiB, the release needs 297 MiB (it unpacks to 101 MiB)" in said(
        reports=[answer("i-1"), answer("i-2", **full)]
    )
    # It has the release already; it reports as an older Slipway did.
    assert found(reports=[answer("i-1", staged=["r2"], **full), answer("i-2", disk=None)]) == []


def test_memory_for_two_releases_is_asked_for_side_by_side_alone() -> None:
    short = [answer("i-1", memory={"totalMiB": 500, "availableMiB": 200, "applicationMiB": 150})]
    assert found(reports=short) == []
    beside = request(rollout={"strategy": "side_by_side"})
    assert found(reports=short, request=beside) == [("warnings", "memory", "server i-1")]
    assert found(request=beside) == []


def test_who_serves_nobody_is_named_and_no_obstacle() -> None:
    """It may be new: no release would ever reach it."""
    ill = [target("i-1"), target("i-2", "unhealthy")]
    assert found(targets=ill) == [("warnings", "capacity", "server i-2")]
    assert "it is unhealthy (answers 500); it gets the release before any other" in said(targets=ill)
    assert found(targets=ill, request=request(rollout={"strategy": "side_by_side"})) == []
    assert found(targets=ill, request=request(previous=None)) == []
    alone = {"name": "group", "desired": 1, "instances": [server("i-1")]}
    assert found(fleet=alone, targets=[target("i-1")]) == [("warnings", "capacity", "server i-1")]


def test_alarms() -> None:
    assert found(alarms={}) == [("problems", "alarms", "rollout.alarms")]
    assert "there is no alarm errors" in said(alarms={})
    assert found(alarms={"errors": "ALARM"}) == [("warnings", "alarms", "rollout.alarms")]


@pytest.mark.parametrize(
    ("state", "kind", "what"),
    [
        ("missing", "problems", "slipway/arable/api-key is not in Secrets Manager"),
        ("deleted", "problems", "is scheduled for deletion; restore it"),
        (Unknown("AWS answered AccessDenied"), "warnings", "could not be checked: AWS answered AccessDenied"),
    ],
)
def test_secrets(state: Any, kind: str, what: str) -> None:
    seen = {"slipway/arable/api-key": state}
    assert found(secrets=seen) == [(kind, "secrets", "environment.secrets.API_KEY")]
    assert what in said(secrets=seen)


def test_a_database_that_is_lost() -> None:
    lost = {"id": "slipway-db", "arn": "arn", "status": "storage-full"}
    assert found(database=lost) == [("problems", "database", "DB instance slipway-db")]


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (NOW + timedelta(minutes=90), "problems"),
        (NOW - timedelta(minutes=30), "problems"),
        (NOW + timedelta(hours=3), "warnings"),
        (NOW - timedelta(days=2), "warnings"),
        (None, "warnings"),
    ],
)
def test_maintenance(at: datetime | None, kind: str) -> None:
    pending = [{"action": "system-update", "at": at}]
    assert found(maintenance=pending) == [(kind, "maintenance", "DB instance slipway-db")]


def test_the_name_of_the_restore_point() -> None:
    taken = {"name": "before-r2", "status": "available"}
    assert found(snapshot=taken) == [("problems", "restore point", "DB snapshot before-r2")]
    assert found(snapshot=None) == []


@pytest.mark.parametrize(
    ("days", "kind"), [(-1, "problems"), (0, "problems"), (1, "warnings"), (29, "warnings"), (30, None)]
)
def test_days_left_of_the_certificate(days: int, kind: str | None) -> None:
    until = NOW + timedelta(days=days, hours=1)
    seen = {"arn": "arn:certificate", "until": until, "renewal": "FAILED"}
    assert found(certificate=seen) == ([(kind, "certificate", "certificate arn:certificate")] if kind else [])


def test_a_certificate_that_is_not_issued_yet_has_no_end() -> None:
    assert found(certificate={"arn": "arn:certificate", "until": None, "renewal": ""}) == []


@pytest.mark.parametrize(
    ("delegated", "previous", "zone_id", "kind"),
    [
        (["ns9"], {"id": "r1"}, "", "problems"),
        ([], None, "Z1", "problems"),
        ([], None, "", "warnings"),  # the release waits for it, and says who has to do what
        (None, {"id": "r1"}, "", "warnings"),
    ],
)
def test_delegation(delegated: list[str] | None, previous: Any, zone_id: str, kind: str) -> None:
    domain = {"name": "arable.example", "dns": "route53", "hostedZoneId": zone_id}
    zone = {"zone": "arable.example", "servers": ["ns1", "ns2"], "delegated": delegated}
    changed = request(previous=previous, environment={"domain": domain})
    assert found(zone=zone, request=changed) == [(kind, "delegation", "environment.domain.name")]


def test_a_domain_that_somebody_else_answers_for_is_not_looked_at() -> None:
    domain = {"name": "arable.example", "dns": "elsewhere", "hostedZoneId": ""}
    assert found(zone=None, request=request(environment={"domain": domain})) == []


def quota(**changes: Any) -> dict[str, Any]:
    names = {"name": "VPCs per Region", "service": "vpc", "code": "L-F678F1CE", "why": "its own VPC"}
    return {**names, "needed": 1, "used": 4, "quota": 5.0, "must": True, **changes}


def test_quotas() -> None:
    assert found(quotas=[quota()]) == []
    assert found(quotas=[quota(used=5)]) == [("problems", "quotas", "quota VPCs per Region")]
    assert "its own VPC takes 1, 5 are in use, and 5 are allowed" in said(quotas=[quota(used=5)])
    assert "--service-code vpc --quota-code L-F678F1CE --desired-value 6" in said(quotas=[quota(used=5)])
    assert found(quotas=[quota(used=5, must=False)]) == [("warnings", "quotas", "quota VPCs per Region")]


@pytest.mark.parametrize("part", ["needed", "used", "quota"])
def test_a_quota_that_cannot_be_read_is_a_warning(part: str) -> None:
    unknown = quota(**{part: Unknown("AWS answered AccessDeniedException to GetServiceQuota")})
    assert found(quotas=[unknown]) == [("warnings", "quotas", "quota VPCs per Region")]
    assert "could not be checked: AWS answered AccessDeniedException" in said(quotas=[unknown])


LOOKED_UP = ("fleet", "targets", "artifact", "reports", "alarms", "database", "maintenance", "snapshot")


@pytest.mark.parametrize("name", [*LOOKED_UP, "certificate", "zone"])
def test_what_could_not_be_looked_up_is_a_warning(name: str) -> None:
    judgement = preflight.judged(facts(**{name: Unknown("AWS answered Throttling to Describe")}))
    assert judgement["problems"] == []
    assert judgement["warnings"]
    for warning in judgement["warnings"]:
        assert warning["what"] == "could not be checked: AWS answered Throttling to Describe"


def test_every_check_names_facts_that_there_are() -> None:
    assert {name for check in preflight.CHECKS for name in check.needs} <= facts().keys()
    assert len({check.name for check in preflight.CHECKS}) == len(preflight.CHECKS)


# --- the refusal ------------------------------------------------------------------------------------------


def test_all_problems_at_once() -> None:
    judgement = preflight.judged(
        facts(
            request=request(archive={"ruby": "3.1.2"}),
            alarms={},
            secrets={"slipway/arable/api-key": "missing"},
            certificate=Unknown("AWS was not reached"),
        )
    )
    error = preflight.failed(judgement)
    explained = failure.explain(request(), "PreflightFailed", str(error), "preflight", None)
    assert explained["ending"] == "FailedClean"
    assert explained["what"].startswith("3 problems before the first change: (1) environment.web.ruby: ")
    for one in judgement["problems"]:
        assert f"{one['where']}: {one['what']}; {one['next']}" in explained["what"]
    assert explained["next"].startswith("Release r1 serves as before. nothing was changed")
    assert explained["details"]["problems"] == judgement["problems"]
    assert [one["check"] for one in explained["details"]["warnings"]] == ["certificate"]


def test_the_refusal_of_a_thousand_servers_fits_into_a_cause() -> None:
    """A Fail state's cause has at most 32,768 characters."""
    names = [f"i-{number:017d}" for number in range(1000)]
    full = {"disk": {"sizeMiB": 1, "freeMiB": 0, "freeInodes": 0}, "ruby": "3.4.9"}
    lost = [server(name, agent="ConnectionLost") for name in names]
    judgement = preflight.judged(
        facts(
            reports=[
                *(answer(name, **full) for name in names[:500]),
                *(
                    {**answer(name), "fine": False, "status": "Failed", "why": "x" * 5000}
                    for name in names[500:]
                ),
            ],
            fleet={"name": "group", "desired": 1000, "instances": lost},
            targets=[target(name) for name in names],
        )
    )
    explained = failure.explain(
        request(), "PreflightFailed", str(preflight.failed(judgement)), "preflight", None
    )
    assert len(json.dumps(explained)) < 30_000
    assert "and 990 more" in explained["what"]


def test_names_that_a_tear_down_kept_are_taken() -> None:
    kept = "slipway/arable/secret-key-base"
    assert found(kept=kept, request=request(previous=None)) == [("problems", "names", "environment.name")]
    assert found(kept=None) == found(kept=Unknown("AWS answered Throttling")) == []
