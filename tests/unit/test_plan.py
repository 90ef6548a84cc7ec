"""Plans: rows that fit, the text for a reader, time and cost, and what is known without CloudFormation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway import estimate, gate, outline, plan, tiers
from tests.contract.shipped import TIERS, tier
from tests.contract.test_payloads import ENVIRONMENTS, SETTINGS, before, completed
from tools import tier_outlines

STACK = "slipway-arable-database"


def change(name: str = "Thing", kind: str = "AWS::IAM::Role", **more: Any) -> dict[str, Any]:
    """A change of a change set as CloudFormation describes it, read."""
    described = {"Action": "Modify", "LogicalResourceId": name, "ResourceType": kind, "Replacement": "False"}
    return gate.change({**described, **more})


def detail(name: str, recreation: str = "Never", source: str = "DirectModification", entity: str = "") -> Any:
    told = {"Target": {"Attribute": "Properties", "Name": name, "RequiresRecreation": recreation}}
    return {**told, "ChangeSource": source, "CausingEntity": entity}


REPLACED = change(
    "Instance",
    "AWS::RDS::DBInstance",
    Replacement="True",
    PolicyAction="ReplaceAndSnapshot",
    Details=[
        detail("DBSubnetGroupName", "Always", "ResourceReference", "SubnetGroup"),
        detail("DBInstanceClass"),
        detail("DBInstanceClass", "Never", "ParameterReference", "InstanceClass"),
    ],
)


# --- rows -------------------------------------------------------------------------------------------------


def test_a_change_says_why_property_by_property() -> None:
    assert REPLACED["why"] == [
        {"property": "DBInstanceClass", "recreation": "Never", "causes": ["parameter InstanceClass"]},
        {"property": "DBSubnetGroupName", "recreation": "Always", "causes": ["SubnetGroup"]},
    ]
    assert (REPLACED["replacement"], REPLACED["policy"]) == ("True", "ReplaceAndSnapshot")


def test_a_row_tells_what_the_gate_would_refuse_and_what_to_allow() -> None:
    row = plan.row("database", STACK, "changed", [REPLACED])
    [refused] = row["refused"]
    assert refused["allow"] == "database/Instance"
    assert "Instance (AWS::RDS::DBInstance) would be replaced" in refused["what"]
    assert "lost would be the databases in it" in refused["what"]
    assert "a final snapshot is made" in refused["what"]
    assert plan.row("database", STACK, "changed", [REPLACED], allow=["database/Instance"])["refused"] == []


def test_a_row_fits_and_counts_what_it_leaves_out_the_harmless_first() -> None:
    many = [change(f"Role{number:04d}", Details=[detail("Path")]) for number in range(500)]
    row = plan.row("database", STACK, "changed", [*many, REPLACED])
    assert plan.size(row) <= plan.ROW_BYTES
    assert len(row["changes"]) + row["leftOut"] == 501
    assert row["changes"][0]["resource"] == "Instance"


def test_parameters_that_differ_are_told_with_both_values() -> None:
    was = [{"ParameterKey": "A", "ParameterValue": "1"}, {"ParameterKey": "B", "ParameterValue": "x"}]
    becomes = [{"ParameterKey": "A", "ParameterValue": "2"}, {"ParameterKey": "B", "ParameterValue": "x"}]
    added = {"ParameterKey": "C", "ParameterValue": "y" * 500}
    assert plan.changed_parameters(was, [*becomes, added]) == [
        {"name": "A", "before": "1", "after": "2"},
        {"name": "C", "before": "", "after": "y" * plan.VALUE_LETTERS},
    ]


@pytest.mark.parametrize(
    ("action", "replacement", "sign"),
    [
        ("Add", "", "+"),
        ("Remove", "", "-"),
        ("Import", "", "<"),
        ("Dynamic", "", "?"),
        ("SyncWithActual", "", "="),
        ("Modify", "False", "~"),
        ("Modify", "True", "-/+"),
        ("Modify", "Conditional", "~?"),
    ],
)
def test_every_action_of_cloudformations_has_its_sign(action: str, replacement: str, sign: str) -> None:
    assert plan.sign(change(Action=action, Replacement=replacement)) == sign


# --- the text ---------------------------------------------------------------------------------------------


def whole(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    request = completed() | {"previous": {"id": "r1"}}
    return {
        "environment": "arable",
        "release": {"id": "r2"},
        "before": "r1",
        "same": False,
        "blocked": plan.blocked(rows, "", []),
        "allow": plan.entries(rows),
        "tiers": list(rows),
        "servers": "",
        "waves": plan.shown_waves([{"servers": ["i-1"]}, {"servers": ["i-2"]}]),
        "strategy": "drain",
        "migrations": {"pending": ["20261108080000_add_place"], "why": "by the archives"},
        "restorePoint": {"wanted": True, "why": "migrations are pending"},
        "preflight": {"problems": [], "warnings": []},
        "estimate": estimate.estimate(request, rows, 2, True, None),
        **more,
    }


def test_the_text_has_everything_that_a_reader_asks() -> None:
    storage = plan.row("storage", "slipway-arable-storage", "unchanged")
    database = plan.row(
        "database",
        STACK,
        "changed",
        [REPLACED],
        [{"name": "InstanceClass", "before": "db.t4g.micro", "after": "db.t4g.small"}],
    )
    web = plan.row("web", "slipway-arable-web", "stuck", detail="slipway-arable-web is ROLLBACK_FAILED")
    certificate = plan.row("certificate", "stack", "busy", detail="stack is UPDATE_IN_PROGRESS")
    text = plan.text(whole(storage, database, web, certificate))
    for expected in (
        "arable: release r2, after r1",
        "storage        unchanged",
        "database       1 to replace",
        "InstanceClass: db.t4g.micro → db.t4g.small",
        " -/+ Instance (AWS::RDS::DBInstance), a final snapshot is made   REFUSED by the gate",
        "DBSubnetGroupName (SubnetGroup), replaces it",
        "DBInstanceClass (parameter InstanceClass)\n",
        "! DestructiveChange: Instance (AWS::RDS::DBInstance) would be replaced",
        "! tier web: slipway-arable-web is ROLLBACK_FAILED",
        "certificate    busy: stack is UPDATE_IN_PROGRESS",
        'add to the input\'s allow: "database/Instance"',
        "Servers: 2 in 2 waves, drain",
        "    1  i-1\n    2  i-2\n",
        "Migrations: 20261108080000_add_place (by the archives)",
        "Restore point: would be made",
        "Preflight: 0 problems, 0 warnings",
        "Time: about ",
        "Cost of the release: about USD 0.00",
        "not included: traffic",
    ):
        assert expected in text, expected


def test_a_running_release_and_preflight_stand_among_what_blocks() -> None:
    problem = {"check": "disk", "where": "i-1", "what": "8 MiB are free", "next": "make room"}
    busy = plan.row("web", "stack", "busy", detail="is waited for")
    assert plan.blocked([busy], "EnvironmentLocked: release r1 has been running", [problem]) == [
        "EnvironmentLocked: release r1 has been running",
        "disk: i-1: 8 MiB are free; make room",
    ]


def test_a_text_that_is_too_long_is_cut_with_a_count() -> None:
    text = plan.cut([f"line {number} →" for number in range(10_000)], 4096)
    assert plan.size(text) <= 4096
    kept = text.splitlines()
    assert kept[-1] == f"… {10_000 - len(kept) + 1} more lines are left out"


def test_a_plan_of_the_largest_fleet_and_much_change_fits_an_output() -> None:
    many = [change(f"Role{number:04d}", Details=[detail("Path")]) for number in range(500)]
    rows = [plan.row(name, f"slipway-arable-{name}", "changed", many) for name in TIERS]
    waves = [{"servers": [f"i-{n:017d}" for n in range(40)]} for _ in range(25)]
    told = whole(*rows, waves=plan.shown_waves(waves))
    assert sum(wave["number"] for wave in told["waves"]) == 1000
    told["text"] = plan.text(told)
    assert plan.size(told) < 200 * 1024


# --- of a release -----------------------------------------------------------------------------------------


def of_release(rows: list[dict[str, Any]], waves: list[dict[str, Any]]) -> dict[str, Any]:
    request = {"environment": {"name": "arable"}, "release": {"id": "r2"}, "previous": {"id": "r1"}}
    given = {"tiers": rows, "waves": waves, "strategy": "drain"}
    point = {"snapshot": "before-r2", "why": "migrations were pending"}
    return plan.of_release(request, given, {"pending": ["20261108080000"]}, point)


def test_the_plan_of_a_release_that_was_carried_out() -> None:
    told = of_release([plan.row("database", STACK, "changed", [REPLACED])], [{"servers": ["i-1"]}])
    assert told["waves"] == [{"number": 1, "servers": ["i-1"]}]
    assert told["migrations"] == ["20261108080000"]
    assert "-/+ Instance" in told["text"]
    assert "Restore point: before-r2 (migrations were pending)" in told["text"]


def test_it_stays_small_whatever_was_changed() -> None:
    many = [change(f"Role{number:04d}", Details=[detail("Path")]) for number in range(500)]
    rows = [plan.row(name, f"slipway-arable-{name}", "changed", many) for name in TIERS]
    told = of_release(rows, [{"servers": [f"i-{n:017d}" for n in range(1000)]}])
    assert plan.size(told) <= plan.RECEIPT_BYTES
    assert all(len(row["changes"]) + row["leftOut"] == 500 for row in told["tiers"])


def test_a_release_that_failed_before_it_planned() -> None:
    told = of_release([], [])
    assert told["tiers"] == []
    assert "Servers: not reached" in told["text"]


# --- time and cost ----------------------------------------------------------------------------------------


def estimated(*rows: dict[str, Any], last: Any = None, point: bool = False, **changes: Any) -> dict[str, Any]:
    return estimate.estimate(completed(**changes), rows, 2, point, last)


def added(name: str) -> dict[str, Any]:
    given = tiers.parameters(name, completed()["environment"], before(name), SETTINGS)
    return plan.row(name, f"slipway-arable-{name}", "new", outline.additions(name, given), basis="template")


def test_the_environment_of_the_readme_costs_what_the_readme_says() -> None:
    """But for the load balancer's capacity unit, which is said to be left out."""
    assert estimated(*(added(name) for name in TIERS))["monthly"] == pytest.approx(
        99.49 - 0.008 * 730, abs=0.02
    )


def test_the_next_release_takes_what_the_last_one_took() -> None:
    last = {
        "ending": "Succeeded",
        "before": "r0",
        "release": {"id": "r1"},
        "seconds": 61.4,
        "transitions": 82,
    }
    unchanged = [plan.row(name, "stack", "unchanged") for name in TIERS]
    told = estimated(*unchanged, last=last)
    assert (told["seconds"], told["transitions"], told["monthly"]) == (61, 82, 0)
    assert "r1 took 61 s" in told["secondsOf"]
    assert told["usd"] == pytest.approx(82 * 0.000025)


def test_a_restore_point_takes_time_and_costs_storage() -> None:
    without, told = estimated(), estimated(point=True)
    assert told["seconds"] == without["seconds"] + estimate.RESTORE_POINT_SECONDS
    assert "restore point at most USD 1.90 a month" in told["usdOf"]


def test_a_first_release_is_reckoned_with_its_slowest_tier_of_each_row() -> None:
    told = estimated(*(added(name) for name in TIERS))
    assert 15 * 60 <= told["seconds"] <= 25 * 60, "README: 15 to 25 minutes"


def test_a_larger_database_costs_the_difference() -> None:
    row = plan.row(
        "database",
        STACK,
        "changed",
        [change("Instance", "AWS::RDS::DBInstance")],
        [{"name": "InstanceClass", "before": "db.t4g.micro", "after": "db.t4g.small"}],
    )
    told = estimated(row, database={"instanceClass": "db.t4g.small"})
    assert told["monthly"] == pytest.approx(0.016 * 730, abs=0.01)


def test_what_has_no_price_here_is_not_guessed() -> None:
    row = plan.row(
        "web", "stack", "new", [change("Group", "AWS::AutoScaling::AutoScalingGroup", Action="Add")]
    )
    assert estimated(row, web={"instanceType": "m7i.large"})["monthly"] == 0


def test_the_newest_whole_success_counts() -> None:
    history: list[dict[str, Any]] = [
        {"ending": "Succeeded", "seconds": 10, "transitions": 80, "release": {"id": "a"}},
        {"ending": "Succeeded", "seconds": 11, "transitions": 80, "release": {"id": "b"}},
        {"ending": "Succeeded", "seconds": 2, "transitions": 17, "unchanged": True},
        {"ending": "FailedClean", "seconds": 5, "transitions": 30},
    ]
    found = estimate.newest(history)
    assert found is not None
    assert found["release"]["id"] == "b"
    assert estimate.newest([]) is None


# --- without CloudFormation -------------------------------------------------------------------------------


def test_the_outlines_are_those_of_the_templates() -> None:
    assert tier_outlines.FILE.read_text() == tier_outlines.wanted(), "run python -m tools.tier_outlines"
    assert set(outline.outlines()) == set(TIERS)
    for name in TIERS:
        assert {k: v["type"] for k, v in outline.outlines()[name]["resources"].items()} == {
            k: v["Type"] for k, v in tier(name)["Resources"].items()
        }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("name", TIERS)
def test_every_condition_of_every_tier_can_be_evaluated(name: str, environment: str) -> None:
    given = tiers.parameters(
        name, completed(**ENVIRONMENTS[environment])["environment"], before(name), SETTINGS
    )
    conditions = outline.outlines()[name]["conditions"]
    assert {outline.truth(one, conditions, given) for one in conditions} <= {True, False}


@pytest.mark.parametrize(
    ("environment", "there", "absent"),
    [
        ("as shown", {"NatGateway1"}, {"NatGateway2", "Bastion", "NatAddress2"}),
        ("no NAT gateway", set(), {"NatGateway1", "NatAddress1"}),
        ("a bastion", {"Bastion"}, set()),
    ],
)
def test_only_what_the_conditions_let_through_is_added(
    environment: str, there: set[str], absent: set[str]
) -> None:
    given = tiers.parameters("network", completed(**ENVIRONMENTS[environment])["environment"], {}, SETTINGS)
    names = {one["resource"] for one in outline.additions("network", given)}
    assert there <= names
    assert not absent & names


def test_what_depends_on_a_tier_that_is_not_there_says_so() -> None:
    nothing = {name: outline.Outputs() for name in TIERS}
    given = tiers.parameters("load_balancer", completed()["environment"], nothing, SETTINGS)
    found = {one["resource"]: one["why"] for one in outline.additions("load_balancer", given)}
    assert found["LoadBalancer"] == []
    assert found["DomainRecord"][0]["causes"] == ["if HasZone"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Fn::Or": [{"Fn::Equals": ["a", "a"]}, {"Fn::Equals": [{"Ref": "Later"}, ""]}]}, True),
        ({"Fn::Or": [{"Fn::Equals": ["a", "b"]}, {"Fn::Equals": [{"Ref": "Later"}, ""]}]}, None),
        ({"Fn::And": [{"Fn::Equals": ["a", "b"]}, {"Fn::Equals": [{"Ref": "Later"}, ""]}]}, False),
        ({"Fn::Not": [{"Fn::Equals": [{"Ref": "Later"}, ""]}]}, None),
        ({"Fn::Equals": [{"Fn::Select": [1, {"Ref": "List"}]}, "y"]}, True),
        ({"Fn::Equals": [{"Fn::Select": [1, {"Ref": "Later"}]}, "y"]}, None),
        ({"Condition": "Other"}, True),
    ],
)
def test_conditions_have_three_values(expression: Any, value: bool | None) -> None:
    conditions = {"It": expression, "Other": {"Fn::Equals": ["x", "x"]}}
    given = {"Later": outline.UNKNOWN, "List": "x,y"}
    assert outline.truth("It", conditions, given) is value


def test_rows_are_plain_json() -> None:
    assert json.loads(json.dumps(added("network"))) == added("network")
