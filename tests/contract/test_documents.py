"""The documents are true: pictures as the definitions give them, links and commands that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import draw_network, draw_state_machines
from tools.draw_svg import PICTURES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
DRAWN: dict[str, Callable[[], str]] = {"network.svg": draw_network.draw, **draw_state_machines.pictures()}


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_committed_picture_is_what_the_definitions_give(name: str) -> None:
    assert (PICTURES / name).read_text(encoding="utf-8") == DRAWN[name](), (
        "stale: python -m tools.draw_network; python -m tools.draw_state_machines"
    )


def test_no_picture_is_left_of_a_machine_that_is_gone() -> None:
    assert {path.name for path in PICTURES.glob("*.svg")} == set(DRAWN)


def test_the_drawing_notices_a_rule_that_only_one_side_knows() -> None:
    network = draw_network.load(draw_network.TIERS / "network.yaml")
    resources = {name: r for name, r in network["Resources"].items() if name != "WebToDatabase"}
    with pytest.raises(ValueError, match="Web may not leave for Database:3306"):
        list(draw_network.paired_rules({**network, "Resources": resources}))


def links(document: Path) -> list[str]:
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", document.read_text(encoding="utf-8"))
    return [link or source for link, source in found if not (link or source).startswith(("http", "mailto:"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in links(document) if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_targets_of_make_that_are_named_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", document.read_text(encoding="utf-8")))
    assert named <= targets
