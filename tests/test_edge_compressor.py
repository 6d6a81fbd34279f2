"""edge/compressor.py: both codings, in pieces of any size, each piece readable by itself."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import pytest

from edgeproxy.edge.compressor import Brotli, Compressor, Gzip

TEXT = b"".join(b"line %d of a text that compresses well\n" % number for number in range(2000))


def reader() -> Callable[[bytes], bytes]:
    """brotli's reader gives what it has in portions."""
    decompressor = brotli.Decompressor()

    def inflate(data: bytes) -> bytes:
        made: bytes = decompressor.process(data)
        while more := decompressor.process(b""):
            made += more
        return made

    return inflate


@pytest.mark.parametrize("size", [1000, 4096, 65536, len(TEXT)])
@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_what_comes_out_is_what_went_in_piece_by_piece(coding: str, size: int) -> None:
    compressor: Compressor = Gzip(6) if coding == "gzip" else Brotli(5)
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress if coding == "gzip" else reader()
    seen = compressed = b""
    for start in range(0, len(TEXT), size):
        piece = compressor.piece(TEXT[start : start + size])
        compressed += piece
        seen += inflate(piece)
        assert seen == TEXT[: start + size]
    compressed += compressor.end()
    assert len(compressed) < len(TEXT) / 3


def test_the_same_body_gives_the_same_bytes() -> None:
    made = []
    for _ in range(2):
        compressor = Gzip(6)
        made.append(compressor.piece(TEXT) + compressor.end())
    assert made[0] == made[1]
