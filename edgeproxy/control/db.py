"""The control plane's database: SQLite in WAL mode, a change being one transaction that is on disk before it returns.

Everything here blocks; `plane.py` calls it on a thread of its own, one call at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeproxy.control.state import Change, Invalidation, Member, Resource, State
from edgeproxy.errors import ConfigError, EdgeError, Fault
from edgeproxy.feed import Deployed, Invalidated, Record, Withdrawn, decode, encode

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id)) STRICT;
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, subject TEXT, lasting INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS records_by_subject ON records (subject) WHERE subject IS NOT NULL;
CREATE TABLE IF NOT EXISTS invalidations (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS members (
    name TEXT PRIMARY KEY, incarnation TEXT NOT NULL, number INTEGER NOT NULL, epoch TEXT NOT NULL) STRICT;
"""


class Database:
    """One file, held by one process."""

    def __init__(self, path: Path) -> None:
        """Open or make it. Raises ConfigError when it cannot be used."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute("PRAGMA synchronous = FULL")
            with self._sql:
                for statement in _TABLES.split(";"):
                    self._sql.execute(statement)
            self._check_schema()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(str(error)) from None

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError([Fault("", "control database", str(self._path), f"cannot be used: {why}")])

    def _check_schema(self) -> None:
        found = self._meta("schema")
        if found is None:
            self._in_one(lambda: self._set("schema", str(SCHEMA)))
        elif found != str(SCHEMA):
            raise self._unusable(f"it is of version {found}, and this program knows {SCHEMA}")

    def load(self, epoch: Callable[[], str], zone: str) -> State:
        """The state as it was left. A new database gets a new epoch. Raises ConfigError when it is damaged."""
        try:
            known = self._meta("epoch")
            if known is None:
                known = epoch()
                self.renew(known)
            return self._load(known, zone)
        except (sqlite3.Error, EdgeError, ValueError, TypeError, KeyError) as error:
            raise self._unusable(f"it is damaged: {error}") from None

    def _load(self, epoch: str, zone: str) -> State:
        state = State(epoch, zone)
        for (body,) in self._sql.execute("SELECT body FROM resources ORDER BY rowid"):
            resource = _resource(json.loads(body))
            state.resources[resource.key] = resource
        for number, body in self._sql.execute("SELECT number, body FROM invalidations ORDER BY number"):
            words = json.loads(body)
            found = Invalidation(**{**words, "number": number, "items": tuple(words["items"])})
            state.invalidations[found.id] = found
        for (body,) in self._sql.execute("SELECT body FROM records ORDER BY number"):
            record = decode(body)
            assert isinstance(record, Deployed | Withdrawn | Invalidated), "only records are written"
            state.log.append(record)
        for row in self._sql.execute("SELECT name, incarnation, number, epoch FROM members"):
            state.members[row[0]] = Member(*row)
        state.number = int(self._meta("number") or 0)
        state.low_water = int(self._meta("low_water") or 0)
        state.settled = int(self._meta("settled") or 0)
        state.settle()
        return state

    def write(self, change: Change, number: int) -> None:
        """A whole change, or nothing of it; `number` is that of the last record then. Raises sqlite3.Error."""

        def write() -> None:
            for key in change.drop:
                self._sql.execute("DELETE FROM resources WHERE kind = ? AND id = ?", key)
            for resource in change.put:
                self._sql.execute(
                    "INSERT INTO resources (kind, id, body) VALUES (?, ?, ?) "
                    "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                    (resource.kind, resource.id, json.dumps(asdict(resource))),
                )
            for invalidation in change.invalidations:
                self._sql.execute(
                    "INSERT INTO invalidations VALUES (?, ?)", (invalidation.number, json.dumps(asdict(invalidation)))
                )
            for record in change.records:
                self._record(record)
            self._set("number", str(number))

        self._in_one(write)

    def _record(self, record: Record) -> None:
        subject = None if isinstance(record, Invalidated) else record.id
        if subject is not None:
            self._sql.execute("DELETE FROM records WHERE subject = ?", (subject,))
        self._sql.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?)",
            (record.number, subject, isinstance(record, Deployed), encode(record)),
        )

    def write_members(self, joined: Iterable[Member], left: Iterable[str], settled: int) -> None:
        """What became of nodes, as one. Raises sqlite3.Error."""

        def write() -> None:
            self._sql.executemany("DELETE FROM members WHERE name = ?", ((name,) for name in left))
            self._sql.executemany(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)",
                ((each.name, each.incarnation, each.number, each.epoch) for each in joined),
            )
            self._set("settled", str(settled))

        self._in_one(write)

    def compact(self, low_water: int, settled: int) -> None:
        """Forget what no longer counts. Raises sqlite3.Error."""

        def write() -> None:
            self._sql.execute("DELETE FROM records WHERE NOT lasting AND number <= ?", (low_water,))
            self._sql.execute("DELETE FROM invalidations WHERE number <= ?", (min(low_water, settled),))
            self._set("low_water", str(low_water))

        self._in_one(write)

    def renew(self, epoch: str) -> None:
        """Another epoch: this database does not know what nodes have been told before. Raises sqlite3.Error."""
        self._in_one(lambda: self._set("epoch", epoch))

    def close(self) -> None:
        """Close it."""
        self._sql.close()

    def _meta(self, name: str) -> str | None:
        row = self._sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _in_one(self, write: Callable[[], None]) -> None:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            write()
            self._sql.execute("COMMIT")
        except sqlite3.Error:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise


def _resource(words: dict[str, Any]) -> Resource:  # Any: JSON
    return Resource(**{**words, "tags": tuple((key, value) for key, value in words["tags"])})
