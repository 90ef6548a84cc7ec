"""Writes rehearsal/emulator/registry.json: what CloudFormation's registry says that the handlers of our
resource types call. With --check only says whether it is up to date.

python -m tools.registry_permissions [--check]

The source are AWS's own resource schemas ("handlers" → "permissions"), as cfn-lint brings them:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html#schema-properties-handlers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.draw_network import load

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "rehearsal" / "emulator" / "registry.json"
OPERATIONS = ("create", "read", "update", "delete")

BY_SAM = {
    "AWS::Serverless::Function": ("AWS::Lambda::Function", "AWS::IAM::Role"),
    "AWS::Serverless::LayerVersion": ("AWS::Lambda::LayerVersion",),
    "AWS::Serverless::StateMachine": (
        "AWS::StepFunctions::StateMachine",
        "AWS::IAM::Role",
        "AWS::Events::Rule",
        "AWS::Scheduler::Schedule",
    ),
}
"""What SAM makes of its own types, as far as our template comes to it."""


def used() -> set[str]:
    """Every type of the orchestrator's stack and of the tiers."""
    types: set[str] = set()
    for file in (ROOT / "template.yaml", *(ROOT / "tiers").glob("*.yaml")):
        for resource in load(file)["Resources"].values():
            types |= set(BY_SAM.get(resource["Type"], (resource["Type"],)))
    return types


def schemas() -> Iterator[dict[str, Any]]:
    """The schemas that cfn-lint brings."""
    spec = find_spec("cfnlint")
    assert spec is not None
    assert spec.origin is not None
    for file in (Path(spec.origin).parent / "data" / "schemas" / "resources").glob("*.json"):
        yield json.loads(file.read_text())


def table() -> dict[str, dict[str, list[str]]]:
    """Type → operation → actions. A type whose schema lists none has none."""
    wanted = used()
    found = {
        schema["typeName"]: {
            operation: sorted(set(schema["handlers"][operation].get("permissions", ())))
            for operation in OPERATIONS
            if operation in schema.get("handlers", {})
        }
        for schema in schemas()
        if schema["typeName"] in wanted
    }
    return dict(sorted(found.items()))


def tagging() -> dict[str, list[str]]:
    """Type → what its schema says that giving and taking tags calls."""
    wanted = used()
    return {
        schema["typeName"]: schema.get("tagging", {}).get("permissions", [])
        for schema in schemas()
        if schema["typeName"] in wanted
    }


def written() -> str:
    """The file's text."""
    return json.dumps(table(), indent=1) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        if FILE.read_text() == written():
            return 0
        print(f"{FILE} is out of date: python -m tools.registry_permissions", file=sys.stderr)
        return 1
    FILE.write_text(written())
    return 0


if __name__ == "__main__":
    sys.exit(main())
