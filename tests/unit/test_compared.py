"""Which tiers stand, and for each reason why one does not, that it is left to a change set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

import compare_tiers.app
from slipway import compared, package, stacks, tiers
from slipway.aws import cloudformation, s3
from slipway.errors import AwsRefused, TransientAwsError
from tests.contract.shipped import TIERS, tier
from tests.contract.test_payloads import SETTINGS, before, completed
from tests.unit.fakes import install, patience, refused

ROLE = "arn:aws:iam::123456789012:role/slipway-cloudformation"
ENVIRONMENT = completed()["environment"]
NAMES = {tiers.stack_name(ENVIRONMENT["name"], name): name for name in tiers.TIERS}
OUTPUTS = {**before("load_balancer"), "load_balancer": {"Url": "https://arable.example"}}


def pairs(kind: str, values: Mapping[str, str], key: str = "Key") -> list[dict[str, str]]:
    return [{f"{kind}{key}": name, f"{kind}Value": value} for name, value in values.items()]


class CloudFormation:
    """The stacks of an environment as a release has left them, until a test changes one."""

    def __init__(self) -> None:
        self.stacks: dict[str, dict[str, Any]] = {
            name: {
                "StackStatus": "UPDATE_COMPLETE",
                "RoleARN": ROLE,
                "Tags": pairs("", tiers.tags(ENVIRONMENT["name"], name)),
                "Parameters": pairs("Parameter", tiers.parameters(name, ENVIRONMENT, OUTPUTS, SETTINGS)),
                "Outputs": pairs("Output", OUTPUTS[name]),
            }
            for name in tiers.TIERS
        }
        self.templates = {name: tiers.template(name) for name in tiers.TIERS}
        self.stages: set[str] = set()
        self.threads: set[int] = set()
        self.refusal: Exception | None = None

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        self.threads.add(threading.get_ident())
        found = self.stacks.get(NAMES[StackName])
        if found is None:
            raise refused("ValidationError", "DescribeStacks", f"Stack with id {StackName} does not exist")
        return {"Stacks": [{"StackName": StackName, **found}]}

    def get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        self.stages.add(TemplateStage)
        return {"TemplateBody": self.templates[NAMES[StackName]]}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> CloudFormation:
    cloud = CloudFormation()
    install(monkeypatch, cloudformation=cloud)
    return cloud


def compare(**changes: Any) -> dict[str, Any]:
    environment = {**ENVIRONMENT, **changes}
    return compared.compare(
        compared.Asked(
            ENVIRONMENT["name"],
            ROLE,
            lambda name, outputs: tiers.parameters(name, environment, outputs, SETTINGS),
        )
    )


def test_what_is_as_it_was_released_stands(cloud: CloudFormation) -> None:
    answer = compare()
    assert list(answer["standing"]) == list(tiers.TIERS)
    assert {name: one["outputs"] for name, one in answer["standing"].items()} == OUTPUTS
    assert answer["others"] == {}
    assert cloud.stages == {"Original"}, "a template as it was given"
    assert len(cloud.threads) > 1, "the stacks are looked at beside each other"


@pytest.mark.parametrize("name", tiers.TIERS)
def test_a_row_is_what_a_plan_says_of_a_tier_that_is_unchanged(
    name: str, cloud: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = {"Status": "FAILED", "StatusReason": "No updates are to be performed."}
    monkeypatch.setattr(cloudformation, "change_set", lambda _stack, _name: empty)
    monkeypatch.setattr(cloudformation, "delete_change_set", lambda _stack, _name: None)
    wanted = stacks.Wanted(ENVIRONMENT["name"], name, dict, [], ROLE, "one")
    planned = stacks.plan(wanted, patience())
    assert planned["status"] == "unchanged"
    assert compare()["standing"][name] == {"outputs": planned["outputs"], "row": planned["row"]}


Change = Callable[[CloudFormation], Any]

REASONS: dict[str, tuple[Change, str]] = {
    "no stack": (lambda cloud: cloud.stacks.pop("storage"), "there is no stack"),
    **{
        status: (
            lambda cloud, status=status: cloud.stacks["storage"].update(StackStatus=status),  # type: ignore[misc]
            f"it is {status}",
        )
        for status in [*stacks.NEXT_STEP, "SOMETHING_NEW"]
        if status is not None and status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
    },
    "a template changed by hand": (
        lambda cloud: cloud.templates.update(storage=cloud.templates["storage"] + "Metadata: {}\n"),
        "it has another template",
    ),
    "a template as JSON": (
        lambda cloud: cloud.templates.update(storage={"Resources": {}}),  # type: ignore[call-overload]
        "it has another template",
    ),
    "another role": (
        lambda cloud: cloud.stacks["storage"].update(RoleARN=f"{ROLE}-2"),
        "it has another role",
    ),
    "no role": (lambda cloud: cloud.stacks["storage"].pop("RoleARN"), "it has another role"),
    "a tag more": (
        lambda cloud: cloud.stacks["storage"]["Tags"].append({"Key": "team", "Value": "b"}),
        "it has other tags",
    ),
    "a tag less": (lambda cloud: cloud.stacks["storage"]["Tags"].pop(), "it has other tags"),
    "another value": (
        lambda cloud: cloud.stacks["storage"].update(Parameters=pairs("Parameter", {"Environment": "x"})),
        "other parameters: Environment",
    ),
    "a parameter more": (
        lambda cloud: cloud.stacks["storage"]["Parameters"].append(
            {"ParameterKey": "Size", "ParameterValue": "1"}
        ),
        "other parameters: Size",
    ),
    "a parameter less": (
        lambda cloud: cloud.stacks["storage"]["Parameters"].clear(),
        "other parameters: Environment",
    ),
    "a parameter that CloudFormation does not show": (
        lambda cloud: cloud.stacks["storage"]["Parameters"][0].update(ParameterValue="****"),
        "other parameters: Environment",
    ),
    "a parameter that is looked up": (
        lambda cloud: cloud.stacks["storage"]["Parameters"][0].update(ResolvedValue="ami-1"),
        "a parameter is looked up",
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_tier_that_may_have_to_be_changed_does_not_stand(reason: str, cloud: CloudFormation) -> None:
    change, why = REASONS[reason]
    change(cloud)
    answer = compare()
    assert answer["others"] == {"storage": why}
    assert set(answer["standing"]) == set(tiers.TIERS) - {"storage"}


def test_a_status_in_which_a_tier_stands_is_one_that_is_updated() -> None:
    assert {stacks.NEXT_STEP[status] for status in stacks.SUCCEEDED} == {"update"}


def test_comments_and_descriptions_of_ours_are_no_change(cloud: CloudFormation) -> None:
    cloud.templates["web"] = f"# older\n\n{cloud.templates['web']}".replace(
        "Description: >-", "Description: |", 1
    )
    assert compare()["others"] == {}


def test_a_line_of_a_servers_script_is_a_change_even_if_it_looks_like_a_comment(
    cloud: CloudFormation,
) -> None:
    assert "            #!/bin/bash\n" in cloud.templates["web"]
    cloud.templates["web"] = cloud.templates["web"].replace("#!/bin/bash", "#!/bin/sh")
    assert compare()["others"]["web"] == "it has another template"


def test_with_another_environment_the_tiers_that_it_concerns_do_not_stand(cloud: CloudFormation) -> None:
    answer = compare(database={**ENVIRONMENT["database"], "storageGiB": 100})
    assert answer["others"] == {"database": "other parameters: StorageGiB"}


def test_what_builds_on_a_tier_that_does_not_stand_does_not_stand_either(cloud: CloudFormation) -> None:
    """Its outputs may become others."""
    cloud.stacks["network"]["StackStatus"] = "UPDATE_IN_PROGRESS"
    answer = compare()
    assert set(answer["standing"]) == {"certificate", "storage"}
    for name in ("database", "web", "load_balancer"):
        assert "'network'" in answer["others"][name]


def test_without_the_certificate_only_the_load_balancer_is_left_too(cloud: CloudFormation) -> None:
    cloud.stacks["certificate"]["Tags"].clear()
    assert set(compare()["others"]) == {"certificate", "load_balancer"}


def test_an_output_that_has_changed_is_a_changed_parameter(cloud: CloudFormation) -> None:
    cloud.stacks["web"]["Outputs"] = pairs("Output", {**OUTPUTS["web"], "AutoScalingGroupName": "another"})
    assert compare()["others"] == {"load_balancer": "other parameters: AutoScalingGroupName"}


def test_before_the_first_release_nothing_stands(cloud: CloudFormation) -> None:
    cloud.stacks.clear()
    assert compare() == {"standing": {}, "others": dict.fromkeys(tiers.TIERS, "there is no stack")}
    assert cloud.stages == set()


# The handler


def called(remedy: bool = False) -> dict[str, Any]:
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:slipway-compare-tiers"
    answer: dict[str, Any] = compare_tiers.app.handler(
        {"environment": ENVIRONMENT, "remedy": remedy}, SimpleNamespace(invoked_function_arn=arn)
    )
    return answer


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CLOUDFORMATION_ROLE_ARN": ROLE,
        "ARTIFACT_BUCKET": SETTINGS.artifact_bucket,
        "COMMAND_LOG_GROUP": SETTINGS.command_log_group,
        "FUNCTION_RUNTIME": SETTINGS.runtime,
        "FUNCTION_ARCHITECTURE": SETTINGS.architecture,
        "LAYER_ARN": SETTINGS.layer,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("surroundings")
def test_with_another_code_of_its_function_the_database_does_not_stand(
    cloud: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stacks have been given functions/0.zip. Nothing is put anywhere to find that out."""
    monkeypatch.setattr(s3, "put", None)
    assert called()["others"] == {"database": "other parameters: FunctionCodeKey"}
    monkeypatch.setattr(package, "key", lambda _content: SETTINGS.code_key)
    assert called()["others"] == {}


@pytest.mark.usefixtures("surroundings")
def test_for_a_remedy_nothing_stands_and_nothing_is_looked_at(cloud: CloudFormation) -> None:
    answer = called(remedy=True)
    assert answer["standing"] == {}
    assert list(answer["others"]) == list(tiers.TIERS)
    assert cloud.threads == set()


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("AccessDenied", 403, AwsRefused), ("Throttling", 400, TransientAwsError)],
)
def test_what_cannot_be_found_out_is_an_error(
    code: str, status: int, error: type[Exception], cloud: CloudFormation
) -> None:
    """The state machine tries again, or plans all tiers."""
    cloud.refusal = refused(code, "GetTemplate", "is not authorized to perform that", status)
    with pytest.raises(error):
        called()


def test_no_parameter_of_a_tier_is_hidden_or_looked_up() -> None:
    """Such a tier would never stand: CloudFormation shows **** for the one; the other's value may change."""
    for name in TIERS:
        for parameter, declared in tier(name)["Parameters"].items():
            assert "NoEcho" not in declared, parameter
            assert not declared["Type"].startswith("AWS::SSM::Parameter"), parameter
        assert "Transform" not in tier(name), "a macro may make another template of the same"
