"""How a worker reads from its disk: in a few threads, never waiting for long, never raising but where it says so.

A lookup in the index takes 4 µs when its pages are in memory, and 38 µs through a thread (measured). It goes through a
thread all the same: SQLite cannot be asked to fail rather than wait for a disk. Bytes of large bodies can, with
`preadv(RWF_NOWAIT)`: those that are in memory are read and checked on the loop, in 60 µs a MiB.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgeproxy.errors import Damaged, DiskFailed
from edgeproxy.store.index import is_beyond_use
from edgeproxy.store.large import Body, Gone
from edgeproxy.store.records import Record
from edgeproxy.store.shard import Found, Shard
from edgeproxy.store.tally import Tally
from edgeproxy.telemetry.counters import Counter

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Reading:
    """The threads that read. `find`, `body_of` and `bytes_of` are for the event loop."""

    def __init__(
        self,
        threads: int,
        timeout: float,
        rest: float,
        monotonic: Callable[[], float],
        tally: Tally,
        beyond_use: Callable[[int], None],
    ) -> None:
        """`rest`: seconds for which nothing is looked for after the disk took longer than `timeout`; `beyond_use` is
        told of a shard whose index turned out broken."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="edgeproxy-disk-reader")
        self._timeout = timeout
        self._rest = rest
        self._rest_until = float("-inf")
        self._monotonic = monotonic
        self._tally = tally
        self._beyond_use = beyond_use
        self._said: set[str] = set()

    @property
    def resting(self) -> bool:
        """The disk was too slow a moment ago: look for nothing."""
        return self._monotonic() < self._rest_until

    async def in_thread(self, work: Callable[..., Result], *values: object) -> Result:
        """What `work` returns; without a time-out of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *values)

    async def within_timeout(self, work: Callable[..., Result], *values: object) -> Result:
        """As `in_thread`. Raises DiskFailed when that takes too long."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self.in_thread(work, *values)
        except TimeoutError:
            self.was_slow()
            raise DiskFailed("the disk does not answer") from None

    def was_slow(self) -> None:
        """Somebody has waited for the disk in vain."""
        self._tally.add(Counter.DISK_SLOW)
        self._rest_until = self._monotonic() + self._rest
        self.say("slow", "the disk of the store does not answer in time")

    async def find(self, shard: Shard | None, hash: int, key: bytes, now: float) -> Found:
        """What is stored under a key; nothing when it cannot be read. Raises no more than cancellation."""
        return Found() if shard is None else await self.in_thread(self._find, shard, hash, key, now)

    def _find(self, shard: Shard, hash: int, key: bytes, now: float) -> Found:
        try:
            return shard.find(hash, key, now)
        except sqlite3.ProgrammingError:
            return Found()  # closed, or beginning anew, meanwhile
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and is_beyond_use(error):
                self._beyond_use(shard.number)
            self._failed(error)
            return Found()

    async def body_of(self, shard: Shard, record: Record) -> Body:
        """A large body, its log read. Raises Gone and DiskFailed."""
        try:
            return await self.within_timeout(shard.body, record)
        except (Damaged, FileNotFoundError):
            raise Gone("a stored body is gone") from None
        except OSError as error:
            self._failed(error)
            raise DiskFailed(f"the disk cannot be read: {error.strerror}") from None

    async def bytes_of(self, body: Body, first: int, end: int) -> bytes:
        """As Body.read, on the loop if memory has the bytes. Raises Damaged and DiskFailed."""
        try:
            data = body.read_now(first, end)
            return await self.within_timeout(body.read, first, end) if data is None else data
        except FileNotFoundError:
            raise Gone("a stored body is gone") from None
        except OSError as error:
            self._failed(error)
            raise DiskFailed(f"the disk cannot be read: {error.strerror}") from None

    def _failed(self, error: Exception) -> None:
        self._tally.add(Counter.DISK_FAILURES_READ)
        self.say("read", f"the disk store cannot be read: {error}")

    def say(self, what: str, sentence: str) -> None:
        """Log a line, once for each kind of trouble until `listen_again`."""
        if what not in self._said:
            self._said.add(what)
            _log.warning("%s", sentence)

    def listen_again(self) -> None:
        """What is logged from now on is news."""
        self._said.clear()

    def close(self) -> None:
        """Nobody reads any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
