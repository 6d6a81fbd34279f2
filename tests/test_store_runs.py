"""Runs of bytes: what is cut out of them, and how they grow together."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from edgeproxy.store.runs import BLOCK_MAX, Run, cut, held, merged, run_of

BODY = bytes(range(100))


def piece(first: int, end: int, *, blocks: int = 1) -> Run:
    """A run of BODY, in several blocks."""
    size = max((end - first) // blocks, 1)
    return Run(first, end, tuple(BODY[start : min(start + size, end)] for start in range(first, end, size)))


@pytest.mark.parametrize(
    ("runs", "new", "bounds"),
    [
        ([], (10, 20), [(10, 20)]),
        ([(10, 20)], (20, 30), [(10, 30)]),
        ([(10, 20)], (5, 10), [(5, 20)]),
        ([(10, 20)], (21, 30), [(10, 20), (21, 30)]),
        ([(10, 20)], (15, 25), [(10, 25)]),
        ([(10, 20)], (5, 25), [(5, 25)]),
        ([(10, 20)], (12, 14), [(10, 20)]),
        ([(10, 20)], (10, 20), [(10, 20)]),
        ([(0, 10), (20, 30), (40, 50)], (5, 45), [(0, 50)]),
        ([(0, 10), (20, 30), (40, 50)], (10, 20), [(0, 30), (40, 50)]),
        ([(20, 30)], (0, 5), [(0, 5), (20, 30)]),
    ],
)
def test_a_new_run_joins_those_it_touches(
    runs: list[tuple[int, int]], new: tuple[int, int], bounds: list[tuple[int, int]]
) -> None:
    grown = merged([piece(*each) for each in runs], piece(*new, blocks=3))
    assert [(run.first, run.end) for run in grown] == bounds
    assert all(b"".join(run.blocks) == BODY[run.first : run.end] for run in grown)


def test_whatever_comes_in_whatever_order_what_is_there_is_right() -> None:
    dice = random.Random(7)
    for _ in range(200):
        runs: tuple[Run, ...] = ()
        there: set[int] = set()
        for _ in range(12):
            first = dice.randrange(99)
            end = dice.randrange(first + 1, 101)
            runs = merged(runs, piece(first, end, blocks=dice.randrange(1, 5)))
            there |= set(range(first, end))
        assert held(runs) == len(there)
        assert all(before.end < after.first for before, after in pairwise(runs))
        first = dice.randrange(100)
        end = dice.randrange(first, 101)
        assert b"".join(cut(runs, first, end)) == bytes(byte for byte in range(first, end) if byte in there)


def test_blocks_that_lie_inside_are_not_copied() -> None:
    block = b"x" * 1000
    assert next(cut([Run(0, 1000, (block,))], 0, 1000)) is block


def test_small_blocks_become_few() -> None:
    many = run_of(0, [b"x"] * (BLOCK_MAX + 1))
    assert [len(block) for block in many.blocks] == [BLOCK_MAX, 1]
    assert many.end == BLOCK_MAX + 1
    large = b"y" * BLOCK_MAX
    assert run_of(0, [large, large]).blocks[0] is large


def test_bytes_that_come_one_by_one_do_not_pile_up() -> None:
    runs: tuple[Run, ...] = ()
    for position in range(100):
        runs = merged(runs, piece(position, position + 1))
    assert len(runs) == 1
    assert len(runs[0].blocks) == 1
