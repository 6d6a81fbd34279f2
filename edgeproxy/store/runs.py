"""Bytes of a body that are there: runs, each without a gap, in order and apart from each other.

Pure. A whole body is one run from its first byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

BLOCK_MAX = 64 * 1024
"""Smaller neighbours are joined up to this: a body that came byte by byte must not cost an object a byte."""


@dataclass(frozen=True, slots=True)
class Run:
    """The bytes from `first` up to, not including, `end`."""

    first: int
    end: int
    blocks: tuple[bytes, ...]


def run_of(first: int, blocks: Iterable[bytes]) -> Run:
    """A run of blocks that follow one another."""
    joined = tuple(_joined(blocks))
    return Run(first, first + sum(map(len, joined)), joined)


def held(runs: Sequence[Run]) -> int:
    """Bytes that are there."""
    return sum(run.end - run.first for run in runs)


def cut(runs: Sequence[Run], first: int, end: int) -> Iterator[bytes]:
    """The bytes from `first` up to `end` that are there; blocks that lie inside are not copied."""
    for run in runs:
        start = run.first
        for block in run.blocks:
            stop = start + len(block)
            if stop > first and start < end:
                yield block[max(first - start, 0) : end - start]
            start = stop


def merged(runs: Sequence[Run], new: Run) -> tuple[Run, ...]:
    """The runs with a new one added. Where both have bytes they are the same ones, and the old are kept."""
    pieces = list(runs)
    position = new.first
    for run in runs:
        if run.first > position:
            pieces.append(_slice(new, position, min(run.first, new.end)))
        position = max(position, run.end)
    pieces.append(_slice(new, position, new.end))
    pieces = sorted((piece for piece in pieces if piece.first < piece.end), key=lambda piece: piece.first)
    joined: list[list[Run]] = []
    for piece in pieces:
        if joined and joined[-1][-1].end == piece.first:
            joined[-1].append(piece)
        else:
            joined.append([piece])
    return tuple(
        group[0] if len(group) == 1 else run_of(group[0].first, chain.from_iterable(run.blocks for run in group))
        for group in joined
    )


def _slice(run: Run, first: int, end: int) -> Run:
    if first <= run.first and end >= run.end:
        return run
    return Run(first, max(first, end), tuple(cut([run], first, end)))


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        if waiting and size + len(block) > BLOCK_MAX:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
        waiting.append(block)
        size += len(block)
    if waiting:
        yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
