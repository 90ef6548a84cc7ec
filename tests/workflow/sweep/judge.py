"""What there is after a release and its clean-ups, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.workflow.engine import Execution
from tests.workflow.estate import Estate, Json

SUCCEEDED, PLANNED, CLEAN, DIRTY = "Succeeded", "Planned", "FailedClean", "FailedDirty"
UNFINISHED = "Unfinished"
# Of a new server: in service with the recorded release; in service without, for a release that waits for it;
# ended; ended by the hook's time-out; another execution sees to it.
JOINED, LEFT_TO_IT, ABANDONED, HOOK, ELSEWHERE = "Joined", "Left", "Abandoned", "Hook", "Elsewhere"
# Of a check for drift: made, or not.
CHECKED, UNCHECKED = "Checked", "Unchecked"
# What may not be as it should be, if that is excused.
HELD, SUSPENDED, MIXED, OUT = "lock", "suspended", "mixed", "out"
NO_RECEIPT, UNTOLD, LEFT = "no receipt", "untold", "change sets"
SAID = ("error", "what", "where", "next")
EVENTS = {SUCCEEDED: "succeeded", CLEAN: "failed clean", DIRTY: "failed dirty"}


@dataclass
class Found:
    """What there is after a release (or a plan) and its clean-ups."""

    estate: Estate
    previous: str | None
    plan: bool
    release: Execution
    clean_ups: Sequence[Execution]

    def ending(self) -> str:
        """The last word of those that have one."""
        said = [self._said_by_release(), *map(self._said_by_clean_up, self.clean_ups)]
        words = [word for word in said if word]
        done = words[-1:] == [UNFINISHED] and _nothing_to_do(self.clean_ups[-1])
        return words[-1] if words and not done else self._unsaid()

    def _unsaid(self) -> str:
        """It was stopped at the very end (then there is a receipt), or before anything was changed; or a
        clean-up was, and the one after it found nothing left to do."""
        receipt = self._receipt()
        if receipt:
            return str(receipt["ending"])
        put_right = not self.estate.suspended and self.estate.all_in(healthy=bool(self.previous))
        return CLEAN if put_right else UNFINISHED

    def _said_by_release(self) -> str | None:
        if self.release.status == "SUCCEEDED":
            return PLANNED if self.plan else SUCCEEDED
        return self.release.error if self.release.error in (CLEAN, DIRTY) else None

    def _said_by_clean_up(self, execution: Execution) -> str | None:
        if execution.status == "SUCCEEDED":
            if _nothing_to_do(execution):
                return None
            return str((self._receipt() or {"ending": CLEAN})["ending"])
        return DIRTY if execution.error == DIRTY else UNFINISHED

    def _receipt(self) -> Json | None:
        return self.estate.receipt("test")

    def fleet(self) -> str:
        """new · old · none (no server has a release) · mixed."""
        known = {self.previous: "old", "r2": "new", None: "none"}
        releases = self.estate.releases()
        return known.get(next(iter(releases)), "mixed") if len(releases) == 1 else "mixed"

    def notes(self) -> Iterator[str]:
        if self.estate.holder() is not None:
            yield HELD
        if self.estate.suspended:
            yield SUSPENDED
        if self.fleet() == "mixed" and self.previous:
            yield MIXED
        if not self.estate.all_in(healthy=bool(self.previous)):
            yield OUT
        yield from self._untold()
        if any(change_set.startswith("plan-") for _, change_set in self.estate.change_sets):
            yield LEFT

    def _untold(self) -> Iterator[str]:
        """Of a plan the execution's own output tells."""
        if self.plan:
            return
        if self._receipt() is None:
            yield NO_RECEIPT
        ending = self.ending()
        if ending == UNFINISHED:  # what was told of is what the receipt says
            ending = (self._receipt() or {"ending": ending})["ending"]
        if EVENTS.get(ending) not in self.estate.told():
            yield UNTOLD

    def wrong(self) -> Iterator[str]:
        yield from self._wrong_fleet()
        yield from self._wrong_receipt()
        if self.ending() == UNFINISHED and all(one.status == "SUCCEEDED" for one in self.clean_ups):
            yield "unfinished, and the alarm does not ring"
        if self.plan and (self.estate.commands or self.estate.holder() or self.estate.deployed()):
            yield "a plan has changed something"
        yield from migrated_twice(self.estate)

    def _wrong_fleet(self) -> Iterator[str]:
        ending, fleet = self.ending(), self.fleet()
        if ending == SUCCEEDED and fleet != "new":
            yield f"succeeded, but the fleet is {fleet}"
        if ending in (CLEAN, PLANNED) and self.previous and self.estate.releases() != {self.previous}:
            yield f"{ending}, but the fleet is {fleet}"
        if self.estate.dark and self.previous:
            yield "nobody was left to serve"

    def _wrong_receipt(self) -> Iterator[str]:
        receipt, ending = self._receipt(), self.ending()
        if receipt is None:
            return
        if ending not in (UNFINISHED, receipt["ending"]):
            yield f"the receipt says {receipt['ending']}, the end {ending}"
        failure = receipt.get("failure") or {}
        if receipt["ending"] != SUCCEEDED and not all(failure.get(part) for part in SAID):
            yield f"the failure is not explained: {failure}"

    def wrong_afterwards(self, again: Execution) -> Iterator[str]:
        """What is wrong after the release has been started again; `again`: how that ended."""
        return afterwards(self.estate, again)


@dataclass
class Newcomer:
    """What there is after a new server's joining, before the hook's time is over."""

    estate: Estate
    scenario: str
    execution: Execution

    def ending(self) -> str:
        server = self.estate.servers.get("i-3")
        if server is None:
            return ABANDONED
        if "i-3" in self.estate.in_service():
            return JOINED if server["release"] else LEFT_TO_IT
        return ELSEWHERE if self.execution.path[-1].endswith(".NothingToDo") else HOOK

    def notes(self) -> Iterator[str]:
        told = [kind for kind, _ in self.estate.announced]
        if self.ending() == ABANDONED and "server abandoned" not in told:
            yield UNTOLD

    def wrong(self) -> Iterator[str]:
        others = {name: one for name, one in self.estate.servers.items() if name != "i-3"}
        if any(one["release"] != "r1" or not one["in"] for one in others.values()) or self.estate.dark:
            yield f"it did something to others: {others}"
        ending = self.ending()
        if ending == JOINED and self.estate.servers["i-3"]["release"] != "r1":
            yield f"it has {self.estate.servers['i-3']}"
        if ending == LEFT_TO_IT and self.scenario != "join, left":
            yield "it is in service without a release"
        if ending == ELSEWHERE and self.scenario != "join, twice":
            yield "nobody sees to it"
        if ending in (HOOK, ABANDONED) and self.execution.status == "SUCCEEDED":
            yield "nobody is told, and the alarm does not ring"
        if ending == HOOK and self.execution.status == "FAILED" and not self.execution.cause.get("next"):
            yield f"the failure is not explained: {self.execution.cause}"


def afterwards(estate: Estate, again: Execution) -> Iterator[str]:
    """What is wrong after a release that was started when all was over; `again`: how that ended."""
    if again.status != "SUCCEEDED":
        yield f"the next release ended {again.status}: {again.cause}"
    if estate.releases() != {"r2"} or not estate.all_in():
        yield f"the next release left {estate.servers}"
    if estate.holder() is not None or estate.suspended:
        yield f"the next release left {estate.holder()} and {estate.suspended}"
    yield from migrated_twice(estate)


def _nothing_to_do(execution: Execution) -> bool:
    return execution.status == "SUCCEEDED" and execution.path[-1].endswith(".NothingToDo")


def migrated_twice(estate: Estate) -> Iterator[str]:
    """A migration that ran is not run again, by whomever."""
    if estate.migrate_commands() > 1 or any(times > 1 for times in estate.ran.values()):
        yield f"migrated more than once: {estate.ran}, {estate.migrate_commands()} commands"


@dataclass
class Checked:
    """What there is after a check for drift."""

    estate: Estate
    previous: str | None
    check: Execution
    remedy: bool

    def ending(self) -> str:
        return CHECKED if self.check.status == "SUCCEEDED" else UNCHECKED

    def fleet(self) -> str:
        return "old"

    def notes(self) -> Iterator[str]:
        yield from ()

    def wrong(self) -> Iterator[str]:
        """It changes nothing, holds nothing, and says nothing that is not so."""
        if not self.remedy:
            yield from self._changed()
        if self.estate.findings() - self._was():
            yield f"found {self.estate.findings()}"

    def _changed(self) -> Iterator[str]:
        if self.estate.holder() is not None or self.estate.suspended or not self.estate.all_in():
            yield "a check has changed something"
        if self.estate.deployed() or self.estate.change_sets:
            yield "a check has changed a stack"
        if {command["step"] for command in self.estate.commands} - {"report"}:
            yield f"a check has run {self.estate.commands}"

    def wrong_afterwards(self, again: Execution) -> Iterator[str]:
        """After the next check. What is there has been told: twice at most, if the answer was lost."""
        if again.status != "SUCCEEDED":
            yield f"the next check ended {again.status}: {again.cause}"
        if self.estate.findings() != self._true():
            yield f"the next check found {self.estate.findings()}"
        told = [kind for kind, _ in self.estate.announced]
        if not bool(self._was()) <= told.count("drift found") <= 2 * bool(self._was()):
            yield f"told {told}"
        if told.count("drift gone") > 2:
            yield f"told {told}"
        yield from self.wrong()

    def _was(self) -> set[str]:
        """The keys of what really differed when the check was made; a remedy may have put it right since."""
        return {"server_release|i-2|"} if self.remedy else self._true()

    def _true(self) -> set[str]:
        """The keys of what really differs."""
        other = [name for name, server in self.estate.servers.items() if server["release"] != self.previous]
        return {f"server_release|{name}|" for name in other}
