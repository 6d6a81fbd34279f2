"""What a node knows of the feed, on its own disk: it starts from it when the control plane is away.

SQLite, so that a batch of records is there whole or not at all. The follower writes; the node's workers read.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.errors import ConfigError, EdgeError, Fault
from edgeproxy.feed import Deployed, Invalidated, Record, Withdrawn, decode, encode

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, distribution TEXT, body BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS by_distribution ON records (distribution) WHERE distribution IS NOT NULL;
"""
SCHEMA = "1"


@dataclass(frozen=True, slots=True)
class Update:
    """Something new: all of it is applied, or nothing."""

    epoch: str
    number: int
    """All up to it is known once this is applied."""
    low_water: int
    records: tuple[Record, ...]
    whole: bool
    """`records` is everything that counts; all that was known before is to be forgotten."""
    fresh: bool = False
    """The control plane did not have the node on its list: nothing stored counts (rule 9)."""


class Kept:
    """The file. One process writes it, any number read."""

    def __init__(self, path: Path, *, incarnation: Callable[[], str] | None = None) -> None:
        """Open it; make it with a new incarnation id when that is given. A file that is damaged, or of another version,
        is made anew. Raises ConfigError when it cannot be had, or there is none to read."""
        self._path = path
        # A write goes on in its thread when whoever waited for it is cancelled: nothing else may touch the file then.
        self._lock = threading.Lock()
        try:
            self._sql = self._opened(incarnation)
        except (OSError, sqlite3.Error) as error:
            expected = f"cannot be used: {error}"
            raise ConfigError([Fault("", "snapshot of the feed", str(path), expected)]) from None
        self.incarnation = self._meta("incarnation") or ""

    def _opened(self, incarnation: Callable[[], str] | None) -> sqlite3.Connection:
        if incarnation is None:
            return _connected(f"{self._path.absolute().as_uri()}?mode=ro")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._made(incarnation)
        except sqlite3.DatabaseError:
            for each in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + each).unlink(missing_ok=True)
            return self._made(incarnation)

    def _made(self, incarnation: Callable[[], str]) -> sqlite3.Connection:
        sql = _connected(self._path.absolute().as_uri())
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        for statement in _TABLES.split(";"):
            sql.execute(statement)
        rows = dict(sql.execute("SELECT name, value FROM meta"))
        if rows.get("schema", SCHEMA) != SCHEMA:
            sql.close()
            raise sqlite3.DatabaseError("another version")
        sql.execute("INSERT OR IGNORE INTO meta VALUES ('incarnation', ?)", (incarnation(),))
        sql.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (SCHEMA,))
        return sql

    def state(self) -> Update:
        """Everything that counts, as of one moment; with an empty epoch when the node never followed. Raises EdgeError
        when it cannot be read."""
        try:
            return self._state()
        except sqlite3.Error as error:
            raise EdgeError(f"{self._path} cannot be read: {error}") from None

    def _state(self) -> Update:
        with self._lock:
            self._sql.execute("BEGIN")
            try:
                rows = self._sql.execute("SELECT body FROM records ORDER BY number").fetchall()
                epoch, number = self._meta("epoch") or "", int(self._meta("number") or 0)
                low_water = int(self._meta("low_water") or 0)
            finally:
                self._sql.execute("COMMIT")
        return Update(epoch, number, low_water, tuple(_record(body) for (body,) in rows), whole=True)

    def distributions(self, epoch: str, known: Mapping[int, Deployed]) -> tuple[str, int, dict[int, Deployed]]:
        """Epoch, number, and every distribution by the number of its record; those that are `known` of this epoch are
        not read again. Raises EdgeError when it cannot be read."""
        try:
            with self._lock:
                self._sql.execute("BEGIN")
                try:
                    current, number = self._meta("epoch") or "", int(self._meta("number") or 0)
                    if current != epoch:
                        known = {}
                    rows = self._sql.execute("SELECT number FROM records WHERE distribution IS NOT NULL").fetchall()
                    found = {each: known[each] if each in known else self._deployed(each) for (each,) in rows}
                finally:
                    self._sql.execute("COMMIT")
        except sqlite3.Error as error:
            raise EdgeError(f"{self._path} cannot be read: {error}") from None
        return current, number, found

    def _deployed(self, number: int) -> Deployed:
        row = self._sql.execute("SELECT body FROM records WHERE number = ?", (number,)).fetchone()
        record = _record(row[0])
        assert isinstance(record, Deployed), "only these name a distribution"
        return record

    def forget(self) -> None:
        """Know nothing: what is there cannot be read, and has to be told anew. Raises EdgeError."""
        self.write(Update("", 0, 0, (), whole=True))

    def position(self) -> tuple[str, int]:
        """Epoch and number. Raises EdgeError when it cannot be read."""
        try:
            with self._lock:
                return self._meta("epoch") or "", int(self._meta("number") or 0)
        except sqlite3.Error as error:
            raise EdgeError(f"{self._path} cannot be read: {error}") from None

    def write(self, update: Update) -> None:
        """Make an update durable: on disk when this returns. Raises EdgeError when the disk refuses it; then the file
        is as it was."""
        try:
            with self._lock:
                self._in_one(update)
        except sqlite3.Error as error:
            raise EdgeError(f"{self._path} cannot be written: {error}") from None

    def _in_one(self, update: Update) -> None:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            self._write(update)
            self._sql.execute("COMMIT")
        finally:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")

    def _write(self, update: Update) -> None:
        if update.whole:
            self._sql.execute("DELETE FROM records")
        for record in update.records:
            if not isinstance(record, Invalidated):
                self._sql.execute("DELETE FROM records WHERE distribution = ?", (record.id,))
            if not isinstance(record, Withdrawn):
                subject = record.id if isinstance(record, Deployed) else None
                row = (record.number, subject, encode(record))
                self._sql.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", row)
        self._sql.execute("DELETE FROM records WHERE distribution IS NULL AND number <= ?", (update.low_water,))
        words = (("epoch", update.epoch), ("number", str(update.number)), ("low_water", str(update.low_water)))
        self._sql.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", words)

    def close(self) -> None:
        """Close it; what is asked of it afterwards is refused."""
        with self._lock:
            self._sql.close()

    def _meta(self, name: str) -> str | None:
        row = self._sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])


def _connected(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _record(body: bytes) -> Record:
    record = decode(body)
    assert isinstance(record, Deployed | Invalidated), "nothing else is written"
    return record


def deployed(records: Sequence[Record]) -> list[Deployed]:
    """The distributions among these."""
    return [each for each in records if isinstance(each, Deployed)]
