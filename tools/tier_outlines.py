"""Writes functions/slipway/outlines.json from the tiers' templates: what a plan says of a tier that is not
there yet, for functions that read no YAML. With --check only says whether it is up to date.

    python -m tools.tier_outlines [--check]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tools.draw_network import TIERS, Template, load
from tools.draw_svg import ROOT

FILE = ROOT / "functions" / "slipway" / "outlines.json"


def outline(template: Template) -> dict[str, Any]:
    """{"conditions": {name: expression}, "resources": {logical id: {"type", "condition"?}}}."""
    resources = {
        name: {"type": resource["Type"]}
        | ({"condition": resource["Condition"]} if "Condition" in resource else {})
        for name, resource in template["Resources"].items()
    }
    return {"conditions": dict(template.get("Conditions", {})), "resources": resources}


def wanted() -> str:
    """The file's content."""
    outlines = {path.stem: outline(load(path)) for path in sorted(TIERS.glob("*.yaml"))}
    return json.dumps(outlines, indent=1, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        FILE.write_text(wanted())
        return 0
    if FILE.exists() and FILE.read_text() == wanted():
        return 0
    print(
        f"{FILE.relative_to(ROOT)} is not what the tiers say: run python -m tools.tier_outlines",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
