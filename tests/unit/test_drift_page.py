"""The page of a check: what is on it, where, and that nothing in a report can be more than text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.drift import rules
from slipway.drift.finding import SEVERITIES
from slipway.drift.page import picture, render, wording
from slipway.drift.page.grouping import PLACE_OF_RESOURCE, PLACES, entries, place
from slipway.drift.page.markup import Markup, element, joined, visible
from tests.unit.drift_reports import (
    CASES,
    KINDS,
    REPORTS,
    SERVER,
    UGLY,
    Report,
    case,
    every_kind,
    finding,
    large,
    report,
    with_text,
)
from tests.unit.fuzzing import tried
from tests.unit.reading import Node, read
from tests.unit.test_comparisons import WELL, differing, judged
from tests.unit.test_standing import changed
from tools import drift_page

NAMES = re.compile(r"\S+")
TAGS = frozenset(
    NAMES.findall("""
    a article b body br code dd defs details div dl dt footer g h1 h2 h3 h4 head header html li link main
    marker meta p path pre rect section span style summary svg table tbody td text th thead time title tr ul
    """)
)
ATTRIBUTES = frozenset(
    NAMES.findall("""
    aria-hidden aria-label aria-labelledby charset class content d datetime height href http-equiv id lang
    marker-end markerheight markerwidth name orient refx refy rel role rx scope viewbox width x y
    """)
)

every_report = pytest.mark.parametrize("told", REPORTS.values(), ids=REPORTS)


def headings(page: Node) -> list[str]:
    return [f"{node.tag} {node.text}" for node in page.all() if re.fullmatch("h[1-4]", node.tag)]


def badges(page: Node) -> list[Node]:
    return [node for node in page.all("a") if node.looks("badge")]


# Text is text


def test_what_is_markup_stays_and_all_else_is_escaped() -> None:
    assert (
        element("p", "<b>", element("b", "&"), class_="x", id=None)
        == '<p class="x">&lt;b&gt;<b>&amp;</b></p>'
    )
    assert element("br") == "<br>"
    assert joined(["a", Markup("<br>"), "b"], " < ") == "a &lt; <br> &lt; b"
    assert element("a", href='"x"', data_y=True) == '<a href="&quot;x&quot;" data-y></a>'


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain äöü 漢字 🚢\n\tend", "plain äöü 漢字 🚢\n\tend"),
        ("a\x00b\rc", "a\\u0000b\\u000dc"),
        ("rm \u202efdp.exe", "rm \\u202efdp.exe"),
        ("a\u200bb\ufeffc\u2028d", "a\\u200bb\\ufeffc\\u2028d"),
        ("\ud800 \U0001f6a2", "\\ud800 🚢"),
        ("\x7f\x9b31m", "\\u007f\\u009b31m"),
    ],
)
def test_what_is_not_seen_is_written_out(given: str, shown: str) -> None:
    assert visible(given) == shown


def sound(page: str) -> Node:
    """A page of elements and attributes that the page is made of, and of nothing that runs or loads."""
    page.encode()
    assert page.startswith("<!DOCTYPE html>\n<html ")
    html = read(page.removeprefix("<!DOCTYPE html>"))
    ids = [node.attributes["id"] for node in html.all() if "id" in node.attributes]
    assert len(set(ids)) == len(ids)
    for node in html.all():
        assert node.tag in TAGS
        assert set(node.attributes) <= ATTRIBUTES
        href = node.attributes.get("href", "")
        if node.tag == "link":
            assert href == "data:,"
        elif href:
            assert href.startswith("#")
            assert href[1:] in ids
    return html


@tried(60)
@given(st.text(st.characters(), max_size=60))
@example(UGLY)
@example("2026-11-28T23:40:12Z")
@example("aws \ud800")
@example("")
@example("i-0a1b2c3d4e5f60718")
def test_whatever_a_report_says_is_text(value: str) -> None:
    page = render(with_text(value))
    html = sound(page)
    [heading] = html.all("h1")
    assert heading.text == visible(value)
    [style] = html.all("style")
    assert style.text == (Path(picture.__file__).parent / "page.css").read_text()


@every_report
def test_pages_are_sound(told: Report) -> None:
    sound(render(told))


def test_a_command_is_on_the_page_as_it_is() -> None:
    remedy = 'aws x --input \'{"a": "<b>"}\'  --two  spaces \\\n  --next'
    html = read(render(report([finding("bucket_public", "high", "storage", "b", remedy=remedy)])))
    assert [node.text for node in html.all("pre")] == [remedy]


SILENT = (
    "see whether it runs: aws ec2 describe-instance-status --instance-ids i-1; once its agent answers again, "
    "the next check asks it. If it cannot be helped, end it: aws autoscaling end --instance-id i-1"
)


@pytest.mark.parametrize(
    ("remedy", "pieces"),
    [
        ("Nothing to do; it was meant.", [(False, "Nothing to do; it was meant.")]),
        ("aws s3 ls", [(True, "aws s3 ls")]),
        ("aws s3 ls; if it is yours, keep it", [(True, "aws s3 ls"), (False, "if it is yours, keep it")]),
        ("aws x --input '{\"a; b\": 1}'", [(True, "aws x --input '{\"a; b\": 1}'")]),
        (
            "look: aws x --y z, then journalctl",
            [(False, "look:"), (True, "aws x --y z"), (False, "then journalctl")],
        ),
        ("see its rules (aws elbv2 x), and more", [(False, "see its rules (aws elbv2 x), and more")]),
        ("aws it's not closed; no", [(False, "aws it's not closed; no")]),
        (
            SILENT,
            [
                (False, "see whether it runs:"),
                (True, "aws ec2 describe-instance-status --instance-ids i-1"),
                (
                    False,
                    "once its agent answers again, the next check asks it. If it cannot be helped, end it:",
                ),
                (True, "aws autoscaling end --instance-id i-1"),
            ],
        ),
    ],
)
def test_commands_in_a_remedy_can_be_taken_by_themselves(remedy: str, pieces: list[tuple[bool, str]]) -> None:
    assert wording.pieces(remedy) == pieces


def test_the_policy_allows_this_style_sheet_and_nothing_else() -> None:
    html = read(render(case("drifted")))
    [policy] = [node for node in html.all("meta") if node.attributes.get("http-equiv")]
    [style] = html.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    allowed = dict(part.split(maxsplit=1) for part in (policy.attributes["content"] or "").split("; "))
    assert allowed == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


# What is on it


def outline(html: Node) -> list[str]:
    """The page as lines: headings, facts, entries of lists and tables."""
    lines = []
    for node in html.all():
        if re.fullmatch("h[1-4]|p|dt|dd|li|tr|pre|title", node.tag) and (
            words := " ".join(node.text.split())
        ):
            lines.append(f"{node.tag}: {words}")
    return lines


@pytest.mark.parametrize("name", ["drifted", "clean"])
def test_the_page_of_a_report(name: str) -> None:
    golden = (CASES / f"{name}.txt").read_text().splitlines()
    assert outline(read(render(case(name)))) == golden


def test_the_worst_stands_first() -> None:
    order = [entry.severity for entry in entries(every_kind()["findings"])]
    assert order == sorted(order, key=["high", "medium", "low"].index)


def test_a_severity_that_nobody_knows_counts_as_the_worst() -> None:
    assert entries([finding("new_kind", "terrible", "web", "x")])[0].severity == "high"


@pytest.mark.parametrize(
    ("change", "title", "calm"),
    [
        ({}, "Everything is as released", True),
        ({"notLookedAt": ["the alias: Throttling"]}, "Nothing found in what could be looked at", False),
        ({"unconfirmed": [finding("imds_open", "low", "web", "i")]}, "Nothing confirmed", False),
        ({"status": "postponed"}, "Not checked: a release was running", False),
    ],
)
def test_a_page_without_findings_says_what_that_means(change: Report, title: str, calm: bool) -> None:
    html = read(render(report([], **change)))
    [verdict] = [node for node in html.all("p") if node.looks("verdict")]
    assert verdict.text.removeprefix("✓") == title
    assert verdict.looks("calm") == calm
    assert not badges(html)


def test_an_empty_report_has_a_page() -> None:
    html = sound(render({}))
    assert "h1 " in headings(html)


def test_the_page_can_be_made_of_a_report_that_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert drift_page.main([str(CASES / "drifted.json")]) == 0
    assert capsys.readouterr().out == render(case("drifted"))
    assert drift_page.main([]) == 2


# Equal findings are one entry


def test_equal_findings_about_several_servers_are_one_entry() -> None:
    ids = [f"i-0a1b2c3d4e5f6071{number}" for number in range(3)]
    found = [
        finding(
            "server_code", "high", "servers", one, what=f"{one} was changed", remedy=f"aws ssm --target {one}"
        )
        for one in ids
    ]
    [entry] = entries(found)
    assert list(entry.where) == ids
    html = read(render(report(found)))
    [heading] = html.all("h3")
    assert heading.text == f"{ids[0]} was changed, and likewise 2 more"
    assert f"This is for {ids[0]}; for the others put their names in its place." in html.text


@pytest.mark.parametrize("key", ["expected", "found", "remedy", "what", "kind", "severity"])
def test_what_differs_stays_apart(key: str) -> None:
    ids = ["i-0a1b2c3d4e5f60711", "i-0a1b2c3d4e5f60712"]
    one, two = (finding("server_code", "high", "servers", where) for where in ids)
    assert len(entries([one, {**two, "key": f"server_code|{ids[1]}|"}])) == 1
    assert len(entries([one, {**two, key: "low"}])) == 2


def test_two_properties_of_a_resource_are_two_entries() -> None:
    one = finding("stack_resource_modified", "low", "web", "Group", key="stack_resource_modified|Group|/A")
    assert len(entries([one, {**one, "key": "stack_resource_modified|Group|/B"}])) == 2


def test_since_is_the_first_time_and_who_is_told() -> None:
    who = {"name": "martha", "at": "2026-11-24T10:11:12Z", "event": "ModifyDBInstance"}
    html = read(render(report([finding("backups_off", "high", "database", "db", seen=1, who=who)])))
    [told] = [node.text for node in html.all("p") if node.looks("course")]
    assert (
        told == "since 27 Nov 2026, 23:40 UTC · new · by martha with ModifyDBInstance, 24 Nov 2026, 10:11 UTC"
    )


def test_a_remedy_that_was_begun_is_told() -> None:
    arn = "arn:aws:states:eu-central-1:123456789012:execution:slipway-check-drift:asked"
    html = read(render(report([finding("imds_open", "low", "web", "i-1", remedied=arn)])))
    [told] = [node.text for node in html.all("p") if node.looks("course")]
    assert told.endswith(" · remedy begun by the check asked")


@pytest.mark.parametrize(
    ("iso", "shown"),
    [
        ("2026-11-28T23:40:12Z", "28 Nov 2026, 23:40 UTC"),
        ("2026-11-28T23:40:12.318+00:00", "28 Nov 2026, 23:40 UTC"),
        ("2026-11-28T23:40:12+01:00", "28 Nov 2026, 23:40 +0100"),
        ("yesterday", "yesterday"),
        ("", "–"),
    ],
)
def test_moments(iso: str, shown: str) -> None:
    assert re.sub("<[^>]*>", "", wording.moment(iso)) == shown


# The picture


def test_these_are_all_kinds() -> None:
    assert set(KINDS) == set(SEVERITIES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_place_in_the_picture(kind: str) -> None:
    tier = KINDS[kind]
    one = finding(kind, "high", tier, SERVER if tier == "servers" else "Thing")
    assert place(one) in PLACES
    assert place(one) != "environment"
    html = read(render(report([one])))
    assert [node.attributes["href"] for node in badges(html)] == ["#finding-1"]


@pytest.mark.parametrize(
    ("tier", "where", "expected"),
    [
        ("network", "network/DatabaseSecurityGroup", "database"),
        ("network", "network/WebFromBastion", "web"),
        ("network", "security group LoadBalancerSecurityGroup (sg-1)", "load_balancer"),
        ("network", "network/BastionSecurityGroup", "network"),
        ("network", "network/DatabaseSubnet1", "network"),
        ("certificate", "certificate/HostedZone", "dns"),
        ("certificate", "certificate/Certificate", "certificate"),
        ("load_balancer", "load_balancer/WwwRecord", "dns"),
        ("database", "schema", "database"),
    ],
)
def test_a_resource_is_shown_at_what_it_is_of(tier: str, where: str, expected: str) -> None:
    assert place(finding("stack_resource_modified", "low", tier, where)) == expected


def test_the_resources_that_are_shown_elsewhere_are_those_of_the_tiers() -> None:
    templates = (Path(picture.__file__).parents[3] / "tiers").glob("*.yaml")
    names = re.findall(r"^  (\w+):$", "\n".join(path.read_text() for path in templates), re.M)
    for beginning in PLACE_OF_RESOURCE:
        assert any(name.startswith(beginning) for name in names), beginning


def test_a_kind_that_nobody_knows_has_a_place_too() -> None:
    html = read(render(report([finding("news", "low", "moon", "x")])))
    assert place(finding("news", "low", "moon", "x")) == "environment"
    assert [node.attributes["href"] for node in badges(html)] == ["#finding-1"]


def test_a_finding_about_a_server_is_at_that_server() -> None:
    html = picture.draw(picture.Scene(case("drifted"), entries(case("drifted")["findings"])))
    cell = html[html.index("i-0b2c3d4e5f6071829") : html.index("i-0a1b2c3d4e5f60718")]
    assert re.findall(r'href="#(.*?)"', cell) == ["finding-1"]


@every_report
def test_every_entry_is_in_the_picture(told: Report) -> None:
    """By a number of its own, or counted by the last badge of its place."""
    html = read(render(told))
    found = entries(told["findings"])
    own, counted = set(), 0
    for badge in badges(html):
        [words] = [node.text for node in badge.all("text")]
        if words.startswith("+"):
            counted += int(words)
        else:
            own.add(int(words))
    assert own <= {entry.number for entry in found}
    assert len(own) + counted >= len(found)
    assert bool(counted) or own == {entry.number for entry in found}


@pytest.mark.parametrize(
    ("kinds", "status", "state"),
    [
        ([], "UPDATE_COMPLETE", "as deployed"),
        (["database_public"], "CREATE_COMPLETE", "as deployed"),
        (["stack_resource_modified"], "UPDATE_COMPLETE", "differs"),
        (["stack_resource_modified", "stack_missing"], "absent", "gone"),
        (["stack_unknown"], "UPDATE_ROLLBACK_FAILED", "not known, update rollback failed"),
        ([], "UPDATE_ROLLBACK_COMPLETE", "update rollback complete"),
    ],
)
def test_the_state_of_a_stack(kinds: list[str], status: str, state: str) -> None:
    found = entries(finding(kind, "high", "database", "x") for kind in kinds)
    assert picture.stack_state({"tier": "database", "status": status}, found) == state


def test_servers_that_need_somebody_are_drawn_first() -> None:
    ids = [f"i-{number:08x}" for number in range(20)]
    fleet = [{"id": one, "release": "2026-11-22.1", "reported": True} for one in ids]
    fleet[15]["release"] = "another"
    fleet[17]["reported"] = False
    told = report([finding("server_service", "high", "servers", ids[19])], servers=fleet)
    order = [server["id"] for server in picture.by_trouble(told, entries(told["findings"]))]
    assert order[:4] == [ids[19], ids[17], ids[15], ids[0]]
    html = read(render(told))
    assert "and 12 more" in html.text
    assert f"{18} of 20 run 2026-11-22.1" in html.text


# What the checks really find


def of_the_checks() -> list[dict[str, Any]]:
    """What the checks of what must hold find in their cases, and what is found of a server."""
    files = sorted((CASES.parent / "standing").glob("*.json"))
    found = [one for file in files for one in rules.judged(changed(json.loads(file.read_text())))]
    changes: list[dict[str, Any]] = [
        {"release": "r1"},
        {"ruby": "3.2.9"},
        {"code": differing("changed app/a.rb")},
        {"restarted": True},
    ]
    found += [one for change in changes for one in judged({**WELL, **change})] + judged(None)
    return [dict(one) for one in found]


def test_findings_of_the_checks_have_places_in_the_picture_and_remedies_that_can_be_taken() -> None:
    found = of_the_checks()
    assert len({one["kind"] for one in found}) > 15
    for one in found:
        assert place(one) != "environment", one["key"]
        parts = wording.pieces(one["remedy"])
        assert parts, one["key"]
        for is_command, part in parts:
            # A command is one whole command, and no sentence begins with one.
            assert not is_command or re.fullmatch(r"aws [a-z0-9-]+ [a-z-]+ --[^;]*", part), part
            assert is_command or not part.startswith("aws "), part
    html = sound(render(report(found)))
    assert {node.attributes["href"] for node in badges(html)} >= {"#finding-1", "#finding-2"}


# Bounds


def test_a_thousand_servers_and_hundreds_of_findings_give_a_page_of_sensible_size() -> None:
    told = large()
    page = render(told)
    assert len(page.encode()) < 512 * 1024
    html = read(page)
    assert "1,307 findings" in html.text
    assert "202 more of these are not on this page: see the JSON report of this check." in html.text
    assert "7 more were found than a report holds." in html.text
    assert sum(1 for _ in html.all("details")) == 75
    assert sum(1 for _ in html.all("article")) == 25


def test_long_values_are_cut_and_long_commands_are_not_shown_in_part() -> None:
    long = "x" * 5_000
    found = [finding("server_code", "high", "servers", "i", found=long, remedy=f"aws {long}")]
    page = render(report(found))
    assert "(5,000 characters in all)" in page
    assert "The remedy is too long for this page" in page
    assert "aws x" not in page


def test_the_largest_report_that_a_check_makes_gives_a_page_of_sensible_size() -> None:
    """Sixty findings of each of three looks, no two equal, every value as long as they get."""
    found = [
        finding(
            kind, "high", tier, f"{tier}/{kind}{number}", found=f"{number}" + "<" * 399, expected="<" * 400
        )
        for kind, tier in (("stack_differs", "web"), ("server_code", "servers"), ("bucket_public", "storage"))
        for number in range(60)
    ]
    assert len(render(report(found)).encode()) < 768 * 1024


def test_a_report_is_not_changed_by_looking_at_it() -> None:
    told = case("drifted")
    render(told)
    assert told == case("drifted")
    assert json.loads(json.dumps(told)) == told
