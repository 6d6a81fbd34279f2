"""edge/compressing.py: bodies compressed in a thread, how many at once, and readers that stop waiting."""

from __future__ import annotations

import asyncio
import gzip

from edgeproxy.edge.compressing import Compressing
from edgeproxy.message import Body, BytesBody
from edgeproxy.settings import Compression
from edgeproxy.telemetry.counters import Counter, Counters

BLOCKS = [b"a" * 100_000, b"b" * 100, b"c" * 50_000]


async def whole(body: Body) -> bytes:
    made = b""
    while block := await body.read():
        made += block
    return made


async def test_a_body_is_compressed_and_counted() -> None:
    counters = Counters()
    compressing = Compressing(Compression(), counters)
    body = compressing.body(BytesBody(BLOCKS), b"gzip")
    assert body is not None
    assert body.length is None
    assert gzip.decompress(await whole(body)) == b"".join(BLOCKS)
    assert await body.read() == b""
    assert body.length == 0
    assert counters[Counter.COMPRESSION_IN] == sum(map(len, BLOCKS))
    body.close()
    compressing.close()


async def test_no_more_than_so_many_at_once() -> None:
    counters = Counters()
    compressing = Compressing(Compression(at_once_max=1), counters)
    first = compressing.body(BytesBody(BLOCKS), b"br")
    assert first is not None
    assert compressing.body(BytesBody(BLOCKS), b"br") is None
    first.close()
    first.close()
    assert compressing.body(BytesBody(BLOCKS), b"br") is not None
    assert counters[Counter.COMPRESSION_SKIPPED] == 1
    compressing.close()


async def test_whoever_stops_waiting_may_read_again_and_misses_nothing() -> None:
    compressing = Compressing(Compression(), Counters())
    body = compressing.body(BytesBody(BLOCKS), b"gzip")
    assert body is not None
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert gzip.decompress(await whole(body)) == b"".join(BLOCKS)
    compressing.close()
