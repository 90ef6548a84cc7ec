"""Writes docs/input.md from the schema of the input; with --check only says whether it is up to date.

python -m tools.input_reference [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "functions"))

from slipway.schema import allowed  # noqa: E402

SCHEMA = ROOT / "functions" / "slipway" / "input.schema.json"
PAGE = ROOT / "docs" / "input.md"

HEAD = """# The input of a release

<!-- Written by tools/input_reference.py from functions/slipway/input.schema.json:
     change that file, not this page. -->

An execution of the state machine `slipway-release` takes one JSON document of five parts: `environment`
(where), `release` (what), `rollout` (how), `allow` (which losses are meant) and `plan` (whether only to say
what would happen). Keys that are not listed here are refused, and whatever is wrong is refused before
anything is changed, all of it at once, each with its path and what is allowed.

Let your editor help: point it to
[`functions/slipway/input.schema.json`](../functions/slipway/input.schema.json) (JSON Schema 2020-12; in
Visual Studio Code the setting `json.schemas`). Inputs to start from:
[`events/first-release.json`](../events/first-release.json),
[`events/next-release.json`](../events/next-release.json),
[`events/plan-release.json`](../events/plan-release.json).
"""

TAIL = """
## What the schema cannot say

- `environment.network.cidr` is a block (its host bits are zero) and overlaps no other environment's.
- `environment.web.min` ≤ `desired` ≤ `max`, and `ruby` is one that the operating system offers.
- `environment.domain.hostedZoneId` is given only with `dns: route53`.
- No name is in both `variables` and `secrets`, and none is one that Slipway supplies.
- `release.artifact` is there, under `releases/` in the artifact bucket, and has the given `sha256`. If it
  was uploaded with `--checksum-algorithm SHA256` in one part, S3 knows its checksum; otherwise it is read
  once.
- An `environment` given by its name has been released before.
"""


def page(schema: Mapping[str, Any]) -> str:
    parts = [HEAD.rstrip()]
    for name, part in schema["properties"].items():
        title = f"## `{name}`" + (" (required)" if name in schema["required"] else "")
        parts += ["", title, "", part["description"].replace("<", "&lt;")]
        rows = list(_rows(name, part))
        if rows:
            parts += ["", "| Key | Default | Allowed | What it is |", "|---|---|---|---|", *rows]
        else:
            each = f" Each entry: {_plain(allowed(part['items']))}." if "items" in part else ""
            parts += ["", f"Default: {_default(part, False)}.{each or f' Allowed: {allowed(part)}.'}"]
    return "\n".join(parts) + "\n" + TAIL


def _rows(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        inside = f"{path}.{name}"
        if "properties" in part:
            yield from _rows(inside, part)
            continue
        required = name in schema.get("required", [])
        cells = [f"`{inside}`", _default(part, required), _allowed(part), part["description"]]
        yield "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(cell: str) -> str:
    """Without what Markdown would take for a column or a tag."""
    return cell.replace("|", "\\|").replace("<", "&lt;") if not cell.startswith("`") else cell


def _default(part: Mapping[str, Any], required: bool) -> str:
    return "*required*" if required else f"`{json.dumps(part['default'])}`"


def _allowed(part: Mapping[str, Any]) -> str:
    if "items" in part:
        return f"list of at most {part['maxItems']}: {allowed(part['items'])}"
    if "propertyNames" in part:
        return f"names of {allowed(part['propertyNames'])}; values: {allowed(part['additionalProperties'])}"
    return allowed(part)


def main(arguments: list[str]) -> int:
    wanted = page(json.loads(SCHEMA.read_text()))
    if "--check" not in arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(wanted)
        return 0
    if PAGE.exists() and PAGE.read_text() == wanted:
        return 0
    print(
        f"{PAGE.relative_to(ROOT)} is not what the schema says: run python -m tools.input_reference",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
