"""What the writer's thread does beside its orders, one bounded step at a time: sweeping files and records, and filling
filters. A fault of the disk ends the one that met it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping

from edgeproxy.store import leaving
from edgeproxy.store.filter import Filter, Uses
from edgeproxy.store.shard import Shard

SWEEP_STEPS = 40
"""Steps of looking for what is past its time, each check interval: 10,000 records take 30 ms."""


class Chores:
    """Work in steps. `rebuilt` is told of each filter, None when nothing came of it; `fault` of what went wrong."""

    def __init__(
        self,
        shards: Mapping[int, Shard],
        wall: Callable[[], float],
        filter_max: int,
        rebuilt: Callable[[int, Filter | None], None],
        fault: Callable[[Exception, Shard], None],
    ) -> None:
        self._shards = shards
        self._wall = wall
        self._filter_max = filter_max
        self._rebuilt = rebuilt
        self._fault = fault
        self._queue: list[Iterator[None]] = []
        self._rebuilding: set[int] = set()
        self._expired = self._look_for_expired()

    @property
    def waiting(self) -> bool:
        """Whether there is something to do."""
        return bool(self._queue)

    def step(self) -> None:
        """Do some of it."""
        if self._queue:
            try:
                next(self._queue[0])
            except StopIteration:
                del self._queue[0]

    def forget(self) -> None:
        """Give everything up: the shards are closed."""
        self._queue.clear()
        self._expired = self._look_for_expired()
        for number in self._rebuilding:
            self._rebuilt(number, None)
        self._rebuilding.clear()

    def sweep_files(self, shard: Shard) -> None:
        """Look for files that belong to nothing."""
        self._queue.append(self._guarded(shard, leaving.sweep_files(shard)))

    def look_for_expired(self) -> None:
        """Go on through all records, over and over."""
        for _ in range(SWEEP_STEPS):
            next(self._expired)

    def _look_for_expired(self) -> Iterator[None]:
        while True:
            for shard in list(self._shards.values()):
                yield from self._guarded(shard, leaving.sweep_records(shard, self._wall()))
            yield

    def _guarded(self, shard: Shard, steps: Iterator[None]) -> Iterator[None]:
        try:
            yield from steps
        except (OSError, sqlite3.Error) as error:
            self._fault(error, shard)

    def rebuild_filter(self, shard: Shard) -> None:
        """Make a shard's tables by hash anew."""
        self._rebuilding.add(shard.number)
        self._queue.append(self._rebuild(shard))

    def _rebuild(self, shard: Shard) -> Iterator[None]:
        filter = Filter(2 * shard.totals.objects, self._filter_max)
        if not shard.uses.fits(shard.totals.objects):
            shard.uses = Uses(2 * shard.totals.objects, self._filter_max)
        try:
            yield from leaving.fill_filter(shard, filter)
        except (OSError, sqlite3.Error) as error:
            self._fault(error, shard)
            self._rebuilt(shard.number, None)
        else:
            self._rebuilt(shard.number, filter)
        self._rebuilding.discard(shard.number)
