"""HTML from values: whatever is not markup already is escaped where it is put. Pure."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

# Elements of HTML that have no end tag.
VOID = frozenset({"br", "link", "meta"})

# Characters that are not seen but do something (controls, directions, joiners), halves of pairs, and what is
# no character.
INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"})


class Markup(str):
    """A text that is HTML; only this module and constants of the page make one."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: object) -> Markup:
    """An element. Attributes: class_ is class, data_x is data-x; None leaves one out, True gives it no value.

    >>> element("p", "a < b", class_="x")
    '<p class="x">a &lt; b</p>'
    """
    pairs = (
        f" {attribute.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(str(value))}"')
        for attribute, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{''.join(pairs)}>"
    return Markup(start if name in VOID else f"{start}{joined(content)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Markup:
    return Markup(text(between).join(text(part) for part in parts))


def text(value: str) -> Markup:
    """The value as HTML: markup as it is, all else escaped."""
    return value if isinstance(value, Markup) else Markup(html.escape(visible(value)))


def visible(value: str) -> str:
    r"""The value with everything that is not seen written out: a text from a server cannot turn round the
    direction of what follows, or hide a part of a command. Ends of lines and tabulators stay.

    >>> visible("rm\u202e x")
    'rm\\u202e x'
    """
    return "".join(
        one if one in "\n\t" or one.isascii() and one.isprintable() else _seen(one) for one in value
    )


def _seen(one: str) -> str:
    if unicodedata.category(one) not in INVISIBLE:
        return one
    return f"\\u{ord(one):04x}"
