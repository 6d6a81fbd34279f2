"""A body on its way into the store, and everybody who reads it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Headers
from edgeproxy.message import Body
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.ranges import ContentRange, Part
from edgeproxy.store.memory import Writer
from edgeproxy.telemetry.counters import Counter, Counters


class Fill:
    """One such body.

    As long as `writer` takes the bytes, all of them are there for everybody. When the store has no room for more the
    fill takes no new readers once it is read, and keeps `window` bytes for those it has: then the slowest one sets the
    pace.
    """

    def __init__(
        self,
        head: StoredHead,
        body: Body,
        writer: Writer,
        window: int,
        counters: Counters,
        awaited: Callable[[], bool],
        part: ContentRange | None = None,
    ) -> None:
        """`awaited` tells whether somebody is about to read who has not begun yet. `part`: of the stored response
        this brings only that."""
        self.head = head
        self.part = part
        self.length = body.length
        self.received = 0
        """Bytes so far."""
        self.trailers = Headers()
        self.done = False
        self.error: BodyAborted | None = None
        self._body = body
        self._writer: Writer | None = writer
        self._space = writer
        """Counts the bytes that are here, also when they will not be kept."""
        self._returned: Callable[[], None] | None = None
        """Ends the loan that remains for those who still read when all has come."""
        self._blocks = writer.blocks
        self._dropped = 0
        self._window = window
        self._counters = counters
        self._awaited = awaited
        self._kept = False
        self._stopped = False
        self._closed = False
        self._finish_remaining = 0
        self._pumping: asyncio.Task[None] | None = None
        self._readers: dict[FillReader, None] = {}  # in the order in which they came
        self._room = asyncio.Event()

    @property
    def joinable(self) -> bool:
        """Whether a new reader would find every byte from the first on."""
        return not self._stopped and not self._closed

    def reader(self, part: Part | None = None) -> FillReader:
        """A body that reads this fill from its beginning to its end, or a part of it."""
        reader = FillReader(self, part)
        self._readers[reader] = None
        if self.done and self._returned is None:
            self._returned = self._space.lend()
        return reader

    def keep(self) -> None:
        """Go on to the end although nobody reads: the one who asked needed only the head, or asked for others."""
        self._kept = True

    async def pump(self, commit: Callable[[Writer, Headers], bool], finish_remaining: int) -> None:
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
            raise
        else:
            self.trailers = self._body.trailers
            if self._writer is not None:
                commit(self._writer, self.trailers)
            self.done = True
        finally:
            self._pumping = None
            if not self._readers:
                self._space.abandon()
            elif self._returned is None:
                self._returned = self._space.lend()
            self._body.close()
            self._wake()

    async def _pump(self) -> None:
        while block := await self._body.read():
            self.received += len(block)
            if self._writer is not None and not self._writer.append(block):
                self._writer = None
            if self._writer is None:
                self._blocks.append(block)
                self._trim()
            self._wake()
            self._stop_if_unread()
            while self._writer is None and self._backlog() > self._window and (self._readers or self._awaited()):
                if self._readers:
                    self._room.clear()
                    await self._room.wait()
                else:
                    await asyncio.sleep(0)  # whoever waits for the head begins to read in one of the next steps
                self._trim()

    def _stop_if_unread(self) -> None:
        """Nobody reads, nobody is about to, and it is not worth finishing: do not even wait for the next byte."""
        if self._readers or self._awaited() or self._pumping is None or self._stopped:
            return
        missing = self._body.length
        worth_finishing = self._kept or (missing is not None and missing <= self._finish_remaining)
        if self._writer is None or not worth_finishing:
            self._stopped = True
            self._counters.add(Counter.FILLS_STOPPED)
            self._pumping.cancel()

    def _backlog(self) -> int:
        return sum(map(len, self._blocks))

    def _trim(self) -> None:
        """Let go what everybody has read, unless somebody is about to begin."""
        if self._awaited():
            return
        read = min((reader.position for reader in self._readers), default=self._dropped + len(self._blocks))
        surplus = read - self._dropped
        if surplus > 0:
            self._space.give_back(sum(map(len, self._blocks[:surplus])))
            del self._blocks[:surplus]
            self._dropped += surplus

    def _fail(self, error: BodyAborted) -> None:
        self.error = error
        self._counters.add(Counter.FILLS_FAILED)
        self._counters.add(Counter.READERS_CUT, len(self._readers))

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()

    def block(self, position: int) -> bytes | None:
        """The block at a position, None when it has not come yet."""
        index = position - self._dropped
        return self._blocks[index] if index < len(self._blocks) else None

    def moved(self) -> None:
        """A reader took a block."""
        if self._writer is None:
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

    def __init__(self, fill: Fill, part: Part | None) -> None:
        self._fill = fill
        self._skip = 0 if part is None else part.first
        self._whole = part is None
        self._left = fill.length if part is None else part.length
        self._waiting: asyncio.Future[None] | None = None
        self.position = 0

    @property
    def length(self) -> int | None:
        return self._left

    @property
    def trailers(self) -> Headers:
        return self._fill.trailers if self._whole else Headers()

    async def read(self) -> bytes:
        while self._whole or self._left:
            block = self._fill.block(self.position)
            if block is not None:
                self.position += 1
                self._fill.moved()
                wanted = self._wanted(block)
                if wanted:
                    return wanted
            elif self._fill.error is not None:
                raise self._fill.error
            elif self._fill.done:
                break
            else:
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
        return b""

    def _wanted(self, block: bytes) -> bytes:
        if self._skip:
            skipped = min(self._skip, len(block))
            self._skip -= skipped
            block = block[skipped:]
        if self._left is not None:
            if not self._whole:
                block = block[: self._left]
            self._left -= len(block)
        return block

    def wake(self) -> None:
        """Something changed in the fill."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        self._fill.left(self)
