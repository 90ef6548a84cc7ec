"""Every ending of a release, state by state, as the shipped definitions walk it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from explain_failure.app import handler as explain
from slipway import failure, preflight
from tests.workflow.engine import SHORT, Answer, Engine, Execution, Functions, TaskError
from tests.workflow.fleet import (
    OUTPUTS,
    always,
    busy,
    complete,
    fails,
    fleet,
    in_progress,
    locked,
    pending,
    plan,
    planned,
    ready,
    request,
    running,
    saying_nothing,
    snapshot,
    standing,
    succeeded,
    then,
    unchanged,
    when,
    without_the_first,
)

# How the end of a child execution is reported: both ways must lead to the same endings.
both = pytest.mark.parametrize("as_on_aws", [False, True], ids=["error-as-emulated", "error-as-on-aws"])

BEGUN = ["ValidateInput", "PlanWanted?", "AcquireLock", "NotifyStarted", "SameAsCurrent?"]
COMPARED = [*BEGUN, "Preflight", "CompareTiers", "NetworkStands?"]
BEFORE_FOUNDATIONS = [*COMPARED, "DeployNetwork", "Foundations"]
TO_MIGRATIONS = [
    *("LoadBalancerStands?", "DeployLoadBalancer", "Configure", "Configured?"),
    "MigrationsPending?",
]
TO_ROLL_OUT = [*TO_MIGRATIONS, "RollOut"]
WAVE = ["DrainServers", "Drained?", "Activate", "Activated?", "RestoreServers", "Healthy?"]
FAILED = [
    *("ExplainFailure", "Begun?", "ResumeAfterFailure", "RecordFailure", "FreeLock", "NotifyFailure"),
    "Clean?",
]


def release(
    functions: Functions, *, as_on_aws: bool = False, seconds: Mapping[str, str] | None = None
) -> Execution:
    with Engine(functions, as_on_aws=as_on_aws, seconds=seconds).running() as engine:
        return engine.run({"as": "given"})


def main_path(execution: Execution) -> list[str]:
    """The states of the release itself, without those inside the branches of Foundations."""
    inside = {
        *(
            "DatabaseStands?",
            "DeployDatabase",
            "CheckDatabase",
            "DatabaseReady?",
            "WaitForDatabase",
            "CreateDatabase",
            "DatabaseTimedOut",
        ),
        *("CertificateStands?", "CertificateStanding", "DeployCertificate"),
        *("StorageStands?", "StorageStanding", "DeployStorage"),
        *(
            "WebStands?",
            "DeployWeb",
            "CheckServers",
            "ServersReady?",
            "WaitForServers",
            "SuspendScaling",
            *("Stage", "Staged?", "AwaitStage", "WebStaged"),
            "ServersTimedOut",
        ),
    }
    return [state for state in execution.of("Release") if state not in inside]


def branch(execution: Execution, *names: str) -> list[str]:
    return [state for state in execution.of("Release") if state in names]


def events(functions: Functions) -> list[str]:
    return [payload["event"] for payload in functions.payloads("Notify")]


def asked(functions: Functions) -> str:
    """The server that was to say which migrations are pending."""
    [given] = [one["parameters"] for one in functions.payloads("StartCommand") if one["step"] == "configure"]
    return str(given["PendingOn"])


def steps(functions: Functions) -> list[tuple[str, tuple[str, ...]]]:
    return [(payload["step"], tuple(payload["servers"])) for payload in functions.payloads("StartCommand")]


# --- success -----------------------------------------------------------------------------------------------


def test_a_release_with_nothing_to_wait_for_walks_exactly_these_states() -> None:
    functions = fleet()
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    assert execution.output == {"ending": "Succeeded", "release": "r2"}
    after = [
        "Report",
        "Reported?",
        "VerifyRelease",
        "Verified?",
        "RecordRelease",
        "ResumeScaling",
        "ReleaseLock",
        "Notify",
    ]
    assert main_path(execution) == [*BEFORE_FOUNDATIONS, *TO_ROLL_OUT, *after]
    assert branch(execution, "DeployDatabase", "CheckDatabase", "DatabaseReady?", "CreateDatabase") == [
        *("DeployDatabase", "CheckDatabase", "DatabaseReady?", "CreateDatabase"),
    ]
    web = ["DeployWeb", "CheckServers", "ServersReady?", "SuspendScaling", "Stage", "Staged?", "WebStaged"]
    assert branch(execution, *web) == web
    for tier in ("network", "certificate", "database", "storage", "web", "load-balancer"):
        assert execution.of(f"DeployTier/{tier}") == ["PlanTier", "Planned?", "Unchanged"]
    assert not [machine for machine in execution.machines() if machine.startswith("AwaitCommand")]
    assert execution.of("RollOut/roll-out") == ["AnyWave?", *WAVE, *WAVE, "RolledOut"]
    assert events(functions) == ["release started", "succeeded"]


def test_each_step_runs_on_the_servers_that_it_is_for() -> None:
    functions = fleet()
    release(functions)

    both_servers = ("i-1", "i-2")
    assert steps(functions) == [
        ("stage", both_servers),
        ("configure", both_servers),
        ("activate", ("i-1",)),
        ("activate", ("i-2",)),
        ("report", both_servers),
    ]


def test_one_server_alone_asks_which_migrations_are_pending() -> None:
    functions = fleet()
    release(functions)
    assert asked(functions) == "i-1"
    [recorded] = functions.payloads("RecordRelease")
    assert recorded["migrations"]["found"]["pending"] == []


def warmed(functions: Functions) -> str:
    """The servers that were to start the release before their turn; each knows whether it may."""
    given = {one["step"]: one["parameters"] for one in functions.payloads("StartCommand")}
    assert given["stage"]["WarmOn"] == given["configure"]["WarmOn"]
    return str(given["stage"]["WarmOn"])


@pytest.mark.parametrize(
    ("asked", "servers", "expected"),
    [
        ({"strategy": "side_by_side"}, ("i-1", "i-2"), "i-1"),  # the first wave
        ({"strategy": "drain"}, ("i-1", "i-2"), "none"),
        ({"strategy": "side_by_side", "migrate": False}, ("i-1", "i-2"), "none"),
        ({"strategy": "side_by_side", "remedy": True}, ("i-1", "i-2"), "none"),
    ],
)
def test_the_first_wave_starts_the_release_before_its_turn(
    asked: dict[str, Any], servers: tuple[str, ...], expected: str
) -> None:
    functions = fleet(servers, ValidateInput=always(request(**asked)))
    assert release(functions).status == "SUCCEEDED"
    assert warmed(functions) == expected


@pytest.mark.parametrize("number", [2, 50, 51])
def test_a_first_wave_of_many_starts_it_as_long_as_one_command_reaches_them(number: int) -> None:
    servers = tuple(f"i-{n}" for n in range(number))
    at_once = {"status": "ready", "servers": [{"id": name} for name in servers], "detail": "", "joining": []}
    wave = [{"servers": list(servers)}]
    functions = fleet(
        servers,
        ValidateInput=always(request(strategy="side_by_side")),
        CheckServers=always({**at_once, "waves": wave, "drainWaves": wave}),
    )
    assert release(functions).status == "SUCCEEDED"
    assert warmed(functions) == (",".join(servers) if number <= 50 else "none")


def test_a_first_release_waits_for_everything_and_has_no_old_one() -> None:
    functions = fleet(
        ValidateInput=always(request(previous=None)),
        PlanTier=planned,
        CheckTier=lambda payload: tier_checks[payload["tier"]](payload),
        CheckDatabase=then(
            always({"status": "waiting", "detail": "creating"}), always({"status": "ready", "detail": ""})
        ),
        CheckServers=then(
            always(
                {"status": "waiting", "servers": [], "waves": [], "drainWaves": [], "detail": "0 of 1 online"}
            ),
            ready("i-1"),
        ),
        StartCommand=running,
        CheckCommand=lambda payload: command_checks[payload["step"]](payload),
        DrainServers=always({"status": "draining"}),
        RestoreServers=always({"status": "waiting", "targets": []}),
        VerifyRelease=then(
            always({"status": "waiting", "detail": "503", "url": "", "targets": []}),
            always({"status": "verified", "detail": "", "url": "", "targets": []}),
        ),
    )
    tier_checks = {tier: then(in_progress, complete) for tier in OUTPUTS}
    command_checks = {step: then(running, succeeded) for step in ("stage", "configure", "activate", "report")}
    execution = release(functions)

    assert execution.status == "SUCCEEDED", execution.cause
    applied = ["PlanTier", "Planned?", "ApplyTier", "CheckTier", "Deployed?"]
    again = ["WaitForTier", "Applied?", "CheckTier", "Deployed?", "Deployed"]
    assert execution.of("DeployTier/network") == [*applied, *again]
    assert execution.of("DeployTier/certificate") == [*applied, "CheckCertificate", "RecordMissing?", *again]
    for step in ("stage", "configure", "report"):
        assert execution.of(f"AwaitCommand/{step}") == [
            *("WaitForCommand", "CheckCommand", "Completed?"),
            *("WaitForCommand", "CheckCommand", "Completed?", "Completed"),
        ]
    assert branch(execution, "Stage", "Staged?", "AwaitStage", "WebStaged") == [
        *("Stage", "Staged?", "AwaitStage", "WebStaged"),
    ]
    assert branch(execution, "Configure", "Configured?", "AwaitConfigure", "MigrationsPending?") == [
        *("Configure", "Configured?", "AwaitConfigure", "MigrationsPending?"),
    ]
    assert branch(execution, "Report", "Reported?", "AwaitReport", "VerifyRelease")[:4] == [
        *("Report", "Reported?", "AwaitReport", "VerifyRelease"),
    ]
    assert execution.of("RollOut/roll-out") == [
        "AnyWave?",
        *("DrainServers", "Drained?", "WaitForDrain", "CheckDrained", "Drained?"),
        *("Activate", "Activated?", "WaitForActivation", "CheckActivation", "Activated?"),
        *("WaitForActivation", "CheckActivation", "Activated?"),
        *("RestoreServers", "Healthy?", "WaitForHealth", "CheckTargets", "Healthy?", "RolledOut"),
    ]
    assert branch(execution, "CheckDatabase", "DatabaseReady?", "WaitForDatabase", "CreateDatabase") == [
        *(
            "CheckDatabase",
            "DatabaseReady?",
            "WaitForDatabase",
            "CheckDatabase",
            "DatabaseReady?",
            "CreateDatabase",
        ),
    ]
    assert branch(execution, "VerifyRelease", "Verified?", "WaitToVerify") == [
        *("VerifyRelease", "Verified?", "WaitToVerify", "VerifyRelease", "Verified?"),
    ]


def test_outputs_of_a_tier_reach_those_that_build_on_it() -> None:
    functions = fleet()
    release(functions)

    given = {payload["tier"]: set(payload["outputs"]) for payload in functions.payloads("PlanTier")}
    assert given == {
        "network": set(),
        "database": {"network"},
        "certificate": {"network"},
        "storage": {"network"},
        "web": {"network"},
        "load_balancer": {"network", "database", "certificate", "storage", "web"},
    }
    assert [set(payload["outputs"]) for payload in functions.payloads("RecordRelease")] == [set(OUTPUTS)]
    assert {tuple(payload["allow"]) for payload in functions.payloads("PlanTier")} == {("Bucket",)}


def test_servers_are_told_names_and_addresses_and_no_secret() -> None:
    functions = fleet()
    release(functions)

    configure = next(call for call in functions.payloads("StartCommand") if call["step"] == "configure")
    assert configure["parameters"] == {
        "Application": "arable",
        "Environment": "arable",
        "DatabaseHost": "db.internal",
        "DatabasePort": "3306",
        "DatabaseName": "arable",
        "DatabaseSecret": "arn:secret:database",
        "SecretKeyBase": "arn:secret:key-base",
        "Bucket": "images",
        "Region": "us-east-1",
        "Variables": {"GREETING": "Łąka"},
        "Secrets": {"API_KEY": "slipway/arable/api-key"},
        "Release": "r2",
        "PendingOn": "i-1",
        "WarmOn": "none",
    }


def test_the_fence_of_the_lock_travels_with_the_release() -> None:
    functions = fleet(AcquireLock=locked(7))
    release(functions)

    given = [payload["lock"] for payload in functions.payloads("RecordRelease")]
    assert given == [{"environment": "arable", "fence": 7}]


def test_without_a_migration_none_is_run() -> None:
    functions = fleet(ValidateInput=always(request(migrate=False)))
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    assert not {"Migrate", "CreateRestorePoint"} & set(execution.of("Release"))
    assert "migrate" not in {step for step, _ in steps(functions)}
    assert asked(functions) == "none"


def test_a_migration_that_takes_long_is_waited_for_and_recorded() -> None:
    at_once = pending("20261108080000")
    functions = fleet(
        StartCommand=when(lambda payload: payload["step"] == "migrate", running, at_once),
        CheckCommand=then(running, at_once),
    )
    execution = release(functions)

    assert execution.status == "SUCCEEDED", execution.cause
    assert branch(execution, "Migrate", "Migrated?", "AwaitMigrate", "RollOut") == [
        *("Migrate", "Migrated?", "AwaitMigrate", "RollOut"),
    ]
    assert [step for step, _ in steps(functions)].count("migrate") == 1
    (recorded,) = functions.payloads("RecordRelease")
    assert recorded["migrations"]["ran"]["migrations"] == ["20261108080000"]
    assert recorded["migrations"]["ran"]["command"] == "command-1"


def test_pending_migrations_run_once_after_a_restore_point_and_before_any_server_changes() -> None:
    functions = fleet(StartCommand=pending("20261108080000"))
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    made = ["CreateRestorePoint", "RestorePointReady?", "Migrate", "Migrated?", "RollOut"]
    assert main_path(execution)[len(BEFORE_FOUNDATIONS) :][: len(TO_MIGRATIONS) + 5] == [
        *TO_MIGRATIONS,
        *made,
    ]
    assert [(step, on) for step, on in steps(functions) if step == "migrate"] == [("migrate", ("i-1",))]
    order = [name for name, _ in functions.calls]
    assert order.index("CreateRestorePoint") < order.index("DrainServers")
    (recorded,) = functions.payloads("RecordRelease")
    assert recorded["migrations"]["found"]["pending"] == ["20261108080000"]
    assert recorded["migrations"]["restorePoint"]["snapshot"] == "before-r2"
    assert recorded["migrations"]["ran"]["migrations"] == ["20261108080000"]
    assert recorded["migrations"]["ran"]["command"] == "command-1"


def test_the_restore_point_is_waited_for_and_begun_when_the_database_is_free() -> None:
    functions = fleet(
        StartCommand=pending("1"),
        CreateRestorePoint=then(always(snapshot("busy")), always(snapshot("creating"))),
        CheckRestorePoint=then(always(snapshot("creating")), always(snapshot("available"))),
    )
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    walked = main_path(execution)
    begin, end = walked.index("CreateRestorePoint"), walked.index("Migrate")
    look = ["WaitForRestorePoint", "CheckRestorePoint", "RestorePointReady?"]
    assert walked[begin:end] == [
        *("CreateRestorePoint", "RestorePointReady?", "WaitForDatabaseBusy"),
        *("CreateRestorePoint", "RestorePointReady?", *look, *look),
    ]


@pytest.mark.parametrize(("backup", "empty"), [(False, False), (True, True)])
def test_no_restore_point_of_an_empty_database_or_when_it_is_not_wanted(backup: bool, empty: bool) -> None:
    asked = request()
    asked["release"] = {**asked["release"], "backup": backup}
    functions = fleet(ValidateInput=always(asked), StartCommand=pending("1", empty=empty))
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    assert "CreateRestorePoint" not in execution.of("Release")
    assert "migrate" in [step for step, _ in steps(functions)]


def test_a_failed_migration_names_the_restore_point_and_changes_no_server() -> None:
    functions = fleet(
        StartCommand=when(lambda payload: payload["step"] == "migrate", fails("CommandFailed"), pending("1")),
        ExplainFailure=really_explained,
    )
    execution = release(functions)

    assert execution.error == "FailedClean"
    assert "snapshot before-r2" in execution.cause["next"]
    assert functions.payloads("DrainServers") == []
    assert "activate" not in [step for step, _ in steps(functions)]


@pytest.mark.parametrize(("previous", "seconds"), [("r1", 1), (None, 0)])
def test_connections_are_waited_for_when_there_can_be_any(previous: str | None, seconds: int) -> None:
    functions = fleet(ValidateInput=always(request(previous=previous)))
    release(functions)

    assert [payload["drainSeconds"] for payload in functions.payloads("DrainServers")] == [seconds, seconds]


def test_one_server_is_one_wave() -> None:
    functions = fleet(("i-1",))
    execution = release(functions)

    assert execution.of("RollOut/roll-out") == ["AnyWave?", *WAVE, "RolledOut"]
    (recorded,) = functions.payloads("RecordRelease")
    assert [entry["server"] for entry in recorded["servers"]] == ["i-1"]
    assert recorded["servers"][0]["seconds"].keys() == {"drain", "activate", "healthy"}


def test_a_passing_fault_of_lambda_is_tried_again() -> None:
    functions = fleet(
        CheckDatabase=then(fails("Lambda.ServiceException"), always({"status": "ready", "detail": ""}))
    )
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    assert len(functions.payloads("CheckDatabase")) == 2


@pytest.mark.parametrize("function", ["Notify", "ReleaseLock", "ResumeScaling"])
def test_a_release_that_serves_has_succeeded_whatever_happens_to(function: str) -> None:
    execution = release(fleet(**{function: fails("Broken")}))

    assert execution.status == "SUCCEEDED"
    assert execution.output == {"ending": "Succeeded", "release": "r2"}


# --- tiers that stand --------------------------------------------------------------------------------------


def test_tiers_that_stand_are_not_deployed() -> None:
    functions = fleet(CompareTiers=standing(*OUTPUTS))
    execution = release(functions)

    assert execution.status == "SUCCEEDED", execution.cause
    assert main_path(execution)[: len(COMPARED) + 3] == [
        *COMPARED,
        "Foundations",
        "LoadBalancerStands?",
        "Configure",
    ]
    assert not [machine for machine in execution.machines() if machine.startswith("DeployTier")]
    assert functions.payloads("PlanTier") == []
    assert {"CertificateStanding", "StorageStanding"} <= set(execution.of("Release"))
    assert functions.payloads("CompareTiers") == [{"environment": request()["environment"], "remedy": False}]


def test_a_release_knows_the_same_of_tiers_that_stand_as_of_those_that_are_planned() -> None:
    """What functions and servers are given, and what the receipt says."""
    planned_all, stood = fleet(), fleet(CompareTiers=standing(*OUTPUTS))
    assert release(planned_all).status == release(stood).status == "SUCCEEDED"

    for name in ("CheckDatabase", "CheckServers", "SuspendScaling", "StartCommand", "VerifyRelease"):
        assert stood.payloads(name) == planned_all.payloads(name), name
    ((before,), (after,)) = (each.payloads("RecordRelease") for each in (planned_all, stood))
    for part in ("plan", "outputs"):
        assert after[part] == before[part], part
    assert [row["tier"] for row in after["plan"]["tiers"]] == [
        *("network", "database", "certificate", "storage", "web", "load_balancer"),
    ]


@pytest.mark.parametrize("left", OUTPUTS)
def test_a_tier_that_does_not_stand_is_deployed_alone(left: str) -> None:
    functions = fleet(CompareTiers=standing(*(tier for tier in OUTPUTS if tier != left)))
    execution = release(functions)

    assert execution.status == "SUCCEEDED", execution.cause
    assert [payload["tier"] for payload in functions.payloads("PlanTier")] == [left]
    (recorded,) = functions.payloads("RecordRelease")
    assert recorded["outputs"] == OUTPUTS
    assert [row["status"] for row in recorded["plan"]["tiers"]] == ["unchanged"] * len(OUTPUTS)


def test_a_tier_that_is_planned_knows_those_that_stand() -> None:
    functions = fleet(CompareTiers=standing("network", "certificate", "database", "storage", "web"))
    release(functions)

    (payload,) = functions.payloads("PlanTier")
    assert payload["outputs"] == {tier: one for tier, one in OUTPUTS.items() if tier != "load_balancer"}


@both
def test_what_cannot_be_compared_is_planned(as_on_aws: bool) -> None:
    functions = fleet(CompareTiers=fails("AwsRefused", "AccessDenied: cloudformation:GetTemplate"))
    execution = release(functions, as_on_aws=as_on_aws)

    assert execution.status == "SUCCEEDED", execution.cause
    assert {payload["tier"] for payload in functions.payloads("PlanTier")} == set(OUTPUTS)


def test_a_failure_after_tiers_that_stand_is_recorded_with_them() -> None:
    functions = fleet(
        CompareTiers=standing(*OUTPUTS),
        StartCommand=when(lambda payload: payload["step"] == "configure", fails("CommandFailed"), succeeded),
    )
    assert release(functions).error == "FailedClean"
    (recorded,) = functions.payloads("RecordRelease")
    assert recorded["outputs"] == OUTPUTS
    assert len(recorded["plan"]["tiers"]) == len(OUTPUTS)


# --- the certificate ---------------------------------------------------------------------------------------

MISSING = {"name": "_x.arable.example", "type": "CNAME", "value": "_y.acm-validations.aws"}


def test_who_has_to_set_a_record_is_told_so_once() -> None:
    looks = [always({"status": "pending", "missing": [MISSING], "detail": "set it"})] * 3
    functions = fleet(
        PlanTier=when(lambda payload: payload["tier"] == "certificate", planned, unchanged),
        CheckTier=then(in_progress, in_progress, in_progress, complete),
        CheckCertificate=then(*looks),
    )
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    waiting = [
        payload for payload in functions.payloads("Notify") if payload["event"] == "certificate waiting"
    ]
    assert [payload["detail"]["missing"] for payload in waiting] == [[MISSING]]
    assert execution.of("DeployTier/certificate").count("CheckCertificate") == 3


def test_a_certificate_that_an_earlier_release_left_waiting_is_explained_too() -> None:
    functions = fleet(
        PlanTier=when(
            lambda payload: payload["tier"] == "certificate", then(busy, busy, unchanged), unchanged
        ),
        CheckCertificate=always({"status": "pending", "missing": [MISSING], "detail": "set it"}),
    )
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    assert events(functions).count("certificate waiting") == 1
    look = ["PlanTier", "Planned?", "CheckCertificate", "RecordMissing?"]
    assert execution.of("DeployTier/certificate") == [
        *(*look, "NotifyCertificate", "WaitForTier", "Applied?"),
        *(*look, "WaitForTier", "Applied?"),
        *("PlanTier", "Planned?", "Unchanged"),
    ]


def test_a_certificate_goes_on_waiting_when_nobody_could_be_told() -> None:
    functions = fleet(
        PlanTier=when(lambda payload: payload["tier"] == "certificate", planned, unchanged),
        CheckTier=then(in_progress, complete),
        CheckCertificate=always({"status": "pending", "missing": [MISSING], "detail": "set it"}),
        Notify=when(lambda payload: payload["event"] == "certificate waiting", fails("Broken"), always({})),
    )
    assert release(functions).status == "SUCCEEDED"


# --- the same input again ----------------------------------------------------------------------------------

CONFIRMED = [
    *("CheckCurrentServers", "CurrentServersReady?", "ReportCurrent", "CurrentReported?"),
    *("VerifyCurrent", "Unchanged?", "RecordUnchanged"),
]


def test_the_same_input_again_changes_nothing_and_says_so() -> None:
    functions = fleet(ValidateInput=always(request(same=True)))
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    ends = ["ResumeScaling", "ReleaseLock", "Notify"]
    assert main_path(execution) == [*BEGUN, *CONFIRMED, *ends]
    assert len(execution.path) <= 25
    assert steps(functions) == [("report", ("i-1", "i-2"))], "servers were asked, and nothing else"
    assert not {"PlanTier", "ApplyTier", "DrainServers"} & {name for name, _ in functions.calls}
    (recorded,) = functions.payloads("RecordRelease")
    assert recorded["request"]["outcome"] == "unchanged"
    assert recorded["outputs"] == OUTPUTS


@both
def test_a_remedy_looks_at_everything(as_on_aws: bool) -> None:
    asked = request(same=True, migrate=False, remedy=True)
    functions = fleet(ValidateInput=always(asked))
    execution = release(functions, as_on_aws=as_on_aws)

    assert execution.status == "SUCCEEDED", execution.cause
    assert "CheckCurrentServers" not in execution.of("Release")
    path = main_path(execution)
    start = path.index("Configure")
    assert path[start : start + 5] == [
        *("Configure", "Configured?", "MigrationsPending?", "RemedyStanding", "RollOut")
    ]
    assert [payload["remedy"] for payload in functions.payloads("PlanTier")] == [True] * 6
    (remedied,) = functions.payloads("RemedyStanding")
    assert remedied["outputs"] == OUTPUTS
    assert remedied["lock"] == {"environment": "arable", "fence": 1}


def test_a_release_that_is_no_remedy_pays_nothing_for_it() -> None:
    functions = fleet()
    release(functions)
    assert functions.payloads("RemedyStanding") == []
    assert [payload["remedy"] for payload in functions.payloads("PlanTier")] == [False] * 6


def test_a_remedy_that_is_refused_has_touched_no_server() -> None:
    asked = request(same=True, migrate=False, remedy=True)
    functions = fleet(ValidateInput=always(asked), RemedyStanding=fails("AwsRefused"))
    execution = release(functions)
    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.cause["error"] == "AwsRefused"
    assert functions.payloads("DrainServers") == []


NOT_CONFIRMED: dict[str, Callable[[], dict[str, Answer]]] = {
    "servers are missing": lambda: {
        "CheckServers": then(always({"status": "waiting", "servers": [], "waves": []}), ready("i-1", "i-2"))
    },
    "the group cannot be asked": lambda: {"CheckServers": then(fails("AwsRefused"), ready("i-1", "i-2"))},
    "a server does not answer": lambda: {"StartCommand": then(fails("CommandFailed"), succeeded)},
    "a server reports another release": lambda: {
        "VerifyRelease": then(fails("VerificationFailed"), always({"status": "verified"}))
    },
    "a target is not healthy": lambda: {
        "VerifyRelease": then(always({"status": "waiting"}), always({"status": "verified"}))
    },
}


@both
@pytest.mark.parametrize("name", NOT_CONFIRMED)
def test_what_cannot_be_confirmed_is_released_as_ever(name: str, as_on_aws: bool) -> None:
    functions = fleet(ValidateInput=always(request(same=True)), **NOT_CONFIRMED[name]())
    execution = release(functions, as_on_aws=as_on_aws)

    assert execution.status == "SUCCEEDED", execution.cause
    assert "RecordUnchanged" not in execution.of("Release")
    assert {"DeployNetwork", "RollOut", "RecordRelease"} <= set(execution.of("Release"))
    (recorded,) = functions.payloads("RecordRelease")
    assert "outcome" not in recorded["request"]


def test_after_an_interrupted_release_nothing_is_taken_as_recorded() -> None:
    functions = fleet(
        ValidateInput=always(request(same=True)), AcquireLock=then(fails("HolderEnded"), locked(2))
    )
    execution = release(functions)

    assert execution.status == "SUCCEEDED", execution.cause
    assert "CheckCurrentServers" not in execution.of("Release")
    assert "DeployNetwork" in execution.of("Release")


# --- refused before anything changes -----------------------------------------------------------------------


def test_bad_input_ends_clean_and_touches_nothing() -> None:
    functions = fleet(ValidateInput=fails("InvalidInput", "environment.web.min"))
    execution = release(functions)

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.of("Release") == ["ValidateInput", "ExplainFailure", "Begun?", "Clean?", "FailedClean"]
    assert execution.cause["error"] == "InvalidInput"
    assert "environment.web.min" in execution.cause["what"]
    assert [name for name, _ in functions.calls] == ["ValidateInput", "ExplainFailure"]
    assert functions.payloads("ExplainFailure")[0]["request"] is None


def test_input_reaches_its_validation_untouched() -> None:
    functions = fleet()
    release(functions)

    (payload,) = functions.payloads("ValidateInput")
    assert payload["input"] == {"as": "given"}
    assert payload["execution"].keys() == {"arn", "name", "startedAt"}


def test_a_locked_environment_ends_clean_and_its_lock_stays() -> None:
    functions = fleet(AcquireLock=fails("EnvironmentLocked"))
    execution = release(functions)

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.of("Release") == [
        *("ValidateInput", "PlanWanted?", "AcquireLock"),
        *("ExplainFailure", "Begun?", "Clean?", "FailedClean"),
    ]
    assert functions.payloads("ReleaseLock") == []


def test_a_lock_that_may_have_been_taken_is_freed() -> None:
    functions = fleet(AcquireLock=fails("Sandbox.Timedout"))
    execution = release(functions)

    assert execution.error == "FailedClean"
    assert execution.of("Release") == [
        *("ValidateInput", "PlanWanted?", "AcquireLock", *FAILED, "FailedClean"),
    ]
    assert len(functions.payloads("ReleaseLock")) == 1


# --- failures before the roll-out: the old release serves, nothing to roll back ----------------------------

NETWORK_ONLY = when(lambda payload: payload["tier"] == "network", planned, unchanged)
BEFORE_ROLL_OUT: dict[str, tuple[dict[str, Answer], str, str]] = {
    "a tier that rolls back": (
        {"PlanTier": NETWORK_ONLY, "CheckTier": fails("TierFailed")},
        "TierFailed",
        "network",
    ),
    "a change that destroys": ({"PlanTier": fails("DestructiveChange")}, "DestructiveChange", "network"),
    "a database that refuses": (
        {"CreateDatabase": fails("DatabaseRefused")},
        "DatabaseRefused",
        "foundations",
    ),
    "a step that fails": (
        {"StartCommand": when(lambda payload: payload["step"] == "stage", fails("CommandFailed"), succeeded)},
        "CommandFailed",
        "foundations",
    ),
    "a load balancer that rolls back": (
        {
            "PlanTier": when(
                lambda payload: payload["tier"] == "load_balancer", fails("TierFailed"), unchanged
            )
        },
        "TierFailed",
        "load balancer",
    ),
    "a configuration that fails": (
        {
            "StartCommand": when(
                lambda payload: payload["step"] == "configure", fails("CommandFailed"), succeeded
            )
        },
        "CommandFailed",
        "configure",
    ),
    "a server that was to say which migrations are pending, and does not": (
        {"StartCommand": saying_nothing},
        "CommandFailed",
        "configure",
    ),
    "a server that was to say which migrations are pending, and has gone": (
        {"StartCommand": without_the_first},
        "CommandFailed",
        "configure",
    ),
    "a restore point that is refused": (
        {"StartCommand": pending("1"), "CreateRestorePoint": fails("DatabaseRefused")},
        "DatabaseRefused",
        "restore point",
    ),
    "a restore point that fails": (
        {
            "StartCommand": pending("1"),
            "CreateRestorePoint": always(snapshot("creating")),
            "CheckRestorePoint": fails("DatabaseRefused"),
        },
        "DatabaseRefused",
        "restore point",
    ),
    "a migration that fails": (
        {
            "StartCommand": when(
                lambda payload: payload["step"] == "migrate", fails("CommandFailed"), pending("1")
            )
        },
        "CommandFailed",
        "migrate",
    ),
}


@both
@pytest.mark.parametrize("name", BEFORE_ROLL_OUT)
def test_before_the_roll_out_nothing_is_rolled_back(name: str, as_on_aws: bool) -> None:
    overrides, error, phase = BEFORE_ROLL_OUT[name]
    functions = fleet(**overrides)
    execution = release(functions, as_on_aws=as_on_aws)

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert main_path(execution)[-8:] == [*FAILED, "FailedClean"]
    assert "RollOut" not in execution.of("Release")
    assert "RollBack" not in execution.of("Release")
    (told,) = functions.payloads("ExplainFailure")
    assert told["phase"] == phase
    assert told["rollback"] is None
    assert error_of(told) == error
    assert "it broke" in told["cause"] or "has left its group" in told["cause"]
    (recorded,) = functions.payloads("RecordRelease")
    assert recorded["ending"] == "FailedClean"
    assert recorded["failure"]["where"] == phase
    assert len(functions.payloads("ReleaseLock")) == 1
    assert events(functions) == ["release started", "failed clean"]


def error_of(told: dict[str, Any]) -> str:
    """The error's own name, out of either way of reporting a child's end."""
    if told["error"] != "States.TaskFailed":
        return str(told["error"])
    return str(json.loads(told["cause"])["Error"])


def test_what_a_failed_release_had_built_is_recorded() -> None:
    functions = fleet(
        StartCommand=when(lambda payload: payload["step"] == "configure", fails("CommandFailed"), succeeded)
    )
    release(functions)

    (recorded,) = functions.payloads("RecordRelease")
    assert set(recorded["outputs"]) == set(OUTPUTS)
    assert recorded["servers"] == []


# --- waits that never end ----------------------------------------------------------------------------------

ENDLESS: dict[str, tuple[dict[str, Answer], str, str]] = {
    "a restore point": (
        {
            "StartCommand": pending("1"),
            "CreateRestorePoint": always(snapshot("creating")),
            "CheckRestorePoint": always(snapshot("creating")),
        },
        "restore point",
        "the restore point was not complete",
    ),
    "a database that is never free": (
        {"StartCommand": pending("1"), "CreateRestorePoint": always(snapshot("busy"))},
        "restore point",
        "busy",
    ),
    "a stack": (
        {"PlanTier": NETWORK_ONLY, "CheckTier": in_progress},
        "network",
        "the tier network was not done",
    ),
    "a stack of somebody else": ({"PlanTier": busy}, "network", "(busy)"),
    "a change set": ({"PlanTier": lambda payload: plan(payload, "planning")}, "network", "(planning)"),
    "an unknown answer": ({"PlanTier": lambda payload: plan(payload, "?")}, "network", "(?)"),
    "a database": (
        {"CheckDatabase": always({"status": "waiting", "detail": "creating"})},
        "foundations",
        "creating",
    ),
    "servers": (
        {
            "CheckServers": always(
                {"status": "waiting", "servers": [], "waves": [], "drainWaves": [], "detail": "0 of 2 online"}
            )
        },
        "foundations",
        "0 of 2 online",
    ),
    "no servers": (
        {
            "CheckServers": always(
                {"status": "ready", "servers": [], "waves": [], "drainWaves": [], "detail": "none"}
            )
        },
        "foundations",
        "none",
    ),
}


@both
@pytest.mark.parametrize("name", ENDLESS)
def test_a_wait_that_never_ends_fails_at_its_deadline(name: str, as_on_aws: bool) -> None:
    overrides, phase, what = ENDLESS[name]
    functions = fleet(**overrides)
    execution = release(functions, as_on_aws=as_on_aws, seconds=SHORT)

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    (told,) = functions.payloads("ExplainFailure")
    assert (error_of(told), told["phase"]) == ("DeadlinePassed", phase)
    assert what in explanation(told)["what"]


def explanation(told: dict[str, Any]) -> dict[str, str]:
    """The cause of a DeadlinePassed: {what, where, next}, from either way of reporting a child's end."""
    cause = json.loads(told["cause"])
    while "Cause" in cause:
        cause = json.loads(cause["Cause"])
    explained: dict[str, str] = cause
    assert explained.keys() >= {"what", "where", "next"}
    return explained


def test_a_command_that_never_ends_fails_at_its_deadline() -> None:
    functions = fleet(CheckCommand=running)
    with Engine(functions, as_on_aws=False, seconds={"DeliverySeconds": "0.2"}).running() as engine:
        execution = engine.run(
            {"step": "stage", "servers": ["i-1"], "command": running({}), "timeoutSeconds": 0},
            machine="AwaitCommand",
        )

    assert (execution.status, execution.error) == ("FAILED", "DeadlinePassed")
    assert execution.path[-2:] == ["AwaitCommand.Completed?", "AwaitCommand.CommandTimedOut"]
    assert "i-1" in execution.cause["where"]


# What goes wrong, made anew for each test: sequences of answers are used up.
Faults = Callable[[], dict[str, Answer]]

# --- failures from the roll-out on -------------------------------------------------------------------------


def activation_fails(*releases: str, on: str = "") -> Answer:
    """Activating one of `releases` fails, on the server `on` alone if given."""
    return when(
        lambda payload: (
            payload["step"] == "activate"
            and payload["parameters"]["Release"] in releases
            and (not on or on in payload["servers"])
        ),
        fails("CommandFailed"),
        succeeded,
    )


@both
def test_a_failed_activation_puts_the_server_back_and_rolls_the_fleet_back(as_on_aws: bool) -> None:
    functions = fleet(StartCommand=activation_fails("r2", on="i-2"))
    execution = release(functions, as_on_aws=as_on_aws)

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.of("RollOut/roll-out") == [
        *("AnyWave?", *WAVE),
        *("DrainServers", "Drained?", "Activate", "RestoreAfterFailure", "GoOn?", "NotRolledOut"),
    ]
    assert main_path(execution)[-12:] == [
        *("RollOut", "OldReleaseKnown?", "PlanRollBack", "RollBack"),
        *(*FAILED, "FailedClean"),
    ]
    assert execution.of("RollOut/roll-back") == ["AnyWave?", *WAVE, *WAVE, "RolledOut"]
    activated = [
        (payload["parameters"]["Release"], payload["servers"][0])
        for payload in functions.payloads("StartCommand")
        if payload["step"] == "activate"
    ]
    assert activated == [("r2", "i-1"), ("r2", "i-2"), ("r1", "i-2"), ("r1", "i-1")]
    (told,) = functions.payloads("ExplainFailure")
    assert (error_of(told), told["phase"], told["rollback"]) == (
        "CommandFailed",
        "roll out",
        {"status": "succeeded"},
    )


def test_the_first_wave_that_fails_is_the_last() -> None:
    functions = fleet(ValidateInput=always(request(previous=None)), StartCommand=activation_fails("r2"))
    execution = release(functions)

    assert execution.error == "FailedClean"
    assert [payload["servers"] for payload in functions.payloads("DrainServers")] == [["i-1"]]
    assert [payload["servers"] for payload in functions.payloads("RestoreServers")] == [["i-1"]]


@both
def test_a_failed_first_release_has_nothing_to_go_back_to(as_on_aws: bool) -> None:
    functions = fleet(ValidateInput=always(request(previous=None)), StartCommand=activation_fails("r2"))
    execution = release(functions, as_on_aws=as_on_aws)

    assert execution.error == "FailedClean"
    assert main_path(execution)[-10:] == ["RollOut", "OldReleaseKnown?", *FAILED, "FailedClean"]
    (told,) = functions.payloads("ExplainFailure")
    assert told["rollback"] is None


def test_the_same_release_again_is_nothing_to_go_back_to() -> None:
    functions = fleet(ValidateInput=always(request(previous="r2")), StartCommand=activation_fails("r2"))
    execution = release(functions)

    assert execution.error == "FailedClean"
    assert "RollBack" not in execution.of("Release")


@both
def test_a_roll_back_that_fails_leaves_it_to_a_person(as_on_aws: bool) -> None:
    functions = fleet(StartCommand=activation_fails("r1", "r2"))
    execution = release(functions, as_on_aws=as_on_aws)

    assert (execution.status, execution.error) == ("FAILED", "FailedDirty")
    assert main_path(execution)[-10:] == ["PlanRollBack", "RollBack", *FAILED, "FailedDirty"]
    (told,) = functions.payloads("ExplainFailure")
    assert told["rollback"]["status"] == "failed"
    assert told["rollback"].keys() == {"status", "error", "cause"}
    assert events(functions) == ["release started", "failed dirty"]


ROLLING: dict[str, tuple[Faults, dict[str, str], str]] = {
    "a drain": (
        lambda: {
            "DrainServers": then(always({"status": "draining"}), always({"status": "drained"})),
            "CheckDrained": always({"status": "draining"}),
        },
        {"DrainGraceSeconds": "0.2"},
        "connections",
    ),
    "an activation": (
        lambda: {
            "StartCommand": when(
                lambda payload: (
                    payload["parameters"].get("Release") == "r2" and payload["step"] == "activate"
                ),
                running,
                succeeded,
            ),
            "CheckCommand": running,
        },
        {"ActivateSeconds": "0.1", "DeliverySeconds": "0.1"},
        "not active",
    ),
    "a target": (
        lambda: {
            "RestoreServers": then(
                always({"status": "waiting", "targets": []}), always({"status": "healthy", "targets": []})
            ),
            "CheckTargets": always(
                {
                    "status": "waiting",
                    "targets": [
                        {"server": "i-1", "state": "unhealthy", "reason": "Target.ResponseCodeMismatch"}
                    ],
                }
            ),
        },
        {"HealthySeconds": "0.2"},
        "i-1 unhealthy Target.ResponseCodeMismatch",
    ),
}


@both
@pytest.mark.parametrize("name", ROLLING)
def test_a_wave_that_never_gets_there_is_rolled_back(name: str, as_on_aws: bool) -> None:
    overrides, seconds, what = ROLLING[name]
    functions = fleet(**overrides())
    execution = release(functions, as_on_aws=as_on_aws, seconds=seconds)

    assert execution.error == "FailedClean"
    (told,) = functions.payloads("ExplainFailure")
    assert (error_of(told), told["phase"]) == ("DeadlinePassed", "roll out")
    assert what in explanation(told)["what"]
    assert told["rollback"] == {"status": "succeeded"}
    back = [payload["servers"] for payload in functions.payloads("RestoreServers")]
    assert back[0] == ["i-1"], (
        "the servers of the wave are in the load balancer again before the release goes back"
    )


@pytest.mark.parametrize("function", ["DrainServers", "CheckDrained", "CheckCommand", "RestoreServers"])
def test_whatever_breaks_in_a_wave_its_servers_are_put_back(function: str) -> None:
    slow = {
        "DrainServers": always({"status": "draining"}),
        "StartCommand": running,
        "RestoreServers": always({"status": "waiting", "targets": []}),
    }
    slow["CheckCommand"] = succeeded
    overrides = {**slow, function: fails("Broken")}
    functions = fleet(**overrides)
    with Engine(functions, as_on_aws=False).running() as engine:
        execution = engine.run(ROLL_OUT, machine="RollOut")

    assert (execution.status, execution.error) == ("FAILED", "Broken")
    assert "RollOut.RestoreAfterFailure" in execution.path
    assert execution.path[-2:] == ["RollOut.GoOn?", "RollOut.NotRolledOut"]
    assert functions.payloads("RestoreServers")[-1]["servers"] == ["i-1"]


ROLL_OUT = {
    "lock": {"environment": "arable", "fence": 1},
    "environment": "arable",
    "application": "arable",
    "release": "r2",
    "waves": [{"servers": ["i-1"]}, {"servers": ["i-2"]}],
    "targetGroupArn": "arn:targets",
    "healthPath": "/up",
    "drainSeconds": 0,
    "strategy": "drain",
    "bakeSeconds": 0,
    "alarms": [],
    "keepGoing": False,
}


def test_several_servers_go_in_one_wave() -> None:
    functions = fleet()
    waves = [{"servers": ["i-1", "i-2"]}, {"servers": ["i-3"]}]
    with Engine(functions, as_on_aws=False).running() as engine:
        execution = engine.run({**ROLL_OUT, "waves": waves}, machine="RollOut")

    assert execution.status == "SUCCEEDED"
    assert [entry["server"] for entry in execution.output["servers"]] == ["i-1", "i-2", "i-3"]
    assert [payload["servers"] for payload in functions.payloads("DrainServers")] == [["i-1", "i-2"], ["i-3"]]


def roll_out(functions: Functions, **given: Any) -> Execution:
    with Engine(functions, as_on_aws=False).running() as engine:
        return engine.run({**ROLL_OUT, **given}, machine="RollOut")


def test_each_wave_is_watched_before_the_next_begins() -> None:
    functions = fleet(CheckBake=then(always({"status": "baking"}), always({"status": "baked"})))
    execution = roll_out(functions, bakeSeconds=60, alarms=["slow"])

    assert execution.status == "SUCCEEDED"
    assert execution.of("RollOut") == [
        *("AnyWave?", *WAVE, "CheckBake", "Baked?", "WaitToBake", "CheckBake", "Baked?"),
        *(*WAVE, "CheckBake", "Baked?", "RolledOut"),
    ]
    watched = functions.payloads("CheckBake")
    assert [payload["servers"] for payload in watched] == [["i-1"], ["i-1"], ["i-2"]]
    assert watched[0]["since"] == watched[1]["since"] < watched[2]["since"]
    assert watched[0]["alarms"] == ["slow"]
    assert [entry["server"] for entry in execution.output["servers"]] == ["i-1", "i-2"]


def test_alarms_alone_are_looked_at_too() -> None:
    functions = fleet()
    assert roll_out(functions, alarms=["slow"]).status == "SUCCEEDED"
    assert len(functions.payloads("CheckBake")) == 2


@pytest.mark.parametrize("bake", [fails("VerificationFailed"), always({"status": "baking"})])
def test_a_wave_that_does_not_serve_well_is_the_last(bake: Answer) -> None:
    functions = fleet(CheckBake=bake)
    with Engine(functions, as_on_aws=False, seconds={"BakeGraceSeconds": "0"}).running() as engine:
        execution = engine.run({**ROLL_OUT, "alarms": ["slow"]}, machine="RollOut")

    assert execution.error in ("VerificationFailed", "DeadlinePassed")
    assert execution.cause["wavesBegun"] == 1
    assert [payload["servers"] for payload in functions.payloads("DrainServers")] == [["i-1"]]


def test_on_the_way_back_a_broken_server_keeps_no_other_from_going_back() -> None:
    functions = fleet(StartCommand=activation_fails("r2", on="i-1"))
    execution = roll_out(functions, keepGoing=True)

    assert (execution.status, execution.error) == ("FAILED", "CommandFailed")
    assert [payload["servers"] for payload in functions.payloads("DrainServers")] == [["i-1"], ["i-2"]]
    assert execution.cause["wavesBegun"] == 2


def test_no_wave_at_all_is_nothing_to_do() -> None:
    assert roll_out(fleet(), waves=[]).status == "SUCCEEDED"


BESIDE = ["Activate", "Activated?", "CheckTargets", "Healthy?"]


def test_side_by_side_nobody_leaves_the_load_balancer() -> None:
    functions = fleet(SIX, ValidateInput=always(request(strategy="side_by_side", canary=0, batch="100%")))
    execution = release(functions)

    assert execution.status == "SUCCEEDED"
    assert execution.of("RollOut/roll-out") == ["AnyWave?", *BESIDE, "RolledOut"]
    assert functions.payloads("DrainServers") == functions.payloads("RestoreServers") == []
    (activated,) = [call for call in functions.payloads("StartCommand") if call["step"] == "activate"]
    assert activated["servers"] == list(SIX)
    assert activated["parameters"]["Strategy"] == "side_by_side"
    (recorded,) = functions.payloads("RecordRelease")
    assert {entry["strategy"] for entry in recorded["servers"]} == {"side_by_side"}
    assert recorded["servers"][0]["seconds"].keys() == {"drain", "activate", "healthy"}


def test_side_by_side_goes_wave_by_wave_and_back() -> None:
    functions = fleet(
        ValidateInput=always(request(strategy="side_by_side", bakeSeconds=1)),
        CheckBake=when(
            lambda payload: "i-2" in payload["servers"],
            fails("VerificationFailed"),
            always({"status": "baked"}),
        ),
    )
    execution = release(functions)

    assert execution.error == "FailedClean"
    bake = ["CheckBake", "Baked?"]
    assert execution.of("RollOut/roll-out") == [
        *("AnyWave?", *BESIDE, *bake, *BESIDE, "CheckBake", "GoOn?", "NotRolledOut"),
    ]
    assert execution.of("RollOut/roll-back") == ["AnyWave?", *BESIDE, *BESIDE, "RolledOut"]


def test_where_the_memory_does_not_do_for_two_the_servers_are_drained() -> None:
    def staged(payload: dict[str, Any]) -> dict[str, Any]:
        answer = succeeded(payload)
        for result in answer["results"]:
            result["result"]["sideBySide"] = result["server"] != "i-3"
        return answer

    functions = fleet(
        SIX,
        ValidateInput=always(request(strategy="side_by_side", canary=0, batch="100%")),
        StartCommand=when(lambda payload: payload["step"] == "stage", staged, succeeded),
    )
    assert release(functions).status == "SUCCEEDED"
    assert [len(payload["servers"]) for payload in functions.payloads("DrainServers")] == [5, 1]
    (recorded,) = functions.payloads("RecordRelease")
    assert {entry["strategy"] for entry in recorded["servers"]} == {"drain"}


SIX = tuple(f"i-{number}" for number in range(6))


@both
def test_only_servers_that_were_touched_go_back_the_last_first(as_on_aws: bool) -> None:
    bad = when(
        lambda payload: "i-1" in payload["servers"], fails("VerificationFailed"), always({"status": "baked"})
    )
    functions = fleet(SIX, ValidateInput=always(request(batch=2, alarms=["slow"])), CheckBake=bad)
    execution = release(functions, as_on_aws=as_on_aws)

    assert execution.error == "FailedClean"
    drained = [payload["servers"] for payload in functions.payloads("DrainServers")]
    assert drained == [["i-0"], ["i-1", "i-2"], ["i-1", "i-2"], ["i-0"]]
    assert len(functions.payloads("CheckBake")) == 2, "alarms may ring on while servers go back"


@both
def test_who_wants_to_look_has_everything_left_as_it_is(as_on_aws: bool) -> None:
    functions = fleet(
        ValidateInput=always(request(onFailure="stop")),
        StartCommand=activation_fails("r2", on="i-2"),
        ExplainFailure=really_explained,
    )
    execution = release(functions, as_on_aws=as_on_aws)

    assert execution.error == "FailedDirty"
    assert "RollBack" not in execution.of("Release")
    assert "onFailure" in execution.cause["next"]
    assert len(functions.payloads("ResumeScaling")) == len(functions.payloads("ReleaseLock")) == 1


@pytest.mark.parametrize(
    "name", ["a step that fails", "a migration that fails", "an activation", "a way back"]
)
def test_scaling_goes_on_however_a_release_ends(name: str) -> None:
    functions = fleet(**FAULTS[name]())
    execution = release(functions, seconds={"ActivateSeconds": "0.1", "DeliverySeconds": "0.1"})

    assert execution.status == "FAILED"
    assert functions.payloads("ResumeScaling") == [{"environment": "arable"}]


def test_a_thousand_servers_fit_into_an_execution() -> None:
    """In waves of a tenth, every wave waited for and watched; 25,000 events are AWS's limit, 5,000 ours."""
    servers = tuple(f"i-{number:017}" for number in range(1000))
    again = {
        "DrainServers": always({"status": "draining"}),
        "StartCommand": running,
        "RestoreServers": always({"status": "waiting", "targets": []}),
    }
    functions = fleet(
        servers,
        **again,
        ValidateInput=always(request(batch="10%", bakeSeconds=60)),
        CheckBake=lambda payload: next(bakes),
    )
    bakes = iter([{"status": status} for _ in range(11) for status in ("baking", "baking", "baked")])
    execution = release(functions)

    assert execution.status == "SUCCEEDED", execution.cause
    assert [len(payload["servers"]) for payload in functions.payloads("DrainServers")] == [1, *[100] * 9, 99]
    events = {machine: sum(map(events_of, execution.kinds_of(machine))) for machine in execution.machines()}
    assert events["RollOut/roll-out"] < 1000
    assert sum(events.values()) < 5000
    largest = max(len(json.dumps(payload)) for _, payload in functions.calls)
    assert largest < 256 * 1024


def events_of(kind: str) -> int:
    """History events of a state: entered and exited; a task also scheduled, started, submitted, ended."""
    return {"Task": 6, "Succeed": 2, "Fail": 1, "Parallel": 4}.get(kind, 2)


# --- failures after the roll-out ---------------------------------------------------------------------------

AFTER: dict[str, tuple[Faults, str, str]] = {
    "a report": (
        lambda: {
            "StartCommand": when(
                lambda payload: payload["step"] == "report", fails("CommandFailed"), succeeded
            )
        },
        "report",
        "CommandFailed",
    ),
    "a verification": (
        lambda: {"VerifyRelease": fails("VerificationFailed")},
        "verify",
        "VerificationFailed",
    ),
    "a verification without end": (
        lambda: {"VerifyRelease": always({"status": "waiting", "detail": "503", "url": "", "targets": []})},
        "verify",
        "DeadlinePassed",
    ),
    "a record": (
        lambda: {
            "RecordRelease": when(
                lambda payload: payload["ending"] == "Succeeded", fails("Broken"), always({})
            )
        },
        "record",
        "Broken",
    ),
}


@both
@pytest.mark.parametrize("name", AFTER)
def test_after_the_roll_out_the_fleet_goes_back(name: str, as_on_aws: bool) -> None:
    overrides, phase, error = AFTER[name]
    functions = fleet(**overrides())
    execution = release(functions, as_on_aws=as_on_aws, seconds={"VerifySeconds": "0.2"})

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert main_path(execution)[-10:] == ["PlanRollBack", "RollBack", *FAILED, "FailedClean"]
    (told,) = functions.payloads("ExplainFailure")
    assert (error_of(told), told["phase"], told["rollback"]) == (error, phase, {"status": "succeeded"})
    recorded = functions.payloads("RecordRelease")[-1]
    assert [entry["server"] for entry in recorded["servers"]] == ["i-1", "i-2"]


def really_explained(payload: dict[str, Any]) -> dict[str, Any]:
    """What the shipped function says: it is pure."""
    return failure.explain(
        payload["request"],
        payload["error"],
        payload["cause"],
        payload["phase"],
        payload["rollback"],
        payload["restorePoint"],
        bool(payload["migrated"]),
        payload["lost"],
    )


FAULTS: dict[str, Faults] = {
    **{name: partial(dict, faults) for name, (faults, _, _) in BEFORE_ROLL_OUT.items()},
    **{name: faults for name, (faults, _, _) in ROLLING.items()},
    **{name: faults for name, (faults, _, _) in AFTER.items()},
    "a way back": lambda: {"StartCommand": activation_fails("r1", "r2")},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_is_explained_the_same_however_a_childs_end_is_reported(name: str) -> None:
    waits = ("DrainGraceSeconds", "ActivateSeconds", "HealthySeconds", "VerifySeconds", "DeliverySeconds")
    emulated, on_aws = (
        release(
            fleet(**{**FAULTS[name](), "ExplainFailure": really_explained}),
            as_on_aws=as_on_aws,
            seconds=dict.fromkeys(waits, "0.1"),
        )
        for as_on_aws in (False, True)
    )

    assert emulated.error == on_aws.error
    assert emulated.cause == on_aws.cause
    assert emulated.cause["error"] != "States.TaskFailed"
    assert emulated.cause.keys() >= {"ending", "error", "what", "where", "next"}


# --- failures of the failure's own way ---------------------------------------------------------------------


def test_what_cannot_be_explained_is_not_clean() -> None:
    functions = fleet(PlanTier=fails("TierFailed"), ExplainFailure=fails("Broken"))
    execution = release(functions)

    assert execution.error == "FailedDirty"
    assert execution.cause["error"] == "TierFailed"
    assert execution.cause.keys() == {"ending", "error", "what", "where", "next"}
    assert len(functions.payloads("ReleaseLock")) == 1


@pytest.mark.parametrize("function", ["ResumeScaling", "RecordRelease", "ReleaseLock", "Notify"])
def test_the_ending_stands_whatever_happens_to(function: str) -> None:
    functions = fleet(PlanTier=fails("TierFailed"), **{function: fails("Broken")})
    execution = release(functions)

    assert execution.error == "FailedClean"
    ended = [*FAILED, "FailedClean"]
    if function == "ResumeScaling":
        ended.insert(ended.index("RecordFailure"), "TellSuspendedAfterFailure")
    assert execution.of("Release")[-len(ended) :] == ended


# --- the preflight ------------------------------------------------------------------------------------------

PROBLEMS = preflight.failed(
    {
        "problems": [
            {"check": "ruby", "where": "environment.web.ruby", "what": "wants 3.4", "next": "set it"},
            {"check": "disk", "where": "server i-2", "what": "is full", "next": "remove something"},
        ],
        "warnings": [],
    }
)


@both
def test_problems_before_the_first_change_end_clean_and_are_all_said(as_on_aws: bool) -> None:
    def refuses(_payload: dict[str, Any]) -> Any:
        raise TaskError("PreflightFailed", str(PROBLEMS))

    functions = fleet(Preflight=refuses, ExplainFailure=lambda payload: explain(payload, None))
    execution = release(functions, as_on_aws=as_on_aws)

    assert (execution.status, execution.error) == ("FAILED", "FailedClean")
    assert execution.of("Release") == [*BEGUN, "Preflight", *FAILED, "FailedClean"]
    assert execution.cause["error"] == "PreflightFailed"
    for said in ("environment.web.ruby: wants 3.4; set it", "server i-2: is full; remove something"):
        assert said in execution.cause["what"]
    assert execution.cause["next"].startswith("Release r1 serves as before. nothing was changed")
    changing = {"PlanTier", "ApplyTier", "StartCommand", "SuspendScaling", "DrainServers"}
    assert not changing & {name for name, _ in functions.calls}
    assert len(functions.payloads("ReleaseLock")) == 1
    assert functions.payloads("Notify")[-1]["detail"]["details"]["problems"] == PROBLEMS.details["problems"]


def test_its_warnings_are_in_the_receipt() -> None:
    warning = {"check": "certificate", "where": "c", "what": "ends in 20 days", "next": "see ACM"}
    functions = fleet(Preflight=always({"problems": [], "warnings": [warning], "servers": []}))
    assert release(functions).status == "SUCCEEDED"
    assert functions.payloads("RecordRelease")[-1]["warnings"] == [warning]
    (payload,) = functions.payloads("Preflight")
    assert payload["refuse"] is True


def test_a_release_that_fails_later_has_the_warnings_in_its_receipt_too() -> None:
    functions = fleet(
        Preflight=always({"problems": [], "warnings": [{"check": "x"}], "servers": []}),
        SuspendScaling=fails("AwsRefused"),
    )
    assert release(functions).error == "FailedClean"
    assert functions.payloads("RecordRelease")[-1]["warnings"] == [{"check": "x"}]


def test_the_preflight_of_a_release_that_changes_nothing_is_not_made() -> None:
    functions = fleet(ValidateInput=always(request(same=True)))
    release(functions)
    assert functions.payloads("Preflight") == []
