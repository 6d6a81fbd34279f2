"""Every time-out of a connection to the next hop, and what is no reason for one."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.errors import (
    Detail,
    OriginTimeout,
)
from edgeproxy.message import BytesBody
from edgeproxy.telemetry.counters import Counter
from tests.asking import (
    BLOCK,
    BRIEF,
    LONGER,
    ROOM,
    MiB,
    Upload,
    asking,
    begun,
    passes,
    read_all,
    read_until_cut,
)
from tests.scripted import ScriptedOrigin


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
