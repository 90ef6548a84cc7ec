"""What a filter pattern of CloudWatch Logs matches. Pure.

JSON patterns, and words of plain text, as in "Filter pattern syntax for metric filters" (CloudWatch Logs user
guide). Regular expressions, patterns of columns and optional words are refused, not misread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

Test = Callable[[Any], bool]

_TOKENS = re.compile(
    r"""\s*(?:
      (?P<quoted>"(?:[^"\\]|\\.)*")
    | (?P<operator>&&|\|\||!=|<=|>=|=|<|>|\(|\))
    | (?P<word>[^\s()=<>!&|"]+)
    )""",
    re.VERBOSE,
)
_ABSENT = object()


class Unsupported(ValueError):
    """A pattern that nobody here understands."""


def compiled(pattern: str) -> Callable[[str], bool]:
    """Whether a message matches. Raises Unsupported."""
    text = pattern.strip()
    if text.startswith("["):
        raise Unsupported("patterns of columns are not known here")
    if not text.startswith("{"):
        return _words(text)
    if not text.endswith("}"):
        raise Unsupported("a JSON pattern ends with }")
    test = _Parser(text[1:-1]).whole()

    def matches(message: str) -> bool:
        try:
            return test(json.loads(message))
        except ValueError:
            return False

    return matches


def selected(message: Any, selector: str) -> Any:
    """What `$.a.b[0]` is in a message; None if it is not there."""
    value = _select(message, selector)
    return None if value is _ABSENT else value


def _words(text: str) -> Callable[[str], bool]:
    """Every word, and every phrase in quotation marks, occurs; one with a - before it does not."""
    found = re.findall(r'(-?)(?:"([^"]*)"|([^\s"]+))', text)
    if any(word.startswith(("?", "%")) for _, _, word in found):
        raise Unsupported("optional words and regular expressions are not known here")
    return lambda message: all(
        ((phrase or word) in message) != bool(without) for without, phrase, word in found
    )


class _Parser:
    """Recursive descent: && binds closer than ||."""

    def __init__(self, text: str) -> None:
        self._left: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = _TOKENS.match(text, position)
            if match is None:
                raise Unsupported(f"not understood: {text[position:]}")
            kind = str(match.lastgroup)
            self._left.append((kind, match.group(kind)))
            position = match.end()

    def whole(self) -> Test:
        test = self._either()
        if self._left:
            raise Unsupported(f"not understood: {self._left[0][1]}")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._comes("||"):
            tests.append(self._both())
        return lambda message: any(test(message) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._comes("&&"):
            tests.append(self._one())
        return lambda message: all(test(message) for test in tests)

    def _one(self) -> Test:
        if self._comes("("):
            test = self._either()
            if not self._comes(")"):
                raise Unsupported("a ) is missing")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        _, selector = self._next()
        if not selector.startswith("$"):
            raise Unsupported(f"not a selector: {selector}")
        _, operator = self._next()
        kind, value = self._next()
        if operator in ("IS", "NOT"):
            return _state(selector, operator, value)
        if operator not in _COMPARISONS or value.startswith("%"):
            raise Unsupported(f"not understood: {operator} {value}")
        compare, wanted = _COMPARISONS[operator], json.loads(value) if kind == "quoted" else value

        def test(message: Any) -> bool:
            found = _select(message, selector)
            return found is not _ABSENT and compare(found, wanted)

        return test

    def _comes(self, operator: str) -> bool:
        if self._left[:1] != [("operator", operator)]:
            return False
        self._left.pop(0)
        return True

    def _next(self) -> tuple[str, str]:
        if not self._left:
            raise Unsupported("the pattern ends too early")
        return self._left.pop(0)


def _state(selector: str, operator: str, value: str) -> Test:
    known = {("IS", "NULL"): None, ("IS", "TRUE"): True, ("IS", "FALSE"): False, ("NOT", "EXISTS"): _ABSENT}
    if (operator, value) not in known:
        raise Unsupported(f"not understood: {operator} {value}")
    wanted = known[operator, value]
    return lambda message: _select(message, selector) is wanted


def _equal(found: Any, wanted: str) -> bool:
    """Text with * for anything; numbers by their value."""
    if isinstance(found, bool) or found is None or isinstance(found, dict | list):
        return False
    if isinstance(found, int | float):
        return _number(wanted) == found or fnmatchcase(str(found), _glob(wanted))
    return fnmatchcase(found, _glob(wanted))


def _glob(text: str) -> str:
    """Only * is special."""
    return re.sub(r"([\[?])", r"[\1]", text)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ordered(holds: Callable[[float, float], bool]) -> Callable[[Any, str], bool]:
    def compare(found: Any, wanted: str) -> bool:
        number = _number(wanted)
        return isinstance(found, int | float) and number is not None and holds(found, number)

    return compare


_COMPARISONS: dict[str, Callable[[Any, str], bool]] = {
    "=": _equal,
    "!=": lambda found, wanted: not _equal(found, wanted),
    "<": _ordered(lambda found, wanted: found < wanted),
    ">": _ordered(lambda found, wanted: found > wanted),
    "<=": _ordered(lambda found, wanted: found <= wanted),
    ">=": _ordered(lambda found, wanted: found >= wanted),
}


def _select(message: Any, selector: str) -> Any:
    value = message
    for name, number in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", selector[1:]):
        if name and isinstance(value, dict) and name in value:
            value = value[name]
        elif number and isinstance(value, list) and int(number) < len(value):
            value = value[int(number)]
        else:
            return _ABSENT
    return value
