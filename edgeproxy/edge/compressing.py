"""Bodies compressed on their way from the origin into the store, in a thread of their own (fact sheet 4.5).

What comes out is what is stored and sent, so that a hit compresses nothing. Pieces go out as they come in: a viewer
that waits for the first bytes of a slow origin gets them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edgeproxy.edge.compressor import Brotli, Compressor, Gzip
from edgeproxy.headers import Headers
from edgeproxy.message import Body
from edgeproxy.settings import Compression
from edgeproxy.telemetry.counters import Counter, Counters

HERE_MAX = 4096
"""Bytes that are compressed faster than a thread could be told to."""


class Compressing:
    """Compresses for one worker."""

    def __init__(self, settings: Compression, counters: Counters) -> None:
        self._settings = settings
        self._counters = counters
        self._threads = ThreadPoolExecutor(1, "compression")
        self._open = 0

    def body(self, body: Body, coding: bytes) -> Body | None:
        """The body in this coding (`gzip` or `br`); None when too many are being compressed: it stays as it is."""
        if self._open >= self._settings.at_once_max:
            self._counters.add(Counter.COMPRESSION_SKIPPED)
            return None
        self._open += 1
        self._counters.add(Counter.COMPRESSED)
        settings = self._settings
        made = Brotli(settings.brotli_quality) if coding == b"br" else Gzip(settings.gzip_level)
        return CompressedBody(body, made, self._threads, self._counters, self._over)

    def _over(self) -> None:
        self._open -= 1

    def close(self) -> None:
        """Stop the thread; what it is doing it ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class CompressedBody:
    """A body that reads another one and compresses it. Its length is not known beforehand."""

    def __init__(
        self,
        source: Body,
        compressor: Compressor,
        threads: ThreadPoolExecutor,
        counters: Counters,
        over: Callable[[], None],
    ) -> None:
        self._source = source
        self._compressor = compressor
        self._threads = threads
        self._counters = counters
        self._over: Callable[[], None] | None = over
        self._working: asyncio.Future[bytes] | None = None
        """A piece that the thread is at. Whoever stops waiting for it may read again and gets it then."""
        self._ended = False

    @property
    def length(self) -> int | None:
        return 0 if self._ended else None

    @property
    def trailers(self) -> Headers:
        return self._source.trailers

    async def read(self) -> bytes:
        while not self._ended:
            piece = await self._next()
            self._counters.add(Counter.COMPRESSION_OUT, len(piece))
            if piece:
                return piece
        return b""

    async def _next(self) -> bytes:
        if self._working is None:
            block = await self._source.read()
            self._counters.add(Counter.COMPRESSION_IN, len(block))
            if not block:
                return self._end()
            if len(block) <= HERE_MAX:
                return self._compressor.piece(block)
            self._working = asyncio.get_running_loop().run_in_executor(self._threads, self._compressor.piece, block)
        await asyncio.wait([self._working])
        piece, self._working = self._working.result(), None
        return piece

    def _end(self) -> bytes:
        self._ended = True
        self._finished()
        return self._compressor.end()

    def _finished(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()

    def close(self) -> None:
        self._finished()
        self._source.close()
