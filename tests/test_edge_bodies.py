"""Request bodies on the wire: both framings, whole, byte by byte, and with the next request behind them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.edge.bodies import CHUNK_LINE_MAX, BodyDecoder, ChunkedDecoder, LengthDecoder
from edgeproxy.edge.http1 import Limits
from edgeproxy.errors import ViewerError

LIMITS = Limits(request_line_max=64, head_max=256, fields_max=4)
BODY_MAX = 10_000


def chunked() -> ChunkedDecoder:
    return ChunkedDecoder(LIMITS, BODY_MAX)


def decode(decoder: BodyDecoder, data: bytes, step: int) -> tuple[bytes, bytes]:
    """(the body, the bytes behind it), fed `step` bytes at a time."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data) and not decoder.done:
        pieces += decoder.feed(data[at : at + step])
        at += step
    return b"".join(pieces), decoder.rest + data[at:]


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_body_of_known_length_ends_at_that_length(step: int) -> None:
    decoder = LengthDecoder(5)
    assert decoder.remaining == 5
    assert decode(decoder, b"helloGET /", step) == (b"hello", b"GET /")
    assert decoder.done
    assert decoder.remaining == 0


GOOD = {
    "empty": (b"0\r\n\r\n", b"", []),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "hex in both cases": (b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", b"01234567890123456789a", []),
    "leading zeros": (b"0000000000000005\r\nhello\r\n000\r\n\r\n", b"hello", []),
    "extensions": (b'5;a=b;c="d e"\r\nhello\r\n0 ;x\r\n\r\n', b"hello", []),
    "line ends in data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", []),
    "trailers": (b"1\r\nx\r\n0\r\nX-Sum: 1 \r\nX-More:2\r\n\r\n", b"x", [(b"X-Sum", b"1"), (b"X-More", b"2")]),
    "forbidden trailers": (
        b"0\r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\nEdgeProxy-Tier: k\r\nX-A: b\r\n\r\n",
        b"",
        [(b"X-A", b"b")],
    ),
}


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
@pytest.mark.parametrize("name", GOOD)
def test_chunked_bodies_that_are_read(name: str, step: int) -> None:
    wire, body, trailers = GOOD[name]
    decoder = chunked()
    assert decoder.remaining is None
    assert decode(decoder, wire + b"GET / HTTP/1.1\n\x00", step) == (body, b"GET / HTTP/1.1\n\x00")
    assert decoder.done
    assert decoder.remaining == 0
    assert list(decoder.trailers) == trailers


BAD = {
    "no size": (b"\r\n", 400),
    "no hex": (b"g\r\n", 400),
    "negative": (b"-1\r\n", 400),
    "0x": (b"0x5\r\nhello\r\n", 400),
    "plus": (b"+5\r\nhello\r\n", 400),
    "underscore": (b"1_0\r\n", 400),
    "leading space": (b" 5\r\nhello\r\n", 400),
    "trailing space": (b"5 \r\nhello\r\n", 400),
    "17 digits": (b"00000000000000005\r\nhello\r\n", 400),
    "LF ends the size": (b"5\nhello\r\n0\r\n\r\n", 400),
    "CR alone ends the size": (b"5\rhello\r\n", 400),
    "LF in an extension (CVE-2025-53643)": (b"5;a\nb\r\nhello\r\n", 400),
    "CR in an extension": (b"5;a\rb\r\nhello\r\n", 400),
    "NUL in an extension": (b"5;\x00\r\nhello\r\n", 400),
    "any two bytes after a chunk (CVE-2025-43859)": (b"5\r\nhelloXX0\r\n\r\n", 400),
    "LF after a chunk": (b"5\r\nhello\n0\r\n\r\n", 400),
    "CR and other after a chunk": (b"5\r\nhello\rX", 400),
    "data too long": (b"5\r\nhello!\r\n0\r\n\r\n", 400),
    "size line too long": (b"5;" + b"a" * CHUNK_LINE_MAX + b"\r\nhello\r\n", 400),
    "extensions beyond measure": (b"".join(b"1;" + b"a" * 1000 + b"\r\nx\r\n" for _ in range(20)), 400),
    "one chunk too large": (b"2711\r\n", 413),
    "a size that would overflow": (b"ffffffffffffffff\r\n", 413),
    "chunks too large together": (b"1388\r\n" + b"x" * 5000 + b"\r\n1389\r\n", 413),
    "trailer malformed": (b"0\r\nX-A : b\r\n\r\n", 400),
    "trailer folded": (b"0\r\nX-A: b\r\n c\r\n\r\n", 400),
    "trailer with bare LF": (b"0\r\nX-A: b\n\r\n\r\n", 400),
    "trailers end in bare LFs": (b"0\r\nX-A: b\n\n", 400),
    "trailers too large": (b"0\r\nX-A: " + b"b" * 300 + b"\r\n\r\n", 400),
    "trailers without end": (b"0\r\nX-A: " + b"b" * 300, 400),
    "too many trailers": (b"0\r\n" + b"a: b\r\n" * 5 + b"\r\n", 431),
}


@pytest.mark.parametrize("step", [1, 2, 100_000])
@pytest.mark.parametrize("name", BAD)
def test_chunked_bodies_that_are_refused(name: str, step: int) -> None:
    wire, status = BAD[name]
    with pytest.raises(ViewerError) as refused:
        decode(chunked(), wire, step)
    assert refused.value.status == status


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 60))
def test_what_was_chunked_is_got_back_however_it_is_cut(blocks: list[bytes], step: int) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks) + b"0\r\n\r\n"
    assert decode(chunked(), wire + b"rest", step) == (b"".join(blocks), b"rest")


@given(st.lists(st.sampled_from([b"5", b"\r\n", b"\r", b"\n", b"hello", b"0", b";a", b"A: b", b" ", b"\xff"])))
def test_no_bytes_raise_anything_but_a_viewer_error(parts: list[bytes]) -> None:
    with contextlib.suppress(ViewerError):
        decode(chunked(), b"".join(parts), 4)
