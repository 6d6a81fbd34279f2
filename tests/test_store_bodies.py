"""Pieces of large bodies and the log that names them."""

from __future__ import annotations

import random

import pytest
from xxhash import xxh3_64_intdigest

from edgeproxy.store.bodies import ENTRY, PIECE_MAX, Piece, Pieces, Run, check_of, log_entry, log_head, read_log

DATA = random.Random(1).randbytes(300_000)
FILE, NAME = 5, 99


def log_of(*pieces: Piece) -> bytes:
    return log_head(FILE, NAME) + b"".join(log_entry(piece, FILE) for piece in pieces)


A, B, C = (0, 100, 1), (100, 200, 2), (500, 600, 1 << 63)


def test_a_log_comes_back_sealed_or_not() -> None:
    log = log_of(C, A, B)
    for sealed in (None, (len(log), xxh3_64_intdigest(log)), (2 * ENTRY, xxh3_64_intdigest(log[: 2 * ENTRY]))):
        intervals = ((0, 200), (500, 600)) if sealed and sealed[0] == len(log) else ((500, 600),)
        pieces = read_log(log, FILE, NAME, sealed, intervals)
        assert pieces is not None
        assert pieces.all() == [A, B, C]
        assert pieces.intervals == ((0, 200), (500, 600))


def test_a_seal_that_does_not_fit_is_ignored() -> None:
    pieces = read_log(log_of(A, B), FILE, NAME, (3 * ENTRY, 1), ((0, 999),))
    assert pieces is not None
    assert pieces.intervals == ((0, 200),)


def test_each_damaged_byte_costs_one_entry_or_all() -> None:
    log = log_of(A, B, C)
    for at in range(len(log)):
        hurt = bytearray(log)
        hurt[at] ^= 4
        pieces = read_log(bytes(hurt), FILE, NAME, (len(log), xxh3_64_intdigest(log)), ((0, 200), (500, 600)))
        if at < ENTRY:
            assert pieces is None
        else:
            assert pieces is not None
            assert pieces.all() == [piece for number, piece in enumerate((A, B, C), 1) if number != at // ENTRY]
    for end in range(len(log)):
        pieces = read_log(log[:end], FILE, NAME, None, ())
        assert (pieces is None) == (end < ENTRY)
        assert pieces is None or pieces.all() == [A, B, C][: end // ENTRY - 1]


@pytest.mark.parametrize(("file", "name"), [(FILE + 1, NAME), (FILE, NAME + 1)])
def test_the_log_of_another_body_is_none(file: int, name: int) -> None:
    assert read_log(log_of(A), file, name, None, ()) is None


def test_entries_of_another_body_do_not_count() -> None:
    pieces = read_log(log_head(FILE, NAME) + log_entry(A, FILE + 1), FILE, NAME, None, ())
    assert pieces is not None
    assert pieces.all() == []


def test_a_run_is_cut_at_the_grid_however_it_comes() -> None:
    expected = [
        (start, start + 65_536, check_of(DATA[start : start + 65_536], FILE)) for start in range(0, 262_144, 65_536)
    ]
    for step in (1000, 65_536, 70_000, 300_000):
        run = Run(FILE, 65_536)
        pieces = [piece for at in range(0, 300_000, step) for piece in run.take(memoryview(DATA[at : at + step]))]
        assert pieces == expected
        assert run.end() == (262_144, 300_000, check_of(DATA[262_144:], FILE))
        assert run.end() is None


def test_a_run_that_moves_ends_its_piece() -> None:
    run = Run(FILE, 65_536)
    assert run.moves_to(1000) is None
    assert run.take(memoryview(DATA[1000:1500])) == []
    assert run.moves_to(1500) is None
    assert run.moves_to(9000) == (1000, 1500, check_of(DATA[1000:1500], FILE))


def test_pieces_one_behind_the_other_are_read_together() -> None:
    pieces = Pieces()
    third = PIECE_MAX // 4
    for number in (2, 0, 1, 3, 4, 6):
        pieces.add(number * third, (number + 1) * third, number)
    assert [piece[2] for piece in pieces.covering(10, 6 * third)] == [0, 1, 2, 3], "at most so many bytes"
    assert [piece[2] for piece in pieces.covering(2 * third, 99 * third)] == [2, 3, 4], "up to the gap"
    assert [piece[2] for piece in pieces.covering(third, third + 5)] == [1], "no more than is asked for"
    assert pieces.covering(5 * third, 6 * third) == []
    pieces.add(4 * third + 100, 4 * third + 200, 7)
    assert [piece[2] for piece in pieces.covering(4 * third + 150, 5 * third)] == [7]
    assert [piece[2] for piece in pieces.covering(4 * third + 250, 5 * third)] == [4], "an older one around it"
    pieces.drop((third, 2 * third, 1))
    assert pieces.intervals == ((0, third), (2 * third, 5 * third), (6 * third, 7 * third))
    assert pieces.reach(2 * third + 1) == 5 * third
