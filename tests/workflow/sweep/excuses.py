"""What is not as it should be after some faults, and why that is so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.workflow.sweep.cases import Result
from tests.workflow.sweep.faults import ALONE, FOR_GOOD, LATE, LATE_DONE, REFUSED, STOPPED_LATE
from tests.workflow.sweep.judge import (
    DIRTY,
    HELD,
    HOOK,
    MIXED,
    NO_RECEIPT,
    OUT,
    SUSPENDED,
    UNFINISHED,
    UNTOLD,
)

LASTING = f"{FOR_GOOD}|{REFUSED}"
STOP = "stopped.*"


@dataclass(frozen=True)
class Excuse:
    """Why these cases may end so. `states`, `faults` and `scenarios` are patterns."""

    notes: tuple[str, ...]
    states: str
    faults: str
    why: str
    scenarios: str = ".*"

    def covers(self, result: Result, note: str) -> bool:
        case = result.case
        return (
            note in self.notes
            and re.fullmatch(self.states, case.state) is not None
            and re.fullmatch(self.faults, case.fault) is not None
            and re.fullmatch(self.scenarios, case.scenario) is not None
        )


EXCUSES: Sequence[Excuse] = (
    Excuse(
        (DIRTY, UNFINISHED, MIXED),
        ".*",
        ".*",
        "The release before does not come up again on a server: nothing that Slipway could do would help.",
        "stuck|stopped, stuck",
    ),
    Excuse(
        (DIRTY, MIXED, OUT),
        r"RollOut\..*",
        LASTING,
        "The way back needs the same call, and that goes on failing.",
    ),
    Excuse(
        (DIRTY, MIXED, OUT),
        r"Release\.(PlanRollBack|RollBack)"
        r"|CleanUp\.(CheckCommands|CheckServers|RestoreAll|RollBack|CheckTargets)",
        LASTING,
        "The way back needs this call, and it goes on failing.",
    ),
    Excuse(
        (UNFINISHED, SUSPENDED),
        ".*",
        ".*",
        "AWS does not let Auto Scaling go on for as long as clean-ups try (18 hours).",
        "suspended for good",
    ),
    Excuse(
        (UNFINISHED, SUSPENDED),
        r"CleanUp\.ResumeScaling",
        LASTING,
        "AWS does not let Auto Scaling go on for as long as clean-ups try (18 hours): "
        "the next release does it.",
    ),
    Excuse(
        (DIRTY,),
        r"(Release|CleanUp)\.ExplainFailure",
        LASTING,
        "What cannot be explained is not called clean: a person has to look.",
    ),
    Excuse(
        (DIRTY, MIXED),
        r"(Release|CleanUp)\.RollBack",
        f"{LATE}|{LATE_DONE}",
        "The roll-back is not over after 19 hours: a person has to see what it waits for.",
    ),
    Excuse(
        (DIRTY, MIXED, OUT),
        r"RollOut\..*",
        ALONE,
        "Somebody has stopped the roll-back itself.",
        "bad.*|stopped.*",
    ),
    Excuse(
        (UNFINISHED, HELD, SUSPENDED, OUT, NO_RECEIPT, UNTOLD),
        r"CleanUp\.TakeOver",
        LASTING,
        "No clean-up can begin: the next release does it first.",
    ),
    Excuse(
        (NO_RECEIPT, UNTOLD),
        r"Release\.(ValidateInput|PlanWanted\?|AcquireLock)",
        ".*",
        "Nothing had begun, not even the lock was taken; whoever started the execution sees its end.",
    ),
    Excuse(
        (HELD, NO_RECEIPT, UNTOLD),
        r"Release\.(AcquireLock|AcquireFreedLock)",
        STOPPED_LATE,
        "The lock was taken for an execution that had ended: the next release sees that, and takes it over.",
    ),
    Excuse(
        (NO_RECEIPT,),
        r"Release\.(CleanUp|AcquireFreedLock)",
        STOP,
        "Nothing of this release had begun; the receipt is that of the release that was cleaned up after.",
    ),
    Excuse(
        (NO_RECEIPT,),
        r"Release\.RecordFailure|CleanUp\.RecordEnding",
        LASTING,
        "The receipt cannot be written; the explanation is the cause of the execution that failed.",
    ),
    Excuse(
        (HELD,),
        r"Release\.(FreeLock|ReleaseLock)|CleanUp\.FreeLock",
        LASTING,
        "The lock cannot be freed; the next release sees that its holder has ended, and takes it over.",
    ),
    Excuse(
        (SUSPENDED,),
        r"(Release|CleanUp)\.TellSuspended(AfterFailure)?",
        LASTING,
        "Auto Scaling cannot be let go on, and no clean-up can be told: "
        "the ending says it, the next release does it.",
    ),
    Excuse(
        (HOOK,),
        r"JoinHost\..*",
        STOP,
        "Somebody has stopped the joining: the hook replaces the server within an hour.",
    ),
    Excuse(
        (HOOK,),
        r"JoinHost\.(CompleteJoin|CompleteAfterFailure)",
        LASTING,
        "Auto Scaling cannot be told: the hook replaces the server within an hour.",
    ),
    Excuse(
        (UNTOLD,),
        r"JoinHost\.(Completed\?|NotifyAbandoned|Abandoned|CompleteAfterFailure)",
        f"{STOP}|{LASTING}",
        "The server has been abandoned; the alarm rings, and its execution says why.",
    ),
    Excuse(
        (UNTOLD,),
        r"(Release|CleanUp)\.(Notify|NotifyFailure)",
        LASTING,
        "Nobody can be told; the receipt and the execution's own end say it.",
    ),
    Excuse(
        (UNTOLD,),
        r"Release\.(RecordRelease|ResumeScaling|TellSuspended|ReleaseLock|FreeLock|Notify|NotifyFailure|Succeeded)"
        r"|CleanUp\.(FreeLock|NotifyEnding\?|NotifyFailure)",
        STOP,
        "Stopped when its end had been recorded, and little more than to tell of it was left.",
    ),
)


def remarkable(result: Result) -> tuple[str, ...]:
    """What needs an excuse."""
    bad = (result.ending,) if result.ending in (DIRTY, UNFINISHED, HOOK) else ()
    return (*bad, *result.notes)


def excuse(result: Result, note: str) -> Excuse | None:
    """The first that covers it."""
    return next((one for one in EXCUSES if one.covers(result, note)), None)
