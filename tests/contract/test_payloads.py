"""What the parts hand each other: inputs, payloads, outputs of tiers and parameters of tiers fit together."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import jsonschema
import pytest

from slipway import request, schema, tiers
from slipway.tear_down import request as tear_down
from tests.contract import reach
from tests.contract.shipped import FUNCTIONS, TIERS, Json, all_states, functions, snake, strings, tier
from tests.contract.test_state_machines import called, input_schema, nested
from tests.workflow.engine import ROOT, definition
from tests.workflow.fleet import fleet
from tests.workflow.test_release import release

EVENTS = sorted((ROOT / "events").glob("*-release.json"))
SETTINGS = tiers.Settings(
    account="123456789012",
    region="eu-central-1",
    partition="aws",
    artifact_bucket="slipway-artifacts-1",
    command_log_group="/slipway/commands",
    runtime="python3.13",
    architecture="arm64",
    layer="arn:aws:lambda:eu-central-1:123456789012:layer:slipway-dependencies:1",
    code_key="functions/0.zip",
)

each_event = pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)


# --- inputs -----------------------------------------------------------------------------------------------


@each_event
def test_the_inputs_that_we_show_are_valid(path: Any) -> None:
    given = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(input_schema())
    jsonschema.Draft202012Validator(input_schema()).validate(given)
    assert schema.problems(input_schema(), given) == []


def test_the_tear_down_that_we_show_is_valid() -> None:
    given = json.loads((ROOT / "events" / "tear-down.json").read_text())
    jsonschema.Draft202012Validator.check_schema(tear_down.input_schema())
    jsonschema.Draft202012Validator(tear_down.input_schema()).validate(given)
    assert schema.problems(tear_down.input_schema(), given) == []


def test_the_first_of_them_makes_sense() -> None:
    assert request.problems(completed()["environment"], {}) == []


def completed(**changes: Json) -> Json:
    """The input of the first release with every default, some parts of its environment replaced."""
    given = json.loads((ROOT / "events" / "first-release.json").read_text())
    for part, change in changes.items():
        given["environment"][part] = {**given["environment"].get(part, {}), **change}
    jsonschema.Draft202012Validator(input_schema()).validate(given)
    filled: Json = schema.complete(input_schema(), given)
    return filled


def test_what_a_definition_reads_of_a_request_is_there() -> None:
    """Defaults included: an expression that finds nothing fails the execution."""
    recorded = {"same": False, "outputs": {}}
    whole = {**completed(), "previous": {"id": "2026-11-21.1"}, "backTo": None, "recorded": recorded}
    read = {
        name for text in strings(definition("Release")) for name in re.findall(r"\$request((?:\.\w+)+)", text)
    }
    assert ".environment.web.healthPath" in read
    for path in read:
        part: Any = whole
        for name in path.strip(".").split("."):
            assert name in part, path
            part = part[name]


# --- payloads of functions --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_function_is_given_the_fields_that_it_reads(function: str) -> None:
    """Fields of the event that its handler names against the Payload of every state that calls it."""
    tree = ast.parse((FUNCTIONS / snake(function) / "app.py").read_text())
    read = {
        ast.literal_eval(node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "event"
    }
    given = [state["Arguments"]["Payload"] for _, _, state in all_states() if called(state) == function]
    assert read
    for payload in given:
        assert read <= payload.keys(), f"{function} reads {read - payload.keys()}, which nobody gives it"


@pytest.mark.parametrize("machine", ["DeployTier", "AwaitCommand", "RollOut"])
def test_a_child_is_given_the_fields_that_it_reads(machine: str) -> None:
    shipped = definition(machine)
    start = shipped["States"][shipped["StartAt"]]
    pattern = r"\$states\.context\.Execution\.Input\.(\w+)"
    read = {name for text in strings(shipped) for name in re.findall(pattern, text)}
    read |= {name for text in strings(start) for name in re.findall(r"\$states\.input\.(\w+)", text)}
    read -= {"told"}  # what a state of the machine itself hands back to the first one
    for state in nested(machine):
        given = set(state["Arguments"]["Input"]) - {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"}
        assert read == given


def test_children_are_named_after_their_parent_and_what_they_are_for() -> None:
    """Names that people find, and a start that is tried again starts nothing twice."""
    every = [
        state for machine in ("DeployTier", "AwaitCommand", "RollOut", "CleanUp") for state in nested(machine)
    ]
    pattern = r'\{% \$substring\(\$states\.context\.Execution\.Name, 0, 60\) & "-([a-z-]{1,19})" %\}'
    names = [re.fullmatch(pattern, state["Arguments"]["Name"]) for state in every]
    assert all(names)
    assert len({name.group(1) for name in names if name}) == len(every)


def test_payloads_are_what_the_functions_say_that_they_take() -> None:
    """`{a, b, c?} → …` in the docstring of every handler is the Payload of the states that call it."""
    for _, name, state in all_states():
        if function := called(state):
            piece = reach.modules()[f"{snake(function)}.app"].defined["handler"]
            assert isinstance(piece, ast.FunctionDef)
            taken = re.match(r"\{([^}]*)\}", ast.get_docstring(piece) or "")
            assert taken, function
            optional = set(re.findall(r"(\w+)\?", taken.group(1)))
            given = set(state["Arguments"]["Payload"])
            assert set(re.findall(r"\w+", taken.group(1))) - optional == given - optional, name


def test_no_payload_is_near_the_limit() -> None:
    """256 KiB a payload; the whole request and all outputs travel through most of them."""
    functions_called = fleet(tuple(f"i-{number:017d}" for number in range(24)))
    release(functions_called)
    assert max(len(json.dumps(payload)) for _, payload in functions_called.calls) < 256 * 1024 / 10


# --- tiers ------------------------------------------------------------------------------------------------

ENVIRONMENTS: dict[str, Json] = {
    "as shown": {},
    "no NAT gateway": {"network": {"natGateways": "none"}},
    "a bastion": {"network": {"bastion": {"allowedCidrs": ["203.0.113.7/32", "198.51.100.0/24"]}}},
    "a small range": {"network": {"cidr": "192.168.4.0/22"}},
    "DNS elsewhere": {"domain": {"dns": "elsewhere", "www": False}},
    "a zone of one's own": {"domain": {"hostedZoneId": "Z0123456789ABC"}},
    "Debian on Graviton": {
        "web": {"operatingSystem": "debian-12", "ruby": "3.1", "instanceType": "t4g.small"}
    },
    "scaling": {"web": {"scaling": {"cpuPercent": 60, "requestsPerTarget": 600}}},
    "an image": {"web": {"imageId": "ami-0123456789abcdef0"}},
    "two databases": {"database": {"multiAz": True, "storageGiB": 100}},
    "secrets": {"secrets": {"API_KEY": "slipway/arable/api-key"}, "variables": {"A": "b"}},
}


def before(name: str) -> dict[str, dict[str, str]]:
    """Outputs of the tiers that a release has when it deploys this one: all names, made-up values."""
    known = () if name == "network" else TIERS if name == "load_balancer" else ("network",)
    return {
        other: {output: f"{other}-{output}" for output in tier(other)["Outputs"]}
        for other in known
        if other != name
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("name", TIERS)
def test_a_tier_gets_exactly_its_parameters_with_values_that_it_allows(name: str, environment: str) -> None:
    whole = completed(**ENVIRONMENTS[environment])["environment"]
    given = tiers.parameters(name, whole, before(name), SETTINGS)
    declared = tier(name)["Parameters"]
    assert given.keys() == declared.keys()
    for parameter, value in given.items():
        assert isinstance(value, str), parameter
        allowed(parameter, declared[parameter], value)


def allowed(name: str, parameter: Json, value: str) -> None:
    """What CloudFormation looks at first: whether the value is one that the parameter takes."""
    made_up = re.match(r"(network|certificate|database|storage|web|load_balancer)-", value)
    if "AllowedValues" in parameter and not made_up:
        assert value in parameter["AllowedValues"], name
    if "AllowedPattern" in parameter and not made_up:
        assert re.fullmatch(parameter["AllowedPattern"], value), name
    if parameter["Type"] == "Number":
        assert parameter.get("MinValue", 0) <= float(value) <= parameter.get("MaxValue", 1e9), name
    assert len(value) <= parameter.get("MaxLength", 4096), name


def test_the_network_has_outputs_before_anybody_else_needs_them() -> None:
    for name in TIERS[1:-1]:
        assert set(before(name)) <= {"network"}


def test_outputs_that_functions_read_are_outputs_of_that_tier() -> None:
    read = set()
    for path in FUNCTIONS.rglob("*.py"):
        read |= set(re.findall(r'outputs(?:"\])?\["(\w+)"\]\["(\w+)"\]', path.read_text()))
    assert ("web", "AutoScalingGroupName") in read
    for name, output in read:
        assert output in tier(name)["Outputs"], f"{name}.{output}"


def test_the_environments_own_function_is_called_as_its_tier_made_it() -> None:
    [state] = [s for _, name, s in all_states() if name == "CreateDatabase"]
    function = tier("database")["Resources"]["CreateDatabase"]["Properties"]
    assert state["Arguments"]["Payload"] == {}
    assert state["TimeoutSeconds"] == function["Timeout"] + 5
    assert function["Handler"] == "create_database.app.handler"
    assert function["FunctionName"]["Fn::Sub"] == "slipway-${Environment}-create-database"


def test_templates_of_tiers_travel_with_the_code_and_fit_into_a_call() -> None:
    """51,200 bytes is what CreateChangeSet takes as TemplateBody."""
    for name in TIERS:
        assert tiers.template(name) == (ROOT / "tiers" / f"{name}.yaml").read_text()
        assert len(tiers.template(name).encode()) <= 51200
