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
from threading import Lock

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
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_SCHEMA}

Row = tuple[int, bytes, bytes]
"""id, key, record"""
Connect = Callable[[str], sqlite3.Connection]


def connect(path: str) -> sqlite3.Connection:
    """A connection for one thread at a time."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5, cached_statements=64)


def is_beyond_use(error: sqlite3.Error) -> bool:
    """Whether it is the file that is broken: it can only be begun anew. Otherwise the disk is at fault."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return True  # what the interpreter itself finds wrong with a row
    return code & 0xFF in _CORRUPT or not isinstance(error, sqlite3.OperationalError)


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
        (mode,) = writer.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise sqlite3.DatabaseError(f"journal mode is {mode}")
        writer.execute("PRAGMA synchronous=NORMAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("PRAGMA cell_size_check=ON")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"version {version}")
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

    def _read(self, statement: str, *values: object) -> list[tuple[int, ...]]:
        with self._lock:
            return self._reader.execute(statement, values).fetchall()

    def find(self, hash: int, key: bytes) -> list[Row]:
        """What is recorded under a key, the oldest first."""
        with self._lock:
            return self._reader.execute(
                "SELECT id, key, record FROM records WHERE hash=? AND key=? ORDER BY id", (signed(hash), key)
            ).fetchall()

    def page(self, after: int, limit: int, pattern: str | None = None) -> list[Row]:
        """At most `limit` records with higher ids than `after`, ascending; those whose key fits a glob."""
        fits = "" if pattern is None else "AND CAST(key AS TEXT) GLOB ?"
        values = (after, limit) if pattern is None else (after, pattern, limit)
        with self._lock:
            return self._reader.execute(
                f"SELECT id, key, record FROM records WHERE id>? {fits} ORDER BY id LIMIT ?", values
            ).fetchall()

    def hashes(self, after: int | None, limit: int) -> list[int]:
        """Hashes in ascending order as SQLite keeps them, those above `after`; from the smallest one for None."""
        least, above = (-(1 << 63), ">=") if after is None else (after, ">")
        rows = self._read(f"SELECT DISTINCT hash FROM records WHERE hash{above}? ORDER BY hash LIMIT ?", least, limit)
        return [row[0] for row in rows]

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
        return self._writer.execute(
            "SELECT id, record FROM records WHERE hash=? AND key=? ORDER BY id", (signed(hash), key)
        ).fetchall()

    def row(self, id: int) -> tuple[bytes, bytes] | None:
        """(key, record)."""
        found: tuple[bytes, bytes] | None = self._writer.execute(
            "SELECT key, record FROM records WHERE id=?", (id,)
        ).fetchone()
        return found

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
        found: int | None = self._writer.execute("SELECT min(id) FROM records").fetchone()[0]
        return found

    def newest(self) -> int | None:
        """The highest id."""
        found: int | None = self._writer.execute("SELECT max(id) FROM records").fetchone()[0]
        return found

    def range(self, first: int, end: int, limit: int) -> list[tuple[int, int, bytes, bytes]]:
        """Rows with ids in [first, end), at most so many: (id, hash, key, record)."""
        return self._writer.execute(
            "SELECT id, hash, key, record FROM records WHERE id>=? AND id<? ORDER BY id LIMIT ?", (first, end, limit)
        ).fetchall()

    def large_files(self) -> set[int]:
        """The numbers of all large bodies, as `file_of` has them."""
        return {file_of(row[0]) for row in self._writer.execute("SELECT id FROM records WHERE id & 7 = 1")}

    def segments(self) -> dict[int, list[int]]:
        """Bytes and bytes in use of each segment, by number."""
        return {number: [size, live] for number, size, live in self._writer.execute("SELECT * FROM segments")}

    def put_segment(self, number: int, size: int, live: int) -> None:
        """Note what is in a segment."""
        self._writer.execute("INSERT OR REPLACE INTO segments VALUES (?, ?, ?)", (number, size, live))

    def remove_segment(self, number: int) -> None:
        """Forget a segment."""
        self._writer.execute("DELETE FROM segments WHERE number=?", (number,))

    def doomed(self) -> list[int]:
        """Large bodies' files that are being written or removed: after a crash they are to go."""
        return [row[0] for row in self._writer.execute("SELECT file FROM doomed")]

    def doom(self, file: int) -> None:
        """This file belongs to no record."""
        self._writer.execute("INSERT OR IGNORE INTO doomed VALUES (?)", (file,))

    def spare(self, file: int) -> None:
        """It does now, or it is gone."""
        self._writer.execute("DELETE FROM doomed WHERE file=?", (file,))

    def fact(self, name: str) -> object:
        """Something noted; None when it was not."""
        found = self._writer.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return None if found is None else found[0]

    def note(self, name: str, value: object) -> None:
        """Note something."""
        self._writer.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def totals(self) -> Totals:
        """What was noted last."""
        found = dict(self._writer.execute("SELECT name, value FROM facts WHERE name IN ('objects', 'bytes', 'file')"))
        return Totals(found.get("objects", 0), found.get("bytes", 0), found.get("file", 1))

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


def offset_of(id: int) -> int:
    """Where in its segment a small body begins."""
    return id & (1 << SEGMENT_SHIFT) - 1
