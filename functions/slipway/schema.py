"""JSON Schema, as far as the input's schema uses it: what is wrong with a value, and the value with its
defaults.

Written out here because it takes a hundred lines, where a library would be megabytes in every function; and
because messages say what is allowed. `x-allowed` in the schema is that sentence for a pattern. A test holds
the schema against a full validator, and refuses keywords that this one does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Schema = Mapping[str, Any]

LONGEST_KEY = 128  # characters, of a key in a path; longer ones are cut


@dataclass(frozen=True)
class Problem:
    """`path` as in environment.web.min; `what` was wrong; `allowed` is what would not be."""

    path: str
    what: str
    allowed: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def problems(schema: Schema, value: Any, path: str = "") -> list[Problem]:
    """All that is wrong with the value, in the order of the document."""
    if not _type_fits(schema, value):
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return [Problem(path or "input", f"is {_kind(value)}", schema.get("x-allowed") or " or ".join(types))]
    if _unpaired(value):
        return [Problem(path or "input", "has half of a character in it", allowed(schema))]
    return [
        problem
        for keyword in _KEYWORDS
        if keyword in schema
        for problem in _KEYWORDS[keyword](schema, value, path)
    ]


def complete(schema: Schema, value: Any) -> Any:
    """The value with every default filled in, at every depth. The value itself is not changed."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {key: complete(part, value[key]) for key, part in properties.items() if key in value}
        defaults = {
            key: complete(part, part["default"])
            for key, part in properties.items()
            if key not in value and "default" in part
        }
        others = {key: item for key, item in value.items() if key not in properties}
        return {**filled, **defaults, **others}
    if isinstance(value, list):
        return [complete(schema.get("items", {}), item) for item in value]
    return value


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def _type_fits(schema: Schema, value: Any) -> bool:
    types = schema.get("type", list(_TYPES))
    return any(_TYPES[name](value) for name in ([types] if isinstance(types, str) else types))


def _kind(value: Any) -> str:
    if isinstance(value, float):
        return "a number with a fraction"
    kinds = {
        "object": "an object",
        "array": "a list",
        "string": "a text",
        "integer": "a number",
        "null": "null",
    }
    return next(
        (kinds.get(name, "true or false") for name, fits in _TYPES.items() if fits(value)),
        type(value).__name__,
    )


def _shown(value: Any) -> str:
    text = str(value)
    return f'"{text[:80]}…"' if len(text) > 80 else f'"{text}"'


def _inside(path: str, key: str) -> str:
    if not key.isprintable() or not 0 < len(key) <= LONGEST_KEY or set(key) & set('".[]'):
        shown = json.dumps(key[:LONGEST_KEY])  # no key that could be meant
        return f"{path or 'input'}[{shown}]"
    return f"{path}.{key}" if path else key


def _required(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    for key in schema["required"] if isinstance(value, dict) else []:
        if key not in value:
            part = schema["properties"][key]
            yield Problem(_inside(path, key), "is missing", allowed(part))


def _properties(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    for key, part in schema["properties"].items() if isinstance(value, dict) else []:
        if key in value:
            yield from problems(part, value[key], _inside(path, key))


def _additional(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    known = schema.get("properties", {})
    for key in value if isinstance(value, dict) else []:
        if key in known:
            continue
        if schema["additionalProperties"] is False:
            yield Problem(_inside(path, key), "is not known", "one of " + ", ".join(known))
        else:
            yield from problems(schema["additionalProperties"], value[key], _inside(path, key))


def _names(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    for key in value if isinstance(value, dict) else []:
        for problem in problems(schema["propertyNames"], key, _inside(path, key)):
            yield Problem(problem.path, "has a name that is not allowed", problem.allowed)


def _unpaired(value: Any) -> bool:
    """Whether a text has half of a surrogate pair: JSON can write that, nobody can encode it."""
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def _pattern(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    # JSON Schema means JavaScript's $, which unlike Python's does not match before a final newline.
    if isinstance(value, str) and not re.search(schema["pattern"].removesuffix("$") + r"\Z", value):
        yield Problem(path, f"is {_shown(value)}", allowed(schema))


def _enum(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if value not in schema["enum"]:
        yield Problem(path, f"is {_shown(value)}", allowed(schema))


def _minimum(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, int) and value < schema["minimum"]:
        yield Problem(path, f"is {value}", allowed(schema))


def _maximum(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, int) and value > schema["maximum"]:
        yield Problem(path, f"is {value}", allowed(schema))


def _max_length(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, str) and len(value) > schema["maxLength"]:
        yield Problem(path, f"has {len(value)} characters", f"at most {schema['maxLength']} characters")


def _items(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    for number, item in enumerate(value if isinstance(value, list) else []):
        yield from problems(schema["items"], item, f"{path}[{number}]")


def _max_items(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, list) and len(value) > schema["maxItems"]:
        yield Problem(path, f"has {len(value)} entries", f"at most {schema['maxItems']} entries")


def _max_properties(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, dict) and len(value) > schema["maxProperties"]:
        yield Problem(path, f"has {len(value)} entries", f"at most {schema['maxProperties']} entries")


def _unique(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, list) and any(item in value[:number] for number, item in enumerate(value)):
        yield Problem(path, "names an entry twice", "each entry once")


_KEYWORDS: Mapping[str, Callable[[Schema, Any, str], Iterator[Problem]]] = {
    "required": _required,
    "propertyNames": _names,
    "properties": _properties,
    "additionalProperties": _additional,
    "maxProperties": _max_properties,
    "pattern": _pattern,
    "enum": _enum,
    "minimum": _minimum,
    "maximum": _maximum,
    "maxLength": _max_length,
    "maxItems": _max_items,
    "uniqueItems": _unique,
    "items": _items,
}

# What describes without restricting, and `type`, which is looked at first.
ANNOTATIONS = frozenset({"$schema", "title", "description", "default", "x-allowed", "type"})
KNOWN = ANNOTATIONS | frozenset(_KEYWORDS)


def _allowed(schema: Schema) -> str:
    return allowed(schema)


def allowed(schema: Schema) -> str:
    """What the schema allows, in words."""
    if "x-allowed" in schema:
        return str(schema["x-allowed"])
    if "enum" in schema:
        return "one of " + ", ".join(str(item) for item in schema["enum"])
    if "minimum" in schema:
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    types = schema.get("type", "anything")
    words = {"boolean": "true or false", "array": "a list", "object": "an object", "string": "a text"}
    return words.get(types, str(types)) if isinstance(types, str) else " or ".join(types)
