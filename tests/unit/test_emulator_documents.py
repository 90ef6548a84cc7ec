"""Documents of the emulated Systems Manager: what is accepted, what is put in, what is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rehearsal.emulator import documents


def document(**changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": "2.2",
        "parameters": {
            "Release": {"type": "String", "allowedPattern": "^[a-z0-9.]+$"},
            "Mode": {"type": "String", "default": "fast", "allowedValues": ["fast", "slow"]},
            "lines": {"type": "StringList", "default": ["true"]},
        },
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "run",
                "inputs": {
                    "timeoutSeconds": "60",
                    "runCommand": ["echo {{ Release }} {{Mode}}", "{{ lines }}"],
                },
            }
        ],
    } | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schemaVersion": "0.3"}, "is not 2.2"),
        ({"mainSteps": []}, "mainSteps is missing or empty"),
        ({"mainSteps": [{"action": "aws:sleep", "name": "s"}]}, "action 'aws:sleep' is not known"),
        ({"mainSteps": [{"action": "aws:runShellScript", "name": "a b"}]}, "step names"),
        ({"parameters": {}}, "used but not declared: Mode, Release, lines"),
        ({"parameters": {"X": {"type": "Text"}}}, "parameter X: type"),
        ({"parameters": {"X": {"type": "String", "allowedPattern": "("}}}, "parameter X: allowedPattern"),
    ],
)
def test_content_that_could_not_run_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(documents.InvalidDocumentContent, match=said):
        documents.read(json.dumps(document(**changes)))


def test_content_may_be_yaml() -> None:
    assert documents.read("schemaVersion: '2.2'\nmainSteps: [{action: 'aws:runShellScript', name: x}]")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Release has no value"),
        ({"Release": ["UPPER"]}, "does not match the allowed pattern"),
        ({"Release": ["1.0\nrm -rf /"]}, "does not match the allowed pattern"),
        ({"Release": ["1", "2"]}, "takes one value"),
        ({"Release": ["1"], "Mode": ["odd"]}, "not one of fast, slow"),
        ({"Release": ["1"], "Other": ["x"]}, "does not have: Other"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(given: dict[str, list[str]], said: str) -> None:
    with pytest.raises(documents.InvalidParameters, match=said):
        documents.bind(document(), given)


def test_values_are_put_in_and_a_list_becomes_lines() -> None:
    values = documents.bind(document(), {"Release": ["1.0"], "lines": ["one", "two {{ Release }}"]})
    step = documents.steps(document(), values)[0]
    # What a value holds is not looked at again: it cannot name another parameter.
    assert documents.script(step.inputs) == "echo 1.0 fast\none\ntwo {{ Release }}\n"
    assert step.timeout == 60


@pytest.mark.parametrize(
    ("precondition", "runs"),
    [
        (None, True),
        ({"StringEquals": ["platformType", "Linux"]}, True),
        ({"StringEquals": ["platformType", "Windows"]}, False),
        ({"StringNotEquals": ["platformType", "Windows"]}, True),
        ({"StringEquals": ["{{ Mode }}", "fast"]}, True),
        ({"StringEquals": ["{{ Mode }}", "slow"]}, False),
    ],
)
def test_a_precondition_decides_whether_a_step_runs(precondition: Any, runs: bool) -> None:
    step = {"action": "aws:runShellScript", "name": "x", "precondition": precondition, "inputs": {}}
    held = document(mainSteps=[step])
    assert documents.steps(held, documents.bind(held, {"Release": ["1"]}))[0].for_linux is runs


def test_output_is_cut_as_the_agent_cuts_it() -> None:
    assert documents.plugin_output("out", "") == "out"
    assert documents.plugin_output("out", "err") == "out\n----------ERROR-------\nerr"
    long = documents.plugin_output("o" * 5000, "")
    assert len(long) == documents.OUTPUT_CHARACTERS
    assert long.endswith("---Output truncated---")
    both = documents.plugin_output("o" * 5000, "e" * 5000)
    assert len(both) == documents.OUTPUT_CHARACTERS
    assert both.startswith("ooo")
    assert both.endswith("---Error truncated----")


def test_a_short_error_is_kept_whole_beside_a_long_output() -> None:
    both = documents.plugin_output("o" * 5000, "the reason")
    assert both.endswith("\n----------ERROR-------\nthe reason")
    assert len(both) == documents.OUTPUT_CHARACTERS
