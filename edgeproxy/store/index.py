"""The index of one shard: an SQLite file in WAL mode, with one connection that writes and one that reads.

A row's id says where and when: the segment's number in the upper 32 bits, below it the offset of a small body there
(a multiple of 8), or a large body's number times 8 plus 1. So what has the lowest ids came first, and what belongs to a
segment is a range of them.

`synchronous=NORMAL`: no commit waits for the disk, a checkpoint does (in the writer's thread). A killed process loses
nothing that was committed; after a power loss the file is whole, though it may be of a moment ago: its rows are checked
against the bytes that they name.

All methods raise sqlite3.Error; `is_beyond_use` tells a file that is broken from a disk that is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any

VERSION = 1
SEGMENT_SHIFT = 32
LARGE = 1
FILE_MASK = 0x1FFFFFFF

_SCHEMA = """
CREATE TABLE records (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key BLOB NOT NULL, record BLOB NOT NULL);
CREATE INDEX by_hash ON records (hash);
CREATE INDEX large ON records (id) WHERE id & 7 = 1;
CREATE TABLE segments (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, live INTEGER NOT NULL);
CREATE TABLE doomed (file INTEGER PRIMARY KEY);
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_FAULTS_OF_THE_DISK = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM,
}  # fmt: skip

Row = tuple[int, bytes, bytes]
"""id, key, record"""
Connect = Callable[[str], sqlite3.Connection]


def connect(path: str) -> sqlite3.Connection:
    """A connection for one thread at a time."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5, cached_statements=64)


def is_beyond_use(error: sqlite3.Error) -> bool:
    """Whether it is the file that is broken: it can only be begun anew. Otherwise the disk is at fault."""
    if isinstance(error, sqlite3.ProgrammingError):
        return False  # closed meanwhile
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF not in _FAULTS_OF_THE_DISK


def signed(hash: int) -> int:
    """64 bits as SQLite keeps them."""
    return hash - (1 << 64) if hash >> 63 else hash


@dataclass(slots=True)
class Totals:
    """What a shard holds apart from its segments; kept in the index so that nobody has to count."""

    objects: int = 0
    file_bytes: int = 0
    """Bytes of disk that large bodies take, with their logs."""
    next_file: int = 1


class Index:
    """An open index. Its writing methods belong to one thread, `find`, `page` and `hashes` to any."""

    def __init__(self, path: str, connect: Connect = connect, *, log_max: int = 4 << 20) -> None:
        """Open or create. `log_max`: bytes of WAL from which on it is written back."""
        self._path = path
        self._log_max = log_max
        self._lock = Lock()
        self._writer = connect(path)
        try:
            self._reader = self._prepared(connect)
        except BaseException:
            self._writer.close()
            raise

    def _prepared(self, connect: Connect) -> sqlite3.Connection:
        writer = self._writer
        writer.execute("PRAGMA synchronous=OFF")  # an index that a power loss catches while it is made is made again
        (mode,) = writer.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise sqlite3.DatabaseError(f"journal mode is {mode}")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("PRAGMA cell_size_check=ON")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"version {version}")
        writer.execute("PRAGMA synchronous=NORMAL")
        reader = connect(self._path)
        reader.execute("PRAGMA query_only=ON")
        return reader

    def close(self) -> None:
        """Write the WAL back and close. Raises nothing: what is not written back now is at the next opening."""
        with suppress(sqlite3.Error):
            self._reader.close()
        with suppress(sqlite3.Error):
            self._writer.close()

    # Reading, from any thread

    def _read(self, statement: str, *values: object) -> list[Any]:  # Any: a damaged row
        with self._lock:
            return _fetched(self._reader, statement, *values)

    def find(self, hash: int, key: bytes) -> list[Row]:
        """What is recorded under a key, the oldest first."""
        return _rows(
            self._read("SELECT id, key, record FROM records WHERE hash=? AND key=? ORDER BY id", signed(hash), key)
        )

    def page(self, after: int, limit: int, pattern: str | None = None) -> list[Row]:
        """At most `limit` records with higher ids than `after`, ascending; those whose key fits a glob."""
        if pattern is None:
            return _rows(self._read("SELECT id, key, record FROM records WHERE id>? ORDER BY id LIMIT ?", after, limit))
        statement = "SELECT id, key, record FROM records WHERE id>? AND CAST(key AS TEXT) GLOB ? ORDER BY id LIMIT ?"
        return _rows(self._read(statement, after, pattern, limit))

    def hashes(self, after: int | None, limit: int) -> list[int]:
        """Hashes in ascending order as SQLite keeps them, those above `after`; from the smallest one for None."""
        least, above = (-(1 << 63), ">=") if after is None else (after, ">")
        rows = self._read(f"SELECT DISTINCT hash FROM records WHERE hash{above}? ORDER BY hash LIMIT ?", least, limit)
        return _numbers(rows)

    # Writing, from one thread

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises also when nothing was written."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise

    def rows(self, hash: int, key: bytes) -> list[tuple[int, bytes]]:
        """As `find`, of what this transaction has made of it: (id, record)."""
        statement = "SELECT id, key, record FROM records WHERE hash=? AND key=? ORDER BY id"
        return [(id, record) for id, _, record in _rows(_fetched(self._writer, statement, signed(hash), key))]

    def row(self, id: int) -> tuple[bytes, bytes] | None:
        """(key, record)."""
        found = _rows(_fetched(self._writer, "SELECT id, key, record FROM records WHERE id=?", id))
        return found[0][1:] if found else None

    def put(self, id: int, hash: int, key: bytes, record: bytes) -> None:
        """A new row, or in place of the one with this id."""
        self._writer.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", (id, signed(hash), key, record))

    def move(self, id: int, new: int) -> None:
        """Another id for a row."""
        self._writer.execute("UPDATE records SET id=? WHERE id=?", (new, id))

    def remove(self, id: int) -> None:
        """Remove a row."""
        self._writer.execute("DELETE FROM records WHERE id=?", (id,))

    def remove_range(self, first: int, end: int) -> int:
        """Remove the rows with ids in [first, end); returns how many."""
        return self._writer.execute("DELETE FROM records WHERE id>=? AND id<?", (first, end)).rowcount

    def oldest(self) -> int | None:
        """The lowest id."""
        return self._extreme("min")

    def newest(self) -> int | None:
        """The highest id."""
        return self._extreme("max")

    def _extreme(self, which: str) -> int | None:
        ((found,),) = _fetched(self._writer, f"SELECT {which}(id) FROM records")
        return None if found is None else int(found)

    def range(self, first: int, end: int, limit: int) -> list[tuple[int, int, bytes, bytes]]:
        """Rows with ids in [first, end), at most so many: (id, hash, key, record)."""
        rows = _fetched(
            self._writer,
            "SELECT id, key, record, hash FROM records WHERE id>=? AND id<? ORDER BY id LIMIT ?",
            first,
            end,
            limit,
        )
        hashes = [row[3] if isinstance(row[3], int) else 0 for row in rows]
        return [
            (id, hash, key, record)
            for (id, key, record), hash in zip(_rows([row[:3] for row in rows]), hashes, strict=True)
        ]

    def large_files(self) -> set[int]:
        """The numbers of all large bodies, as `file_of` has them."""
        return {file_of(id) for id in _numbers(_fetched(self._writer, "SELECT id FROM records WHERE id & 7 = 1"))}

    def segments(self) -> dict[int, list[int]]:
        """Bytes and bytes in use of each segment, by number."""
        numbers = _numbers(_fetched(self._writer, "SELECT number, size, live FROM segments"))
        found = {numbers[at]: numbers[at + 1 : at + 3] for at in range(0, len(numbers), 3)}
        if any(number < 0 or not 0 <= live <= size < 1 << SEGMENT_SHIFT for number, (size, live) in found.items()):
            raise sqlite3.DatabaseError("the books of the segments are wrong")
        return found

    def put_segment(self, number: int, size: int, live: int) -> None:
        """Note what is in a segment."""
        self._writer.execute("INSERT OR REPLACE INTO segments VALUES (?, ?, ?)", (number, size, live))

    def remove_segment(self, number: int) -> None:
        """Forget a segment."""
        self._writer.execute("DELETE FROM segments WHERE number=?", (number,))

    def doomed(self) -> list[int]:
        """Large bodies' files that are being written or removed: after a crash they are to go."""
        return _numbers(_fetched(self._writer, "SELECT file FROM doomed"))

    def doom(self, file: int) -> None:
        """This file belongs to no record."""
        self._writer.execute("INSERT OR IGNORE INTO doomed VALUES (?)", (file,))

    def spare(self, file: int) -> None:
        """It does now, or it is gone."""
        self._writer.execute("DELETE FROM doomed WHERE file=?", (file,))

    def fact(self, name: str) -> object:
        """Something noted; None when it was not."""
        found = _fetched(self._writer, "SELECT value FROM facts WHERE name=?", name)
        return found[0][0] if found else None

    def note(self, name: str, value: object) -> None:
        """Note something."""
        self._writer.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def totals(self) -> Totals:
        """What was noted last."""
        found = dict(_fetched(self._writer, "SELECT name, value FROM facts WHERE name IN ('objects', 'bytes', 'file')"))
        numbers = _numbers([(found.get("objects", 0), found.get("bytes", 0), found.get("file", 1))])
        if min(numbers) < 0:
            raise sqlite3.DatabaseError("the totals are wrong")
        return Totals(*numbers)

    def put_totals(self, totals: Totals) -> None:
        """Note them."""
        self._writer.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)",
            (("objects", totals.objects), ("bytes", totals.file_bytes), ("file", totals.next_file)),
        )

    def write_back(self, *, at_once: bool = False) -> None:
        """Empty the WAL if it has grown to its bound."""
        if at_once or self._size("-wal") > self._log_max:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def used(self) -> int:
        """Bytes of disk that the index takes."""
        return sum(self._blocks(suffix) for suffix in ("", "-wal", "-shm"))

    def _size(self, suffix: str) -> int:
        try:
            return os.stat(self._path + suffix).st_size
        except OSError:
            return 0

    def _blocks(self, suffix: str) -> int:
        try:
            return os.stat(self._path + suffix).st_blocks * 512
        except OSError:
            return 0


def _fetched(connection: sqlite3.Connection, statement: str, *values: object) -> list[Any]:  # Any: a damaged row
    try:
        return connection.execute(statement, values).fetchall()
    except (MemoryError, OverflowError):  # a damaged row that claims to be gigantic
        raise sqlite3.DatabaseError("a row is damaged") from None


def _rows(rows: list[Any]) -> list[Row]:  # Any: a damaged row
    """Rows of the right types: what is damaged may be anything, and is then no record."""
    return [
        (id, key if isinstance(key, bytes) else b"", record if isinstance(record, bytes) else b"")
        for id, key, record in rows
    ]


def _numbers(rows: list[Any]) -> list[int]:  # Any: a damaged row
    numbers = list(chain.from_iterable(rows))
    if not all(isinstance(number, int) for number in numbers):
        raise sqlite3.DatabaseError("a number is damaged")
    return numbers


def segment_of(id: int) -> int:
    """The segment that a record's id names."""
    return id >> SEGMENT_SHIFT


def small_id(segment: int, offset: int) -> int:
    """The id of a small body there."""
    return segment << SEGMENT_SHIFT | offset


def large_id(segment: int, file: int) -> int:
    """The id of a large body that joins the others at this segment."""
    return segment << SEGMENT_SHIFT | (file & FILE_MASK) << 3 | LARGE


def file_of(id: int) -> int:
    """The number of a large body, its lowest 29 bits."""
    return id >> 3 & FILE_MASK


def is_large(id: int) -> bool:
    """Whether it is that of a large body."""
    return id & 7 == LARGE


def offset_of(id: int) -> int:
    """Where in its segment a small body begins."""
    return id & (1 << SEGMENT_SHIFT) - 1
