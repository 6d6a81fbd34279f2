"""Large bodies: one sparse file each, and a log that says which pieces of it are there and by which checksum.

The log is the truth about the pieces: one is there when its entry is, and an entry is written after the bytes. A log is

    head     magic and version, the body's number, a hash of its key, and their checksum
    entries  start, end, xxh3 of the bytes, and the entry's own checksum

all 64-bit little-endian numbers. A piece lies within one cell of a grid of PIECE_MAX bytes. Those of two writers may
overlap: each is right by itself. When a body is committed, its record tells a checksum over the whole log so far, so
that the log of a large one is read without looking at each entry.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from threading import Lock

from xxhash import xxh3_64, xxh3_64_intdigest

from edgeproxy.store.intervals import Interval, Intervals, added, reach

PIECE_MAX = 1 << 20
"""Longest piece, and the most that one read gives."""
ENTRIES_MAX = 1 << 20
"""Most pieces of one body; what comes then is not kept."""
MAGIC = int.from_bytes(b"EPLOG\0\0\1", "little")

_WORDS = struct.Struct("<4Q")
WORD = 8
ENTRY = _WORDS.size

Piece = tuple[int, int, int]
"""start, end, checksum"""


def check_of(data: bytes | memoryview, file: int) -> int:
    """What a piece of this body is known by."""
    return xxh3_64_intdigest(data, file)


class Pieces:
    """Which pieces of a body are there. For several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._starts = array("Q")
        self._ends = array("Q")
        self._checks = array("Q")
        self.intervals: Intervals = ()

    def __len__(self) -> int:
        return len(self._starts)

    def fill(self, starts: array[int], ends: array[int], checks: array[int], intervals: Intervals) -> None:
        """Begin with these, as a log has them: in any order."""
        if any(map(int.__gt__, starts, starts[1:])):
            order = sorted(range(len(starts)), key=starts.__getitem__)
            starts, ends, checks = (array("Q", (column[n] for n in order)) for column in (starts, ends, checks))
        with self._lock:
            self._starts, self._ends, self._checks = starts, ends, checks
            self.intervals = intervals

    def add(self, start: int, end: int, check: int) -> None:
        """One more."""
        with self._lock:
            at = bisect_right(self._starts, start)
            self._starts.insert(at, start)
            self._ends.insert(at, end)
            self._checks.insert(at, check)
            self.intervals = added(self.intervals, start, end)

    def drop(self, piece: Piece) -> None:
        """It turned out to be damaged."""
        with self._lock:
            kept = [found for found in zip(self._starts, self._ends, self._checks, strict=True) if found != piece]
            self._starts, self._ends, self._checks = (array("Q", (each[n] for each in kept)) for n in range(3))
            self.intervals = ()
            for start, end, _ in kept:
                self.intervals = added(self.intervals, start, end)

    def all(self) -> list[Piece]:
        """Every piece, in order."""
        with self._lock:
            return list(zip(self._starts, self._ends, self._checks, strict=True))

    def covering(self, first: int, end: int) -> list[Piece]:
        """Pieces one behind the other from the one with byte `first` on, until `end` or PIECE_MAX bytes are covered."""
        found: list[Piece] = []
        with self._lock:
            at = first
            while at < end:
                piece = self._at(at)
                if piece is None or (found and (piece[0] != at or piece[1] - found[0][0] > PIECE_MAX)):
                    break
                found.append(piece)
                at = piece[1]
        return found

    def _at(self, offset: int) -> Piece | None:
        index = bisect_right(self._starts, offset) - 1
        while index >= 0 and self._starts[index] >= offset // PIECE_MAX * PIECE_MAX:
            if self._ends[index] > offset:
                return self._starts[index], self._ends[index], self._checks[index]
            index -= 1
        return None

    def reach(self, offset: int) -> int:
        """How far bytes from `offset` on are there."""
        return reach(self.intervals, offset)


def log_head(file: int, name: int) -> bytes:
    """The beginning of the log of a body; `name` is the hash of its key."""
    return _WORDS.pack(MAGIC, file, name, xxh3_64_intdigest(struct.pack("<3Q", MAGIC, file, name)))


def log_entry(piece: Piece, file: int) -> bytes:
    """What makes a piece be there."""
    return _WORDS.pack(*piece, xxh3_64_intdigest(struct.pack("<3Q", *piece), file))


def read_log(log: bytes, file: int, name: int, sealed: Interval | None, intervals: Intervals) -> Pieces | None:
    """What a log says; None when it is not that of this body.

    `sealed`: (bytes, checksum) of that part of it which gives `intervals`, if a record tells. Entries that are not
    sound are left out.
    """
    if log[:ENTRY] != log_head(file, name):
        return None
    pieces = Pieces()
    at = ENTRY
    if sealed is not None and ENTRY <= sealed[0] <= len(log) and xxh3_64_intdigest(log[: sealed[0]]) == sealed[1]:
        at = sealed[0] - sealed[0] % ENTRY
        words = array("Q", log[ENTRY:at])
        if sys.byteorder == "big":
            words.byteswap()
        pieces.fill(words[0::4], words[1::4], words[2::4], intervals)
    for start, end, check, own in _WORDS.iter_unpack(log[at : len(log) - len(log) % ENTRY]):
        if own == xxh3_64_intdigest(struct.pack("<3Q", start, end, check), file) and start < end <= start + PIECE_MAX:
            pieces.add(start, end, check)
    return pieces


class Run:
    """What one writer writes, in order, cut into pieces. Belongs to the writer's thread."""

    def __init__(self, file: int, piece_max: int) -> None:
        self._file = file
        self._piece_max = piece_max
        self._start = self.position = 0
        self._hash = xxh3_64(seed=file)

    def moves_to(self, offset: int) -> Piece | None:
        """What comes next is for `offset`: the piece that ends by that, if one was begun and it is elsewhere."""
        if offset == self.position:
            return None
        piece = self.end()
        self._start = self.position = offset
        return piece

    def take(self, data: memoryview) -> list[Piece]:
        """Bytes from `position` on; returns the pieces that they complete."""
        complete: list[Piece] = []
        while data:
            room = self._piece_max - self.position % self._piece_max
            some, data = data[:room], data[room:]
            self._hash.update(some)
            self.position += len(some)
            if self.position % self._piece_max == 0:
                complete.extend(filter(None, [self.end()]))
        return complete

    def end(self) -> Piece | None:
        """The piece that was begun ends here."""
        if self._start == self.position:
            return None
        piece = (self._start, self.position, self._hash.intdigest())
        self._start = self.position
        self._hash = xxh3_64(seed=self._file)
        return piece
