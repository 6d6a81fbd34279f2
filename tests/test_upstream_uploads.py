"""Bodies on their way to the next hop: held back, awaited, refused, cut."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from edgeproxy.errors import (
    BodyAborted,
    Detail,
    Side,
    ViewerError,
)
from edgeproxy.headers import Headers
from edgeproxy.message import BytesBody
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.target import Target
from tests.asking import (
    BLOCK,
    BRIEF,
    ROOM,
    MiB,
    Upload,
    asking,
    passes,
    read_all,
    stalls,
)
from tests.scripted import Ask, ScriptedOrigin


async def test_an_upload_is_held_back_by_an_origin_that_does_not_read() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        upload = Upload(64 * MiB // len(BLOCK), length=True)
        task = asyncio.ensure_future(asker.ask(method="PUT", body=upload))
        ask = await origin.asked_for()
        assert await stalls(lambda: upload.pulled) < ROOM
        total = 0
        while piece := await ask.read():
            total += len(piece)
        await ask.answer(204)
        assert ((await task).head.status, total, upload.pulled) == (204, 64 * MiB, 64 * MiB)
        assert ask.header("Content-Length") == str(64 * MiB)


async def test_a_download_is_held_back_by_a_reader_that_does_not_read() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        sent = 0

        async def pour(ask: Ask) -> None:
            nonlocal sent
            ask.head(200, {"Transfer-Encoding": "chunked"})
            for _ in range(64 * MiB // len(BLOCK)):
                ask.chunk(BLOCK)
                await ask.drain()
                sent += len(BLOCK)
            ask.chunk(b"")

        origin.on("/", pour)
        body = (await asker.ask()).body
        assert await stalls(lambda: sent) < ROOM
        total = 0
        while piece := await body.read():
            total += len(piece)
        assert total == 64 * MiB


async def test_a_chunked_upload_carries_its_trailers() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        upload = Upload(3)
        upload.trailers = Headers([(b"Checksum", b"1")])
        task = asyncio.ensure_future(asker.ask(method="POST", body=upload))
        ask = await origin.asked_for()
        assert await ask.body() == BLOCK * 3
        assert (ask.trailers.get("Checksum"), ask.header("Transfer-Encoding")) == ("1", "chunked")
        await ask.answer(200, {}, b"got it")
        assert await read_all((await task).body) == b"got it"
        assert len([ask.header("Content-Length")]) == 1


async def test_a_body_is_sent_only_after_100() -> None:
    async with ScriptedOrigin() as origin, asking(origin, expect_timeout=60) as asker:
        upload = Upload(1, length=True)
        task = asyncio.ensure_future(asker.ask(b"/", (b"Expect", b"100-continue"), method="POST", body=upload))
        ask = await origin.asked_for()
        assert upload.pulled == 0
        ask.head(100)
        assert await ask.body() == BLOCK
        await ask.answer(200)
        assert (await task).head.status == 200


async def test_a_body_refused_before_it_was_sent_stays_here_and_the_connection_is_not_used_again() -> None:
    async with ScriptedOrigin() as origin, asking(origin, expect_timeout=BRIEF) as asker:
        upload = Upload(1, length=True)
        task = asyncio.ensure_future(asker.ask(b"/", (b"Expect", b"100-continue"), method="POST", body=upload))
        ask = await origin.asked_for()
        ask.send(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nn")
        exchange = await task
        await passes(2 * BRIEF)
        ask.send(b"o")
        assert (exchange.head.status, await read_all(exchange.body), upload.pulled) == (417, b"no", 0)
        await ask.gone()


async def test_without_100_the_body_is_sent_after_a_while() -> None:
    async with ScriptedOrigin() as origin, asking(origin, expect_timeout=BRIEF) as asker:
        task = asyncio.ensure_future(
            asker.ask(b"/", (b"Expect", b"100-continue"), method="POST", body=BytesBody([b"hello"]))
        )
        ask = await origin.asked_for()
        assert await ask.body() == b"hello"
        await ask.answer(200)
        await task


async def test_an_answer_may_stream_while_its_request_still_does() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        gate = asyncio.Event()
        task = asyncio.ensure_future(asker.ask(method="POST", body=Upload(2, gate=gate)))
        ask = await origin.asked_for()
        ask.head(200, {"Transfer-Encoding": "chunked"})
        body = (await task).body
        ask.chunk(b"early")
        assert await body.read() == b"early"
        gate.set()
        assert await ask.body() == BLOCK * 2
        ask.chunk(b"")
        ask.done()
        assert await body.read() == b""
        origin.always(200)
        await asker.get()
        assert origin.connections == 1


async def test_an_answer_that_ends_before_its_request_is_whole_and_ends_the_connection() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        gate = asyncio.Event()
        task = asyncio.ensure_future(asker.ask(method="POST", body=Upload(2, gate=gate)))
        ask = await origin.asked_for()
        ask.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        exchange = await task
        assert (exchange.head.status, await read_all(exchange.body)) == (413, b"big")
        assert (await ask.body(), ask.cut) == (BLOCK, True)


async def test_an_early_answer_with_a_close_behind_it_is_read_although_the_upload_fails() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        gate = asyncio.Event()
        task = asyncio.ensure_future(asker.ask(method="POST", body=Upload(100, gate=gate)))
        ask = await origin.asked_for()
        ask.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        ask.close()
        gate.set()
        exchange = await task
        assert (exchange.head.status, await read_all(exchange.body)) == (413, b"big")


GONE = BodyAborted("the viewer left", detail=Detail.CLIENT_HUNG_UP)
GONE.side = Side.VIEWER


@pytest.mark.parametrize("fault", [GONE, ViewerError("bad chunk"), ZeroDivisionError("a fault of ours")])
async def test_a_request_body_that_fails_before_the_answer_fails_the_exchange(fault: Exception) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        gate = asyncio.Event()
        upload = Upload(2, gate=gate)
        task = asyncio.ensure_future(asker.ask(method="POST", body=upload))
        ask = await origin.asked_for()
        upload.fails = fault
        gate.set()
        with pytest.raises(type(fault)):
            await task
        assert (await ask.body(), ask.cut) == (BLOCK, True)
        assert asker[Counter.UPSTREAM_RETRIES] == 0


async def test_a_request_body_that_fails_later_cuts_the_answer() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        gate = asyncio.Event()
        upload = Upload(2, gate=gate)
        task = asyncio.ensure_future(asker.ask(method="POST", body=upload))
        ask = await origin.asked_for()
        ask.head(200, {"Content-Length": "10"})
        body = (await task).body
        upload.fails = GONE
        gate.set()
        with pytest.raises(BodyAborted) as caught:
            await body.read()
        assert (caught.value.side, asker[Counter.UPSTREAM_ABORTED]) == (Side.VIEWER, 0)


async def test_an_origin_that_answers_before_it_has_read_the_body_keeps_its_connection() -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert await reader.readexactly(1024) == b"x" * 1024
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asking(Target("127.0.0.1", port)) as asker:
        for _ in range(10):
            exchange = await asker.ask(method="POST", body=BytesBody([b"x" * 1024]))
            assert await read_all(exchange.body) == b"ok"
        assert asker[Counter.UPSTREAM_OPENED] == 1
