"""Plays every case and prints the scoreboard: how many of each kind are satisfied, chapter by chapter."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.conformance import CHAPTERS
from tests.conformance.case import Case
from tests.conformance.pure import play

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


if __name__ == "__main__":
    printed, failed = scoreboard(play)
    sys.stdout.write("\n".join(printed) + "\n")
    sys.exit(1 if failed else 0)
