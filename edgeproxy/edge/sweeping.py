"""The sweep behind invalidations (rule 11): what they named leaves, and all else is known to have been looked at.

A worker goes through its store in small steps whenever something new was applied. A response that nothing new names is
as of the present from then on, so that the next look at it is one comparison again, and so that the control plane may
let its low-water mark rise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from edgeproxy.edge.invalidation import Ledger
from edgeproxy.model import NO_EPOCH, AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.records import Record
from edgeproxy.telemetry.counters import Counter, Counters

STEP = 32
"""Keys looked at before others have their turn: a fraction of a millisecond."""
PAUSE = 0.001
"""Seconds until the next step: of a busy worker's time the sweep takes a tenth or so."""
DISK_STEP = 64
DISK_PAUSE = 0.02
"""The same for records on disk, which are read by a thread and written by another."""

Check = Callable[[bytes, StoredHead], StoredHead | None]
"""What becomes of a stored head: None, it leaves; the same or another one, it stays."""


class Swept(Protocol):
    """A store that can be gone through."""

    def keys(self) -> Iterable[bytes]:
        """The keys that are there now; those that leave meanwhile do no harm."""
        ...

    def sweep(self, key: bytes, check: Check) -> tuple[int, int]:
        """Do with everything under a key as the check says. Returns how many were looked at, how many left."""
        ...


def checked(ledger: Ledger) -> Check | None:
    """The check by what is applied now; None in a quarantine, when nobody knows."""
    if ledger.quarantined():
        return None
    now, floors = ledger.applied(), ledger.floors

    def check(key: bytes, head: StoredHead) -> StoredHead | None:
        as_of = head.as_of
        if as_of.epoch != now.epoch or floors.epoch != now.epoch:
            return None
        if as_of.number >= now.number:
            return head
        if max(floors.floor(key), floors.floor_of(key, head.sources)) > as_of.number:
            return None
        if max(floors.floor(key, soft=True), floors.floor_of(key, head.sources, soft=True)) > as_of.number:
            return head  # stale, until a validation says otherwise
        return replace(head, as_of=AsOf(now.epoch, now.number))

    return check


class Sweeper:
    """Sweeps one worker's store, as a task of its own; `close` ends it."""

    def __init__(
        self, ledger: Ledger, store: Swept, counters: Counters, interval: float, disk: DiskStore | None = None
    ) -> None:
        """`interval` seconds between two looks whether something is new."""
        self._ledger = ledger
        self._store = store
        self._disk = disk
        self._counters = counters
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sweep")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        swept: AsOf | None = None
        while True:
            await asyncio.sleep(self._interval)
            now = self._ledger.applied()
            if now != swept and await self.sweep():
                swept = now

    async def sweep(self) -> bool:
        """Go through the whole store once; False when a quarantine forbids it."""
        check = checked(self._ledger)
        if check is None:
            return False
        for place, key in enumerate(list(self._store.keys())):
            looked_at, left = self._store.sweep(key, check)
            self._counters.add(Counter.SWEPT, left)
            self._counters.add(Counter.CHECKED, looked_at - left)
            if place % STEP == STEP - 1:
                await asyncio.sleep(PAUSE)
        if self._disk is not None and self._ledger.epoch != NO_EPOCH:
            for shard in self._disk.shards:
                await self._sweep_disk(self._disk, shard, check)
        return True

    async def _sweep_disk(self, disk: DiskStore, shard: int, check: Check) -> None:
        def checked(record: Record) -> StoredHead | None:
            head = check(record.key, record.head)
            self._counters.add(Counter.SWEPT if head is None else Counter.CHECKED)
            return head

        after: int | None = 0
        while after is not None:
            after = await disk.sweep(shard, after, DISK_STEP, checked)
            await asyncio.sleep(DISK_PAUSE)
