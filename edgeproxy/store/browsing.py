"""Walks through what is stored, a page at a time: for `cache list`, and for whoever judges every record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeproxy.store.records import Record, decode
from edgeproxy.store.shard import Shard

SCAN = 2000
"""Rows read by one look into an index."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what is stored."""

    entries: list[tuple[Record, int]]
    """With about how often each was used since it was written or carried over."""
    after: str | None
    """Where to go on; None at the end."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How full it is."""

    bound: int
    used: int
    objects: int
    off: bool
    """Nothing is written: the disk has failed."""
    shards: dict[int, tuple[int, int]]
    """Objects and bytes of each shard that is open."""


def page(shards: Mapping[int, Shard], pattern: str | None, limit: int, after: str | None) -> Page:
    """Records whose key fits a glob (`*`, `?`, `[...]`), at most `limit`, from where another page ended.

    Without the bytes of small bodies. Blocks; raises sqlite3.Error, and ValueError for an `after` that is none.
    """
    shard_text, _, id_text = (after or "-1.0").partition(".")
    start, last_id = int(shard_text), int(id_text)
    entries: list[tuple[Record, int]] = []
    for number in sorted(shards):
        if number < start:
            continue
        shard = shards[number]
        position = last_id if number == start else 0
        while rows := shard.index.page(position, min(limit - len(entries), SCAN), pattern):
            for id, key, data in rows:
                record = decode(key, id, data, number)
                if record is not None:
                    entries.append((record, shard.uses[shard.hash(key)]))
                position = id
            if len(entries) >= limit:
                return Page(entries, f"{number}.{position}")
    return Page(entries, None)


def records(shard: Shard, after: int, limit: int) -> tuple[list[Record], int | None]:
    """The next records of one shard by id, and where to go on; blocks; raises sqlite3.Error."""
    rows = shard.index.page(after, limit)
    found = [decode(key, id, data, shard.number) for id, key, data in rows]
    return [record for record in found if record is not None], rows[-1][0] if len(rows) == limit else None
