"""Bytes on their way from a transport, which pushes, to a reader, who pulls: bounded, and at the reader's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edgeproxy.edge.bodies import BodyDecoder
from edgeproxy.errors import BodyAborted, Detail, EdgeError, Side
from edgeproxy.headers import Headers

DRAIN_MAX = 64 * 1024
"""An unread rest of a body up to this is read and dropped to keep the connection; more costs the connection."""


def _nothing() -> None:
    """Nobody waits to be told to continue."""


class Source(Protocol):
    """Whoever the bytes come from."""

    def hold(self) -> None:
        """Send no more for now."""
        ...

    def go_on(self) -> None:
        """Send again."""
        ...

    def expect(self, waiting: bool) -> None:
        """A reader has begun, or ceased, to wait for bytes."""
        ...


class Inbox:
    """A queue of blocks with one reader; holds its source when more than `high` bytes wait."""

    __slots__ = ("_blocks", "_ended", "_fault", "_high", "_size", "_source", "_waiter", "received")

    def __init__(self, source: Source, high: int) -> None:
        self._source = source
        self._high = high
        self._blocks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._fault: EdgeError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.received = 0
        """Bytes put in so far."""

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def put(self, blocks: list[bytes]) -> None:
        """Add bytes for the reader."""
        size = sum(map(len, blocks))
        self._blocks += blocks
        self._size += size
        self.received += size
        if self._size > self._high:
            self._source.hold()
        if size:
            self._wake()

    def finish(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake()

    def fail(self, fault: EdgeError) -> None:
        """What waits is worthless: the reader gets the fault. The first fault stays."""
        if not self._ended:
            self._fault = self._fault or fault
            self.clear()
            self._wake()

    def clear(self) -> None:
        """Drop what waits."""
        self._blocks.clear()
        self._size = 0

    async def get(self) -> bytes:
        """Everything that waits, as one block; b"" at the end. Raises the fault given to `fail`."""
        while not self._blocks:
            if self._fault is not None:
                raise self._fault
            if self._ended:
                return b""
            await self._more()
        data = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self.clear()
        self._source.go_on()
        return data

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._source.expect(True)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._source.expect(False)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pace:
    """How long a viewer may keep us waiting for its body: `timeout` seconds for the next bytes, and on the whole no
    longer than they take at `rate` bytes a second. Time in which nobody waits for it does not count.
    """

    __slots__ = ("_monotonic", "_rate", "_since", "_timeout", "_waited")

    def __init__(self, timeout: float, rate: float, monotonic: Callable[[], float]) -> None:
        self._timeout = timeout
        self._rate = rate
        self._monotonic = monotonic
        self._waited = 0.0
        self._since: float | None = None

    def wait(self, received: int) -> float:
        """The wait begins, or goes on after `received` bytes in all: seconds from now."""
        now = self._monotonic()
        self.rest(now)
        self._since = now
        if not self._rate:
            return self._timeout
        return max(0.0, min(self._timeout, self._timeout + received / self._rate - self._waited))

    def rest(self, now: float | None = None) -> None:
        """Nobody waits any more."""
        if self._since is not None:
            self._waited += (self._monotonic() if now is None else now) - self._since
            self._since = None


class RequestBody:
    """A request's body as the pipeline pulls it (message.Body), fed by the connection.

    `begin` is called before the first wait of the first read: the time to send 100 (Continue).
    """

    __slots__ = ("_asked", "_begin", "_closed", "_decoder", "_inbox", "_pace", "_source", "broken", "bytes_in")

    def __init__(self, decoder: BodyDecoder, source: Source, high: int, begin: Callable[[], None], pace: Pace) -> None:
        self._pace = pace
        self._decoder = decoder
        self._source = source
        self._inbox = Inbox(source, high)
        self._begin = begin
        self._asked = False
        self._closed = False
        self.broken = False
        """The viewer did not send it as it said it would; it will never be whole."""
        self.bytes_in = 0
        """Bytes of the body on the wire, framing included."""

    @property
    def length(self) -> int | None:
        remaining = self._decoder.remaining
        return None if remaining is None else remaining + self._inbox.size

    @property
    def trailers(self) -> Headers:
        return self._decoder.trailers

    @property
    def arrived(self) -> bool:
        """The whole body has been received, read or not."""
        return self._decoder.done

    @property
    def asked(self) -> bool:
        """Somebody has read from it."""
        return self._asked

    @property
    def open(self) -> bool:
        """Somebody reads it and has not finished."""
        return self._asked and not self._closed

    @property
    def wasted(self) -> bool:
        """It is not worth, or not possible, to receive the rest when nobody reads it."""
        remaining = self._decoder.remaining
        return self.broken or remaining is None or remaining > DRAIN_MAX

    def patience(self) -> float:
        """The viewer is waited for: seconds it has for its next bytes."""
        return self._pace.wait(self.bytes_in)

    def rest(self) -> None:
        """The viewer is not waited for any more."""
        self._pace.rest()

    async def read(self) -> bytes:
        """As message.Body; BodyAborted carries the status the viewer deserves where its bytes are at fault."""
        if self._closed:
            raise BodyAborted("The request body was closed.", detail=Detail.ERROR)
        if not self._asked:
            self._asked = True
            if not self._decoder.done and not self._inbox.size:
                self._begin()
        return await self._inbox.get()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._begin = _nothing  # it is the request's own, which would be held in a circle
            self._inbox.fail(BodyAborted("The request body was closed.", detail=Detail.ERROR))
            self._inbox.clear()
            if not self.wasted:
                self._source.go_on()

    def feed(self, data: bytes) -> bytes:
        """Take bytes that arrived; gives back those behind the body. A fault in them goes to the reader."""
        try:
            pieces = self._decoder.feed(data)
        except EdgeError as error:
            self.bytes_in += len(data)
            self.fail(str(error), error.status, error.detail)
            return b""
        rest = self._decoder.rest
        self.bytes_in += len(data) - len(rest)
        if not self._closed:
            self._inbox.put(pieces)
            if self._decoder.done:
                self._inbox.finish()
        elif not self._decoder.done and self.wasted:
            self._source.hold()
        return rest

    def fail(self, message: str, status: int, detail: Detail) -> None:
        """Tell the reader that the viewer is why it will not get the whole body, and the status that deserves."""
        self.broken = True
        fault = BodyAborted(message, status=status, detail=detail)
        fault.side = Side.VIEWER
        self._inbox.fail(fault)
