"""One connection to the next hop: answers, faults, readers that leave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgeproxy.errors import (
    BodyAborted,
    Detail,
    EdgeError,
    OriginError,
    OriginInvalid,
)
from edgeproxy.message import ResponseHead
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.body import ResponseBody
from edgeproxy.upstream.client import Exchange, Target
from tests.asking import (
    MiB,
    asking,
    begun,
    read_all,
    read_until_cut,
)
from tests.authority import Authority
from tests.scripted import ScriptedOrigin, until
from tests.test_upstream_reading import MALFORMED


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
