"""The disk tier of one worker: stored responses that outlive the process, bounded in bytes.

Everything here is for the event loop's thread. Nothing waits for the disk but what is awaited, and that not longer than
a time-out; nothing raises because of the disk but `read`. Writes are ordered and return at once (queue.py, writing.py);
what is looked up sees all that was ordered before.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from xxhash import xxh3_64_intdigest

from edgeproxy.errors import Damaged, DiskFailed
from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.settings import Cache, KiB
from edgeproxy.store import browsing
from edgeproxy.store.carrying import Carrying
from edgeproxy.store.files import OpenFiles
from edgeproxy.store.filter import Filters, Uses
from edgeproxy.store.large import Body, DamagedPiece, Gone
from edgeproxy.store.layer import Layer
from edgeproxy.store.memory import Terms
from edgeproxy.store.orders import Begin, DropPiece, Finish, GiveUp, Order, Put, Rebuild, Refresh, Rehead, Remove, Write
from edgeproxy.store.pending import Pending
from edgeproxy.store.queue import Queue
from edgeproxy.store.reading import Reading
from edgeproxy.store.records import Record, VaryValues, shard_of, variant_of
from edgeproxy.store.shard import VARIANTS_READ, Found, Shape, Shard, small_slice
from edgeproxy.store.sizes import Sizes, piece_max
from edgeproxy.store.space import Promise, Space
from edgeproxy.store.tally import Tally
from edgeproxy.store.writer import AHEAD, DiskWriter
from edgeproxy.store.writing import Means, Outcome, Writing
from edgeproxy.telemetry.counters import Counter, Counters

FORMAT = "v1"
RECORD_SPACE = 1536
"""Disk space promised for a record beside its key and bytes."""

_log = logging.getLogger(__name__)

Target = Record | tuple[bytes, VaryValues]
"""A stored response: as it was found, or by its key and the values that its Vary names."""


class DiskStore:
    """What one worker keeps on disk."""

    def __init__(
        self,
        directory: Path,
        held: Sequence[int],
        settings: Cache,
        era: bytes,
        boot: str,
        counters: Counters,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        layer: Layer | None = None,
    ) -> None:
        """`held` are the numbers of the shards that are this worker's; `era` names the life of what is stored (another
        one than before: everything is unusable), `boot` the run of the system."""
        self._settings = settings
        self._counters = counters
        self._wall = wall
        self._seed = xxh3_64_intdigest(era)
        self._root = directory / FORMAT
        self._held = list(held)
        self._tally = Tally()
        self._files = OpenFiles(layer or Layer(), settings.disk_files_max)
        self._pending = Pending()
        sizes = Sizes.of(settings, len(held))
        self._queue = Queue(sizes.queue_max, settings.disk_orders_max)
        self._filters = Filters(held, sizes.filter_max)
        self._shape = Shape(era, boot, sizes.segment_max, sizes.log_max, sizes.pieces_max)
        self._space = Space(sizes.bound, sizes.margin, held)
        self._writing = Writing(held, self._means(wall, monotonic))
        self._reading = Reading(
            settings.disk_readers,
            settings.disk_timeout,
            settings.disk_check_interval,
            monotonic,
            self._tally,
            self._beyond_use,
        )
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def _means(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> Means:
        settings = self._settings
        return Means(
            queue=self._queue,
            carrying=Carrying(settings.disk_small_max, min(settings.variants_max, VARIANTS_READ), piece_max(settings)),
            space=self._space,
            tally=self._tally,
            open_shard=self._open_shard,
            wall=wall,
            monotonic=monotonic,
            tell=self._tell,
            root=str(self._root),
            segment_max=self._shape.segment_max,
            filter_max=self._filters.size_max,
            check_interval=settings.disk_check_interval,
            held_max=settings.disk_orders_max,
        )

    def _open_shard(self, number: int) -> Shard:
        folder = str(self._root / str(number))
        return Shard(number, folder, self._shape, self._files, Uses(0, self._filters.size_max), self._tally)

    # Life

    async def start(self) -> None:
        """Open the shards. What cannot be opened is tried again later; nothing is scanned before this returns."""
        self._loop = asyncio.get_running_loop()
        await self._reading.in_thread(self._writing.start)
        self._tick()

    async def close(self, deadline: float = 10) -> bool:
        """Write what waits, at most `deadline` seconds; whether that was done."""
        if self._loop is None:
            return True
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        done = await self._reading.in_thread(self._writing.stop, deadline)
        if not done:
            _log.warning("the disk store was not closed in time: what waited is lost")
        self._reading.close()
        self._files.close()
        self._pour()
        return done

    def _tick(self) -> None:
        """Every check interval."""
        assert self._loop is not None
        self._timer = self._loop.call_later(self._settings.disk_check_interval, self._tick)
        self._reading.listen_again()
        for number, shard in list(self._writing.shards.items()):
            if self._filters.due(number, shard.totals.objects) and not self._queue.full():
                self._filters.begin(number)
                self._order(Rebuild(b"", 0, number))
        self._pour()

    def _pour(self) -> None:
        """Bring the counters up to date."""
        counters = self._counters
        self._tally.pour(counters)
        counters.put(Counter.DISK_OFF, int(self._writing.off))
        counters.put(Counter.DISK_BYTES, self._space.used())
        counters.put(Counter.DISK_BOUND, self._space.bound)
        counters.put(Counter.DISK_OBJECTS, sum(shard.totals.objects for shard in list(self._writing.shards.values())))
        counters.put(Counter.DISK_QUEUED, self._queue.weight)

    def stats(self) -> browsing.Stats:
        """How full it is now."""
        shards = {
            number: (shard.totals.objects, self._space.used_by(number))
            for number, shard in list(self._writing.shards.items())
        }
        objects = sum(count for count, _ in shards.values())
        return browsing.Stats(self._space.bound, self._space.used(), objects, self._writing.off, shards)

    # Looking

    def may_hold(self, key: bytes) -> bool:
        """False when nothing is stored under a key; no I/O."""
        return self._filters.may_hold(*self._where(key))

    async def find(self, key: bytes, now: float) -> list[Record]:
        """Everything stored under a key, the most recently stored last. What is past its time, damaged, or not to be
        had in time is not there."""
        number, hash = self._where(key)
        blind = self._closed or self._reading.resting or number in self._writing.blind
        if blind or not self._filters.may_hold(number, hash):
            return []
        try:
            async with asyncio.timeout(self._settings.disk_timeout):
                found = await self._look_up(number, hash, key, now)
        except TimeoutError:
            self._reading.was_slow()
            return []
        for id, row, damaged in found.spoilt:
            self._order(GiveUp(key, hash, number, id, row, damaged))
            if damaged:
                self._reading.say("damaged", "a stored response was found damaged, and removed")
        if self._pending.dropped(key) or number in self._writing.blind:
            return []
        self._counters.add(Counter.DISK_FOUND if found.records else Counter.DISK_NOT_FOUND)
        if found.records:
            self._use(number, hash)
        return found.records

    async def _look_up(self, number: int, hash: int, key: bytes, now: float) -> Found:
        while key in self._pending:
            if self._writing.off or self._pending.dropped(key):
                return Found()
            self._queue.hurry()
            await self._pending.wait(key)
        return await self._reading.find(self._writing.shards.get(number), hash, key, now)

    async def read(self, record: Record, first: int, end: int) -> bytes:
        """Checked bytes from `first` to at most `end`, the end of the interval, or 1 MiB; at least one.

        Raises Damaged when they are not there any more, or not as they were written (they have been given up then), and
        DiskFailed when the disk does not answer.
        """
        if not record.where.file:
            data = small_slice(record, first, end)
            if not data:
                raise Damaged("no such bytes are stored")
            return data
        shard = self._writing.shards.get(record.shard)
        if shard is None or self._closed or record.shard in self._writing.blind:
            raise DiskFailed("the disk store is off")
        try:
            body = shard.bodies.get(record.where.file) or await self._reading.body_of(shard, record)
            return await self.read_body(record.shard, record.key, body, first, end)
        except Gone:
            shard.bodies.forget(record.where.file)
            number, hash = self._where(record.key)
            self._order(GiveUp(record.key, hash, number, record.id, record.row, True))
            raise

    async def read_body(self, shard: int, key: bytes, body: Body, first: int, end: int) -> bytes:
        """As `read`, of a large body."""
        try:
            data = await self._reading.bytes_of(body, first, end)
        except DamagedPiece as damaged:
            if not body.gone:
                body.pieces.drop(damaged.piece)
                self._order(DropPiece(key, self._where(key)[1], shard, body.file, damaged.piece))
                self._reading.say("damaged", "a piece of a stored body was found damaged, and removed")
            raise
        if not data:
            raise Damaged("no such bytes are stored")
        return data

    def touch(self, key: bytes) -> None:
        """What is stored under a key is in use, though nobody reads it from disk."""
        self._use(*self._where(key))

    def _use(self, number: int, hash: int) -> None:
        shard = self._writing.shards.get(number)
        if shard is not None:
            shard.uses.add(hash)

    async def settled(self) -> bool:
        """Wait until what was ordered so far is carried out; False when the disk takes too long for that, or is off."""
        hurry, off = self._queue.hurry, lambda: self._writing.off
        return await self._pending.settled(self._settings.disk_timeout, hurry, off)

    async def entries(self, pattern: str | None, limit: int, after: str | None = None) -> browsing.Page:
        """Stored responses whose keys fit a glob, a page at a time. Raises ValueError for an `after` that is none."""
        shards = dict(self._writing.shards)
        try:
            return await self._reading.in_thread(browsing.page, shards, pattern, limit, after)
        except sqlite3.Error:
            return browsing.Page([], None)

    async def sweep(
        self, shard: int, after: int, limit: int, check: Callable[[Record], StoredHead | None]
    ) -> int | None:
        """Judge the next `limit` records of a shard, beginning with 0: `check` says under which head each is to be
        kept, None for not at all. Returns where to go on, None at the end."""
        there = self._writing.shards.get(shard)
        if there is None:
            return None
        try:
            records, position = await self._reading.in_thread(browsing.records, there, after, limit)
        except sqlite3.Error:
            return None
        for record in records:
            head = check(record)
            _, hash = self._where(record.key)
            if head is None:
                self._order(Remove(record.key, hash, shard, row=record.row))
            elif head != record.head:
                self._order(Rehead(record.key, hash, shard, record.row, head))
        return position

    @property
    def shards(self) -> list[int]:
        """The numbers of the shards held."""
        return self._held

    # Storing

    def put(
        self, key: bytes, head: StoredHead, trailers: Headers, terms: Terms,
        first: int, blocks: Sequence[bytes], length: int,
    ) -> None:  # fmt: skip
        """Store a response whose bytes are in memory: all `length` of them, or those from `first` on.

        It replaces the response with the same Vary values, also when it cannot be stored itself.
        """
        number, hash = self._where(key)
        known = self._filters.may_hold(number, hash)
        size = sum(map(len, blocks))
        space = size + len(key) + RECORD_SPACE
        refused = self._refusal(space)
        if refused is None and not self._space.promise(space):
            refused = Counter.DISK_REFUSED_SPACE
        if refused is not None:
            self._counters.add(refused)
            if known:
                self._order(Remove(key, hash, number, variant_of(head.vary)))
            return
        self._space.claim(space)
        self._filters.add(number, hash)
        self._order(
            Put(key, hash, number, head, trailers, terms, first, tuple(blocks), length, space, space, fresh=not known)
        )

    def _refusal(self, weight: int) -> Counter | None:
        if self._writing.off or self._closed or self._loop is None:
            return Counter.DISK_REFUSED_FAILED
        return None if self._queue.room_for(weight) else Counter.DISK_REFUSED_QUEUE

    def begin(self, key: bytes, head: StoredHead, terms: Terms, length: int | None) -> DiskWriter | None:
        """A writer for a body of `length` bytes (None: unknown); None when it cannot be stored now."""
        wanted = AHEAD if length is None else length + length // 4096 + 64 * KiB
        return self._writer(key, head, terms, length, wanted, None)

    def extend(self, record: Record, head: StoredHead, terms: Terms) -> DiskWriter | None:
        """A writer for further bytes of a stored body, which its head says are of the same strong validator."""
        return self._writer(record.key, head, terms, record.length, AHEAD, record)

    def _writer(
        self, key: bytes, head: StoredHead, terms: Terms, length: int | None, wanted: int, extends: Record | None
    ) -> DiskWriter | None:
        number, hash = self._where(key)
        refused = self._refusal(0)
        promise = Promise(self._space)
        if refused is None and not promise.grow(wanted):
            refused = Counter.DISK_REFUSED_SPACE
        if refused is not None:
            self._counters.add(refused)
            return None
        writer = DiskWriter(self, key, hash, number, head, terms, length, promise, extends=extends is not None)
        self._filters.add(number, hash)
        self._order(Begin(key, hash, number, writer, extends))
        return writer

    def refresh(self, target: Target, head: StoredHead, terms: Terms) -> None:
        """A newer head for the same bytes."""
        key = target.key if isinstance(target, Record) else target[0]
        number, hash = self._where(key)
        if self._filters.may_hold(number, hash):
            where = target.where if isinstance(target, Record) else None
            self._order(Refresh(key, hash, number, head, terms, where))

    def remove(self, target: Target) -> None:
        """Forget one response: a record if it is still there as it was, or one by its Vary values."""
        if isinstance(target, Record):
            number, hash = self._where(target.key)
            self._order(Remove(target.key, hash, number, row=target.row))
            return
        number, hash = self._where(target[0])
        if self._filters.may_hold(number, hash):
            self._order(Remove(target[0], hash, number, variant_of(target[1])))

    def drop(self, key: bytes) -> None:
        """Forget everything under a key."""
        number, hash = self._where(key)
        if self._filters.may_hold(number, hash):
            self._order(Remove(key, hash, number))

    # Orders

    def take(self, order: Write | Finish) -> bool:
        """Orders of a DiskWriter."""
        if isinstance(order, Write) and self._refusal(len(order.data)) is not None:
            self._counters.add(Counter.DISK_REFUSED_QUEUE)
            return False
        self._order(order)
        return True

    async def finished(self, order: Finish) -> Record | None:
        """What a commit has come to."""
        order.done = asyncio.get_running_loop().create_future()
        self._queue.hurry()
        try:
            async with asyncio.timeout(self._settings.disk_timeout):
                return await order.done
        except TimeoutError:
            self._reading.was_slow()
            return None

    def crowded(self) -> bool:
        """Whether so much waits for the disk that nobody should add to it."""
        return self._queue.crowded()

    def hurry(self) -> None:
        """Somebody waits for what was ordered."""
        self._queue.hurry()

    def _order(self, order: Order) -> None:
        if self._closed:
            self._pending.ordered(order)
            self._pending.held(order)
            return
        if self._queue.full() and not isinstance(order, Finish):
            if isinstance(order, (Remove, Refresh)):
                self._writing.flood(order.shard)
            return
        self._pending.ordered(order)
        self._queue.give(order)

    def _where(self, key: bytes) -> tuple[int, int]:
        return shard_of(key, self._settings.disk_shards), xxh3_64_intdigest(key, self._seed)

    # What the writer's thread tells

    def _tell(self, outcome: Outcome) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._told, outcome)
        except RuntimeError:
            return  # the loop has ended before the thread

    def _told(self, outcome: Outcome) -> None:
        for order in outcome.done:
            self._pending.done(order)
        for order in outcome.held:
            self._pending.held(order)
        if outcome.rebuilt is not None:
            self._filters.install(*outcome.rebuilt)

    def _beyond_use(self, number: int) -> None:
        self._writing.flood(number)
        self._queue.hurry()
