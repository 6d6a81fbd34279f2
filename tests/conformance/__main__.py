"""Plays every case and prints the scoreboard: how many of each kind are satisfied, chapter by chapter.

    python -m tests.conformance [--through rules|pop|pop2|tiers]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable

from tests.conformance import CHAPTERS, pure, sockets
from tests.conformance.case import Case

KINDS = ("required", "optimal", "check")


def scoreboard(runner: Callable[[Case], list[str]]) -> tuple[list[str], int]:
    """The lines to print, and how many cases failed."""
    lines = [f"{'':14}{'required':>12}{'optimal':>12}{'check':>12}"]
    failures = []
    for name, chapter in CHAPTERS.items():
        cells = []
        for kind in KINDS:
            cases = [case for case in chapter if case.kind == kind]
            wrong = [(case, found) for case in cases if (found := runner(case))]
            failures += wrong
            cells.append(f"{len(cases) - len(wrong)} of {len(cases)}")
        lines.append(f"{name:14}" + "".join(f"{cell:>12}" for cell in cells))
    lines += [f"\n{case.id} ({case.section}): {case.shows}\n    " + "\n    ".join(found) for case, found in failures]
    return lines, len(failures)


def runner_through(name: str) -> Callable[[Case], list[str]]:
    """What plays a case: the rules alone, or nodes over sockets, one set of nodes a case."""
    if name == "rules":
        return pure.play
    arrangement = sockets.Arrangement(name)
    return lambda case: asyncio.run(sockets.play(case, arrangement))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    choices = ["rules", *(each.value for each in sockets.Arrangement)]
    parser.add_argument("--through", choices=choices, default="rules")
    printed, failed = scoreboard(runner_through(parser.parse_args().through))
    sys.stdout.write("\n".join(printed) + "\n")
    sys.exit(1 if failed else 0)
