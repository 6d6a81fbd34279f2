"""gzip and brotli, piece by piece. The only place where brotli is used."""

from __future__ import annotations

import zlib
from typing import Protocol

import brotli

_GZIP_FRAMING = 16 + zlib.MAX_WBITS


class Compressor(Protocol):
    """Compresses one body."""

    def piece(self, data: bytes) -> bytes:
        """More of the body; what comes back makes all of it readable for the receiver."""
        ...

    def end(self) -> bytes:
        """The last bytes."""
        ...


class Gzip:
    """RFC 1952. Without a time or a name in it, so that the same body gives the same bytes."""

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, _GZIP_FRAMING)

    def piece(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._stream.flush()


class Brotli:
    """RFC 7932."""

    def __init__(self, quality: int) -> None:
        self._stream = brotli.Compressor(quality=quality)

    def piece(self, data: bytes) -> bytes:
        compressed: bytes = self._stream.process(data) + self._stream.flush()
        return compressed

    def end(self) -> bytes:
        rest: bytes = self._stream.finish()
        return rest
