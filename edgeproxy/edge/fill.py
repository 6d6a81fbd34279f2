"""A body on its way into the store, and everybody who reads it meanwhile."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from typing import Protocol

from edgeproxy.errors import BodyAborted, DiskFailed
from edgeproxy.headers import Headers
from edgeproxy.message import Body
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.ranges import ContentRange
from edgeproxy.store.deposit import Deposit
from edgeproxy.store.writer import DiskWriter
from edgeproxy.telemetry.counters import Counter, Counters

WINDOW_MIN = 64 * 1024
"""Bytes; no fill is given less, however many there are."""


class Lost(BodyAborted):
    """The bytes wanted went to a disk that has failed since; those that come are still there to be read."""


class Windows:
    """What fills that are not in memory as a whole may keep there: `total` bytes for all, `most` for one; and how much
    they may hand to the disk before it has written what it got: `owed_max` for all."""

    def __init__(self, total: int, most: int, owed_max: int = 8 * 1024 * 1024, patience: float = 5) -> None:
        """`patience`: seconds; a disk that writes nothing for so long is done without."""
        self.patience = patience
        self._total = total
        self._most = most
        self._owed_max = owed_max
        self.tapes: set[DiskWriter] = set()
        """That bytes are handed to."""
        self.open = 0
        """How many share it."""

    @property
    def share(self) -> int:
        """Bytes for each of them."""
        return max(WINDOW_MIN, min(self._most, self._total // max(1, self.open)))

    async def room(self) -> None:
        """Return when the disk may be handed more."""
        while True:
            owing = [tape for tape in self.tapes if tape.backlog]
            if sum(tape.backlog for tape in owing) <= self._owed_max:
                return
            await owing[0].less()


class Settling(Protocol):
    """What becomes of what has come."""

    async def whole(self, trailers: Headers) -> None:
        """All of it."""
        ...

    async def begun(self, received: int) -> None:
        """The first `received` bytes, at least one; nobody wants more now, or this worker ends."""
        ...


def _nobody() -> bool:
    """Nobody is about to begin to read."""
    return False


class Fill:
    """One such body, or a part of one.

    While the deposit is in memory all bytes are there for everybody. What goes to disk is read back from there by those
    who are behind the window. When the store takes no more the fill takes no new readers once it is read, and keeps a
    window for those it has: then the slowest one sets the pace.
    """

    def __init__(
        self,
        head: StoredHead,
        body: Body,
        deposit: Deposit,
        windows: Windows,
        counters: Counters,
        awaited: Callable[[], bool],
        part: ContentRange | None = None,
    ) -> None:
        """`awaited` tells whether somebody is about to read who has not begun yet. `part`: of the stored response
        this brings only that."""
        self.head = head
        self.part = part
        self.length = body.length
        self.first = 0 if part is None or part.part is None else part.part.first
        """Where in the complete body it begins."""
        self.received = 0
        """Bytes so far."""
        self.trailers = Headers()
        self.done = False
        self.error: BodyAborted | None = None
        self._body = body
        self._deposit = deposit
        self._returned: Callable[[], None] | None = None
        """Ends the loan that remains for those who still read when all has come."""
        self._blocks: list[bytes] = []
        self._starts: list[int] = []
        """Where each block begins, counted from this fill's first byte."""
        self._held = 0
        self._windows = windows
        self._windowed = False
        self._tape: DiskWriter | None = None
        """Counted among the window's."""
        self._counters = counters
        self._awaited = awaited
        self._kept = False
        self._stopped = False
        self._closed = False
        self._spoiled = False
        self._finish_remaining = 0
        self._pumping: asyncio.Task[None] | None = None
        self._readers: dict[FillReader, None] = {}  # in the order in which they came
        self._room = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def joinable(self) -> bool:
        """Whether a new reader would find every byte from the first on."""
        return not self._stopped and not self._closed

    @property
    def on_disk(self) -> bool:
        """Whether bytes are read back from a disk, which may fail."""
        return self._deposit.tape is not None

    @property
    def base(self) -> int:
        """The first byte that is here, counted from this fill's first one."""
        return self._starts[0] if self._starts else self.received

    def reader(self, first: int = 0, length: int | None = None) -> FillReader:
        """A body that reads this fill to its end, or `length` bytes of it from `first` on (of this fill)."""
        reader = FillReader(self, first, length)
        self._readers[reader] = None
        if self.done and self._returned is None:
            self._returned = self._deposit.lend()
        return reader

    def keep(self) -> None:
        """Go on to the end although nobody reads: the one who asked needed only the head, or asked for others."""
        self._kept = True

    async def over(self) -> None:
        """Return when nothing more will come, and what was to be kept is."""
        await self._over.wait()

    def spoil(self) -> None:
        """What comes is not to be kept, nor read by anybody who does not read it already."""
        self._closed = self._spoiled = True

    async def pump(self, settling: Settling, finish_remaining: int) -> None:
        """Move the body to its end. Returns when it is over, one way or the other; never raises an EdgeError.

        When nobody reads any more it goes on only if it is kept, or if at most `finish_remaining` bytes are missing.
        """
        self._finish_remaining = finish_remaining
        self._pumping = asyncio.current_task()
        try:
            await self._pump()
        except BodyAborted as error:
            self._fail(error)
        except asyncio.CancelledError:
            self._fail(BodyAborted("The fetch was stopped."))
            self._pumping = None
            if self.received and self._deposit.open and not self._spoiled:
                await settling.begun(self.received)
            raise
        else:
            self.trailers = self._body.trailers
            if self._deposit.in_memory and not self._spoiled:
                await settling.whole(self.trailers)
            self._finish()
            if self._deposit.tape is not None and not self._spoiled:
                await settling.whole(self.trailers)
        finally:
            self._end()

    def _finish(self) -> None:
        self._pumping = None
        self.done = True
        if self._readers and self._returned is None:
            self._returned = self._deposit.lend()
        self._body.close()
        self._wake()

    def _end(self) -> None:
        self._pumping = None
        self._awaited = _nobody  # it knows the flight, which knows us
        if self._windowed:
            self._windows.open -= 1
            self._windowed = False
            if self._tape is not None:
                self._windows.tapes.discard(self._tape)
        if not self._readers:
            self._deposit.abandon()
        elif self._returned is None:
            self._returned = self._deposit.lend()
        self._body.close()
        self._over.set()
        self._wake()

    async def _pump(self) -> None:
        while block := await self._body.read():
            if self._deposit.tape is not None:
                await self._in_time(self._windows.room())
            self._deposit.append(block)
            self._blocks.append(block)
            self._starts.append(self.received)
            self._held += len(block)
            self.received += len(block)
            self._wake()
            self._stop_if_unread()
            if not self._deposit.in_memory:
                await self._make_room()

    async def _make_room(self) -> None:
        """Return when no more is here than may be: most of it is safe on disk, or read by everybody."""
        if not self._windowed:
            self._windows.open += 1
            self._windowed = True
            self._tape = self._deposit.tape
            if self._tape is not None:
                self._windows.tapes.add(self._tape)
        await self._drained()
        while self._held > self._windows.share:
            if self._deposit.tape is not None:
                before = self._held
                await self._drained()
                if self._held == before and self._deposit.tape is not None:
                    return  # the disk gathers more before it can be read back
            elif self._readers:
                self._room.clear()
                await self._room.wait()
                self._trim()
            elif self._awaited():
                await asyncio.sleep(0)  # whoever waits for the head begins to read in one of the next steps
                self._trim()
            else:
                return

    async def _drained(self) -> None:
        """Let the disk take what it can, and let that go from here."""
        tape = self._deposit.tape
        if tape is not None:
            if tape.backlog:
                await self._in_time(tape.drained())
            if tape.failed:
                self._deposit.lose()
        self._trim()

    async def _in_time(self, waiting: Coroutine[object, None, None]) -> None:
        """Wait for the disk, but not for ever: the fill can do without it."""
        try:
            async with asyncio.timeout(self._windows.patience):
                await waiting
        except TimeoutError:
            self._deposit.lose()

    def _stop_if_unread(self) -> None:
        """Nobody reads, nobody is about to, and it is not worth finishing: do not even wait for the next byte."""
        if self._readers or self._awaited() or self._pumping is None or self._stopped:
            return
        missing = self._body.length
        worth_finishing = self._kept or (missing is not None and missing <= self._finish_remaining)
        if not self._deposit.open or not worth_finishing:
            self._stopped = True
            self._counters.add(Counter.FILLS_STOPPED)
            self._pumping.cancel()

    def _trim(self) -> None:
        """Let go what is safe on disk; or what everybody has read, unless somebody is about to begin."""
        if self._deposit.in_memory:
            return
        on_disk = self._deposit.tape is not None
        if not on_disk and self._awaited():
            return
        here = [reader.position for reader in self._readers if reader.position >= self.base]
        until = min(here, default=self.received)
        safe = self._deposit.safe_until(self.base) if on_disk else until
        share, count, gone = self._windows.share, 0, 0
        for block, start in zip(self._blocks, self._starts, strict=True):
            end = start + len(block)
            if end > safe or (end > until and self._held - gone <= share):
                break
            count += 1
            gone += len(block)
        if count:
            self._held -= gone
            self._deposit.give_back(gone)
            del self._blocks[:count]
            del self._starts[:count]

    def _fail(self, error: BodyAborted) -> None:
        self.error = error
        self._counters.add(Counter.FILLS_FAILED)
        self._counters.add(Counter.READERS_CUT, len(self._readers))

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()

    def here(self, position: int) -> bytes | None:
        """The bytes from a position to the end of their block, when they are in memory."""
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return None
        block, skipped = self._blocks[index], position - self._starts[index]
        if not skipped:
            return block
        return block[skipped:] or None

    async def back(self, position: int, length: int) -> bytes:
        """Bytes that have left memory, at most `length`. Raises Lost."""
        tape = self._deposit.tape
        if tape is not None:
            first = self.first + position
            try:
                data = await tape.read(first, first + min(length, self.base - position))
            except DiskFailed as error:
                raise Lost(str(error)) from None
            if data:
                return data
        raise Lost("The disk has failed while a body was on its way there.")

    def moved(self) -> None:
        """A reader took a block."""
        if not self._deposit.open and not self.done:
            self._closed = True
        self._room.set()

    def left(self, reader: FillReader) -> None:
        """A reader is gone, finished or not."""
        self._readers.pop(reader, None)
        self._room.set()
        self._stop_if_unread()
        if not self._readers and self._returned is not None:
            returned, self._returned = self._returned, None
            returned()


class FillReader:
    """A Body over a fill, or over a part of it."""

    def __init__(self, fill: Fill, first: int, length: int | None) -> None:
        self._fill = fill
        self._whole = length is None
        rest = None if fill.length is None else fill.length - first
        self._left = rest if length is None else length
        self._waiting: asyncio.Future[None] | None = None
        self.position = first
        """The next byte, counted from the fill's first one."""

    @property
    def length(self) -> int | None:
        return self._left

    @property
    def trailers(self) -> Headers:
        return self._fill.trailers if self._whole else Headers()

    async def read(self) -> bytes:
        """As Body.read. Raises Lost when the disk has failed under it, but the fill goes on."""
        fill = self._fill
        while self._whole or self._left:
            if self.position < fill.base:
                return self._taken(await fill.back(self.position, self._left or fill.base))
            block = fill.here(self.position)
            if block is not None:
                return self._taken(block)
            if fill.error is not None:
                raise fill.error
            if fill.done:
                break
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return b""

    def _taken(self, block: bytes) -> bytes:
        if self._left is not None:
            if not self._whole:
                block = block[: self._left]
            self._left -= len(block)
        self.position += len(block)
        self._fill.moved()
        return block

    def wake(self) -> None:
        """Something changed in the fill."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        self._fill.left(self)
