"""A disk store for tests: small, on real files, quick to notice what becomes of its disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.settings import Cache, KiB, MiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.layer import Layer
from edgeproxy.store.memory import Terms
from edgeproxy.store.records import Record
from edgeproxy.telemetry.counters import Counters
from tests.messages import NOW, stored

TERMS = Terms(NOW + 60, 3, 4)
PLAIN = stored("Cache-Control: max-age=60", 'ETag: "1"')
ERA = b"era"
_ticks = count()


SETTINGS = Cache(disk=64 * MiB, disk_shards=4, disk_piece=64 * KiB, disk_check_interval=0.05)
"""Few shards, small pieces, and a disk that is looked at often."""


def settings(**changes: object) -> Cache:
    """These, and others."""
    return SETTINGS.model_copy(update=changes)


@asynccontextmanager
async def disk(
    folder: Path,
    using: Cache | None = None,
    *,
    era: bytes = ERA,
    boot: str = "boot",
    held: Sequence[int] | None = None,
    layer: Layer | None = None,
    wall: Callable[[], float] = lambda: NOW,
) -> AsyncIterator[DiskStore]:
    """A started store; closed in the end."""
    using = using or settings()
    numbers = range(using.disk_shards) if held is None else held
    # Each look at the clock is a moment later: whatever is due is done at once.
    store = DiskStore(folder, numbers, using, era, boot, Counters(), wall, lambda: float(next(_ticks)), layer)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


def put(store: DiskStore, key: bytes, body: bytes, head: StoredHead = PLAIN, terms: Terms = TERMS) -> None:
    """Store a whole response."""
    store.put(key, head, Headers(), terms, 0, [body], len(body))


async def body_of(store: DiskStore, record: Record) -> bytes:
    """All bytes of a whole record."""
    data = b""
    while len(data) < record.length:
        data += await store.read(record, len(data), record.length)
    return data


async def bodies(store: DiskStore, key: bytes, now: float = NOW) -> list[bytes]:
    """The bytes of everything under a key."""
    return [await body_of(store, record) for record in await store.find(key, now)]


def varied(name: str, **changes: object) -> StoredHead:
    """A response for one value of a request field."""
    return replace(PLAIN, vary=((b"x-l", name.encode()),), **changes)  # type: ignore[arg-type]  # fields of StoredHead
