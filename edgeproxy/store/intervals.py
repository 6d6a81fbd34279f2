"""Sets of byte intervals [start, end): ascending, apart from each other. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TypeAlias

Interval: TypeAlias = tuple[int, int]
Intervals: TypeAlias = tuple[Interval, ...]


def added(intervals: Intervals, start: int, end: int) -> Intervals:
    """The set with [start, end) in it; neighbours become one."""
    first = bisect_left(intervals, start, key=lambda interval: interval[1])
    last = bisect_right(intervals, end, key=lambda interval: interval[0])
    if first < last:
        start, end = min(start, intervals[first][0]), max(end, intervals[last - 1][1])
    return (*intervals[:first], (start, end), *intervals[last:])


def missing(intervals: Intervals, start: int, end: int) -> Iterator[Interval]:
    """The parts of [start, end) that are not in the set."""
    for index in range(bisect_right(intervals, start, key=lambda interval: interval[1]), len(intervals)):
        there, there_end = intervals[index]
        if there >= end:
            break
        if there > start:
            yield start, there
        start = there_end
    if start < end:
        yield start, end


def reach(intervals: Intervals, offset: int) -> int:
    """How far the bytes from `offset` on are in the set; `offset` itself when that byte is not."""
    index = bisect_right(intervals, offset, key=lambda interval: interval[0]) - 1
    return max(offset, intervals[index][1]) if index >= 0 else offset


def size(intervals: Intervals) -> int:
    """Bytes in the set."""
    return sum(end - start for start, end in intervals)
