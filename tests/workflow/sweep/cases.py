"""The cases: a fault, at a state, in a scenario. Which states there are is read from the definitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from tests.workflow.engine import MACHINES, definition, states_of
from tests.workflow.estate import Json
from tests.workflow.sweep.faults import troubles

# Of the machines that are started for several things, those in which their states are looked at.
STEPS = {
    "AwaitCommand": ("migrate", "configure", "report"),
    "DeployTier": ("web", "certificate"),
}
# The tear-down, and what of the clean-up only that comes to, is swept by tests/workflow/test_tear_down.py.
ELSEWHERE = re.compile(r"TearDown\..*|CleanUp\.(ExplainTearDown|RecordTearDown)")
# Places that are swept again, because much else has happened before: (scenario, pattern of marks, nth entry).
AGAIN: Sequence[tuple[str, str, int]] = (
    ("first", r"Release\..*", 1),
    ("next", r"RollOut/roll-out\..*", 2),
    ("side by side", r"RollOut/roll-out\..*", 1),
    ("bad", r"RollOut/roll-back\..*", 1),
    ("bad, side by side", r"RollOut/roll-back\..*", 1),
    ("stopped", r"CleanUp/ended-1\.TakeOver", 1),
    ("stopped", r"RollOut/ended-1-put-back\..*", 1),
)


@dataclass(frozen=True)
class Case:
    """A fault at a place of a scenario. `state`: `RollOut.Activate`; `mark`: the execution too."""

    scenario: str
    mark: str
    nth: int
    fault: str

    @property
    def state(self) -> str:
        return plain(self.mark)


@dataclass(frozen=True)
class Result:
    """`ending`: Succeeded, FailedClean, FailedDirty, or Unfinished (until the next release). `fleet`: what
    the servers have then: old, new, none, mixed. `notes`: what is not as it should be, and has to be
    excused; `wrong`: what nothing excuses."""

    case: Case
    ending: str
    fleet: str
    notes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    path: tuple[str, ...] = field(default=(), compare=False)


def plain(mark: str) -> str:
    """`RollOut.Activate` of `RollOut/roll-back.Activate`."""
    scope, state = mark.split(".", 1)
    return f"{scope.partition('/')[0]}.{state}"


@cache
def all_states() -> dict[str, Json]:
    """Every state that is swept here, as `RollOut.Activate`."""
    every = {
        f"{machine}.{name}": state for machine in MACHINES for name, state in states_of(definition(machine))
    }
    return {name: state for name, state in every.items() if not ELSEWHERE.fullmatch(name)}


def places(walked: Mapping[str, Sequence[str]]) -> dict[tuple[str, str, int], None]:
    """(scenario, mark, nth entry) that are looked at, when the scenarios walk so."""
    found: dict[tuple[str, str, int], None] = {}
    for state in all_states():
        found |= _first(walked, state, _looked_at) or _first(walked, state, lambda _mark: True)
    # As they are defined, not as branches that run side by side happen to enter them.
    order = {state: place for place, state in enumerate(all_states())}
    for scenario, pattern, nth in AGAIN:
        path = walked[scenario]
        for mark in sorted(set(path), key=lambda mark: (order.get(plain(mark), 0), mark)):
            if re.fullmatch(pattern, mark) and path.count(mark) >= nth:
                found[scenario, mark, nth] = None
    return found


def _first(
    walked: Mapping[str, Sequence[str]], state: str, wanted: Callable[[str], bool]
) -> dict[tuple[str, str, int], None]:
    """Where the first scenario that does so enters the state."""
    for scenario, path in walked.items():
        marks = [mark for mark in dict.fromkeys(path) if plain(mark) == state and wanted(mark)]
        if marks:
            chosen = marks[:1]
            if (
                state.split(".", maxsplit=1)[0] in STEPS
            ):  # some run side by side: not as they happen to enter it
                chosen = sorted(marks)
            return dict.fromkeys((scenario, mark, 1) for mark in chosen)
    return {}


def _looked_at(mark: str) -> bool:
    machine, _, child = mark.split(".", 1)[0].partition("/")
    return machine not in STEPS or child in STEPS[machine]


def cases(walked: Mapping[str, Sequence[str]]) -> list[Case]:
    found = []
    for scenario, mark, nth in places(walked):
        state = all_states()[plain(mark)]
        for fault in troubles(state["Type"], state.get("Resource", ""), mark.partition(".")[0]):
            found.append(Case(scenario, mark, nth, fault))
    return found
