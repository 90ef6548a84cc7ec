"""The page of a check in a browser: on a phone and on a desk, in light and in dark, by what a picture cannot
hide.

Numbers are those of WCAG 2.2, level AA: https://www.w3.org/TR/WCAG22/
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway.drift.page import render
from tests.browser.chromium import Page
from tests.unit.drift_reports import REPORTS, case
from tests.unit.reading import Node, read

LOOK = (Path(__file__).parent / "look.js").read_text(encoding="utf-8")

SIZES = {"phone": (390, 844), "desk": (1280, 800)}
SCHEMES = ("light", "dark")

TEXT_CONTRAST, LARGE_CONTRAST, LARGE = 4.5, 3.0, 24.0
SHAPE_CONTRAST = 3.0
TARGET = 24.0

# Parts that are announced with their names.
NAMED = ("link", "heading", "group", "region", "table")


@dataclass(frozen=True)
class Seen:
    """A page as a browser shows it."""

    source: str
    facts: dict[str, Any]
    page: Page


@pytest.fixture(scope="module", params=REPORTS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    path.write_text(render(REPORTS[request.param]), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return SIZES[request.param]


@pytest.fixture(scope="module", params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(page: Page, file: Path, size: tuple[int, int], scheme: str) -> Seen:
    page.look(*size, scheme)
    page.open(file)
    return Seen(file.read_text(encoding="utf-8"), page.ask(LOOK), page)


def opened(page: Page, tmp_path: Path, report: str, size: str = "phone", fragment: str = "") -> None:
    path = tmp_path / f"{report}.html"
    path.write_text(render(REPORTS[report]), encoding="utf-8")
    page.look(*SIZES[size], "light")
    page.open(path, fragment)


# Any report, any screen


def test_nothing_is_fetched_and_nothing_is_complained_of(seen: Seen) -> None:
    requests = [event["request"]["url"] for event in seen.page.seen("Network.requestWillBeSent")]
    assert [url.split(":")[0] for url in requests if url != "data:,"] == ["file"]
    for complaint in (
        "Log.entryAdded",
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Audits.issueAdded",
    ):
        assert seen.page.seen(complaint) == []
    assert seen.facts["scripts"] == 0


def test_nothing_scrolls_sideways(seen: Seen) -> None:
    scrolls, has = seen.facts["scrolls"]
    assert scrolls <= has
    assert seen.facts["wide"] == []


def test_every_text_can_be_read(seen: Seen) -> None:
    assert len(seen.facts["readable"]) > 10
    pale = [
        one
        for one in seen.facts["readable"]
        if one["contrast"] < (LARGE_CONTRAST if one["size"] >= LARGE else TEXT_CONTRAST)
    ]
    assert pale == []


def test_light_is_light_and_dark_is_dark(seen: Seen, scheme: str) -> None:
    brightness = (
        sum(int(part) for part in seen.facts["paper"].removeprefix("rgb(").rstrip(")").split(", ")) / 3
    )
    assert brightness > 200 if scheme == "light" else brightness < 50


def test_texts_of_the_picture_stay_in_their_boxes(seen: Seen) -> None:
    assert seen.facts["cut"] == []


def test_every_number_in_the_picture_is_seen_and_leads_to_its_finding(seen: Seen) -> None:
    for badge in seen.facts["badges"]:
        assert badge["visible"], badge
        assert badge["inside"], badge
        assert badge["found"], badge
        assert badge["name"].startswith(f"Finding {badge['words']},") or badge["words"].startswith("+"), badge
        assert badge["stands"] >= SHAPE_CONTRAST, badge
    for one, other in itertools.combinations(seen.facts["badges"], 2):
        assert (
            one["right"] <= other["left"]
            or other["right"] <= one["left"]
            or one["bottom"] <= other["top"]
            or other["bottom"] <= one["top"]
        ), (one, other)


def test_fingers_find_what_they_tap(seen: Seen) -> None:
    small = [one for one in seen.facts["targets"] if one["width"] < TARGET or one["height"] < TARGET]
    assert small == []


def test_the_browser_builds_what_was_written(seen: Seen) -> None:
    """It corrects what is wrong in a page, and says so nowhere; then its tree is another one."""
    assert seen.facts["mode"] == "CSS1Compat"
    assert seen.facts["tree"] == tree(read(seen.source.removeprefix("<!DOCTYPE html>")))


def tree(node: Node) -> list[Any]:
    return [node.tag, [tree(child) for child in node.children if isinstance(child, Node)]]


def test_it_has_a_language_a_title_and_headings_in_order(seen: Seen) -> None:
    levels = seen.facts["headings"]
    assert seen.facts["language"] == "en"
    assert "drift report of Slipway" in seen.facts["title"]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


# What one does with it


def test_there_are_numbers_in_the_picture_where_something_was_found(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted")
    badges = page.ask(LOOK)["badges"]
    assert sorted(badge["words"] for badge in badges) == ["1", "2", "3", "4", "5"]


def test_a_tap_on_a_number_brings_its_finding_into_view(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted")
    badge = next(one for one in page.ask(LOOK)["badges"] if one["words"] == "4")
    page.click((badge["left"] + badge["right"]) / 2, (badge["top"] + badge["bottom"]) / 2)
    assert page.ask("location.hash") == "#finding-4"
    top, bottom = page.ask(
        "(({top, bottom}) => [top, bottom])(document.querySelector('#finding-4 h3').getBoundingClientRect())"
    )
    assert 0 <= top < bottom <= SIZES["phone"][1]


def test_the_picture_stays_beside_the_findings_on_a_desk(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted", "desk", "#finding-5")
    top, bottom = page.ask(
        "(({top, bottom}) => [top, bottom])(document.querySelector('svg').getBoundingClientRect())"
    )
    assert top >= 0
    assert bottom <= SIZES["desk"][1]


def test_a_tap_on_a_command_selects_all_of_it_and_nothing_else(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted")
    page.ask("document.querySelector('pre').scrollIntoView({block: 'center'})")
    x, y = page.ask("(({x, y}) => [x + 20, y + 20])(document.querySelector('pre').getBoundingClientRect())")
    page.click(x, y)
    assert page.ask("getSelection().toString()") == case("drifted")["findings"][1]["remedy"]


def test_a_link_to_a_folded_finding_unfolds_it(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "large", fragment="#finding-90")
    unfolded = "[...document.querySelectorAll('details')].map(one => one.open).filter(Boolean).length"
    assert page.ask(unfolded) == 1
    assert page.ask("document.getElementById('finding-90').checkVisibility()")
    top = page.ask("document.getElementById('finding-90').closest('details').getBoundingClientRect().top")
    assert -1 <= top < SIZES["phone"][1]


def test_the_keyboard_comes_everywhere_and_one_sees_where_it_is(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted")
    links = page.ask("document.querySelectorAll('a, summary').length")
    where = """(() => {
        const one = document.activeElement, ring = getComputedStyle(one);
        return [one.localName, one.getAttribute("href"), ring.outlineStyle, parseFloat(ring.outlineWidth)];
    })()"""
    been = []
    for _ in range(links):
        page.press("Tab")
        been.append(page.ask(where))
    assert been[0][:2] == ["a", "#findings"]
    assert len({href for _, href, _, _ in been}) == 7  # the findings', the picture's, and the skip link's
    assert all(name == "a" and style == "solid" and width >= 2 for name, _, style, width in been)


def test_the_first_stop_of_the_keyboard_leads_past_the_picture(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted")
    page.press("Tab")
    assert page.ask("document.activeElement.getBoundingClientRect().top") >= 0
    page.press("Enter")
    assert page.ask("location.hash") == "#findings"


def test_what_reads_aloud_hears_names_and_lists(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, "drifted")
    heard = [
        (one["role"]["value"], one.get("name", {}).get("value", ""))
        for one in page.call("Accessibility.getFullAXTree")["nodes"]
        if not one["ignored"]
    ]
    assert [role for role, name in heard if role in NAMED and not name] == []
    names = [name for role, name in heard if role == "link"]
    assert "Finding 2, high: a rule lets through more than the environment's template declares" in names
    assert ("region", "Findings") in heard
    assert ("main", "") in heard
