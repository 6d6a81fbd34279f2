"""One shard: an index, segments for small bodies, files for large ones; opened by exactly one process.

    lock             held as long as the shard is open
    index.sqlite     what is recorded (index.py)
    segments/N       small bodies (segments.py)
    files/xx/ID      large bodies, and ID.log (bodies.py)
    old-N/           what was here before the shard began anew, on its way out

`find` and the like are for any thread, everything else for the writer's. Nothing here decides what to keep: orders say
it (carrying.py), and leaving.py says what goes when room is needed.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from xxhash import xxh3_64_intdigest

from edgeproxy.errors import Damaged
from edgeproxy.store.files import OpenFiles
from edgeproxy.store.filter import Uses
from edgeproxy.store.index import Connect, Index, Totals, connect, file_of, is_beyond_use, is_large, large_id
from edgeproxy.store.intervals import Intervals, reach
from edgeproxy.store.large import Bodies, Body
from edgeproxy.store.records import Light, Record, decode, row_of, with_intervals
from edgeproxy.store.segments import Segments
from edgeproxy.store.tally import Tally
from edgeproxy.telemetry.counters import Counter

VARIANTS_READ = 64
"""Most records that one lookup reads; more variants than that are never kept."""

PROBE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """What a shard is made with."""

    era: bytes
    """Names the life of what the caller stores; what was stored in another one is of no use."""
    boot: str
    """Names the run of the system."""
    segment_max: int
    log_max: int
    """Bytes of the index's WAL."""
    pieces_max: int
    """Pieces of large bodies known in memory."""
    connect: Connect = connect


@dataclass(slots=True)
class Found:
    """What was found under a key."""

    records: list[Record] = field(default_factory=list)
    spoilt: list[tuple[int, int | None, bool]] = field(default_factory=list)
    """(id, row, damaged) of what was found but is of no use."""


class Shard:
    """An open shard. Opening raises OSError (BlockingIOError: another process has it) or sqlite3.Error."""

    def __init__(self, number: int, folder: str, shape: Shape, files: OpenFiles, uses: Uses, tally: Tally) -> None:
        self.number = number
        self.folder = folder
        self.uses = uses
        self.tally = tally
        self.files = files
        self.totals = Totals()
        self.open_bytes = 0
        """Bytes of large bodies that no record counts yet."""
        self._shape = shape
        self._seed = xxh3_64_intdigest(shape.era)
        self._after: list[Callable[[], object]] = []
        self._created: list[Body] = []
        self._unlinked: list[int] = []
        files.layer.make_folder(folder)
        self._lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    # Opening and closing

    def _open(self) -> None:
        try:
            self.index = self._index()
            era = self.index.fact("era")
            if era is not None and era != self._shape.era:
                self._move_away()
            elif self.index.fact("clean") == 0 and self.index.fact("boot") != self._shape.boot:
                # Bytes may be missing that the index names: whoever reads them finds out by their checksums.
                self.tally.add(Counter.DISK_UNCLEAN)
            self._note_era()
            self._go_on()
        except sqlite3.Error as error:
            if not is_beyond_use(error):
                raise
            self._move_away()
            self._note_era()
            self._go_on()
        with self.index.transaction():
            self.index.note("boot", self._shape.boot)
            self.index.note("clean", 0)

    def _index(self) -> Index:
        return Index(os.path.join(self.folder, "index.sqlite"), self._shape.connect, log_max=self._shape.log_max)

    def _note_era(self) -> None:
        with self.index.transaction():
            self.index.note("era", self._shape.era)

    def _go_on(self) -> None:
        self.totals = self.index.totals()
        self.bodies = Bodies(self._shape.pieces_max)
        self.segments = Segments(os.path.join(self.folder, "segments"), self.files, self._shape.segment_max)
        self.tally.add(Counter.DISK_SWEPT, self.segments.open(self.index.segments(), self.index.newest() or 0))
        for file in self.index.doomed():
            Body(self._files_folder, file, 0, self.files).unlink()
            self._unlinked.append(file)

    def _move_away(self) -> None:
        """Begin anew. What was here is of no use any more; it is removed bit by bit (leaving.py)."""
        with suppress(AttributeError):  # it may be the opening that failed
            self.index.close()
            self.bodies.all_gone()
        self.files.forget_under(self.folder)
        number = 1 + max((int(name[4:]) for name in self.old()), default=0)
        away = os.path.join(self.folder, f"old-{number}")
        self.files.layer.make_folder(away)
        for name in os.listdir(self.folder):
            if name.startswith("index.sqlite") or name in ("segments", "files"):
                os.rename(os.path.join(self.folder, name), os.path.join(away, name))
        self.index = self._index()
        self.open_bytes = 0
        self._unlinked.clear()
        self._after.clear()
        self._created.clear()
        self.tally.add(Counter.DISK_WIPED)

    def wipe(self) -> None:
        """Give up everything that is stored here."""
        self._move_away()
        self._note_era()
        self._go_on()

    def old(self) -> list[str]:
        """Folders of what was here before."""
        return [name for name in os.listdir(self.folder) if name.startswith("old-") and name[4:].isdigit()]

    def close(self) -> None:
        """Note that all is well, and let go."""
        with suppress(sqlite3.Error, OSError):
            with self.transaction():
                self.index.note("clean", 1)
            self.index.write_back(at_once=True)
        self.let_go()

    def let_go(self) -> None:
        """Close without a word: the disk is not there."""
        self.index.close()
        self.files.forget_under(self.folder)
        with suppress(OSError):
            os.close(self._lock)

    def in_place(self) -> bool:
        """Whether the folder is still the one that was opened."""
        try:
            return os.path.samestat(os.stat(os.path.join(self.folder, "lock")), os.fstat(self._lock))
        except OSError:
            return False

    def probe(self) -> None:
        """Whether bytes can be written here, to files and to the index; raises when not."""
        layer, path = self.files.layer, os.path.join(self.folder, "probe")
        descriptor = layer.open(path, write=True, create=True)
        try:
            layer.write(descriptor, [bytes(PROBE_SIZE)], 0)
        finally:
            layer.close(descriptor)
            layer.remove(path)
        with self.transaction():
            self.index.note("probed", PROBE_SIZE)

    # Reading

    @property
    def _files_folder(self) -> str:
        return os.path.join(self.folder, "files")

    def hash(self, key: bytes) -> int:
        """By what a key is looked up here. What an attacker knows of keys says nothing about it."""
        return xxh3_64_intdigest(key, self._seed)

    def find(self, hash: int, key: bytes, now: float) -> Found:
        """What is stored under a key, the most recent last. Raises OSError and sqlite3.Error."""
        found = Found()
        for id, stored_key, row in self.index.find(hash, key)[-VARIANTS_READ:]:
            record = decode(stored_key, id, row, self.number)
            if record is None:
                found.spoilt.append((id, None, True))
            elif record.terms.keep_until <= now:
                found.spoilt.append((id, record.row, False))
            else:
                complete = self._complete(record)
                if complete is None:
                    found.spoilt.append((id, record.row, True))
                else:
                    found.records.append(complete)
        return found

    def _complete(self, record: Record) -> Record | None:
        """The record with its bytes, or with what is known of them now; None when they are damaged."""
        if not record.where.file:
            body = self._small(record)
            return None if body is None else _with(record, body=body)
        try:
            pieces = self.body(record).pieces
        except (Damaged, FileNotFoundError):
            return None
        if not pieces.intervals:
            return None
        return record if pieces.intervals == record.intervals else _with(record, intervals=pieces.intervals)

    def _small(self, record: Record) -> bytes | None:
        try:
            body = self.segments.read(record.id, record.where.size)
        except FileNotFoundError:
            # It may have been carried over since the index was read.
            moved = [
                id for id, key, row in self.index.find(self.hash(record.key), record.key) if row_of(row) == record.row
            ]
            if not moved or moved[0] == record.id:
                return None
            try:
                body = self.segments.read(moved[0], record.where.size)
            except FileNotFoundError:
                return None
        return body if xxh3_64_intdigest(body) == record.where.check else None

    def body(self, record: Record) -> Body:
        """A large body, its log read. Raises OSError and Damaged."""
        where = record.where
        known = self.bodies.get(where.file)
        if known is not None:
            return known
        body = self.new_body(where.file, record.key)
        body.load((where.logged, where.check), record.intervals)
        body.base = where.size
        return self.bodies.put(body)

    def new_body(self, file: int, key: bytes) -> Body:
        """A large body of this number."""
        return Body(self._files_folder, file, xxh3_64_intdigest(key), self.files)

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Changes of the index and of what it counts: all or nothing. What is to be removed is removed afterwards."""
        try:
            with self.index.transaction():
                spared = list(self._unlinked)
                for file in spared:
                    self.index.spare(file)
                yield
                self.segments.flush()
                self.segments.note(self.index)
                self.index.put_totals(self.totals)
        except BaseException:
            self._after.clear()
            self._restore()
            raise
        self._created.clear()
        del self._unlinked[: len(spared)]
        actions, self._after = self._after, []
        for action in actions:
            action()

    def create(self, key: bytes) -> Body:
        """A new large body with its files, which go again if this transaction fails."""
        body = self.new_body(self.totals.next_file, key)
        self.totals.next_file += 1
        self._created.append(body)
        body.create()
        return body

    def _restore(self) -> None:
        for body in self._created:
            self.open_bytes -= body.extra
            body.extra = 0
            self.bodies.forget(body.file)
            with suppress(OSError):
                body.unlink()
        self._created.clear()
        with suppress(sqlite3.Error):
            self.totals = self.index.totals()
            self.segments.restore(self.index.segments())

    def afterwards(self, action: Callable[[], object]) -> None:
        """To be done once the transaction is committed."""
        self._after.append(action)

    def large_id(self, file: int, size: int) -> int:
        """An id for a large body that joins the newest ones now."""
        return large_id(self.segments.attach(size), file)

    def forget(self, light: Light) -> None:
        """Take a record out of the index and of the books; its bytes go afterwards."""
        self.index.remove(light.id)
        self.totals.objects -= 1
        where = light.where
        if where.file:
            self.totals.file_bytes -= where.size
            self.doom(self.bodies.get(where.file) or self.new_body(where.file, light.key))
        else:
            self.segments.free(light.id, where.size)

    def forget_spoilt(self, id: int) -> None:
        """Take out a row that is no record: only its id tells what belonged to it."""
        self.index.remove(id)
        self.totals.objects -= 1
        self.tally.add(Counter.DISK_DAMAGED)
        if is_large(id):
            body = self.new_body(file_of(id), b"")
            with suppress(OSError):
                self.totals.file_bytes = max(self.totals.file_bytes - body.used(), 0)
            self.doom(body)

    def doom(self, body: Body) -> None:
        """This body's file is to go."""
        self.index.doom(body.file)
        self.afterwards(lambda: self._unlink(body))

    def _unlink(self, body: Body) -> None:
        self.bodies.forget(body.file)
        self.open_bytes -= body.extra
        body.extra = 0
        body.unlink()
        self._unlinked.append(body.file)

    def measure(self, body: Body) -> int:
        """Count what a body has grown by; returns how much that is."""
        grown = body.used() - body.base - body.extra
        body.extra += grown
        self.open_bytes += grown
        return grown

    def used(self) -> tuple[int, int]:
        """Bytes of disk taken, and those of them that cannot leave now."""
        fixed = self.index.used() + self.open_bytes
        return fixed + self.segments.used() + self.totals.file_bytes, fixed


def _with(record: Record, *, body: bytes | None = None, intervals: Intervals | None = None) -> Record:
    if intervals is None:
        return replace(record, body=body)
    return replace(record, intervals=intervals, head=with_intervals(record.head, intervals, record.length))


def small_slice(record: Record, first: int, end: int) -> bytes:
    """Bytes of a small body from `first` on, to the end of their interval at most."""
    last = min(end, reach(record.intervals, first))
    at = 0
    for start, stop in record.intervals:
        if start <= first < stop:
            assert record.body is not None
            return record.body[at + first - start : at + last - start]
        at += stop - start
    return b""
