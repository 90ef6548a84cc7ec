"""Every fault at every state of every state machine: see docs/fault-sweep.md, which this holds true."""

from __future__ import annotations

import pytest

from tests.workflow.fault_sweep import PAGE, sweep
from tests.workflow.sweep.cases import Result, all_states, cases, places, plain
from tests.workflow.sweep.excuses import EXCUSES, excuse, remarkable
from tests.workflow.sweep.page import page

pytestmark = pytest.mark.timeout(2700)


@pytest.fixture(scope="module")
def swept() -> tuple[dict[str, list[str]], list[Result]]:
    return sweep()


def test_a_scenario_enters_every_state(swept: tuple[dict[str, list[str]], list[Result]]) -> None:
    walked, _ = swept
    entered = {plain(mark) for path in walked.values() for mark in path}
    assert sorted(all_states().keys() - entered) == []
    assert {plain(mark) for _, mark, _ in places(walked)} == set(all_states())


def test_each_case_ends_as_it_may(swept: tuple[dict[str, list[str]], list[Result]]) -> None:
    walked, results = swept
    assert [result.case for result in results] == cases(walked)
    wrong = [f"{result.case}: {what}" for result in results for what in result.wrong]
    assert wrong == []


def test_what_is_not_as_it_should_be_has_a_reason(swept: tuple[dict[str, list[str]], list[Result]]) -> None:
    _, results = swept
    found = [(result, note) for result in results for note in remarkable(result)]
    assert [f"{result.case}: {note}" for result, note in found if excuse(result, note) is None] == []
    used = {excuse(result, note) for result, note in found}
    assert [one for one in EXCUSES if one not in used] == []


def test_the_document_is_what_was_found(swept: tuple[dict[str, list[str]], list[Result]]) -> None:
    _, results = swept
    assert PAGE.read_text() == page(results), "python -m tests.workflow.fault_sweep --write"
