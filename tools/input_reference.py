"""Writes docs/input.md and docs/tear-down-input.md from the schemas of the two inputs; with --check only says
whether they are up to date.

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
TEAR_DOWN_SCHEMA = ROOT / "functions" / "slipway" / "tear_down.schema.json"
TEAR_DOWN_PAGE = ROOT / "docs" / "tear-down-input.md"

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
- `environment.web.min` ≤ `desired` ≤ `max`, with `scaling` `min` < `max`; `ruby` is one that the operating
  system offers.
- `environment.domain.hostedZoneId` is given only with `dns: route53`.
- No name is in both `variables` and `secrets`, and none is one that Slipway supplies.
- `release.artifact` is there, under `releases/` in the artifact bucket, and has the given `sha256`. If it
  was uploaded with `--checksum-algorithm SHA256` in one part, S3 knows its checksum; otherwise it is read
  once.
- An `environment` given by its name has been released before.
"""

TEAR_DOWN_HEAD = """# The input of a tear-down

<!-- Written by tools/input_reference.py from functions/slipway/tear_down.schema.json:
     change that file, not this page. -->

An execution of the state machine `slipway-tear-down` takes one JSON document. Keys that are not listed here
are refused, and whatever is wrong is refused before anything is changed, each with its path and what is
allowed.

The schema is [`functions/slipway/tear_down.schema.json`](../functions/slipway/tear_down.schema.json); an
input to start from: [`events/tear-down.json`](../events/tear-down.json). What becomes of the environment is
told in the [operations guide](operations.md#taking-an-environment-down).
"""

TEAR_DOWN_TAIL = """
## What the schema cannot say

- `confirm` is the same as `environment`.
- `remove.images` is the environment's own bucket, `slipway-<environment>-images-<account>-<region>`.
- A release of an environment of that name was begun at some time. One that has been taken down already is
  fine.
"""


def page(schema: Mapping[str, Any], head: str, tail: str) -> str:
    parts = [head.rstrip()]
    for name, part in schema["properties"].items():
        title = f"## `{name}`" + (" (required)" if name in schema["required"] else "")
        parts += ["", title, "", part["description"].replace("<", "&lt;")]
        rows = list(_rows(name, part))
        if rows:
            parts += ["", "| Key | Default | Allowed | What it is |", "|---|---|---|---|", *rows]
        else:
            each = f" Each entry: {_plain(allowed(part['items']))}." if "items" in part else ""
            usual = "" if name in schema["required"] else f"Default: {_default(part, False)}. "
            parts += ["", usual + (each.strip() or f"Allowed: {allowed(part)}.")]
    return "\n".join(parts) + "\n" + tail


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
    wanted = {
        PAGE: page(json.loads(SCHEMA.read_text()), HEAD, TAIL),
        TEAR_DOWN_PAGE: page(json.loads(TEAR_DOWN_SCHEMA.read_text()), TEAR_DOWN_HEAD, TEAR_DOWN_TAIL),
    }
    if "--check" not in arguments:
        for path, text in wanted.items():
            path.write_text(text)
        return 0
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(
            f"{path.relative_to(ROOT)} is not what the schema says: run python -m tools.input_reference",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
