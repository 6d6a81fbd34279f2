"""What a shared cache has to do, may do and does here, as data: one `Case` each, played by any runner.

`pure` plays them against the rules with a clock of its own, `sockets` through running nodes; `judge` says what an
answer got wrong, whoever played. `python -m tests.conformance [--through rules|pop|pop2|tiers]` prints the scoreboard.
"""

from __future__ import annotations

from tests.conformance import (
    age,
    cloudfront,
    freshness,
    heuristics,
    invalidation,
    other,
    ranges,
    requests,
    stale,
    storing,
    targeted,
    validation,
    vary,
)
from tests.conformance.case import Case

CHAPTERS: dict[str, tuple[Case, ...]] = {
    "freshness": freshness.CASES,
    "heuristics": heuristics.CASES,
    "targeted": targeted.CASES,
    "storing": storing.CASES,
    "requests": requests.CASES,
    "vary": vary.CASES,
    "stale": stale.CASES,
    "validation": validation.CASES,
    "ranges": ranges.CASES,
    "invalidation": invalidation.CASES,
    "age": age.CASES,
    "other": other.CASES,
    "cloudfront": cloudfront.CASES,
}
"""The most basic first, so that the first failure is the most basic one."""

CASES: tuple[Case, ...] = tuple(case for chapter in CHAPTERS.values() for case in chapter)
