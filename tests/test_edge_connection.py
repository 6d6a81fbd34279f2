"""A connection's own business: when bytes come, whose they are, who waits for whom and how long, and how it ends."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from edgeproxy.edge.connection import LINGER_BYTES
from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Incoming, ResponseHead
from edgeproxy.telemetry.counters import Counter
from tests.front import Drip, Front, Stalled, answer, answered, echo, exchange, read_all, say_target
from tests.scripted import PATIENCE, until

BOTH_LOOPS = True

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
MiB = 1024 * 1024


class Held:
    """A pipeline that answers when it is told to, and says when a request came or was cancelled."""

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        self.goes_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, incoming: Incoming) -> Answer:
        self.targets.append(incoming.head.target)
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return answer(200, incoming.head.target)


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


# Bytes in


async def test_a_head_may_come_byte_by_byte() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        for at in range(len(GET)):
            await viewer.send(GET[at : at + 1])
        assert await answered(viewer) == (200, b"GET /a")


async def test_pipelined_requests_are_answered_one_by_one_in_order() -> None:
    held = Held()
    async with Front(held) as front, await front.viewer() as viewer:
        await viewer.send(b"".join(GET.replace(b"/a", b"/%d" % number) for number in range(20)))
        await until(lambda: len(held.targets) == 1)
        held.goes_on.set()
        for number in range(20):
            assert await answered(viewer) == (200, b"/%d" % number)


async def test_pipelined_bytes_are_bounded() -> None:
    held = Held()
    async with Front(held) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await until(lambda: len(held.targets) == 1)
        # More than the kernel takes on both sides: what the connection does not read stays with the viewer.
        flood = GET * (16 * MiB // len(GET))
        viewer.writer.write(flood)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert viewer.writer.transport.get_write_buffer_size() > 0
        held.goes_on.set()
        assert await answered(viewer) == (200, b"/a")
        assert await answered(viewer) == (200, b"/a")


async def test_a_body_may_follow_more_pipelined_bytes_than_are_held() -> None:
    """Reading is paused by what waits; a body behind that must not wait for bytes that nobody reads."""
    goes_on = asyncio.Event()

    async def handle(incoming: Incoming) -> Answer:
        await goes_on.wait()
        return await echo(incoming)

    async with Front(handle, head_max=1024) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await until(lambda: any(connection._exchange for connection in front.listener.connections))
        await viewer.send(GET * 50 + b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n")
        await until(lambda: any(connection._held for connection in front.listener.connections))
        goes_on.set()
        for _ in range(51):
            assert await answered(viewer) == (200, b"")
        assert await exchange(viewer, b"hello") == (200, b"hello")


@pytest.mark.parametrize(
    ("data", "status", "counter"),
    [
        (b"nonsense\r\n\r\n", 400, Counter.REQUESTS_MALFORMED),
        (b"GET / HTTP/1.1\r\n\r\n", 400, Counter.REQUESTS_MALFORMED),
        (b"GET / HTTP/3.0\r\n\r\n", 505, Counter.REQUESTS_MALFORMED),
        (b"GET /" + b"a" * 300, 414, Counter.REQUESTS_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 1100, 494, Counter.REQUESTS_TOO_LARGE),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20, 431, Counter.REQUESTS_TOO_LARGE),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413, Counter.REQUESTS_TOO_LARGE),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
         Counter.REQUESTS_MALFORMED),
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused_and_never_reaches_the_pipeline(
    data: bytes, status: int, counter: Counter
) -> None:
    seen = []

    async def handle(incoming: Incoming) -> Answer:
        seen.append(incoming)
        return answer()

    front = Front(handle, request_line_max=256, head_max=1024, fields_max=10, body_max=10)
    async with front, await front.viewer() as viewer:
        await viewer.send(data)
        got, fields = await viewer.read_head()
        assert (got, fields.get("connection")) == (status, "close")
        assert (await viewer.read_body())[1]
        await viewer.send(GET)
        assert await viewer.closed()
        assert front.counters[counter] == 1
        assert not seen


async def test_a_refused_upload_is_answered_although_it_goes_on() -> None:
    """Closing a socket with unread input resets it, and the answer would be lost."""
    async with Front(echo, body_max=10) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        await viewer.send(b"x" * (LINGER_BYTES // 2))
        assert (await answered(viewer))[0] == 413
        assert await viewer.reader.read() == b"", "the end is an orderly one"


# Back pressure


async def test_a_large_upload_waits_for_its_reader_and_then_passes_whole() -> None:
    goes_on = asyncio.Event()
    largest = 0

    async def handle(incoming: Incoming) -> Answer:
        nonlocal largest
        digest = hashlib.sha256()
        await goes_on.wait()
        while block := await incoming.body.read():
            largest = max(largest, len(block))
            digest.update(block)
        return answer(200, digest.hexdigest().encode())

    block = bytes(range(256)) * 4096
    async with Front(handle, read_buffer=64 * 1024) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (32 * len(block)))
        digest = hashlib.sha256()
        for _ in range(32):
            viewer.writer.write(block)
            digest.update(block)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert viewer.writer.transport.get_write_buffer_size() > 16 * MiB, "somebody took bytes nobody had asked for"
        goes_on.set()
        assert await answered(viewer) == (200, digest.hexdigest().encode())
        assert largest <= 64 * 1024 + 256 * 1024


async def test_a_slow_viewer_slows_the_source_of_its_answer() -> None:
    body = Drip([b"x" * 65536 for _ in range(512)])

    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), body)

    async with Front(handle, write_buffer=64 * 1024) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await viewer.read_head()
        before = -1
        while body.reads != before:
            before = body.reads
            for _ in range(200):
                await asyncio.sleep(0)
        assert body.reads < 400, "more was read than the viewer and the kernel can have taken"
        got, complete = await viewer.read_body()
        assert (len(got), complete) == (512 * 65536, True)


# Time-outs


async def test_a_slow_head_is_408() -> None:
    async with Front(say_target, header_timeout=0.1) as front, await front.viewer() as viewer:
        await viewer.send(GET[:-3])
        assert (await answered(viewer))[0] == 408
        assert await viewer.closed()
        assert front.counters[Counter.TIMEOUTS_HEADER] == 1


async def test_bytes_that_trickle_in_do_not_give_a_head_more_time() -> None:
    async with Front(say_target, header_timeout=0.1, head_max=MiB) as front, await front.viewer() as viewer:
        await viewer.send(GET[:-2])
        answer_came = asyncio.ensure_future(viewer.read_head())
        while not answer_came.done():
            viewer.writer.write(b"" if front.counters[Counter.TIMEOUTS_HEADER] else b"x")
            await asyncio.sleep(0)
        assert (await answer_came)[0] == 408
        assert front.counters[Counter.TIMEOUTS_HEADER] == 1


async def test_a_connection_without_a_byte_is_closed_silently() -> None:
    async with Front(say_target, header_timeout=0.1) as front, await front.viewer() as viewer:
        assert await viewer.closed()
        assert front.counters[Counter.TIMEOUTS_IDLE] == 1


async def test_an_idle_connection_is_closed_silently() -> None:
    async with Front(say_target, idle_timeout=0.1) as front, await front.viewer() as viewer:
        assert (await exchange(viewer, GET))[0] == 200
        assert await viewer.closed()
        assert front.counters[Counter.TIMEOUTS_IDLE] == 1


async def test_a_request_that_takes_long_is_not_idle() -> None:
    async def handle(incoming: Incoming) -> Answer:
        await until(lambda: idle.counters[Counter.TIMEOUTS_IDLE] == 1)
        return answer(200, b"late")

    idle = Front(say_target, header_timeout=0.2, idle_timeout=0.2)
    async with Front(handle, header_timeout=0.1, idle_timeout=0.1) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        async with idle, await idle.viewer():
            assert await answered(viewer) == (200, b"late")


async def test_a_slow_body_is_408() -> None:
    async with Front(echo, body_timeout=0.1) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhe")
        assert (await answered(viewer))[0] == 408
        assert await viewer.closed()
        assert front.counters[Counter.TIMEOUTS_BODY] == 1


async def test_a_slow_body_cuts_an_answer_that_has_begun() -> None:
    class Echo(Drip):
        incoming: Incoming

        async def read(self) -> bytes:
            return await self.incoming.body.read()

    async def handle(incoming: Incoming) -> Answer:
        body = Echo([])
        body.incoming = incoming
        return Answer(ResponseHead(200, Headers()), body)

    async with Front(handle, body_timeout=0.1) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhe")
        assert (await viewer.read_head())[0] == 200
        assert await viewer.read_body() == (b"he", False)
        assert front.deliveries[0].sender_left


async def test_a_viewer_that_takes_nothing_is_dropped() -> None:
    body = Drip([b"x" * 65536 for _ in range(512)])

    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), body)

    async with Front(handle, write_timeout=0.1) as front, await front.viewer() as viewer:
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport can
        await viewer.send(GET)
        await soon(body.closed)
        assert front.counters[Counter.TIMEOUTS_WRITE] == 1
        await until(lambda: len(front.deliveries) == 1)
        assert (front.deliveries[0].complete, front.deliveries[0].sender_left) == (False, True)


# Viewers that leave


async def test_a_reset_cancels_the_request() -> None:
    held = Held()
    async with Front(held, half_closed_timeout=3600) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await until(lambda: len(held.targets) == 1)
        viewer.reset()
        await soon(held.cancelled)
        assert not front.deliveries


async def test_a_viewer_that_closed_is_given_up_if_no_answer_begins() -> None:
    held = Held()
    async with Front(held, half_closed_timeout=0) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await until(lambda: len(held.targets) == 1)
        viewer.writer.close()
        await soon(held.cancelled)


async def test_a_pipelined_request_of_a_viewer_that_closed_is_given_up_too() -> None:
    held = Held()
    async with Front(held, half_closed_timeout=0) as front:
        for _ in range(10):
            viewer = await front.viewer()
            viewer.writer.write(GET + GET)
            viewer.finish()
        held.goes_on.set()
        await until(lambda: front.counters[Counter.CONNECTIONS] == 10 and not front.listener.connections)


async def test_a_viewer_that_half_closed_gets_its_answers() -> None:
    held = Held()
    async with Front(held, half_closed_timeout=3600) as front, await front.viewer() as viewer:
        await viewer.send(GET + GET)
        viewer.finish()
        await until(lambda: len(held.targets) == 1)
        held.goes_on.set()
        assert await answered(viewer) == (200, b"/a")
        assert await answered(viewer) == (200, b"/a")
        assert await viewer.closed()


async def test_a_viewer_that_leaves_amid_an_answer_frees_its_source() -> None:
    body = Stalled([b"begun"])

    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), body)

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await viewer.read_head()
        viewer.reset()
        await soon(body.closed)
        await until(lambda: len(front.deliveries) == 1)
        delivery = front.deliveries[0]
        assert (delivery.complete, delivery.sender_left) == (False, True)
        assert delivery.first_byte_at is not None


@pytest.mark.parametrize("leave", ["reset", "finish"])
async def test_a_viewer_that_leaves_amid_its_body_is_not_taken_for_complete(leave: str) -> None:
    ends: list[str] = []

    async def handle(incoming: Incoming) -> Answer:
        try:
            await read_all(incoming)
        except BodyAborted:
            ends.append("aborted")
            raise
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return answer()

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhe")
        await until(lambda: front.counters[Counter.CONNECTIONS] == 1)
        if leave == "reset":
            viewer.reset()
        else:
            viewer.finish()
            assert (await answered(viewer))[0] == 400
        await until(lambda: bool(ends))


async def test_a_request_cancelled_before_its_first_step_leaves_nothing() -> None:
    held = Held()
    async with Front(held) as front:
        for _ in range(20):
            viewer = await front.viewer()
            viewer.writer.write(GET)
            viewer.reset()
        await until(lambda: front.counters[Counter.CONNECTIONS] == 20)
        await until(lambda: not front.listener.connections)


# Draining


async def test_draining_closes_an_idle_connection_now() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        assert (await exchange(viewer, GET))[0] == 200
        for connection in front.listener.connections:
            connection.drain()
        assert await viewer.closed()


async def test_draining_lets_a_request_finish_and_serves_no_other() -> None:
    held = Held()
    async with Front(held) as front, await front.viewer() as viewer:
        await viewer.send(GET + GET)
        await until(lambda: len(held.targets) == 1)
        for connection in front.listener.connections:
            connection.drain()
        held.goes_on.set()
        _, fields = await viewer.read_head()
        assert fields.get("connection") == "close"
        assert await viewer.read_body() == (b"/a", True)
        assert await viewer.closed()
        assert len(held.targets) == 1


async def test_draining_lets_a_begun_head_finish() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        await exchange(viewer, GET)
        await viewer.send(GET[:10])
        await until(lambda: any(len(connection._heads) for connection in front.listener.connections))
        for connection in front.listener.connections:
            connection.drain()
        assert (await exchange(viewer, GET[10:])) == (200, b"GET /a")
        assert await viewer.closed()
