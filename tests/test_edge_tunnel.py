"""Upgraded connections: bytes both ways, and the ends of them."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Incoming, ResponseHead, no_body
from edgeproxy.telemetry.counters import Counter
from tests.front import Front, answered
from tests.scripted import PATIENCE, Viewer, until

BOTH_LOOPS = True

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Upstream:
    """The other end of a tunnel: what it gets is in `got`; it says what the test puts into `says`."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.finished = asyncio.Event()
        self.closed = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()

    async def read(self) -> bytes:
        data = await self.says.get()
        if data is None:
            raise BodyAborted("the upstream was reset")
        return data

    async def write(self, data: bytes) -> None:
        await self.takes.wait()
        self.got.append(data)

    def finish(self) -> None:
        self.finished.set()

    def close(self) -> None:
        self.closed.set()

    async def handle(self, incoming: Incoming) -> Answer:
        return Answer(ResponseHead(101, Headers([(b"Upgrade", b"websocket")])), no_body(), tunnel=self)


async def upgraded(viewer: Viewer, more: bytes = b"") -> None:
    await viewer.send(UPGRADE + more)
    status, fields = await viewer.read_head()
    assert (status, fields.get("upgrade"), fields.get("connection")) == (101, "websocket", "Upgrade")


async def wait(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def test_bytes_pass_both_ways_as_they_are() -> None:
    upstream = Upstream()
    async with Front(upstream.handle) as front, await front.viewer() as viewer:
        await upgraded(viewer, b"GET /early HTTP/1.1\r\n\r\n")
        await until(lambda: upstream.got == [b"GET /early HTTP/1.1\r\n\r\n"])
        assert front.counters[Counter.TUNNELS_OPEN] == 1
        upstream.says.put_nowait(b"\x00\xff")
        assert await viewer.reader.readexactly(2) == b"\x00\xff"
        await viewer.send(b"\x81\x05hello")
        await until(lambda: upstream.got[-1] == b"\x81\x05hello")


async def test_each_side_may_finish_first_and_the_other_goes_on() -> None:
    upstream = Upstream()
    async with Front(upstream.handle) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        viewer.finish()
        await wait(upstream.finished)
        upstream.says.put_nowait(b"still here")
        assert await viewer.reader.readexactly(10) == b"still here"
        upstream.says.put_nowait(b"")
        assert await viewer.closed()
        await wait(upstream.closed)
        await until(lambda: len(front.deliveries) == 1)
        delivery = front.deliveries[0]
        assert delivery.complete
        assert delivery.bytes_in == len(UPGRADE)
    upstream = Upstream()
    async with Front(upstream.handle) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        upstream.says.put_nowait(b"")
        assert await viewer.reader.read() == b""
        await viewer.send(b"last words")
        await until(lambda: upstream.got == [b"last words"])
        viewer.finish()
        await wait(upstream.closed)
        await until(lambda: len(front.deliveries) == 1)
        assert front.deliveries[0].bytes_in == len(UPGRADE) + 10


async def test_an_upstream_that_breaks_resets_the_viewer() -> None:
    upstream = Upstream()
    async with Front(upstream.handle) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        upstream.says.put_nowait(None)
        with pytest.raises(ConnectionResetError):
            await viewer.reader.read()
        await wait(upstream.closed)
        await until(lambda: len(front.deliveries) == 1)
        assert (front.deliveries[0].complete, front.deliveries[0].sender_left) == (False, False)


async def test_a_viewer_that_breaks_frees_the_upstream() -> None:
    upstream = Upstream()
    async with Front(upstream.handle) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        viewer.reset()
        await wait(upstream.closed)
        await until(lambda: len(front.deliveries) == 1)
        assert front.deliveries[0].sender_left


async def test_an_idle_tunnel_is_closed() -> None:
    upstream = Upstream()
    async with Front(upstream.handle, tunnel_idle_timeout=0.1) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        assert await viewer.closed()
        await wait(upstream.closed)
        assert front.counters[Counter.TIMEOUTS_IDLE] == 1


async def test_a_slow_upstream_slows_the_viewer() -> None:
    upstream = Upstream()
    upstream.takes.clear()
    async with Front(upstream.handle, read_buffer=65536) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        data = b"x" * (16 * 1024 * 1024)
        viewer.writer.write(data)
        for _ in range(500):
            await asyncio.sleep(0)
        assert viewer.writer.transport.get_write_buffer_size() > 4 * 1024 * 1024
        upstream.takes.set()
        await until(lambda: sum(map(len, upstream.got)) == len(data))


async def test_a_slow_viewer_slows_the_upstream() -> None:
    upstream = Upstream()
    async with Front(upstream.handle, write_buffer=65536) as front, await front.viewer() as viewer:
        await upgraded(viewer)
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport can
        for _ in range(256):
            upstream.says.put_nowait(b"x" * 65536)
        for _ in range(2000):
            await asyncio.sleep(0)
        assert upstream.says.qsize() > 0
        viewer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a stream's transport can
        assert len(await viewer.reader.readexactly(256 * 65536)) == 256 * 65536


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /ws HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
        b"GET /ws HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        UPGRADE[:-2] + b"Content-Length: 5\r\n\r\n",
    ],
)
async def test_a_101_that_was_not_asked_for_opens_nothing(request_head: bytes) -> None:
    upstream = Upstream()
    async with Front(upstream.handle) as front, await front.viewer() as viewer:
        await viewer.send(request_head)
        assert (await answered(viewer))[0] == 502
        assert await viewer.closed()
        assert upstream.closed.is_set()


async def test_an_upgrade_that_is_not_taken_up_is_an_ordinary_request() -> None:
    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), no_body())

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(UPGRADE + UPGRADE)
        assert (await answered(viewer))[0] == 200
        assert (await answered(viewer))[0] == 200
