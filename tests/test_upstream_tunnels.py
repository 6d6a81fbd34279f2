"""What is behind a 101: bytes in both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgeproxy.errors import (
    BodyAborted,
)
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.client import Exchange, Target
from tests.asking import (
    BLOCK,
    BRIEF,
    ROOM,
    Asker,
    asking,
    passes,
    read_all,
    stalls,
)
from tests.authority import Authority
from tests.scripted import Ask, ScriptedOrigin, until

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
