"""A body that streams to disk: bytes are taken at an offset as they arrive, and can be read back once they are there.

Lives on the event loop; `open`, `end_run` and what `run`, `body`, `replaces` and `left` say belong to the writer's
thread, which hands them over before anybody is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from edgeproxy.errors import Damaged
from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.store.bodies import Piece, Run
from edgeproxy.store.large import Body
from edgeproxy.store.memory import Terms
from edgeproxy.store.orders import Finish, Write
from edgeproxy.store.records import Bytes, Record
from edgeproxy.store.space import Promise

AHEAD = 1 << 20
"""Space asked for at a time where it is not known how much will come."""
BACKLOG_LOW = 512 << 10
"""`drained` returns when no more than this waits, and the disk keeps up with everybody."""


class Clerk(Protocol):
    """Where a writer's orders go (disk.py)."""

    def take(self, order: Write | Finish) -> bool:
        """Queue an order; False when there is no room for it."""
        ...

    async def finished(self, order: Finish) -> Record | None:
        """Wait until it was carried out."""
        ...

    async def read_body(self, shard: int, key: bytes, body: Body, first: int, end: int) -> bytes:
        """Checked bytes of a body."""
        ...

    def crowded(self) -> bool:
        """Whether so much waits for the disk that nobody should add to it."""
        ...

    def hurry(self) -> None:
        """Somebody waits for what was ordered."""
        ...


class DiskWriter:
    """Takes the bytes of one large body. Ends with `commit` or `abandon`, once."""

    def __init__(
        self, clerk: Clerk, key: bytes, hash: int, shard: int, head: StoredHead, terms: Terms, length: int | None,
        promise: Promise, *, extends: bool = False,
    ) -> None:  # fmt: skip
        self.key = key
        self.hash = hash
        self.shard = shard
        self.length = length
        """Of the complete body, if that is known."""
        self.failed = False
        """Nothing more is taken, and nothing will be kept."""
        self.backlog = 0
        """Bytes taken that are not on disk yet."""
        self.body: Body | None = None
        self.replaces: Bytes | None = None
        """Where the bytes are that it extends, once that was looked up."""
        self.left = False
        self.small: bytes | None = None
        """All bytes of a body that turned out small: it has no file of its own any more."""
        self.promise = promise
        self.extends = extends
        self._head = head
        self._terms = terms
        self._clerk = clerk
        self._ended = False
        self._run: Run | None = None
        self._waiting: list[asyncio.Future[None]] = []

    # On the event loop

    def write(self, offset: int, data: bytes) -> bool:
        """Take bytes at an offset; False once nothing more is taken.

        Runs of bytes may come in any order. Those who give more than the disk takes wait for `drained` in between.
        """
        if self.failed or self._ended:
            return False
        if not data:
            return True
        if self.length is not None and offset + len(data) > self.length:
            self.fail()
            return False
        if not self._room(len(data)):
            self.fail()
            return False
        self.backlog += len(data)
        if not self._clerk.take(Write(self.key, self.hash, self.shard, self, offset, data)):
            self.backlog -= len(data)
            self.fail()
            return False
        return True

    def _room(self, more: int) -> bool:
        return self.promise.claim(more) or (self.promise.grow(max(more, AHEAD)) and self.promise.claim(more))

    async def drained(self) -> None:
        """Wait until little waits for the disk, or it has failed."""
        while not self.failed and self.backlog and (self.backlog > BACKLOG_LOW or self._clerk.crowded()):
            await self.less()

    async def less(self) -> None:
        """Wait until some of what waits has left, if anything does."""
        if self.backlog:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            self._clerk.hurry()
            await waiting

    def readable(self, offset: int) -> int:
        """How far the bytes from `offset` on can be read back; `offset` when that one cannot. Whole pieces count, and
        after the end all bytes; also after a commit."""
        if self.small is not None:
            return max(offset, len(self.small))
        return offset if self.body is None else self.body.pieces.reach(offset)

    async def read(self, first: int, end: int) -> bytes:
        """As DiskStore.read, of what is readable. Raises Damaged and DiskFailed."""
        if self.small is not None:
            return self.small[first:end]
        if self.body is None:
            raise Damaged("nothing was written yet")
        return await self._clerk.read_body(self.shard, self.key, self.body, first, end)

    async def commit(self, head: StoredHead, trailers: Headers, terms: Terms) -> Record | None:
        """Keep what was written, under this head; None when it cannot be kept."""
        order = self._finish(head, trailers, terms, keep=True)
        return None if order is None else await self._clerk.finished(order)

    def abandon(self, keep: bool) -> None:
        """Nothing more will come. `keep`: what came stays, under the head that was given at the beginning, if the
        length of the complete body is known. Idempotent; nothing after a commit."""
        self._finish(self._head, Headers(), self._terms, keep=keep and self.length is not None)

    def _finish(self, head: StoredHead, trailers: Headers, terms: Terms, *, keep: bool) -> Finish | None:
        if self._ended:
            return None
        self._ended = True
        order = Finish(self.key, self.hash, self.shard, self, head, trailers, terms, keep and not self.failed)
        return order if self._clerk.take(order) and not self.failed else None

    def settled(self, amount: int) -> None:
        """So many bytes have left the backlog, to the disk or with its failure."""
        self.backlog -= amount
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    # In either thread

    def fail(self) -> None:
        """Nothing more is taken, nothing will be kept."""
        self.failed = True

    # In the writer's thread

    def open(self, body: Body, run: Run) -> None:
        """The file is there."""
        self._run = run
        self.body = body

    def put(self, offset: int, blocks: Sequence[bytes]) -> list[Piece]:
        """Write these. Raises OSError."""
        assert self.body is not None
        assert self._run is not None
        return self.body.write(self._run, offset, blocks)

    def end_run(self) -> Piece | None:
        """The piece that is not complete ends where it is."""
        return None if self._run is None else self._run.end()
