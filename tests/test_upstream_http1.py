"""One connection to the next hop: answers, faults, time-outs, uploads, tunnels. Most of it under both event loops."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from edgeproxy.errors import (
    BodyAborted,
    Detail,
    EdgeError,
    OriginError,
    OriginInvalid,
    OriginTimeout,
    Side,
    ViewerError,
)
from edgeproxy.headers import Headers
from edgeproxy.message import BytesBody, ResponseHead
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.body import ResponseBody
from edgeproxy.upstream.client import Exchange, Target
from tests.asking import BRIEF, Asker, asking, read_all, read_until_cut
from tests.authority import Authority
from tests.scripted import Ask, ScriptedOrigin, until
from tests.test_upstream_reading import MALFORMED

MiB = 1024 * 1024
BLOCK = b"x" * (64 * 1024)
ROOM = 24 * MiB
"""More than two kernels, their loopback and our buffers hold: whoever has sent more has not been held back."""

LONGER = 0.3
"""Seconds of a time-out that must not pass, on a machine that is busy with other things."""


class Upload:
    """A body of many blocks that counts what was pulled; it can wait, and it can fail."""

    def __init__(self, blocks: int, *, length: bool = False, gate: asyncio.Event | None = None) -> None:
        self.length = blocks * len(BLOCK) if length else None
        self.trailers = Headers()
        self.pulled = 0
        self.fails: Exception | None = None
        self._left = blocks
        self._gate = gate

    async def read(self) -> bytes:
        if self._gate is not None and self.pulled:
            await self._gate.wait()
        if self.fails is not None:
            raise self.fails
        if not self._left:
            return b""
        self._left -= 1
        self.pulled += len(BLOCK)
        return BLOCK

    def close(self) -> None:
        raise AssertionError("the upstream client does not own the request's body")


async def begun(asker: Asker, origin: ScriptedOrigin, method: str = "GET") -> tuple[asyncio.Future[Exchange], Ask]:
    """A request that has reached the origin."""
    task = asyncio.ensure_future(asker.ask(method=method))
    return task, await origin.asked_for("/")


async def stalls(count: Callable[[], int]) -> int:
    """Waits until a number has not moved for many turns of the loop."""
    last, quiet = count(), 0
    while quiet < 2000:
        await asyncio.sleep(0)
        last, quiet = (last, quiet + 1) if count() == last else (count(), 0)
    return last


async def passes(seconds: float) -> None:
    """Time in which something must not happen."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


# Answers


async def test_head_and_body_arrive_as_they_were_sent() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        await ask.answer(200, [("X-a", "1"), ("Connection", "x-a"), ("x-A", "2")], b"hello")
        exchange = await task
        assert list(exchange.head.headers)[:3] == [(b"X-a", b"1"), (b"Connection", b"x-a"), (b"x-A", b"2")]
        assert (exchange.head.status, exchange.head.reason, exchange.body.length) == (200, b"Scripted", 5)
        assert await read_all(exchange.body) == b"hello"
        assert (exchange.reused, exchange.tunnel) == (False, None)
        assert exchange.connect_seconds > 0
        assert exchange.first_byte_seconds > 0


async def test_the_first_bytes_are_there_before_the_last_are_sent() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        ask.head(200, {"Transfer-Encoding": "chunked"})
        body = (await task).body
        for block in (b"one", b"two"):
            ask.chunk(block)
            assert await body.read() == block
        ask.last_chunk({"Checksum": "1"})
        assert await body.read() == b""
        assert list(body.trailers) == [(b"Checksum", b"1")]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204), ("HEAD", 404)])
async def test_an_answer_without_a_body_leaves_the_connection_usable(method: str, status: int) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin, method)
        await ask.answer(status, {} if status == 204 else {"Content-Length": "5"})
        exchange = await task
        assert (exchange.body.length, await exchange.body.read()) == (0, b"")
        assert exchange.head.headers.get(b"content-length") == (None if status == 204 else b"5")
        origin.always(200, {}, b"next")
        assert await asker.get() == b"next"
        assert origin.connections == 1


async def test_a_body_without_framing_ends_with_its_connection() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        ask.send(b"HTTP/1.0 200 OK\r\n\r\nhello")
        ask.close()
        body = (await task).body
        assert isinstance(body, ResponseBody)
        assert (body.length, body.close_delimited) == (None, True)
        assert await read_all(body) == b"hello"


async def test_interim_heads_are_handed_on_at_once_except_100() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        seen: list[ResponseHead] = []
        task = asyncio.ensure_future(asker.ask(interim=seen.append))
        ask = await origin.asked_for()
        ask.head(100)
        ask.head(103, {"Link": "</a.css>"})
        await until(lambda: len(seen) == 1)
        assert (seen[0].status, list(seen[0].headers)) == (103, [(b"Link", b"</a.css>")])
        assert not task.done()
        await ask.answer(200, {}, b"hello")
        assert await read_all((await task).body) == b"hello"


# Faults


async def refusal(task: asyncio.Future[Exchange]) -> EdgeError:
    """How a refusal is said: instead of an answer, or instead of the rest of its body."""
    try:
        exchange = await task
    except OriginInvalid as refused:
        return refused
    return (await read_until_cut(exchange.body))[1]


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
async def test_an_answer_that_breaks_the_rules_is_never_taken_for_one(name: str, bytewise: bool) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        data = MALFORMED[name]
        for at in range(0, len(data), 1 if bytewise else len(data)):
            ask.send(data[at:] if not bytewise else data[at : at + 1])
            await asyncio.sleep(0)
        error = await refusal(task)
        assert (error.status, error.detail) == (502, Detail.ORIGIN_INVALID_RESPONSE)
        await ask.gone()
        assert asker[Counter.UPSTREAM_INVALID] == 1


async def test_a_head_that_is_too_large_says_so() -> None:
    async with ScriptedOrigin() as origin, asking(origin, head_max=1024) as asker:
        task, ask = await begun(asker, origin)
        ask.head(200, {"X": "x" * 2000})
        with pytest.raises(OriginInvalid) as caught:
            await task
        assert caught.value.detail is Detail.ORIGIN_HEADER_TOO_BIG


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 103 Early\r\n\r\n"])
@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
async def test_a_connection_that_ends_before_the_head_is_a_502(sent: bytes, reset: bool) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        ask.send(sent)
        if reset:
            ask.reset()
        else:
            ask.close()
        with pytest.raises(OriginError) as caught:
            await task
        assert (caught.value.status, caught.value.detail) == (502, Detail.ORIGIN_COMM)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
async def test_a_body_cut_short_is_told_from_one_that_ended(framing: bytes) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        ask.send(b"HTTP/1.1 200 OK\r\n" + framing)
        ask.close()
        came, cut = await read_until_cut((await task).body)
        assert (came, cut.detail, asker[Counter.UPSTREAM_ABORTED]) == (b"hello", Detail.ABORTED_ORIGIN, 1)


async def test_a_reset_never_ends_a_body_without_framing_well() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        ask.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        body = (await task).body
        assert await body.read() == b"hello"
        ask.reset()
        with pytest.raises(BodyAborted):
            await body.read()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_bytes_after_an_answer_end_the_connection_but_not_the_answer(method: str) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin, method)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + (b"hello" if method == "GET" else b"")
        ask.send(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        assert await read_all((await task).body) == (b"hello" if method == "GET" else b"")
        await ask.gone()
        assert asker[Counter.UPSTREAM_SURPLUS] == 1


# Time-outs


async def test_no_first_byte_in_time_is_a_504() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(first_byte=BRIEF)
        task, ask = await begun(asker, origin)
        with pytest.raises(OriginTimeout) as caught:
            await task
        assert (caught.value.status, caught.value.detail) == (504, Detail.ORIGIN_READ)
        assert asker[Counter.UPSTREAM_TIMEOUTS] == 1
        await ask.gone()


async def test_a_head_in_drops_does_not_last_for_ever() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(first_byte=BRIEF)
        task, ask = await begun(asker, origin)
        ask.send(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(20):
            ask.send(b"x")
            await asyncio.wait({task}, timeout=BRIEF / 4)
        assert task.done()
        with pytest.raises(OriginTimeout):
            await task


async def test_a_body_that_stops_coming_is_cut_as_a_504() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(idle=BRIEF)
        task, ask = await begun(asker, origin)
        ask.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        came, cut = await read_until_cut((await task).body)
        assert (came, cut.status, cut.detail) == (b"hello", 504, Detail.ORIGIN_READ)
        assert asker[Counter.UPSTREAM_TIMEOUTS] == 1


async def test_a_slow_reader_is_not_the_origins_fault() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(idle=LONGER)
        task, ask = await begun(asker, origin)
        ask.head(200, {"Content-Length": str(ROOM)})
        ask.send(b"x" * ROOM)
        body = (await task).body
        await passes(1.2 * LONGER)
        assert len(await read_all(body)) == ROOM


async def test_an_upload_that_is_not_taken_is_a_504() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(idle=BRIEF)
        with pytest.raises(OriginTimeout) as caught:
            await asker.ask(method="POST", body=Upload(2 * ROOM // len(BLOCK)))
        assert caught.value.detail is Detail.ORIGIN_WRITE


async def test_a_slow_upload_is_not_the_origins_fault() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(idle=LONGER, first_byte=LONGER)
        gate = asyncio.Event()
        task = asyncio.ensure_future(asker.ask(method="POST", body=Upload(2, gate=gate)))
        ask = await origin.asked_for()
        await passes(1.2 * LONGER)
        gate.set()
        assert await ask.body() == BLOCK * 2
        await ask.answer(200)
        assert (await task).head.status == 200


async def test_an_upload_that_is_taken_slowly_is_no_fault() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(idle=LONGER)
        task = asyncio.ensure_future(asker.ask(method="POST", body=BytesBody([b"x" * 2 * ROOM])))
        ask = await origin.asked_for()
        taken = 0
        for turn in range(1, 7):
            await passes(LONGER / 4)
            while taken < turn * 4 * MiB:
                piece = await ask.read()
                assert piece
                taken += len(piece)
        await ask.body()
        await ask.answer(200)
        assert (await task).head.status == 200


@pytest.mark.parametrize("read", [True, False], ids=["reader waits", "reader is slow"])
async def test_the_whole_exchange_has_a_bound_of_its_own(read: bool) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(completion=2 * BRIEF)
        task, ask = await begun(asker, origin)
        ask.head(200, {"Content-Length": str(2 * ROOM)})
        ask.send(b"x" * (5 if read else ROOM))
        body = (await task).body
        if not read:
            await ask.gone()
        _, cut = await read_until_cut(body)
        assert cut.status == 504


# Readers that leave


async def test_a_body_closed_when_little_is_left_keeps_the_connection() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=1) as asker:
        task, ask = await begun(asker, origin)
        ask.head(200, {"Content-Length": "1000"})
        (await task).body.close()
        waiting = asyncio.ensure_future(asker.get())
        ask.send(b"x" * 1000)
        ask.done()
        await (await origin.asked_for()).answer(200, {}, b"next")
        assert (await waiting, origin.connections) == (b"next", 1)


@pytest.mark.parametrize("fields", [{"Content-Length": "100000"}, {"Transfer-Encoding": "chunked"}, {}])
async def test_a_body_closed_when_much_may_be_left_closes_the_connection(fields: dict[str, str]) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        ask.head(200, fields)
        (await task).body.close()
        await ask.gone()
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)
        assert asker[Counter.UPSTREAM_ABORTED] == 0


async def test_a_cancelled_exchange_closes_its_connection() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task, ask = await begun(asker, origin)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # A reset, not an end that might be half of one: whoever answers need not try to write first.
        with pytest.raises(ConnectionResetError):
            await ask.read_raw(1)
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)


# Uploads


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


# Tunnels

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"


async def upgraded(asker: Asker, origin: ScriptedOrigin, first: bytes = b"") -> tuple[Exchange, Ask]:
    task = asyncio.ensure_future(asker.ask(b"/", (b"Upgrade", b"echo"), upgrade=True))
    ask = await origin.asked_for()
    assert (ask.header("Upgrade"), ask.header("Connection")) == ("echo", "upgrade")
    ask.send(SWITCH + first)
    return await task, ask


async def test_a_tunnel_carries_bytes_both_ways_until_both_have_finished() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        exchange, ask = await upgraded(asker, origin, b"already here")
        tunnel = exchange.tunnel
        assert tunnel is not None
        assert (exchange.head.status, await exchange.body.read()) == (101, b"")
        assert await tunnel.read() == b"already here"
        await tunnel.write(b"ping")
        assert await ask.read_raw(4) == b"ping"
        tunnel.finish()
        assert await ask.read_raw(1) == b""
        ask.send(b"last words")
        assert await tunnel.read() == b"last words"
        ask.close()
        assert await tunnel.read() == b""
        tunnel.close()
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)


async def test_a_tunnel_can_still_be_written_to_when_the_other_side_has_finished() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        exchange, ask = await upgraded(asker, origin)
        assert exchange.tunnel is not None
        ask.finish()
        assert await exchange.tunnel.read() == b""
        await exchange.tunnel.write(b"more")
        exchange.tunnel.finish()
        assert await ask.read_raw(10) == b"more"
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)
        with pytest.raises(BodyAborted):
            await exchange.tunnel.write(b"x")


async def test_a_tunnel_has_no_time_out_and_is_held_back_in_both_directions() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(first_byte=BRIEF, idle=BRIEF, completion=2 * BRIEF)
        exchange, ask = await upgraded(asker, origin)
        tunnel = exchange.tunnel
        assert tunnel is not None
        await passes(3 * BRIEF)
        ask.send(b"x" * ROOM)
        assert await stalls(ask.unsent) > 0
        written = 0

        async def pour() -> None:
            nonlocal written
            while written < 2 * ROOM:
                await tunnel.write(BLOCK)
                written += len(BLOCK)

        pouring = asyncio.ensure_future(pour())
        assert await stalls(lambda: written) < 2 * ROOM
        assert len(await tunnel.read()) > 0
        tunnel.close()
        with pytest.raises(BodyAborted):
            await pouring


async def test_a_tunnel_that_is_reset_does_not_end_well() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        exchange, ask = await upgraded(asker, origin)
        ask.reset()
        assert exchange.tunnel is not None
        with pytest.raises(BodyAborted):
            await exchange.tunnel.read()


async def test_an_upgrade_that_is_declined_is_an_ordinary_answer() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        task = asyncio.ensure_future(asker.ask(b"/", (b"Upgrade", b"echo"), upgrade=True))
        await (await origin.asked_for()).answer(200, {"Connection": "upgrade", "Upgrade": "echo"}, b"no")
        exchange = await task
        assert (exchange.tunnel, await read_all(exchange.body)) == (None, b"no")


# TLS


async def test_over_tls_connections_are_kept_and_bodies_are_held_back(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ScriptedOrigin(tls=authority.server("127.0.0.1")) as origin:
        origin.always(200, {}, b"x" * 4 * MiB)
        target = Target("127.0.0.1", origin.port, tls=True)
        async with asking(target, ca_file=authority.ca_file) as asker:
            for _ in range(2):
                assert len(await asker.get()) == 4 * MiB
            assert (asker[Counter.UPSTREAM_OPENED], asker[Counter.UPSTREAM_REUSED]) == (1, 1)


async def test_over_tls_a_body_without_framing_ends_with_a_goodbye(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ScriptedOrigin(tls=authority.server("127.0.0.1")) as origin:
        target = Target("127.0.0.1", origin.port, tls=True)
        async with asking(target, ca_file=authority.ca_file) as asker:
            task, ask = await begun(asker, origin)
            ask.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            ask.close()
            assert await read_all((await task).body) == b"hello"


async def test_over_tls_a_body_without_framing_and_goodbye_was_cut(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ScriptedOrigin(tls=authority.server("127.0.0.1")) as origin:
        target = Target("127.0.0.1", origin.port, tls=True)
        async with asking(target, ca_file=authority.ca_file) as asker:
            task, ask = await begun(asker, origin)
            ask.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            body = (await task).body
            assert await body.read() == b"hello"
            ask.vanish()
            with pytest.raises(BodyAborted):
                await body.read()


async def test_a_tunnel_over_tls_carries_bytes_both_ways_and_finishing_ends_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ScriptedOrigin(tls=authority.server("127.0.0.1")) as origin:
        target = Target("127.0.0.1", origin.port, tls=True)
        async with asking(target, ca_file=authority.ca_file) as asker:
            exchange, ask = await upgraded(asker, origin, b"hello")
            assert exchange.tunnel is not None
            assert await exchange.tunnel.read() == b"hello"
            await exchange.tunnel.write(b"ping")
            exchange.tunnel.finish()
            assert await ask.read_raw(10) == b"ping"
            exchange.tunnel.close()
            await until(lambda: asker[Counter.UPSTREAM_OPEN] == 0)


# The same under the other event loop

SCENES = [
    scene
    for name, scene in list(globals().items())
    if name.startswith("test_") and set(inspect.signature(scene).parameters) <= {"tmp_path"}
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__.removeprefix("test_"))
def test_under_uvloop(scene: Callable[..., Coroutine[None, None, None]], tmp_path: Path) -> None:
    arguments = {"tmp_path": tmp_path} if inspect.signature(scene).parameters else {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene(**arguments))
