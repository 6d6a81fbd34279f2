"""One page of shared memory for what every worker of a node must see at once.

Two parts. In anonymous memory, which ends with the node: eight signed 64-bit words and one row of counters per worker.
In a file, so that what is on disk stays unusable after a restart when it was before: a head, the generations and the
editions (unsigned 32-bit), all in native byte order. The parent makes both before the first worker is forked.

The file is mapped shared: what a process wrote there is in the system's hands at once, and survives its being killed.
It does not survive a crash of the machine. So a file that was not closed in good order and is of another boot is not
believed: a new era begins, in which nothing is of use that was stored in an earlier one.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path

from xxhash import xxh3_64_intdigest

from edgeproxy.telemetry.counters import ROW, Counter, Counters, total

BUCKETS = 1 << 18
"""Of generations and of editions. Resources that share one lose what is stored together; with this many that is rare,
and only costs a miss."""

_HEAD = struct.Struct("=8sIIB16s64s")
"""Magic, layout, buckets, whether it was closed in good order, era, boot."""
_HEAD_BYTES = 128
_MAGIC = b"edgepage"
_LAYOUT = 1


NUMBER_BITS = 40
"""Of the word that says what is applied: the lower ones are the number, those above count turns."""


class _Word(IntEnum):
    STANDING = 0
    CLOCK_OFFSET = 1
    LEASE_UNTIL = 2
    DRAINING = 3
    READY_WORKERS = 4
    DRAINED = 5
    BEHIND = 6
    WORDS = 8


class SharedPage:
    """What the workers of one node share. Single words are written whole, so readers need no lock."""

    def __init__(
        self,
        workers: int,
        path: Path | None = None,
        boot: bytes = b"",
        random_bytes: Callable[[int], bytes] = bytes,
    ) -> None:
        """`path`: the file, made when it is not there; None for one that ends with the node. `boot` names the time
        since the machine started, `random_bytes` a new era. Raises OSError."""
        rows_at = 8 * _Word.WORDS
        view = memoryview(mmap.mmap(-1, rows_at + 8 * ROW * workers))
        self._words = view[:rows_at].cast("q")
        rows = view[rows_at:].cast("q")
        self.rows = [Counters(rows[ROW * worker : ROW * (worker + 1)]) for worker in range(workers)]
        self.boot = boot.strip().hex()
        """Names the time since the machine started."""
        self._boot = boot.strip()[:64].ljust(64, b"\0")
        self._file = _opened(path)
        weakref.finalize(self, os.close, self._file)
        self._memory = mmap.mmap(self._file, _HEAD_BYTES + 8 * BUCKETS)
        self.era = self._era(random_bytes)
        """Names the time in which generations and editions have not been forgotten."""
        kept = memoryview(self._memory)[_HEAD_BYTES:]
        self.generations = kept[: 4 * BUCKETS].cast("I")
        self.editions = kept[4 * BUCKETS :].cast("I")
        """By bucket, for the hit lane, which looks at one of each for every request; `bucket` says where."""
        self.standings = self._words[_Word.STANDING : _Word.STANDING + 1]
        self.leases = self._words[_Word.LEASE_UNTIL : _Word.LEASE_UNTIL + 1]
        """`standing`, and whether there is a lease, for the same reason."""

    def _era(self, random_bytes: Callable[[int], bytes]) -> bytes:
        magic, layout, buckets, clean, era, boot = _HEAD.unpack_from(self._memory)
        ours = (magic, layout, buckets) == (_MAGIC, _LAYOUT, BUCKETS)
        if not ours or not (clean or boot == self._boot):
            era = random_bytes(16)
            self._memory[_HEAD_BYTES:] = bytes(8 * BUCKETS)
        self._write_head(era, clean=False)
        return bytes(era)

    def _write_head(self, era: bytes, *, clean: bool) -> None:
        _HEAD.pack_into(self._memory, 0, _MAGIC, _LAYOUT, BUCKETS, clean, era, self._boot)

    def close(self) -> None:
        """In good order, after all workers have ended. Whatever cannot be written begins a new era next time."""
        with contextlib.suppress(OSError):
            self._memory.flush()
            self._write_head(self.era, clean=True)
            self._memory.flush()

    @property
    def standing(self) -> int:
        """What counts of invalidations, in one word: whoever finds it as it was has missed nothing.

        The turn counts the beginnings and ends of quarantines; while it is odd the node is in one, and nothing that is
        stored is used. The number is that of the last invalidation that is visible to all workers.
        """
        return self._words[_Word.STANDING]

    @property
    def applied(self) -> int:
        """The highest invalidation number that is visible to all workers."""
        return self._words[_Word.STANDING] & (1 << NUMBER_BITS) - 1

    @property
    def quarantined(self) -> bool:
        """Whether nothing that is stored may be used."""
        return bool(self._words[_Word.STANDING] >> NUMBER_BITS & 1)

    def stand(self, number: int, *, quarantined: bool) -> None:
        """Say what counts from now on. Only the parent does, or whoever stands in for it."""
        turn = self._words[_Word.STANDING] >> NUMBER_BITS
        turn += (turn & 1) != quarantined
        self._words[_Word.STANDING] = turn << NUMBER_BITS | number

    @property
    def lease_until(self) -> float:
        """When the node's lease ends, on the boot-time clock; 0: it has none and needs none."""
        return self._words[_Word.LEASE_UNTIL] / 1e9

    @lease_until.setter
    def lease_until(self, value: float) -> None:
        self._words[_Word.LEASE_UNTIL] = round(value * 1e9)

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

    def bucket(self, name: bytes) -> int:
        """Where the generation of a resource, or the edition of a key, stands."""
        return _bucket(name)

    def generation(self, resource: bytes) -> int:
        """How often a resource, or one that shares its bucket, was changed by an unsafe method."""
        return self.generations[_bucket(resource)]

    def next_generation(self, resource: bytes) -> None:
        """What is stored for this resource, in any worker, is unusable from now on (RFC 9111 section 4.4).

        Each change has a number of its own: what is stored between two of them must not outlive the second.
        """
        bucket = _bucket(resource)
        with self._locked():
            self.generations[bucket] = self.generations[bucket] + 1 & 0xFFFFFFFF

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """No other process changes a generation meanwhile. It takes microseconds, and a process that dies lets go."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1)

    def edition(self, key: bytes) -> int:
        """How often the owner of a key, or of one that shares its bucket, got something new from upstream for it.

        What other workers hold under the key is of use only at the edition that the owner gave it out at: together they
        are one cache, which uses the most recent of its responses (RFC 9111 section 4).
        """
        return self.editions[_bucket(key)]

    def next_edition(self, key: bytes) -> int:
        """The owner has got something new; only it may say so. Returns the new edition.

        Keys that share a bucket have one owner, shards being a power of two: nobody else writes here at the same time.
        """
        edition = self.edition(key) + 1 & 0xFFFFFFFF
        self.editions[_bucket(key)] = edition
        return edition

    def total(self, counter: Counter) -> int:
        """A counter summed over the workers."""
        return total(self.rows, counter)


def _opened(path: Path | None) -> int:
    """The file, as long as it must be: what is not there yet is zeros. It stays open as long as the page lives."""
    if path is None:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    else:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if path is not None and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, _HEAD_BYTES + 8 * BUCKETS)  # a mapped hole on a full disk would be fatal
    else:
        os.ftruncate(descriptor, _HEAD_BYTES + 8 * BUCKETS)
    return descriptor


def _bucket(name: bytes) -> int:
    return xxh3_64_intdigest(name) % BUCKETS


def owner_of(key: bytes, shards: int, workers: int) -> int:
    """Which worker owns a key: its shard is a hash of the key, and worker n of w holds every w-th shard."""
    return (xxh3_64_intdigest(key) % shards) % workers
