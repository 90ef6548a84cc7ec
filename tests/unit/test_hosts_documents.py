"""What the servers' documents have in common: parameters that stay in their quotes, and one prelude."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STEPS = ("prepare", "stage", "configure", "pending", "migrate", "activate", "report")
LONGEST_DOCUMENT = 64 * 1024
"""Bytes. Source: AWS General Reference, "Systems Manager endpoints and quotas"."""

HOSTILE = [
    "",
    "'",
    "a'b",
    'a"b',
    "a b",
    "a;b",
    "a&b;",
    "a|b",
    "a`b`",
    "$(a)",
    "${a}",
    "a\\b",
    "a\nb",
    "a\n",
    "<a",
    ">a",
]
"""A `&` alone may stand in a path's query: inside the quotes that all values are in it does nothing."""


def document(step: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "hosts" / f"{step}.yaml").read_text())
    return loaded


def script(step: str) -> str:
    (main,) = document(step)["mainSteps"]
    (text,) = main["inputs"]["runCommand"]
    return str(text)


@pytest.mark.parametrize("step", STEPS)
def test_it_is_a_command_document_that_fits(step: str) -> None:
    content = document(step)
    assert content["schemaVersion"] == "2.2"
    assert len(json.dumps(content)) < LONGEST_DOCUMENT
    assert script(step).startswith("#!/bin/bash\n")


def parameters() -> list[tuple[str, str, dict[str, Any]]]:
    return [(step, name, value) for step in STEPS for name, value in document(step)["parameters"].items()]


@pytest.mark.parametrize(("step", "name", "parameter"), parameters())
def test_a_parameter_cannot_leave_its_quotes(step: str, name: str, parameter: dict[str, Any]) -> None:
    pattern = parameter["allowedPattern"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    refused = [text for text in HOSTILE if not re.fullmatch(pattern, text)]
    # An empty base64 text is no harm: it stands between the quotes like any other.
    assert set(HOSTILE) - set(refused) <= {""}
    assert re.fullmatch(pattern, parameter.get("default", "")) or "default" not in parameter


@pytest.mark.parametrize("step", STEPS)
def test_parameters_stand_in_single_quotes_alone(step: str) -> None:
    """SSM puts values in as text, anywhere: so each stands once, in an assignment, between single quotes."""
    text = script(step)
    assigned = re.findall(r"^[a-z0-9_]+='\{\{ (\w+) \}\}'$", text, re.MULTILINE)
    assert sorted(assigned) == sorted(document(step)["parameters"])
    assert text.count("{{") == len(assigned)


def test_all_share_one_prelude() -> None:
    preludes = {script(step).partition("\nstep=")[0] for step in STEPS}
    assert len(preludes) == 1
