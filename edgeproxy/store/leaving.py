"""What leaves a shard when room is needed, and what is found to be of no use and swept away. In the writer's thread.

Segments leave in the order in which they were filled, and large bodies with the segment that was current when they
came. What was used since then stays, as in S3-FIFO: it is carried over to the newest segment, until its uses are spent.
Every step is bounded, so that orders need not wait long; each of the generators does one step at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from xxhash import xxh3_64_intdigest

from edgeproxy.store.filter import Filter
from edgeproxy.store.index import SEGMENT_SHIFT, file_of, segment_of
from edgeproxy.store.records import Light, light
from edgeproxy.store.shard import Shard
from edgeproxy.telemetry.counters import Counter

ROWS = 256
"""Records that one step looks at: their index pages are all that a transaction may add to the WAL."""
FILES = 500
HASHES = 4096
_UNSIGNED = (1 << 64) - 1


class Carried:
    """How much of the oldest segment was carried over: at most about half of what was looked at, so that each turn
    makes room."""

    def __init__(self, allowance: int) -> None:
        self._allowance = allowance
        self._segment = -1
        self._left = 0

    def turn_to(self, segment: int) -> None:
        """Another segment begins anew."""
        if segment != self._segment:
            self._segment, self._left = segment, self._allowance

    def may(self, size: int) -> bool:
        """Whether something of this size may stay."""
        if self._left < size:
            self._left += size // 2
            return False
        self._left -= size // 2
        return True


def make_room(shard: Shard, carried: Carried) -> bool:
    """One step: remove some of what came first. False when there is nothing that could leave."""
    if remove_dead(shard):
        return True
    first = shard.index.oldest()
    if first is None:
        return shard.segments.retire()
    segment = segment_of(first)
    if segment == shard.segments.current:
        shard.segments.roll()
    carried.turn_to(segment)
    end = segment + 1 << SEGMENT_SHIFT
    rows = shard.index.range(first, end, ROWS)
    with shard.transaction():
        for id, hash, key, data in rows:
            row = light(key, id, data)
            if row is None:
                shard.forget_spoilt(id)
            elif not _stays(shard, row, hash & _UNSIGNED, carried):
                shard.forget(row)
                shard.tally.add(Counter.DISK_EVICTED)
    return True


def _stays(shard: Shard, row: Light, hash: int, carried: Carried) -> bool:
    """Carry a record over, if it was used, or is being extended."""
    file = row.where.file
    busy = bool(file) and shard.bodies.busy(file)
    if not busy and not (shard.uses[hash] and carried.may(row.where.size)):
        return False
    if file:
        shard.index.move(row.id, shard.large_id(file, row.where.size))
    else:
        try:
            body = shard.segments.read(row.id, row.where.size)
        except FileNotFoundError:
            return False
        if xxh3_64_intdigest(body) != row.where.check:
            return False
        shard.index.move(row.id, shard.segments.place(body))
        shard.segments.free(row.id, row.where.size)
    shard.uses.spend(hash)
    shard.tally.add(Counter.DISK_CARRIED)
    return True


def _discard(shard: Shard, segment: int) -> None:
    shard.index.remove_segment(segment)
    shard.segments.discard(segment)
    shard.afterwards(lambda: shard.segments.unlink(segment))


def remove_dead(shard: Shard) -> bool:
    """Remove a segment of which nothing is recorded; False when there is none."""
    first = shard.index.oldest()
    for segment in shard.segments.dead(shard.segments.current if first is None else segment_of(first)):
        if shard.index.range(segment << SEGMENT_SHIFT, segment + 1 << SEGMENT_SHIFT, 1):
            continue  # large bodies that joined it
        with shard.transaction():
            _discard(shard, segment)
        return True
    return False


def clear_old(shard: Shard) -> bool:
    """Remove some of what was here before the shard began anew; whether all of it is gone."""
    left = FILES
    for name in shard.old():
        for folder, _, files in os.walk(os.path.join(shard.folder, name), topdown=False):
            for file in files:
                if left == 0:
                    return False
                shard.files.layer.remove(os.path.join(folder, file))
                left -= 1
            os.rmdir(folder)
    return True


def sweep_files(shard: Shard) -> Iterator[None]:
    """Remove files that belong to no record: those of bodies that were being written when the process ended, mostly."""
    before = shard.totals.next_file
    live = shard.index.large_files()
    folder = os.path.join(shard.folder, "files")
    for name in _listed(folder):
        inside = _listed(os.path.join(folder, name))
        for start in range(0, len(inside), FILES):
            for file in inside[start : start + FILES]:
                number = file.partition(".")[0]
                unnamed = number.isdigit() and int(number) < before and not _named(shard, int(number), live)
                if unnamed or file.endswith(".new"):
                    shard.tally.add(Counter.DISK_SWEPT, shard.files.layer.remove(os.path.join(folder, name, file)))
            yield


def _named(shard: Shard, number: int, live: set[int]) -> bool:
    return file_of(number << 3) in live or shard.bodies.busy(number)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def sweep_records(shard: Shard, now: float) -> Iterator[None]:
    """Remove what is past its time, and segments of which nothing is left."""
    after = 0
    while rows := shard.index.page(after, ROWS):
        after = rows[-1][0]
        gone = []
        for id, key, data in rows:
            row = light(key, id, data)
            if row is None or row.terms.keep_until <= now:
                gone.append((id, row))
        if gone:
            with shard.transaction():
                for id, row in gone:
                    _remove(shard, id, row)
        yield
    while remove_dead(shard):
        yield


def _remove(shard: Shard, id: int, row: Light | None) -> None:
    if row is not None:
        shard.forget(row)
        shard.tally.add(Counter.DISK_EXPIRED)
        return
    shard.forget_spoilt(id)


def fill_filter(shard: Shard, filter: Filter) -> Iterator[None]:
    """Enter everything that is recorded."""
    after: int | None = None
    while hashes := shard.index.hashes(after, HASHES):
        for hash in hashes:
            filter.add(hash & _UNSIGNED)
        after = hashes[-1]
        yield
