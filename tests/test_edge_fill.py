"""A body on its way into the store: its readers, its ends, and what becomes of it when nobody reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edgeproxy.edge.fill import Fill, FillReader, Windows
from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Headers
from edgeproxy.store.deposit import Deposit
from edgeproxy.store.memory import MemoryStore, Terms
from edgeproxy.telemetry.counters import Counter, Counters
from tests.messages import NOW, stored
from tests.wire import PATIENCE, until

HEAD = stored("Cache-Control: max-age=60")
WINDOW = 64 * 1024
BLOCK = b"x" * (50 * 1024)


class Source:
    """A body that comes as the test gives it."""

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self.trailers = Headers()
        self.closed = False
        self.taken = 0
        self._queue: asyncio.Queue[bytes | BodyAborted] = asyncio.Queue()

    def give(self, *blocks: bytes | BodyAborted) -> None:
        """More of it; b"" is its end."""
        for block in blocks:
            self._queue.put_nowait(block)

    async def read(self) -> bytes:
        block = await self._queue.get()
        self.taken += 1
        if isinstance(block, BodyAborted):
            raise block
        return block

    def close(self) -> None:
        self.closed = True


class Filling:
    """A fill, its source and its store."""

    def __init__(self, length: int | None, object_max: int, awaited: Callable[[], bool]) -> None:
        self.source = Source(length)
        self.counters = Counters()
        self.store = MemoryStore(10_000_000, object_max, 4, self.counters)
        writer = self.store.begin(b"k", None)
        assert writer is not None
        self.writer = writer
        self.windows = Windows(WINDOW, WINDOW)
        self.fill = Fill(HEAD, self.source, Deposit(writer), self.windows, self.counters, awaited)
        self.stopped_at = 0

    async def whole(self, trailers: Headers) -> None:
        self.writer.commit(HEAD, trailers, Terms(NOW + 60, 0))

    async def begun(self, received: int) -> None:
        self.stopped_at = received

    def kept(self) -> bytes | None:
        """The stored body."""
        found = self.store.find(b"k", NOW)
        return b"".join(found[0].blocks) if found else None


@asynccontextmanager
async def filling(
    *, length: int | None = None, object_max: int = 10_000, finish_remaining: int = 0, awaited: bool = False
) -> AsyncIterator[tuple[Filling, asyncio.Task[None]]]:
    made = Filling(length, object_max, lambda: awaited)
    task = asyncio.create_task(made.fill.pump(made, finish_remaining))
    try:
        async with asyncio.timeout(PATIENCE):
            yield made, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_of(reader: FillReader) -> bytes:
    blocks = []
    while block := await reader.read():
        blocks.append(block)
    return b"".join(blocks)


async def test_every_reader_gets_all_of_it_whenever_it_came() -> None:
    async with filling(length=6) as (made, task):
        early = made.fill.reader()
        made.source.give(b"abc")
        assert await early.read() == b"abc"
        late = made.fill.reader()
        made.source.give(b"def", b"")
        assert await all_of(late) == b"abcdef"
        assert await all_of(early) == b"def"
        await task
        assert (made.kept(), early.length, made.source.closed) == (b"abcdef", 0, True)


async def test_a_reader_of_a_part_gets_that_and_waits_no_longer() -> None:
    async with filling(length=10) as (made, _):
        reader = made.fill.reader(2, 4)
        made.source.give(b"0123", b"45")
        assert reader.length == 4
        assert await all_of(reader) == b"2345"
        assert reader.length == 0


async def test_trailers_are_for_readers_of_the_whole() -> None:
    async with filling() as (made, task):
        whole, part = made.fill.reader(), made.fill.reader(0, 1)
        made.source.trailers = Headers([(b"X", b"1")])
        made.source.give(b"ab", b"")
        assert (await all_of(whole), await all_of(part)) == (b"ab", b"a")
        await task
        assert (len(whole.trailers), len(part.trailers)) == (1, 0)


async def test_a_body_that_is_cut_is_cut_for_all_and_not_kept() -> None:
    async with filling(length=6) as (made, task):
        readers = [made.fill.reader(), made.fill.reader()]
        made.source.give(b"abc", BodyAborted("cut"))
        await task
        for reader in readers:
            assert await reader.read() == b"abc"
            try:
                await reader.read()
            except BodyAborted:
                continue
            raise AssertionError("a body that was cut looked whole")
        assert made.kept() is None
        assert (made.counters[Counter.FILLS_FAILED], made.counters[Counter.READERS_CUT]) == (1, 2)


async def test_what_nobody_reads_is_stopped_at_once() -> None:
    async with filling(length=1000) as (made, task):
        reader = made.fill.reader()
        made.source.give(b"abc")
        assert await reader.read() == b"abc"
        reader.close()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not made.fill.joinable
        assert (made.kept(), made.source.closed, made.counters[Counter.FILLS_STOPPED]) == (None, True, 1)
        assert made.stopped_at == 3, "what came may be kept as a part"


async def test_what_is_nearly_there_is_finished() -> None:
    async with filling(length=3, finish_remaining=100) as (made, task):
        made.fill.reader().close()
        made.source.give(b"abc", b"")
        await task
        assert made.kept() == b"abc"


async def test_what_is_wanted_for_others_is_finished() -> None:
    async with filling(length=1000) as (made, task):
        made.fill.keep()
        made.fill.reader().close()
        made.source.give(b"x" * 1000, b"")
        await task
        assert made.kept() == b"x" * 1000


async def test_what_somebody_is_about_to_read_goes_on() -> None:
    async with filling(length=1000, awaited=True) as (made, _):
        made.source.give(b"abc")
        await until(lambda: made.fill.received == 3)
        assert made.fill.joinable


async def test_what_the_store_does_not_take_goes_at_the_pace_of_its_slowest_reader() -> None:
    async with filling(object_max=4) as (made, task):
        fast, slow = made.fill.reader(), made.fill.reader()
        made.source.give(*([BLOCK] * 10), b"")
        for _ in range(2):
            assert await fast.read() == BLOCK
        assert not made.fill.joinable
        assert made.source.taken <= 3
        assert made.windows.open == 1
        assert list(await asyncio.gather(all_of(slow), all_of(fast))) == [BLOCK * 10, BLOCK * 8]
        await task
        assert made.kept() is None
        assert made.windows.open == 0


async def test_a_reader_that_leaves_does_not_hold_up_the_others() -> None:
    async with filling(object_max=4) as (made, _):
        stays, leaves = made.fill.reader(), made.fill.reader()
        made.source.give(*([BLOCK] * 10), b"")
        assert await stays.read() == BLOCK
        leaves.close()
        assert await all_of(stays) == BLOCK * 9


async def test_what_is_spoiled_is_not_kept_and_takes_no_new_readers() -> None:
    async with filling(length=6) as (made, task):
        reader = made.fill.reader()
        made.source.give(b"abc")
        assert await reader.read() == b"abc"
        made.fill.spoil()
        assert not made.fill.joinable
        made.source.give(b"def", b"")
        assert await all_of(reader) == b"def"
        await task
        assert made.kept() is None


def test_windows_share_what_there_is() -> None:
    windows = Windows(1000 * 1024, 400 * 1024)
    assert windows.share == 400 * 1024
    windows.open = 10
    assert windows.share == 100 * 1024
    windows.open = 1000
    assert windows.share == 64 * 1024
