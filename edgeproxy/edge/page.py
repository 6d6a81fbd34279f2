"""One page of shared memory for what every worker of a node must see at once.

Layout, native byte order: eight signed 64-bit words, the generations (unsigned 32-bit), then one row of counters per
worker. The parent makes it before the first worker is forked; anonymous memory, so it ends with the node.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

from xxhash import xxh3_64_intdigest

from edgeproxy.telemetry.counters import ROW, Counter, Counters, total

BUCKETS = 1 << 18
"""Generation buckets. Paths that share one are dropped together; with this many that is rare, and only costs a miss."""


class _Word(IntEnum):
    APPLIED = 0
    CLOCK_OFFSET = 1
    RELOADS = 2
    DRAINING = 3
    READY_WORKERS = 4
    WORDS = 8


class SharedPage:
    """What the workers of one node share. Single words are written whole, so readers need no lock."""

    def __init__(self, workers: int) -> None:
        generations_at = 8 * _Word.WORDS
        rows_at = generations_at + 4 * BUCKETS
        self._memory = mmap.mmap(-1, rows_at + 8 * ROW * workers)
        view = memoryview(self._memory)
        self._words = view[:generations_at].cast("q")
        self._generations = view[generations_at:rows_at].cast("I")
        rows = view[rows_at:].cast("q")
        self.rows = [Counters(rows[ROW * worker : ROW * (worker + 1)]) for worker in range(workers)]

    @property
    def applied(self) -> int:
        """The highest invalidation number that is durable here and visible to all workers."""
        return self._words[_Word.APPLIED]

    @property
    def clock_offset(self) -> float:
        """Seconds the test clock is ahead of the real one; 0 in production."""
        return self._words[_Word.CLOCK_OFFSET] / 1e9

    def advance_clock(self, seconds: float) -> None:
        """Move the test clock for every worker at once."""
        self._words[_Word.CLOCK_OFFSET] += round(seconds * 1e9)

    @property
    def draining(self) -> bool:
        """Whether the node has begun to drain: it is not ready any more."""
        return bool(self._words[_Word.DRAINING])

    @draining.setter
    def draining(self, value: bool) -> None:
        self._words[_Word.DRAINING] = int(value)

    @property
    def ready_workers(self) -> int:
        """How many workers accept connections. The parent writes it."""
        return self._words[_Word.READY_WORKERS]

    @ready_workers.setter
    def ready_workers(self, value: int) -> None:
        self._words[_Word.READY_WORKERS] = value

    def generation(self, distribution: str, path: bytes) -> int:
        """How often something was changed by an unsafe method at this path, or at one that shares its bucket."""
        return self._generations[_bucket(distribution, path)]

    def next_generation(self, distribution: str, path: bytes) -> None:
        """What is stored for this path, in any worker, is unusable from now on (RFC 9111 section 4.4).

        Two workers at once may count as one: what was stored before either is unusable all the same.
        """
        bucket = _bucket(distribution, path)
        self._generations[bucket] = (self._generations[bucket] + 1) & 0xFFFFFFFF

    def total(self, counter: Counter) -> int:
        """A counter summed over the workers."""
        return total(self.rows, counter)


def _bucket(distribution: str, path: bytes) -> int:
    return xxh3_64_intdigest(distribution.encode() + b"\0" + path) % BUCKETS


def owner_of(key: bytes, shards: int, workers: int) -> int:
    """Which worker owns a key: its shard is a hash of the key, and worker n of w holds every w-th shard."""
    return (xxh3_64_intdigest(key) % shards) % workers
