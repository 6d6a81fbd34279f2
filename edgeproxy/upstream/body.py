"""What is read from the next hop by whoever asked: a response's body, and the tunnel behind a 101."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from edgeproxy.errors import BodyAborted, EdgeError, Side
from edgeproxy.headers import NO_HEADERS, Headers

JOIN_MAX = 64 * 1024
"""Small pieces that wait together are read as one block of up to about this many bytes."""

PIECE = 64
"""Bytes of memory that a waiting piece takes beside its own."""


class Source(Protocol):
    """The connection a body comes from."""

    def more(self, body: ResponseBody) -> None:
        """There is room again."""
        ...

    def give_up(self, body: ResponseBody) -> None:
        """Nobody will read the rest."""
        ...


class TunnelSource(Protocol):
    """The connection a tunnel writes to."""

    async def write(self, data: bytes) -> None:
        """Returns when more can be taken; raises BodyAborted when the connection is gone."""
        ...

    def finish(self) -> None:
        """No more will be written."""
        ...

    def hang_up(self) -> None:
        """Close once what was written has gone out."""
        ...


class ResponseBody:
    """A response's body. One reader; whoever gets it reads it to the end or closes it.

    The connection puts bytes in (`feed`, `end`, `abort`) and pauses while `full`: no more than `limit` bytes and one
    read of the transport wait here.
    """

    __slots__ = (
        "_buffered", "_closed", "_ended", "_error", "_limit", "_pieces", "_source", "_to_read", "_waiter",
        "close_delimited", "trailers",
    )  # fmt: skip

    def __init__(self, source: Source, limit: int, length: int | None, close_delimited: bool) -> None:
        self._source: Source | None = source
        self._limit = limit
        self._to_read = length
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.close_delimited = close_delimited
        """Nothing but the end of the connection says where this body ends: a cut may look like an end."""
        self.trailers = NO_HEADERS

    @property
    def length(self) -> int | None:
        """Bytes not yet read, when Content-Length told."""
        return self._to_read

    @property
    def full(self) -> bool:
        """Whether the connection should pause. What Python needs for each piece counts too: they may be tiny."""
        return self._buffered + PIECE * len(self._pieces) >= self._limit

    @property
    def closed(self) -> bool:
        """Whether the reader has left."""
        return self._closed

    @property
    def ended(self) -> bool:
        """Whether all of it has come."""
        return self._ended

    @property
    def to_come(self) -> int | None:
        """Bytes the connection has not received yet, when known."""
        return None if self._to_read is None else self._to_read - self._buffered

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises BodyAborted when the rest will not come, after what did come."""
        while not self._pieces:
            if self._closed:
                raise _closed()
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        block = self._next_block()
        self._buffered -= len(block)
        if self._to_read is not None:
            self._to_read -= len(block)
        if self._source is not None and self._buffered <= self._limit // 2:
            self._source.more(self)
        return block

    def _next_block(self) -> bytes:
        pieces = self._pieces
        block = pieces.popleft()
        if not pieces or len(block) >= JOIN_MAX:
            return block
        blocks, size = [block], len(block)
        while pieces and size + len(pieces[0]) <= JOIN_MAX:
            size += len(pieces[0])
            blocks.append(pieces.popleft())
        return b"".join(blocks)

    def close(self) -> None:
        """Say that no more will be read; `read` raises from now on."""
        if self._closed:
            return
        self._closed = True
        source = self._source
        if source is not None:
            source.give_up(self)
        self._pieces.clear()
        self._wake()

    def feed(self, data: bytes) -> None:
        """Bytes from the connection; those of a closed body are counted and forgotten."""
        if self._closed:
            if self._to_read is not None:
                self._to_read -= len(data)
            return
        self._pieces.append(data)
        self._buffered += len(data)
        self._wake()

    def end(self, trailers: Headers = NO_HEADERS) -> None:
        """All of it has come."""
        self.trailers = trailers
        self._ended = True
        self._source = None
        self._wake()

    def abort(self, error: BaseException) -> None:
        """The rest will not come, unless all of it is there: the reader gets `error` after what did come."""
        if not self._ended and self._error is None:
            self._error = error
        self._source = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _closed() -> BodyAborted:
    error = BodyAborted("The body was closed by its reader.")
    error.side = Side.HERE
    return error


def as_cut(error: BaseException) -> BaseException:
    """What the reader of a body gets for an error that came after the head."""
    if isinstance(error, EdgeError) and not isinstance(error, BodyAborted):
        cut = BodyAborted(str(error), status=error.status, detail=error.detail)
        cut.side = error.side
        return cut
    return error


class UpgradedTunnel:
    """The upstream side of an upgraded connection. Whoever gets it closes it."""

    __slots__ = ("_body", "_connection")

    def __init__(self, connection: TunnelSource, body: ResponseBody) -> None:
        self._connection = connection
        self._body = body

    async def read(self) -> bytes:
        """The next bytes, b"" when no more will come. Raises BodyAborted when the connection broke."""
        return await self._body.read()

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the connection can take more. Raises BodyAborted when it is gone."""
        await self._connection.write(data)

    def finish(self) -> None:
        """No more will be written. TLS cannot say so for one direction alone: there it ends both."""
        self._connection.finish()

    def close(self) -> None:
        """Drop the connection once what was written has gone out."""
        self._body.close()
        self._connection.hang_up()
