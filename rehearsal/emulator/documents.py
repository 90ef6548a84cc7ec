"""Documents of Systems Manager: reading them, checking parameters, cutting them into steps. Pure.

What is here follows the user guide's "Command document plugin reference" and "Data elements and
parameters"; only schema 2.2 with the actions of `ACTIONS` is known, everything else is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

ACTIONS = ("aws:runShellScript", "aws:downloadContent")
PARAMETER_TYPES = ("String", "StringList", "Boolean", "Integer", "MapList", "StringMap")
_REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")

RUN_SHELL_SCRIPT: dict[str, Any] = {
    "schemaVersion": "2.2",
    "description": "Run a shell script or specify the commands to run.",
    "parameters": {
        "commands": {"type": "StringList"},
        "workingDirectory": {"type": "String", "default": ""},
        "executionTimeout": {"type": "String", "default": "3600", "allowedPattern": "[1-9][0-9]{0,5}"},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "runShellScript",
            "inputs": {
                "runCommand": "{{ commands }}",
                "workingDirectory": "{{ workingDirectory }}",
                "timeoutSeconds": "{{ executionTimeout }}",
            },
        }
    ],
}
"""AWS-RunShellScript, in the shape of schema 2.2 (the original is of 1.2 and takes the same parameters)."""


class InvalidDocumentContent(Exception):
    """The content is no document that could run (AWS's error of the same name)."""


class InvalidParameters(Exception):
    """The parameters do not fit the document (AWS's error of the same name)."""


@dataclass(frozen=True)
class Step:
    """One step with all parameters put in. `timeout` in seconds."""

    name: str
    action: str
    inputs: Mapping[str, Any]
    timeout: float
    for_linux: bool
    on_failure: str
    always: bool


def read(content: str) -> dict[str, Any]:
    """The document in JSON or YAML `content`; `InvalidDocumentContent` if it is none that we can run."""
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise InvalidDocumentContent(f"Document content is neither JSON nor YAML: {error}") from error
    if not isinstance(document, dict):
        raise InvalidDocumentContent("Document content is not an object")
    check(document)
    return document


def check(document: Mapping[str, Any]) -> None:
    """Raise `InvalidDocumentContent` unless the document is of schema 2.2 with known actions."""
    if str(document.get("schemaVersion")) != "2.2":
        raise InvalidDocumentContent(f"schemaVersion {document.get('schemaVersion')!r} is not 2.2")
    parameters = document.get("parameters") or {}
    for name, parameter in parameters.items():
        _check_parameter(name, parameter)
    steps = document.get("mainSteps")
    if not isinstance(steps, list) or not steps:
        raise InvalidDocumentContent("mainSteps is missing or empty")
    names = [step.get("name") for step in steps]
    if len(set(names)) != len(names) or not all(re.fullmatch(r"[A-Za-z0-9_-]+", str(n or "")) for n in names):
        raise InvalidDocumentContent(f"step names must be given, plain and unique: {names}")
    for step in steps:
        if step.get("action") not in ACTIONS:
            raise InvalidDocumentContent(f"step {step['name']}: action {step.get('action')!r} is not known")
    unknown = _references(steps) - set(parameters)
    if unknown:
        raise InvalidDocumentContent(f"parameters are used but not declared: {', '.join(sorted(unknown))}")


def _check_parameter(name: str, parameter: Any) -> None:
    if not isinstance(parameter, dict) or parameter.get("type") not in PARAMETER_TYPES:
        raise InvalidDocumentContent(f"parameter {name}: type is missing or unknown")
    pattern = parameter.get("allowedPattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InvalidDocumentContent(f"parameter {name}: allowedPattern: {error}") from error


def _references(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(_REFERENCE.findall(value))
    if isinstance(value, Mapping):
        return set[str]().union(*(_references(each) for each in value.values()))
    if isinstance(value, Sequence):
        return set[str]().union(*(_references(each) for each in value))
    return set()


def bind(document: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for all parameters of the document: those `given` (each a list of strings), else defaults.

    Raises `InvalidParameters` for unknown names, missing values, and values that the document forbids.
    """
    declared: Mapping[str, Any] = document.get("parameters") or {}
    unknown = set(given) - set(declared)
    if unknown:
        raise InvalidParameters(f"Parameters that the document does not have: {', '.join(sorted(unknown))}")
    return {name: _bind_one(name, parameter, given.get(name)) for name, parameter in declared.items()}


def _bind_one(name: str, parameter: Mapping[str, Any], given: Any) -> Any:
    if given is None:
        if "default" not in parameter:
            raise InvalidParameters(f"Parameter {name} has no value and no default")
        return parameter["default"]
    values = [str(value) for value in given] if isinstance(given, list) else [str(given)]
    for value in values:
        _check_value(name, parameter, value)
    if parameter["type"] == "StringList":
        return values
    if len(values) != 1:
        raise InvalidParameters(f"Parameter {name} is a {parameter['type']}: it takes one value")
    return values[0]


def _check_value(name: str, parameter: Mapping[str, Any], value: str) -> None:
    allowed = parameter.get("allowedValues")
    if allowed and value not in [str(each) for each in allowed]:
        raise InvalidParameters(f"Parameter {name}: {value!r} is not one of {', '.join(map(str, allowed))}")
    pattern = parameter.get("allowedPattern")
    # AWS matches with Java's find semantics only inside ^…$; the whole value has to match.
    if pattern and not re.fullmatch(pattern, value):
        raise InvalidParameters(f"Parameter {name}: {value!r} does not match the allowed pattern {pattern}")
    if "maxChars" in parameter and len(value) > int(parameter["maxChars"]):
        raise InvalidParameters(f"Parameter {name} is longer than {parameter['maxChars']} characters")
    if "minChars" in parameter and len(value) < int(parameter["minChars"]):
        raise InvalidParameters(f"Parameter {name} is shorter than {parameter['minChars']} characters")


DEFAULT_STEP_SECONDS = 3600.0
"""timeoutSeconds of aws:runShellScript when the document gives none."""


def steps(document: Mapping[str, Any], values: Mapping[str, Any]) -> list[Step]:
    """The document's steps in order with `values` (of `bind`) put in."""
    found = []
    for step in document["mainSteps"]:
        inputs = _fill(step.get("inputs") or {}, values)
        found.append(
            Step(
                name=step["name"],
                action=step["action"],
                inputs=inputs,
                timeout=float(inputs.get("timeoutSeconds") or DEFAULT_STEP_SECONDS),
                for_linux=_for_linux(step.get("precondition"), values),
                on_failure=str(inputs.get("onFailure") or step.get("onFailure") or ""),
                always=str(inputs.get("finallyStep") or step.get("finallyStep") or "").lower() == "true",
            )
        )
    return found


def _for_linux(precondition: Any, values: Mapping[str, Any]) -> bool:
    """Whether a precondition (all of its operators) holds on a Linux server."""
    known = {"platformType": "Linux"}
    for operator, operands in (precondition or {}).items():
        left, right = (known.get(str(o), str(_fill(o, values))) for o in operands)
        equal = left == right
        if operator not in ("StringEquals", "StringNotEquals") or equal != (operator == "StringEquals"):
            return False
    return True


def _fill(value: Any, values: Mapping[str, Any]) -> Any:
    """`value` with every ``{{ Name }}`` replaced; an item that is one list parameter becomes its items."""
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value.strip())
        if whole and isinstance(values.get(whole.group(1)), list):
            return list(values[whole.group(1)])
        return _REFERENCE.sub(lambda match: _text(values[match.group(1)]), value)
    if isinstance(value, Mapping):
        return {key: _fill(each, values) for key, each in value.items()}
    if isinstance(value, list):
        filled: list[Any] = []
        for each in value:
            result = _fill(each, values)
            filled.extend(result if isinstance(result, list) and isinstance(each, str) else [result])
        return filled
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def script(inputs: Mapping[str, Any]) -> str:
    """The shell script of a step of aws:runShellScript."""
    lines = inputs.get("runCommand") or []
    return "\n".join([lines] if isinstance(lines, str) else [str(line) for line in lines]) + "\n"


OUTPUT_CHARACTERS = 2500
"""Output of a plugin in ListCommandInvocations ("truncated after 2500 characters")."""
STDOUT_CHARACTERS = 24000
"""StandardOutputContent of GetCommandInvocation: "The first 24,000 characters"."""
STDERR_CHARACTERS = 8000
"""StandardErrorContent of GetCommandInvocation: "The first 8,000 characters"."""

_ERROR_TITLE = "\n----------ERROR-------\n"
_CUT_OUTPUT = "\n---Output truncated---"
_CUT_ERROR = "\n---Error truncated----"


def plugin_output(stdout: str, stderr: str, room: int = OUTPUT_CHARACTERS) -> str:
    """Standard output and error as one text of at most `room` characters, as the agent joins them.

    The error keeps at most half of the room when both are too long (amazon-ssm-agent, TruncateOutput).
    """
    if not stderr:
        return _cut(stdout, room, _CUT_OUTPUT)
    left = room - len(_ERROR_TITLE)
    if len(stdout) + len(stderr) <= left:
        return stdout + _ERROR_TITLE + stderr
    error_room = max(left // 2, left - len(stdout))
    error = _cut(stderr, error_room, _CUT_ERROR)
    return _cut(stdout, left - len(error), _CUT_OUTPUT) + _ERROR_TITLE + error


def _cut(text: str, room: int, mark: str) -> str:
    return text if len(text) <= room else text[: max(room - len(mark), 0)] + mark
