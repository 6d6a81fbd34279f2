"""Sets of byte intervals, beside sets of bytes."""

from __future__ import annotations

import random
from itertools import pairwise

from edgeproxy.store.intervals import Intervals, added, missing, reach, size


def test_sets_of_intervals_are_sets_of_bytes() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        intervals: Intervals = ()
        there: set[int] = set()
        for _ in range(12):
            start = chance.randrange(60)
            end = start + chance.randrange(1, 15)
            before = list(missing(intervals, start, end))
            assert [byte for first, last in before for byte in range(first, last)] == [
                byte for byte in range(start, end) if byte not in there
            ]
            intervals = added(intervals, start, end)
            there |= set(range(start, end))
            assert {byte for first, last in intervals for byte in range(first, last)} == there
            assert all(a[1] < b[0] for a, b in pairwise(intervals)), "apart"
            assert size(intervals) == len(there)
            offset = chance.randrange(80)
            far = offset
            while far in there:
                far += 1
            assert reach(intervals, offset) == far


def test_an_empty_stretch_misses_nothing() -> None:
    assert list(missing((), 5, 5)) == []
    assert list(missing(((0, 10),), 3, 7)) == []
