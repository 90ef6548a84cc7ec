"""One entry of the page: what, where, expected and found, since when, by whom, and the remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.drift.page.grouping import Entry, Json, said
from slipway.drift.page.markup import Markup, element, joined
from slipway.drift.page.picture import anchor
from slipway.drift.page.wording import MOST_NAMES, capital, counted, mark, moment, name, pieces, short, words

# So many entries are shown unfolded.
MOST_OPEN = 25

MOST_TEXT = 2_000
MOST_COMMAND = 4_000

TOO_LONG = "The remedy is too long for this page: see the JSON report of this check."
BY_ITSELF = '"remedy": true in the input of a check does it, too.'


def card(entry: Entry) -> Markup:
    """Folded if it is one of many; a link to it unfolds it, because the id is inside."""
    number, heading = mark(str(entry.number), entry.severity), element("h3", _what(entry))
    severity = element("p", element("b", entry.severity.capitalize()), *_where(entry), class_="quiet")
    body = [_compared(entry), _course(entry), _remedy(entry)]
    looks = f"finding {entry.severity}"
    if entry.number > MOST_OPEN:
        inside = element("div", severity, *body, id=anchor(entry))
        return element("details", element("summary", number, heading), inside, class_=looks)
    up = element("a", number, href="#picture", aria_label=f"{entry.number}: to the picture", class_="up")
    return element("article", element("header", up, heading, severity), *body, id=anchor(entry), class_=looks)


def _what(entry: Entry) -> Markup:
    what = capital(short(said(entry.first, "what"), 600)) or said(entry.first, "kind")
    others = len(entry.where) - 1
    likewise = element("span", f", and likewise {others:,} more", class_="more") if others else ""
    return joined([what, likewise])


def _where(entry: Entry) -> list[str]:
    """The tier, unless what it is about begins with it, and the names."""
    tier = said(entry.first, "tier")
    *before, last = entry.where[:MOST_NAMES]
    names = joined([*(name(where, ",") for where in before), name(last)], " ")
    rest = len(entry.where) - MOST_NAMES
    told = joined([names, f" and {rest:,} more" if rest > 0 else ""])
    parts = ["" if entry.where[0].startswith(f"{tier}/") else tier.replace("_", " "), told]
    return [joined([" · ", part]) for part in parts if part]


def _compared(entry: Entry) -> Markup:
    pairs = (
        element("div", element("dt", title), _value(said(entry.first, key)), class_=key)
        for title, key in (("Expected", "expected"), ("Found", "found"))
    )
    return element("dl", *pairs, class_="compared")


def _value(text: str) -> Markup:
    return element("dd", short(text, MOST_TEXT) or "nothing")


def _course(entry: Entry) -> Markup:
    """Since when, how often seen, by whom if that is known, and which check has begun to put it right."""
    since = min(filter(None, (said(finding, "since") for finding in entry.findings)), default="")
    seen = max((f["seen"] for f in entry.findings if isinstance(f.get("seen"), int)), default=0)
    remedied = next(filter(None, (said(finding, "remedied") for finding in entry.findings)), "")
    who = next((f["who"] for f in entry.findings if isinstance(f.get("who"), Mapping)), None)
    parts = [
        joined(["since ", moment(since)]) if since else "",
        f"seen in {counted(seen, 'check')} in a row" if seen > 1 else "new" if seen else "",
        _who(who) if who else "",
        joined(["remedy begun by the check ", element("code", remedied.rsplit(":", 1)[-1])])
        if remedied
        else "",
    ]
    told = joined([part for part in parts if part], " · ")
    return element("p", told, class_="quiet course") if told else Markup("")


def _who(who: Json) -> Markup:
    at, event = said(who, "at"), said(who, "event")
    return joined(
        [
            "by ",
            element("b", said(who, "name") or "somebody"),
            joined([" with ", element("code", event)]) if event else "",
            joined([", ", moment(at)]) if at else "",
        ]
    )


def _remedy(entry: Entry) -> Markup:
    remedy = said(entry.first, "remedy")
    if not remedy:
        return Markup("")
    # A command that is cut off is worse than none.
    whole = remedy if len(remedy) <= MOST_COMMAND else TOO_LONG
    shown = (
        element("pre", element("code", *words(text))) if command else element("p", capital(text))
        for command, text in pieces(whole)
    )
    return element("div", element("h4", "Remedy"), *shown, *_notes(entry, remedy), class_="remedy")


def _notes(entry: Entry, remedy: str) -> list[Markup]:
    differ = len({said(finding, "remedy") for finding in entry.findings}) > 1
    others = ["This is for ", name(entry.where[0]), "; for the others put their names in its place."]
    by_itself = entry.first.get("remediable") is True and '"remedy"' not in remedy
    notes = [joined(others) if differ else "", BY_ITSELF if by_itself else ""]
    return [element("p", note, class_="quiet") for note in notes if note]
