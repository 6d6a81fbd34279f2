"""One page of shared memory for what every worker of a node must see at once.

Layout, native byte order: eight signed 64-bit words, the generations and the editions (unsigned 32-bit), then one row
of counters per worker. The parent makes it before the first worker is forked; anonymous memory, so it ends with the
node.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

from xxhash import xxh3_64_intdigest

from edgeproxy.telemetry.counters import ROW, Counter, Counters, total

BUCKETS = 1 << 18
"""Of generations and of editions. Resources that share one lose what is stored together; with this many that is rare,
and only costs a miss."""


class _Word(IntEnum):
    APPLIED = 0
    CLOCK_OFFSET = 1
    DRAINING = 3
    READY_WORKERS = 4
    DRAINED = 5
    BEHIND = 6
    WORDS = 8


class SharedPage:
    """What the workers of one node share. Single words are written whole, so readers need no lock."""

    def __init__(self, workers: int) -> None:
        generations_at = 8 * _Word.WORDS
        editions_at = generations_at + 4 * BUCKETS
        rows_at = editions_at + 4 * BUCKETS
        self._memory = mmap.mmap(-1, rows_at + 8 * ROW * workers)
        view = memoryview(self._memory)
        self._words = view[:generations_at].cast("q")
        self._generations = view[generations_at:editions_at].cast("I")
        self._editions = view[editions_at:rows_at].cast("I")
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
    def drained(self) -> bool:
        """Whether the operator wants no new viewers sent here. Those that come all the same are served."""
        return bool(self._words[_Word.DRAINED])

    @drained.setter
    def drained(self, value: bool) -> None:
        self._words[_Word.DRAINED] = int(value)

    @property
    def behind(self) -> bool:
        """Whether the node has yet to learn from the control plane what to serve."""
        return bool(self._words[_Word.BEHIND])

    @behind.setter
    def behind(self, value: bool) -> None:
        self._words[_Word.BEHIND] = int(value)

    @property
    def ready_workers(self) -> int:
        """How many workers accept connections. The parent writes it."""
        return self._words[_Word.READY_WORKERS]

    @ready_workers.setter
    def ready_workers(self, value: int) -> None:
        self._words[_Word.READY_WORKERS] = value

    def generation(self, resource: bytes) -> int:
        """How often a resource, or one that shares its bucket, was changed by an unsafe method."""
        return self._generations[_bucket(resource)]

    def next_generation(self, resource: bytes) -> None:
        """What is stored for this resource, in any worker, is unusable from now on (RFC 9111 section 4.4).

        Two workers at once may count as one: what was stored before either is unusable all the same.
        """
        self._generations[_bucket(resource)] = self.generation(resource) + 1 & 0xFFFFFFFF

    def edition(self, key: bytes) -> int:
        """How often the owner of a key, or of one that shares its bucket, got something new from upstream for it.

        What other workers hold under the key is of use only at the edition that the owner gave it out at: together they
        are one cache, which uses the most recent of its responses (RFC 9111 section 4).
        """
        return self._editions[_bucket(key)]

    def next_edition(self, key: bytes) -> int:
        """The owner has got something new; only it may say so. Returns the new edition.

        Keys that share a bucket have one owner, shards being a power of two: nobody else writes here at the same time.
        """
        edition = self.edition(key) + 1 & 0xFFFFFFFF
        self._editions[_bucket(key)] = edition
        return edition

    def total(self, counter: Counter) -> int:
        """A counter summed over the workers."""
        return total(self.rows, counter)


def _bucket(name: bytes) -> int:
    return xxh3_64_intdigest(name) % BUCKETS


def owner_of(key: bytes, shards: int, workers: int) -> int:
    """Which worker owns a key: its shard is a hash of the key, and worker n of w holds every w-th shard."""
    return (xxh3_64_intdigest(key) % shards) % workers
