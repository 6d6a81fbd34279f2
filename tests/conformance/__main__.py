"""Plays every case and prints the scoreboard: how many of each kind are satisfied, chapter by chapter.

python -m tests.conformance [--through rules|pop|pop2|tiers] [--disk]
python -m tests.conformance --lanes --through pop|pop2|tiers     whether the hit lane answers as the pipeline does

With --disk the nodes have one, and forget what is in memory after each request.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping

from tests.conformance import CHAPTERS, lanes, pure, sockets
from tests.conformance.case import Case

KINDS = ("required", "optimal", "check")


def scoreboard(runner: Callable[[Case], list[str]], exceptions: Mapping[str, str] = {}) -> tuple[list[str], int]:
    """The lines to print, and how many cases failed that are no exceptions. `exceptions`: case id to reason."""
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
    for case, found in failures:
        excuse = exceptions.get(case.id)
        lines.append(f"\n{case.id} ({case.section}): {case.shows}")
        lines += [f"    {fault}" for fault in found] if excuse is None else [f"    An exception. {excuse}"]
    return lines, sum(case.id not in exceptions for case, _ in failures)


def main(through: str, disk: bool = False) -> int:
    """Play all cases through the rules alone, or through nodes over sockets, one set of nodes a case."""
    if through == "rules":
        printed, failed = scoreboard(pure.play)
    else:
        arrangement = sockets.Arrangement(through)
        excused = {case: why for (case, where), why in sockets.EXCEPTIONS.items() if where is arrangement}
        excused |= sockets.EXCEPTIONS_WITH_DISK if disk else {}
        printed, failed = scoreboard(lambda case: asyncio.run(sockets.play(case, arrangement, disk=disk)), excused)
    sys.stdout.write("\n".join(printed) + "\n")
    return 1 if failed else 0


def compare(through: str) -> int:
    """Play all cases with the hit lane on and off, and print where they differ."""
    differing = at_once = 0
    cases = [case for chapter in CHAPTERS.values() for case in chapter]
    for case in cases:
        found, count = asyncio.run(lanes.differences(case, sockets.Arrangement(through)))
        at_once += count
        if found:
            differing += 1
            sys.stdout.write("\n    ".join([case.id, *found]) + "\n")
    sys.stdout.write(f"{len(cases)} cases, {at_once} answers from the lane, {differing} cases differ\n")
    return 1 if differing or not at_once else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    choices = ["rules", *(each.value for each in sockets.Arrangement)]
    parser.add_argument("--through", choices=choices, default="rules")
    parser.add_argument("--disk", action="store_true")
    parser.add_argument("--lanes", action="store_true")
    options = parser.parse_args()
    sys.exit(compare(options.through) if options.lanes else main(options.through, options.disk))
