"""How the page says a time, a number, a name that is too long, how bad something is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from slipway.drift.page import picture
from slipway.drift.page.grouping import Entry
from slipway.drift.page.markup import Markup, element, joined

NOWHERE = "–"

# So many names or numbers stand in one place; how many more there are is told.
MOST_NAMES = 12


def moment(iso: str) -> Markup:
    """A time as people write it; as it is, if it is none."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return joined([iso or NOWHERE])
    zone = "" if when.tzinfo is None else " UTC" if not when.utcoffset() else when.strftime(" %z")
    return element("time", f"{when.day} {when:%b %Y, %H:%M}{zone}", datetime=iso)


def counted(number: int, thing: str) -> str:
    """
    >>> counted(1, "check"), counted(1200, "check")
    ('1 check', '1,200 checks')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def capital(sentence: str) -> str:
    """With a capital at its beginning, unless that is a name: what has more than letters in it is one.

    >>> capital("the server is silent"), capital("i-0a1b2c3d is silent"), capital("s3:GetObject was refused")
    ('The server is silent', 'i-0a1b2c3d is silent', 's3:GetObject was refused')
    """
    return sentence[:1].upper() + sentence[1:] if re.match(r"[a-z]+[,:]? ", sentence) else sentence


def short(text: str, most: int) -> str:
    """The beginning of a text that is too long for a page, and how long it is."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters in all)"


def words(text: str) -> list[str]:
    """Each word an element, so that lines break between words and not behind the hyphens in them. Selected,
    it is the text as it was."""
    return [part if part.isspace() else element("span", part) for part in re.split(r"(\s+)", text) if part]


# A command of the AWS CLI, at the beginning of a remedy or after a colon, up to where the sentence goes on.
COMMAND = re.compile(
    r"""(?:^|(?<=:\ )) aws\ (?: '[^']*' | "[^"]*" | [^'"] )*? (?=;\ |,\ then\ |$)""", re.X | re.S
)


def pieces(remedy: str) -> list[tuple[bool, str]]:
    """(whether it is a command, text): a remedy is a command, a sentence, or a sentence with commands in it.

    >>> pieces("aws s3 ls; if it is not wanted, take it away")
    [(True, 'aws s3 ls'), (False, 'if it is not wanted, take it away')]
    """
    found: list[tuple[bool, str]] = []
    at = 0
    for match in COMMAND.finditer(remedy):
        found += [(False, remedy[at : match.start()].strip(" ;,")), (True, match.group())]
        at = match.end()
    return [(command, text) for command, text in [*found, (False, remedy[at:].strip(" ;,"))] if text]


def name(text: str, behind: str = "") -> Markup:
    """A name, which is not broken without need; `behind` stays with it."""
    return element("span", short(text, 200) + behind, class_="name")


def mark(content: str, severity: str) -> Markup:
    """The badge of a severity; its shape says as much as its colour."""
    return element("span", content, class_=f"mark {severity}", aria_hidden=None if content else "true")


def numbers(found: Iterable[Entry]) -> Markup:
    """Links to findings."""
    linked = list(found)
    links = [
        element(
            "a",
            mark(str(entry.number), entry.severity),
            href=f"#{picture.anchor(entry)}",
            aria_label=f"Finding {entry.number}, {entry.severity}",
        )
        for entry in linked[:MOST_NAMES]
    ]
    more = f"+{len(linked) - MOST_NAMES}" if len(linked) > MOST_NAMES else ""
    return joined([*links, more]) if links else joined([NOWHERE])
