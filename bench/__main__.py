"""`make bench`: the numbers of docs and design that a release touches, each measured now, ratios in one run.

    python -m bench [--no-setup] [NUMBER…]

NUMBER is one of setup, releases, capistrano, scale, drift, initialisation; all of them without any. Needs
what the rehearsal needs. Prints a table and keeps it in .rehearsal/bench.json; exit code 1 when a number is
missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench import against_capistrano, drift, initialisation, releases, scale, setup
from bench.number import Number, table
from rehearsal import host, release
from rehearsal.host import say

MEASURES = {
    "setup": setup.measured,
    "releases": releases.measured,
    "capistrano": against_capistrano.measured,
    "scale": scale.measured,
    "drift": drift.measured,
    "initialisation": initialisation.measured,
}


def arguments(given: Sequence[str]) -> list[str]:
    """The names of what is to be measured, in the order given, or else all."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="The numbers of a release, measured."
    )
    parser.add_argument("--no-setup", action="store_true", help="all but setup, which clones and downloads")
    parser.add_argument(
        "numbers", nargs="*", metavar="NUMBER", help=f"of {', '.join(MEASURES)}; all by default"
    )
    chosen = parser.parse_args(given)
    unknown = [name for name in chosen.numbers if name not in MEASURES]
    if unknown:
        parser.error(f"no such number: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    return [name for name in chosen.numbers or MEASURES if not (chosen.no_setup and name == "setup")]


def main() -> int:
    """Measure, print a table, keep it. Exit code 1 when a number is missed."""
    chosen = arguments(sys.argv[1:])
    numbers: list[Number] = []
    try:
        host.require([sys.executable, "-m", "bench", *sys.argv[1:]])
        host.terminate_like_interrupt()
        for name in chosen:
            numbers += MEASURES[name]()
    except (host.Unable, release.Failed) as error:
        host.complain(f"bench: {error}")
        return 1
    finally:
        shutil.rmtree(host.STATE / "bench", ignore_errors=True)
        report(numbers)
    return 1 if any(number.missed for number in numbers) else 0


def report(numbers: Sequence[Number]) -> None:
    """Print what was measured, also if something failed after it, and keep it."""
    if numbers:
        say("\n" + "\n".join(table(numbers)))
        host.STATE.mkdir(exist_ok=True)
        kept = json.dumps([asdict(number) for number in numbers], indent=2)
        (host.STATE / "bench.json").write_text(f"{kept}\n")


if __name__ == "__main__":
    sys.exit(main())
