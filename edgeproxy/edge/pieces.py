"""Bytes of a stored response on disk: read piece by piece, verified, the next piece while this one is sent."""

from __future__ import annotations

import asyncio

from edgeproxy.edge.fill import Windows
from edgeproxy.headers import Headers
from edgeproxy.store.records import Record
from edgeproxy.store.tiers import PIECE_MAX, Tiers


class Pieces:
    """A Body of the bytes [first, end), all within one interval of a record. `read` raises what the disk raises."""

    def __init__(self, store: Tiers, windows: Windows, record: Record, first: int, end: int) -> None:
        self._store = store
        self._windows = windows
        self._record = record
        self._at = first
        self._end = end
        self._next: asyncio.Task[bytes] | None = None
        self._open = True
        self.trailers = Headers()
        windows.open += 1

    @property
    def length(self) -> int | None:
        return self._end - self._at

    async def read(self) -> bytes:
        if self._at >= self._end:
            return b""
        coming, self._next = self._next, None
        block = await (coming if coming is not None else self._piece(self._at))
        self._at += len(block)
        if self._at < self._end and self._open:
            self._next = asyncio.get_running_loop().create_task(self._piece(self._at), name="read ahead")
        return block

    async def _piece(self, first: int) -> bytes:
        # Two pieces are here at a time: what is being sent, and what comes next.
        size = min(PIECE_MAX, self._windows.share // 2)
        return await self._store.read(self._record, first, min(self._end, first + size))

    def close(self) -> None:
        if self._open:
            self._open = False
            self._windows.open -= 1
        if self._next is not None:
            self._next.add_done_callback(_forgotten)
            self._next.cancel()
            self._next = None


def _forgotten(task: asyncio.Task[bytes]) -> None:
    """Nobody wants it any more, nor what went wrong with it."""
    if not task.cancelled():
        task.exception()
