"""What is shipped, loaded for tests: the template, the state machines, the tiers, the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.workflow.engine import MACHINES, ROOT, definition, states_of
from tools.draw_network import load

TIERS = ("network", "certificate", "database", "storage", "web", "load_balancer")
DOCUMENTS = ("stage", "configure", "migrate", "activate", "report")
FUNCTIONS = ROOT / "functions"

Json = dict[str, Any]


@cache
def template() -> Json:
    """template.yaml, with CloudFormation's short forms as {"Fn::…": …}."""
    return dict(load(ROOT / "template.yaml"))


@cache
def tier(name: str) -> Json:
    return dict(load(ROOT / "tiers" / f"{name}.yaml"))


@cache
def document(name: str) -> Json:
    loaded: Json = yaml.safe_load((ROOT / "hosts" / f"{name}.yaml").read_text())
    return loaded


@cache
def steps() -> dict[str, Json]:
    """The steps of all documents, by name."""
    return {step["name"]: step for name in DOCUMENTS for step in document(name)["mainSteps"]}


def time_of(name: str) -> int:
    """Seconds that all steps of a document may take."""
    return sum(int(step["inputs"]["timeoutSeconds"]) for step in document(name)["mainSteps"])


def machine_file(machine: str) -> Path:
    return ROOT / "statemachine" / f"{snake(machine)}.asl.yaml"


def resources(kind: str) -> dict[str, Json]:
    """Properties of the template's resources of a type, by logical id."""
    found = template()["Resources"].items()
    return {name: resource["Properties"] for name, resource in found if resource["Type"] == kind}


def functions() -> dict[str, Json]:
    """Properties of every function of the template, by its name without the suffix: `CheckTier`."""
    return {
        name.removesuffix("Function"): value for name, value in resources("AWS::Serverless::Function").items()
    }


def machines() -> dict[str, Json]:
    found = resources("AWS::Serverless::StateMachine")
    return {name.removesuffix("StateMachine"): value for name, value in found.items()}


def setting(function: str, name: str, otherwise: Any = None) -> Any:
    """A property of a function as it holds: its own, or that of Globals."""
    return functions()[function].get(name, template()["Globals"]["Function"].get(name, otherwise))


def all_states() -> Iterator[tuple[str, str, Json]]:
    """(machine, name, state) of every state of every machine, those in branches too."""
    for machine in MACHINES:
        for name, state in states_of(definition(machine)):
            yield machine, name, state


def strings(value: Any) -> Iterator[str]:
    """Every string in a piece of JSON, keys too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def placeholders(value: Any) -> set[str]:
    """Names of the `${…}` in a piece of JSON."""
    return {name for text in strings(value) for name in re.findall(r"\$\{(\w+)\}", text)}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def kebab(name: str) -> str:
    return snake(name).replace("_", "-")
