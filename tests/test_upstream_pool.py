"""The connections to one target: kept, counted, queued for, and closed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from contextlib import suppress
from math import inf
from pathlib import Path

import pytest

from edgeproxy.errors import BodyAborted, OriginError, OriginUnreachable, Overloaded
from edgeproxy.settings import Upstream
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.client import Target
from edgeproxy.upstream.pool import Pool
from tests.asking import BRIEF, PATIENT, Asker, asking, read_all
from tests.authority import Authority
from tests.scripted import ScriptedOrigin, until


async def several(asker: Asker, origin: ScriptedOrigin, count: int) -> None:
    """`count` connections at once, all idle afterwards."""
    tasks = [asyncio.ensure_future(asker.get(b"/%d" % at)) for at in range(count)]
    asks = [await origin.asked_for(f"/{at}") for at in range(count)]
    for ask in asks:
        await ask.answer(200)
    await asyncio.gather(*tasks)


async def test_a_thousand_requests_one_after_the_other_use_one_connection() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        origin.always(200, {"Cache-Control": "no-store"}, b"hello")
        for _ in range(1000):
            assert await asker.get() == b"hello"
        assert (asker[Counter.UPSTREAM_OPENED], asker[Counter.UPSTREAM_REUSED]) == (1, 999)
        assert (asker[Counter.UPSTREAM_REQUESTS], asker[Counter.UPSTREAM_OPEN]) == (1000, 1)
        assert (origin.connections, origin.requests) == (1, 1000)


async def test_the_connection_used_last_is_used_next() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        first, second = asyncio.ensure_future(asker.get(b"/1")), asyncio.ensure_future(asker.get(b"/2"))
        slow, quick = await origin.asked_for("/1"), await origin.asked_for("/2")
        await quick.answer(200)
        await second
        await slow.answer(200)
        await first
        origin.always(200)
        for _ in range(3):
            await asker.get()
        assert [ask.connection for ask in origin.log[2:]] == [slow.connection] * 3


async def test_no_more_connections_than_the_limit_and_the_first_in_the_queue_is_first() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=2) as asker:
        tasks = [asyncio.ensure_future(asker.get(b"/%d" % at)) for at in range(6)]
        for at in range(0, 6, 2):
            asks = [await origin.asked_for(f"/{at}"), await origin.asked_for(f"/{at + 1}")]
            assert origin.requests == at + 2
            for ask in asks:
                await ask.answer(200)
        await asyncio.gather(*tasks)
        assert (origin.connections, asker[Counter.UPSTREAM_REUSED]) == (2, 4)


async def test_a_place_freed_by_a_closed_connection_goes_to_the_queue() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=1) as asker:
        first, second = asyncio.ensure_future(asker.get(b"/1")), asyncio.ensure_future(asker.get(b"/2"))
        await (await origin.asked_for("/1")).answer(200, {"Connection": "close"})
        await first
        await (await origin.asked_for("/2")).answer(200)
        await second
        assert (origin.connections, asker[Counter.UPSTREAM_REUSED]) == (2, 0)


async def test_a_full_queue_refuses_at_once() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=1, queue_max=1) as asker:
        first, second = asyncio.ensure_future(asker.get(b"/1")), asyncio.ensure_future(asker.get(b"/2"))
        ask = await origin.asked_for("/1")
        with pytest.raises(Overloaded) as caught:
            await asker.get(b"/3")
        assert (caught.value.status, asker[Counter.UPSTREAM_QUEUE_FULL]) == (503, 1)
        await ask.answer(200)
        await (await origin.asked_for("/2")).answer(200)
        await asyncio.gather(first, second)


async def test_whoever_waits_too_long_is_refused() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=1, queue_timeout=BRIEF) as asker:
        first = asyncio.ensure_future(asker.get(b"/1"))
        ask = await origin.asked_for("/1")
        with pytest.raises(Overloaded):
            await asker.get(b"/2")
        assert asker[Counter.UPSTREAM_QUEUE_TIMED_OUT] == 1
        await ask.answer(200)
        await first
        origin.always(200)
        await asker.get(b"/3")
        assert (origin.requests, origin.connections) == (2, 1)


async def test_whoever_leaves_the_queue_is_passed_over() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=1) as asker:
        tasks = [asyncio.ensure_future(asker.get(b"/%d" % at)) for at in range(3)]
        ask = await origin.asked_for("/0")
        tasks[1].cancel()
        await ask.answer(200)
        await (await origin.asked_for("/2")).answer(200)
        await asyncio.gather(tasks[0], tasks[2])
        assert origin.requests == 2


@pytest.mark.parametrize("kept", [True, False], ids=["a connection", "a place"])
async def test_whoever_leaves_with_a_turn_just_given_leaves_it_to_the_next(kept: bool) -> None:
    async with ScriptedOrigin() as origin:
        target = Target("127.0.0.1", origin.port)
        pool = Pool(target, Upstream(connections_max=1), Counters(), time.perf_counter, no_tls, lambda pool: None)
        first = await pool.obtain(PATIENT, inf)
        leaving = asyncio.ensure_future(pool.obtain(PATIENT, inf))
        staying = asyncio.ensure_future(pool.obtain(PATIENT, inf))
        await asyncio.sleep(0)
        if kept:
            pool.released(first)
        else:
            first.abort()
            await first.closed
        leaving.cancel()
        async with asyncio.timeout(10):
            assert (await staying is first) is kept
        assert leaving.cancelled()
        await pool.close()


def no_tls() -> ssl.SSLContext:
    raise AssertionError("plain connections need no TLS")


async def test_no_more_idle_connections_than_the_limit_are_kept() -> None:
    async with ScriptedOrigin() as origin, asking(origin, idle_max=2) as asker:
        await several(asker, origin, 5)
        await until(lambda: origin.open == 2)
        assert (asker[Counter.UPSTREAM_OPENED], asker[Counter.UPSTREAM_OPEN]) == (5, 2)
        assert asker[Counter.UPSTREAM_IDLE_CLOSED] == 3


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(keepalive=BRIEF)
        origin.always(200)
        await asker.get()
        await origin.log[0].gone()
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)
        assert asker[Counter.UPSTREAM_IDLE_CLOSED] == 1
        await asker.get()
        assert asker[Counter.UPSTREAM_OPENED] == 2


async def test_with_no_time_to_be_idle_the_connection_is_asked_to_close() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(keepalive=0)
        origin.always(200)
        await asker.get()
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)
        assert origin.log[0].header("Connection") == "close"


async def test_an_idle_connection_that_the_origin_closes_is_forgotten() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await several(asker, origin, 1)
        origin.log[0].close()
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)
        assert asker[Counter.UPSTREAM_IDLE_CLOSED] == 1


async def test_an_end_not_yet_seen_by_the_loop_is_found_before_a_request_is_risked() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await several(asker, origin, 1)
        origin.log[0].finish()
        origin.always(200, {}, b"fresh")
        # A POST could not be sent again: it must not meet the dead connection at all.
        assert await read_all((await asker.ask(method="POST")).body) == b"fresh"
        assert (asker[Counter.UPSTREAM_IDLE_CLOSED], asker[Counter.UPSTREAM_RETRIES]) == (1, 0)


@pytest.mark.parametrize("seen_by_the_loop", [True, False])
async def test_bytes_nobody_asked_for_end_an_idle_connection(seen_by_the_loop: bool) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await several(asker, origin, 1)
        poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        origin.log[0].send(poison)
        if seen_by_the_loop:
            await until(lambda: asker[Counter.UPSTREAM_SURPLUS] == 1)
        origin.always(200, {}, b"fresh")
        assert await asker.get() == b"fresh"
        assert (asker[Counter.UPSTREAM_SURPLUS], origin.connections) == (1, 2)


async def test_what_tls_says_after_its_handshake_is_no_answer_to_nobody(tmp_path: Path) -> None:
    """Session tickets come right behind the handshake: on a busy loop, before the first request is sent."""
    authority = Authority(tmp_path)
    context = authority.server("127.0.0.1")
    shaken = threading.Event()

    def serve(listener: socket.socket) -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            shaken.set()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            with suppress(OSError):
                connection.recv(1)

    async def busy() -> None:
        while True:
            shaken.wait(0.05)
            await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        target = Target("127.0.0.1", listener.getsockname()[1], tls=True)
        async with asking(target, ca_file=authority.ca_file) as asker:
            keeping_busy = asyncio.ensure_future(busy())
            assert await asker.get() == b"hello"
            keeping_busy.cancel()
        thread.join(10)


async def test_a_server_that_speaks_first_is_not_asked() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.write(b"220 hello\r\n"), "127.0.0.1", 0)
    async with asking(Target("127.0.0.1", server.sockets[0].getsockname()[1])) as asker:
        with pytest.raises(OriginError):
            await asker.get()
    server.close()


async def test_upstreams_are_bounded_and_an_idle_one_makes_room() -> None:
    async with ScriptedOrigin() as resting, ScriptedOrigin() as busy, asking(resting, upstreams_max=2) as asker:
        resting.always(200)
        await asker.get()
        running = asyncio.ensure_future(asker.ask(b"/1", to=Target("127.0.0.1", busy.port)))
        ask = await busy.asked_for("/1")
        async with ScriptedOrigin() as other:
            also = asyncio.ensure_future(asker.ask(b"/2", to=Target("127.0.0.1", other.port)))
            await other.asked_for("/2")
            await resting.log[0].gone()
            with pytest.raises(Overloaded):
                await asker.get()
            await ask.answer(200)
            await running
            await asker.get()
            also.cancel()


async def test_an_upstream_without_connections_is_forgotten() -> None:
    async with ScriptedOrigin() as origin, asking(origin, upstreams_max=1) as asker:
        with pytest.raises(OriginUnreachable):
            await asker.ask(to=Target("a..test", 1))
        origin.always(200)
        await asker.get()


async def test_closing_ends_what_streams_what_runs_and_what_waits() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=2) as asker:
        streaming = asyncio.ensure_future(asker.ask(b"/streams"))
        (await origin.asked_for("/streams")).head(200, {"Content-Length": "10"})
        body = (await streaming).body
        running = asyncio.ensure_future(asker.ask(b"/runs"))
        await origin.asked_for("/runs")
        waiting = asyncio.ensure_future(asker.ask(b"/waits"))
        await asyncio.sleep(0)
        await asker.client.close()
        ends = await asyncio.gather(body.read(), running, waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [BodyAborted, OriginError, Overloaded]
        assert (asker[Counter.UPSTREAM_OPEN], asker[Counter.UPSTREAM_ABORTED]) == (0, 0)
        with pytest.raises(Overloaded):
            await asker.ask()
