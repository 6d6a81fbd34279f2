"""One request to a target: what is sent again and what never is, what its counters say, where it goes."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from edgeproxy.errors import Detail, OriginError, OriginInvalid, OriginTimeout, OriginUnreachable, ViewerError
from edgeproxy.message import Body, BytesBody
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.client import Target
from tests.asking import BRIEF, Asker, asking, read_all
from tests.authority import Authority
from tests.scripted import Ask, ScriptedOrigin, until


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


async def hang_up(ask: Ask) -> None:
    """An origin that reads the request and closes without an answer."""
    ask.close()


async def warm(asker: Asker, origin: ScriptedOrigin, count: int = 1) -> None:
    """`count` kept connections, each used once; after that the origin hangs up on whatever they bring."""
    used = set()

    async def first_only(ask: Ask) -> None:
        if ask.connection in used and ask.connection <= count:
            await hang_up(ask)
        else:
            used.add(ask.connection)
            await ask.answer(200, {}, b"hello")

    gate = [asyncio.ensure_future(asker.ask(b"/warm")) for _ in range(count)]
    for ask in [await origin.asked_for("/warm") for _ in range(count)]:
        used.add(ask.connection)
        await ask.answer(200)
    await asyncio.gather(*gate)
    origin.on("/", first_only)


# Kept connections that turn out to be dead


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
async def test_what_may_be_repeated_is_sent_again_when_a_kept_connection_was_dead(method: str) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await warm(asker, origin)
        exchange = await asker.ask(method=method)
        assert (exchange.head.status, exchange.reused) == (200, False)
        await read_all(exchange.body)
        assert [ask.method for ask in origin.log[1:]] == [method, method]
        assert (asker[Counter.UPSTREAM_RETRIES], asker[Counter.UPSTREAM_REQUESTS]) == (1, 3)


NEVER_AGAIN = [
    ("POST", b""),
    ("PATCH", b""),
    ("PROPFIND", b""),
    ("POST", b"body"),
    ("PATCH", b"body"),
    ("PUT", b"body"),
    ("DELETE", b"body"),
    ("GET", b"body"),
]


@pytest.mark.parametrize(("method", "content"), NEVER_AGAIN)
async def test_what_may_not_be_repeated_is_sent_once(method: str, content: bytes) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await warm(asker, origin)
        with pytest.raises(OriginError) as caught:
            await asker.ask(method=method, body=BytesBody([content]))
        assert (caught.value.status, caught.value.detail) == (502, Detail.ORIGIN_COMM)
        assert (origin.requests, asker[Counter.UPSTREAM_RETRIES]) == (2, 0)


async def test_a_put_whose_body_was_not_touched_yet_is_sent_again() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await warm(asker, origin)
        task = asyncio.ensure_future(
            asker.ask(b"/", (b"Expect", b"100-continue"), method="PUT", body=BytesBody([b"hello"]))
        )
        await until(lambda: origin.requests == 3)
        origin.log[2].head(100)
        assert (await task).head.status == 200
        assert asker[Counter.UPSTREAM_RETRIES] == 1


async def test_a_request_goes_to_a_fresh_connection_after_a_dead_one() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await warm(asker, origin, count=3)
        exchange = await asker.ask()
        assert (exchange.head.status, exchange.reused, asker[Counter.UPSTREAM_RETRIES]) == (200, False, 1)
        assert origin.connections == 4


async def test_with_all_places_taken_by_idle_connections_a_fresh_one_is_still_made() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=2) as asker:
        await warm(asker, origin, count=2)
        exchange = await asker.ask()
        assert (exchange.head.status, exchange.reused, origin.connections) == (200, False, 3)


async def test_a_fresh_connection_that_ends_without_an_answer_is_not_tried_again() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(attempts=3)
        origin.on("/", hang_up)
        with pytest.raises(OriginError):
            await asker.ask()
        assert origin.requests == 1


@pytest.mark.parametrize("sent", [b"H", b"HTTP/1.1 103 Early\r\n\r\n"])
async def test_once_a_byte_of_an_answer_has_come_nothing_is_sent_again(sent: bytes) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await warm(asker, origin)

        async def begin(ask: Ask) -> None:
            ask.send(sent)
            ask.close()

        origin.on("/", begin)
        with pytest.raises(OriginError):
            await asker.ask()
        assert (origin.requests, asker[Counter.UPSTREAM_RETRIES]) == (2, 0)


async def test_an_invalid_answer_is_not_asked_for_again() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        await warm(asker, origin)

        async def garbage(ask: Ask) -> None:
            ask.send(b"garbage\r\n\r\n")

        origin.on("/", garbage)
        with pytest.raises(OriginInvalid):
            await asker.ask()
        assert origin.requests == 2


# Attempts


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_connecting_is_tried_as_often_as_allowed_whatever_the_method(method: str) -> None:
    async with asking(Target("127.0.0.1", closed_port())) as asker:
        asker.waits(attempts=3)
        with pytest.raises(OriginUnreachable):
            await asker.ask(method=method, body=BytesBody([b"body"]))
        assert (asker[Counter.UPSTREAM_UNREACHABLE], asker[Counter.UPSTREAM_REQUESTS]) == (3, 0)


async def test_a_certificate_that_is_not_valid_is_not_tried_again(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ScriptedOrigin(tls=authority.server("other.test")) as origin:
        target = Target("127.0.0.1", origin.port, tls=True, server_name="origin.test")
        async with asking(target, ca_file=authority.ca_file) as asker:
            asker.waits(attempts=3)
            with pytest.raises(OriginUnreachable):
                await asker.ask()
            assert (asker[Counter.UPSTREAM_UNREACHABLE], asker[Counter.UPSTREAM_OPENED]) == (1, 0)


async def test_a_connect_time_out_is_counted_and_tried_again() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with asking(Target("127.0.0.1", full.getsockname()[1])) as asker:
            asker.waits(connect=BRIEF, attempts=2)
            with pytest.raises(OriginTimeout) as caught:
                await asker.ask()
            assert (caught.value.status, caught.value.detail) == (504, Detail.ORIGIN_CONNECT)
            assert (asker[Counter.UPSTREAM_TIMEOUTS], asker[Counter.UPSTREAM_UNREACHABLE]) == (2, 2)


@pytest.mark.parametrize(
    ("method", "body", "requests"),
    [
        ("GET", BytesBody(), 3),
        ("HEAD", BytesBody(), 3),
        ("OPTIONS", BytesBody(), 1),
        ("DELETE", BytesBody(), 1),
        ("POST", BytesBody(), 1),
    ],
)
async def test_a_first_byte_is_waited_for_again_only_for_get_and_head(method: str, body: Body, requests: int) -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(first_byte=BRIEF / 2, attempts=3)
        with pytest.raises(OriginTimeout):
            await asker.ask(method=method, body=body)
        assert (origin.requests, asker[Counter.UPSTREAM_TIMEOUTS]) == (requests, requests)
        assert asker[Counter.UPSTREAM_RETRIES] == requests - 1


async def test_the_bound_on_the_whole_exchange_counts_repetitions_too() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        asker.waits(first_byte=2 * BRIEF, completion=3 * BRIEF)
        asker.waits(attempts=100)
        started = asyncio.get_running_loop().time()
        with pytest.raises(OriginTimeout):
            await asker.ask()
        # A hundred repetitions would take ten seconds; on a busy machine even the second may come too late to be sent.
        assert 1 <= origin.requests <= 2
        assert asyncio.get_running_loop().time() - started < 100 * BRIEF


# What is counted and told


async def test_an_exchange_tells_what_it_took() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        origin.always(200)
        first, second = await asker.ask(), await asker.ask()
        assert (first.reused, second.reused) == (False, True)
        assert first.connect_seconds > 0 == second.connect_seconds
        assert first.first_byte_seconds > 0 < second.first_byte_seconds


async def test_connections_are_kept_apart_by_target(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with ScriptedOrigin() as one, ScriptedOrigin() as two, ScriptedOrigin(unix_path=path) as three:
        for number, origin in enumerate((one, two, three)):
            origin.always(200, {}, b"%d" % number)
        async with asking(one) as asker:
            targets = [asker.target, Target("127.0.0.1", two.port), Target("x", 0, unix_path=path)] * 2
            answers = [await read_all((await asker.ask(to=target)).body) for target in targets]
            assert answers == [b"0", b"1", b"2"] * 2
            assert (asker[Counter.UPSTREAM_OPENED], asker[Counter.UPSTREAM_REUSED]) == (3, 3)


async def test_nothing_that_is_not_allowed_on_the_wire_reaches_a_connection() -> None:
    async with ScriptedOrigin() as origin, asking(origin) as asker:
        with pytest.raises(ViewerError):
            await asker.ask(b"/", (b"X", b"a\r\nHost: evil"))
        assert (origin.connections, asker[Counter.UPSTREAM_REQUESTS]) == (0, 0)


async def test_many_at_once_get_each_their_own_answer() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=8) as asker:

        async def echo(ask: Ask) -> None:
            await ask.answer(200, {}, ask.target.encode() * 1000)

        origin.on("/echo", echo)
        targets = [b"/echo?%d" % number for number in range(200)]
        bodies = await asyncio.gather(*(asker.get(target) for target in targets))
        assert bodies == [target * 1000 for target in targets]
        assert origin.connections == 8


async def test_cancelling_at_any_moment_leaves_nothing_behind() -> None:
    async with ScriptedOrigin() as origin, asking(origin, connections_max=2) as asker:
        origin.always(200, {}, b"hello")
        for turns in range(40):
            task = asyncio.ensure_future(asker.get())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await asker.get() == b"hello"
        await until(lambda: asker[Counter.UPSTREAM_OPEN] == origin.open == 1)
