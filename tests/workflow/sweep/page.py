"""The document docs/fault-sweep.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.workflow.engine import MACHINES
from tests.workflow.sweep.cases import Case, Result
from tests.workflow.sweep.excuses import EXCUSES, Excuse, excuse, remarkable
from tests.workflow.sweep.faults import (
    ALONE,
    CRASH,
    CRASH_DONE,
    FAULTS,
    FOR_GOOD,
    LATE,
    LATE_DONE,
    REFUSED,
    STOPPED,
    STOPPED_DONE,
    STOPPED_LATE,
    THROTTLED,
)
from tests.workflow.sweep.judge import (
    ABANDONED,
    CHECKED,
    CLEAN,
    DIRTY,
    ELSEWHERE,
    HELD,
    HOOK,
    JOINED,
    LEFT,
    LEFT_TO_IT,
    MIXED,
    NO_RECEIPT,
    OUT,
    PLANNED,
    SUCCEEDED,
    SUSPENDED,
    UNCHECKED,
    UNFINISHED,
    UNTOLD,
)
from tests.workflow.sweep.scenarios import SCENARIOS

OPENING = """# What each fault does to a release

<!-- Written by `python -m tests.workflow.fault_sweep --write`; a test compares it with what is found. -->

Every state of every state machine, and everything that can befall it: {cases} cases at all {states} states.
The shipped machines and functions run against a model of an account with two servers. A fault happens; what
the rules of `template.yaml` start when a release has failed is started; then the account is looked at; then
the faults are over, and the same release is started again.

In **every** case no migration runs twice, the site is never left without a server, a failure says what
happened, where, and what is safe next, and the next release succeeds: it is on every server, every server is
in the load balancer, the lock is free, Auto Scaling is at work.

In every case **without a number** all servers have one release, the one that the ending says, and are in the
load balancer; the lock is free; Auto Scaling is at work; there is a receipt; and people and programs have
been told. (A plan has nothing of all that: it changes nothing, and its output is what it tells.) With a
number, what is missing stands under that number in the first two tables.

No call of a function that fails once, whether it had its effect or not, needs a person.

The scenarios of a **new server** ask for it alone: a fault happens to its joining, the hook's time passes,
then a release is started. In every case the other servers go on serving the recorded release, the new one
comes into service with that or not at all (but where a release waits for it), and the next release is on
every server.

Where the tables say so, a check for drift is started instead. In **every** such case nothing in the
environment is changed, no lock is held, nothing is found that is not so, and the next check finds and tells
what there is.
"""

WORDS = {
    SUCCEEDED: "new",
    CLEAN: "old",
    PLANNED: "plan",
    DIRTY: "**PERSON**",
    UNFINISHED: "**BROKEN OFF**",
    JOINED: "joined",
    LEFT_TO_IT: "left",
    ABANDONED: "abandoned",
    HOOK: "**HOOK**",
    ELSEWHERE: "elsewhere",
    CHECKED: "checked",
    UNCHECKED: "fails",
}
ENDINGS = {
    SUCCEEDED: "Succeeded: every server has the new release",
    CLEAN: "FailedClean: every server has the release before; of a first release: nobody was served yet",
    PLANNED: "the plan is told",
    DIRTY: "FailedDirty: the alarm rings, and the explanation says what to do",
    UNFINISHED: "the clean-up did not come to its end: the alarm rings, and the next release finishes it",
    JOINED: "a new server serves the recorded release",
    LEFT_TO_IT: "a new server is in service without a release, for one that waits for it and prepares it",
    ABANDONED: "a new server is ended and replaced, and it is told why",
    HOOK: "nobody completes the lifecycle action: the hook's time-out ends the new server, the alarm rings",
    ELSEWHERE: "another execution sees to the new server",
    CHECKED: "a check for drift: what it found is recorded and told",
    UNCHECKED: "the check fails, and its alarm rings; the next one finds and tells the same",
}
MEANT = {
    THROTTLED: "the service that is called (Lambda; Step Functions for a child) throttles two calls",
    FOR_GOOD: "it throttles all calls of that state, in whichever execution, until all is over",
    REFUSED: "AWS refuses all of them, likewise",
    LATE: "a call is given up for its time-out, and nothing was done",
    LATE_DONE: "likewise, and everything was done",
    CRASH: "the function fails once, before it has done anything",
    CRASH_DONE: "its process dies once, after it has done everything",
    STOPPED: "the execution is stopped when it enters the state, and its children with it",
    STOPPED_DONE: "likewise, but the call that was under way comes to its end",
    STOPPED_LATE: "likewise, but that call begins only when the clean-up has taken over",
    ALONE: "the child execution alone is stopped",
}
HEADS = {
    FOR_GOOD: "for good",
    LATE_DONE: "…done",
    CRASH_DONE: "…done",
    STOPPED_DONE: "…done",
    STOPPED_LATE: "…late",
}
MEANS = {
    HELD: "the lock is held by an execution that has ended",
    SUSPENDED: "Auto Scaling is suspended",
    MIXED: "servers have different releases",
    OUT: "servers are out of the load balancer",
    NO_RECEIPT: "there is no receipt",
    UNTOLD: "nobody is told",
    LEFT: "change sets are left, which nobody executes",
}
Found = list[tuple[Result, str]]


def page(results: Sequence[Result]) -> str:
    """The document: what needs a person, what else is not as it should be, and every case."""
    found = _excused(results)
    serious = {
        one for one, covered in found.items() if any(note in (DIRTY, UNFINISHED, HOOK) for _, note in covered)
    }
    lines = [
        *_opening(results),
        *_reasons("Where a person is needed", {one: found[one] for one in found if one in serious}, found),
        *_reasons(
            "What else is not as it should be",
            {one: found[one] for one in found if one not in serious},
            found,
        ),
        *_tables(results, list(found)),
    ]
    return "\n".join(lines) + "\n"


def _excused(results: Sequence[Result]) -> dict[Excuse, Found]:
    """What each excuse covers, in their order; only those that cover something."""
    found: dict[Excuse, Found] = {one: [] for one in EXCUSES}
    for result in results:
        for note in remarkable(result):
            one = excuse(result, note)
            if one is not None:
                found[one].append((result, note))
    return {one: covered for one, covered in found.items() if covered}


def _opening(results: Sequence[Result]) -> Iterator[str]:
    number = Counter(one.ending for one in results)
    yield OPENING.format(cases=f"{len(results):,}", states=len({one.case.state for one in results}))
    yield from _table("Ending", "Cases", "")
    for ending, meaning in ENDINGS.items():
        yield _row(WORDS[ending], str(number[ending]), meaning)
    yield ""
    yield from _table("Fault", "")
    for fault, meaning in MEANT.items():
        yield _row(fault, meaning)
    yield ""


def _reasons(head: str, shown: Mapping[Excuse, Found], found: Mapping[Excuse, Found]) -> Iterator[str]:
    yield f"## {head}\n"
    yield from _table("", "Where", "Faults", "Cases", "Then", "Why")
    for one, covered in shown.items():
        faults = {result.case.fault for result, _ in covered}
        yield _row(
            str(_number(one, list(found))),
            _listed(result.case.state for result, _ in covered),
            ", ".join(fault for fault in FAULTS if fault in faults),
            str(len({result.case for result, _ in covered})),
            "; ".join(dict.fromkeys(WORDS.get(note) or MEANS[note] for _, note in covered)),
            one.why,
        )
    yield ""


def _tables(results: Sequence[Result], numbered: Sequence[Excuse]) -> Iterator[str]:
    yield "## Every case"
    swept = {result.case.state.split(".")[0] for result in results}
    for machine in [one for one in reversed(MACHINES) if one in swept]:
        yield f"\n### {machine}\n"
        yield from _table("While", "States", *(HEADS.get(fault, fault) for fault in FAULTS))
        rows: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (while_, state), cells in _cells(results, machine, numbered).items():
            rows.setdefault((while_, cells), []).append(f"`{state}`")
        for (while_, cells), states in rows.items():
            yield _row(while_, ", ".join(states), *cells)


def _cells(
    results: Sequence[Result], machine: str, numbered: Sequence[Excuse]
) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        of, state = result.case.state.split(".")
        if of == machine:
            found.setdefault((_while(result.case), state), {})[result.case.fault] = _cell(result, numbered)
    return {place: tuple(cells.get(fault, "") for fault in FAULTS) for place, cells in found.items()}


def _cell(result: Result, numbered: Sequence[Excuse]) -> str:
    excuses = [excuse(result, note) for note in remarkable(result)]
    numbers = sorted({_number(one, numbered) for one in excuses if one is not None})
    return f"{WORDS[result.ending]} {', '.join(map(str, numbers))}".strip()


def _number(one: Excuse, numbered: Sequence[Excuse]) -> int:
    return list(numbered).index(one) + 1


def _while(case: Case) -> str:
    child = case.mark.split(".")[0].partition("/")[2]
    machine = case.state.split(".")[0]
    what = f" ({child.removeprefix('ended-1-')})" if child and machine != "CleanUp" else ""
    wave = ", second wave" if case.nth == 2 else ""
    return f"{SCENARIOS[case.scenario].says}{what}{wave}"


def _listed(states: Iterable[str]) -> str:
    """`Release: A, B; RollOut: C`."""
    of: dict[str, list[str]] = {}
    for state in dict.fromkeys(states):
        machine, name = state.split(".", 1)
        of.setdefault(machine, []).append(f"`{name}`")
    return "; ".join(f"{machine}: {', '.join(names)}" for machine, names in of.items())


def _table(*heads: str) -> Iterator[str]:
    yield _row(*heads)
    yield _row(*("---" for _ in heads))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
