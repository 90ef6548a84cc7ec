"""Every fault at every state of every state machine, and what becomes of the release.

    python -m tests.workflow.fault_sweep --write

runs the sweep (some minutes) and writes docs/fault-sweep.md. Which states there are is read from the
definitions; for each, a scenario that enters it is looked for. A case runs the shipped machines and handlers
in an estate, lets the fault happen, starts the clean-ups that the rule in template.yaml would start, looks at
everything, and then releases again.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.workflow.sweep import ROOT
from tests.workflow.sweep.cases import Result, cases
from tests.workflow.sweep.excuses import excuse, remarkable
from tests.workflow.sweep.life import run, walk
from tests.workflow.sweep.page import page
from tests.workflow.sweep.scenarios import SCENARIOS

PAGE = ROOT / "docs" / "fault-sweep.md"


def sweep(workers: int | None = None) -> tuple[dict[str, list[str]], list[Result]]:
    """What each scenario walks by itself, and the result of each case, in their order."""
    with ProcessPoolExecutor(
        workers or 2 * (os.cpu_count() or 1), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        walked = dict(zip(SCENARIOS, pool.map(walk, SCENARIOS), strict=True))
        return walked, list(pool.map(run, cases(walked), chunksize=4))


def main(arguments: list[str]) -> int:
    walked, results = sweep()
    print(page(results))
    for result in results:
        for what in (*result.wrong, *(note for note in remarkable(result) if not excuse(result, note))):
            print(f"{result.case}: {result.ending}, {result.fleet}: {what}", file=sys.stderr)
    if "--write" in arguments:
        PAGE.write_text(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
