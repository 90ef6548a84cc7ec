"""The page, from its title to its tables."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.drift.page import picture
from slipway.drift.page.card import MOST_TEXT, card
from slipway.drift.page.grouping import SEVERITIES, Entry, Json, entries, said
from slipway.drift.page.markup import Markup, element, joined
from slipway.drift.page.wording import NOWHERE, capital, counted, mark, moment, numbers, short

# Rows of a list or a table. With the bounds of the others the page stays within some hundreds of KB whatever
# was found; the JSON report beside it has everything.
MOST_ROWS = 50

# What the page says if there is no finding: the verdict, a heading, a sentence.
CALM: Mapping[str, tuple[str, str, str]] = {
    "postponed": (
        "Not checked: a release was running",
        "Not checked",
        "A release was changing this environment. The check gave way; the next one looks again.",
    ),
    "unconfirmed": (
        "Nothing confirmed",
        "Nothing to do yet",
        "What differs was not seen in enough checks in a row to count. It stands below.",
    ),
    "partly": (
        "Nothing found in what could be looked at",
        "Nothing to do",
        "What could be looked at is as the recorded release asked for.",
    ),
    "clean": (
        "Everything is as released",
        "Nothing to do",
        "The stacks, the servers, and what must hold whatever the templates say (backups, certificate, DNS, "
        "who may connect to what) are as the recorded release asked for.",
    ),
}


@functools.cache
def style() -> str:
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


@functools.cache
def policy() -> str:
    """Nothing may run, load or be sent; the style sheet is named by its hash."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def render(report: Mapping[str, Any]) -> str:
    """The page of a report (its shape: slipway.drift.report). What is absent from it is left out.

    `notLookedAt`, a list of texts or of {"where", "what"}, is what the check was not let look at.
    """
    found = entries(_list(report, "findings"))
    column = [
        _findings(report, found),
        _unconfirmed(report),
        _gone(report),
        _not_looked_at(report),
        _servers(report, found),
        _stacks(report, found),
        _ignored(report),
    ]
    body = element(
        "body",
        element("a", "To the findings", href="#findings", class_="skip"),
        element(
            "main",
            _head(report, found),
            element(
                "div", _picture(report, found), element("div", *column, class_="column"), class_="columns"
            ),
        ),
        _foot(report),
    )
    return "<!DOCTYPE html>\n" + element("html", _meta(report, found), body, lang="en") + "\n"


# The head


def _meta(report: Json, found: Sequence[Entry]) -> Markup:
    title = f"{said(report, 'environment')}: {_verdict(report, found)} – drift report of Slipway"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        # An empty one, or a browser asks for /favicon.ico.
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(style())),
    )


def _mood(report: Json) -> str:
    """The key of CALM."""
    if said(report, "status") == "postponed":
        return "postponed"
    if _list(report, "unconfirmed"):
        return "unconfirmed"
    return "partly" if _list(report, "notLookedAt") else "clean"


def _number(report: Json, found: Iterable[Entry]) -> int:
    """Of all findings, those that the report itself left out among them."""
    more = report.get("more")
    return sum(len(entry.findings) for entry in found) + (more if isinstance(more, int) else 0)


def _verdict(report: Json, found: Sequence[Entry]) -> str:
    return counted(_number(report, found), "finding") if found else CALM[_mood(report)][0]


def _head(report: Json, found: Sequence[Entry]) -> Markup:
    days, seconds, servers = report.get("certificateDays"), report.get("seconds"), _list(report, "servers")
    facts = {
        "Release": element("span", said(picture.release_of(report), "id") or NOWHERE, class_="mono"),
        "Checked": moment(said(report, "checkedAt")),
        "Took": f"{seconds:,.0f} s" if isinstance(seconds, int | float) else NOWHERE,
        "Servers": f"{len(servers):,}" if servers else NOWHERE,
        "Certificate": NOWHERE if days is None else f"{days} days left",
    }
    return element(
        "header",
        element("p", "Slipway drift report", class_="eyebrow"),
        element("h1", said(report, "environment")),
        _sentence(report, found),
        element(
            "dl",
            *(element("div", element("dt", key), element("dd", value)) for key, value in facts.items()),
            class_="facts",
        ),
    )


def _sentence(report: Json, found: Sequence[Entry]) -> Markup:
    """The verdict, and the numbers by severity."""
    verdict = element("span", _verdict(report, found))
    if not found:
        clean = _mood(report) == "clean"
        sign = element("span", "✓", class_="sign", aria_hidden="true") if clean else ""
        return element("p", sign, verdict, class_="verdict calm" if clean else "verdict")
    by_severity = {
        severity: sum(len(entry.findings) for entry in found if entry.severity == severity)
        for severity in SEVERITIES
    }
    chips = (
        element("span", mark("", severity), f"{number:,} {severity}", class_="chip")
        for severity, number in by_severity.items()
        if number
    )
    return element("p", verdict, *chips, class_="verdict")


def _picture(report: Json, found: Sequence[Entry]) -> Markup:
    return element(
        "section",
        element("h2", "The environment", id="picture", class_="unseen"),
        picture.draw(picture.Scene(report, found)),
        class_="drawing",
        aria_labelledby="picture",
    )


# The column beside it


def _section(key: str, title: str, *content: str) -> Markup:
    return element("section", element("h2", title, id=key), *content, aria_labelledby=key)


def _findings(report: Json, found: Sequence[Entry]) -> Markup:
    if not found:
        _, title, sentence = CALM[_mood(report)]
        return _section("findings", title, element("p", sentence))
    shown, rest = found[: picture.MOST_ENTRIES], len(found[picture.MOST_ENTRIES :])
    grouped = any(len(entry.findings) > 1 for entry in found)
    note = f"{len(found):,} entries: what is equal on several servers is one." if grouped else ""
    left = [
        f"{rest:,} more of these are not on this page: see the JSON report of this check." if rest else "",
        f"{report['more']:,} more were found than a report holds." if report.get("more") else "",
    ]
    return _section(
        "findings",
        "Findings",
        element("p", note, class_="quiet") if note else "",
        *(card(entry) for entry in shown),
        element("p", joined([one for one in left if one], " "), id="left") if any(left) else "",
    )


def _unconfirmed(report: Json) -> Markup:
    return _listed("unconfirmed", "Seen, but not in enough checks in a row yet", _list(report, "unconfirmed"))


def _gone(report: Json) -> Markup:
    return _listed("gone", "Gone since the last check", _list(report, "gone"), "plain ticked")


def _not_looked_at(report: Json) -> Markup:
    """What it was comes first, and why it could not be looked at after it."""
    items = [
        {"what": said(item, "where"), "where": said(item, "what")} if isinstance(item, Mapping) else item
        for item in _list(report, "notLookedAt")
    ]
    return _listed("not-looked-at", "What could not be looked at", items)


def _listed(key: str, title: str, items: Sequence[Json | str], looks: str = "plain") -> Markup:
    if not items:
        return Markup("")
    lines = (element("li", *_line(item)) for item in items[:MOST_ROWS])
    return _section(key, title, element("ul", *lines, class_=looks), _rest(items))


def _line(item: Json | str) -> list[str]:
    """A finding, or whatever else has a `where` and a `what`, as one line; a text as it is."""
    if not isinstance(item, Mapping):
        return [short(str(item), MOST_TEXT)]
    where, since = said(item, "where"), said(item, "since")
    tail = [joined(["since ", moment(since)])] if since else []
    quiet = joined([part for part in [short(where, 200), *tail] if part], " · ")
    what = capital(short(said(item, "what"), MOST_TEXT))
    return [what, element("span", quiet, class_="aside")] if quiet else [what]


def _rest(items: Sequence[Any]) -> Markup:
    more = len(items) - MOST_ROWS
    return element("p", f"and {more:,} more", class_="quiet") if more > 0 else Markup("")


def _servers(report: Json, found: Sequence[Entry]) -> Markup:
    servers = picture.by_trouble(report, found)
    if not servers:
        return Markup("")
    release = said(picture.release_of(report), "id")
    rows = [
        [
            element("span", said(server, "id"), class_="mono"),
            _standing(server, release),
            numbers(entry for entry in found if said(server, "id") in entry.names),
        ]
        for server in servers[:MOST_ROWS]
    ]
    return _section(
        "servers",
        "Servers",
        element("p", f"{picture.counted(report)}.", class_="quiet"),
        _table("servers", ["Server", "Release", "Findings"], rows),
        _rest(servers),
    )


def _standing(server: Json, release: str) -> Markup:
    runs, state = said(server, "release"), picture.standing(server, release)
    told = [element("span", runs, class_="mono"), element("br")] if runs else []
    return joined([*told, element("span", f"{picture.SIGNS[state]} {state}", class_="quiet")])


def _stacks(report: Json, found: Sequence[Entry]) -> Markup:
    stacks = _list(report, "stacks")
    if not stacks:
        return Markup("")
    rows = [
        [
            said(stack, "tier").replace("_", " "),
            joined([picture.stack_state(stack, found), _not_checked(stack)]),
            numbers(entry for entry in found if said(entry.first, "tier") == said(stack, "tier")),
        ]
        for stack in stacks[:MOST_ROWS]
    ]
    return _section("stacks", "Stacks", _table("stacks", ["Tier", "State", "Findings"], rows))


def _not_checked(stack: Json) -> Markup:
    """What CloudFormation knows no drift detection for."""
    names = [str(one) for one in _list(stack, "notChecked")]
    if not names:
        return Markup("")
    more = f" and {len(names) - MOST_ROWS:,} more" if len(names) > MOST_ROWS else ""
    told = f"not compared by CloudFormation: {', '.join(names[:MOST_ROWS])}{more}"
    return element("span", told, class_="aside")


def _ignored(report: Json) -> Markup:
    items = [
        {"what": f"{said(one, 'property')}: {said(one, 'why')}", "where": said(one, "where")}
        for one in _list(report, "ignored")
    ]
    return _listed("ignored", "Differs, and does not count", items)


def _table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """`name`: the id of its heading."""
    titles = element("tr", *(element("th", title, scope="col") for title in head))
    body = (
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    )
    return element("table", element("thead", titles), element("tbody", *body), aria_labelledby=name)


def _foot(report: Json) -> Markup:
    where = element("code", f"drift/{said(report, 'environment')}/")
    told = ["The same as data, and earlier checks: ", where, " in the artifact bucket."]
    return element("footer", element("p", *told))


def _list(report: Json, key: str) -> list[Any]:
    return list(report.get(key) or [])
