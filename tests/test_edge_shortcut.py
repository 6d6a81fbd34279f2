"""The shortcut through nodes: when it is taken, when it is left, and that nobody can tell by the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from edgeproxy.model import Rules
from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask, ScriptedOrigin, Viewer
from tests.tier import Node, node, receive
from tests.wire import until

KEPT = [("Cache-Control", "max-age=60")]


@asynccontextmanager
async def taught(
    rules: Rules = Rules.RFC9111, warm: Sequence[str] = ("GET", "POST"), **connections: object
) -> AsyncIterator[tuple[Node, ScriptedOrigin, Viewer]]:
    """A POP that has seen such requests before, an idle connection to its origin, and a viewer."""
    async with (
        ScriptedOrigin() as origin,
        node(origin=origin.url, rules=rules, settings={"connections": connections}) as pop,
        await pop.viewer() as viewer,
    ):
        origin.always(200, KEPT, b"here")
        for method in warm:
            for number in range(3):
                await ask(viewer, f"/{method}/{number}", method)
        yield pop, origin, viewer


async def ask(viewer: Viewer, target: str, method: str = "GET", content: bytes = b"") -> bytes:
    await viewer.ask(target, (), content or (b"sent" if method != "GET" else b""), method=method, host="a.test")
    got = await receive(viewer)
    assert got.status == 200
    return got.body


def short(pop: Node) -> tuple[int, int]:
    """(requests on the shortcut, those that left it)"""
    return pop.count(Counter.SHORTCUTS), pop.count(Counter.SHORTCUT_LEFT)


@pytest.mark.parametrize("rules", Rules)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
async def test_the_third_request_of_a_kind_takes_it_and_is_answered(rules: Rules, method: str) -> None:
    async with taught(rules, [method]) as (pop, _, viewer):
        assert short(pop) == (1, 0)
        assert await ask(viewer, "/other?a=1", method) == b"here"
        assert short(pop) == (2, 0)
        assert not pop.count(Counter.FILLS_OPEN)


async def test_what_came_is_stored() -> None:
    async with taught() as (_, origin, viewer):
        asked = origin.requests
        assert [await ask(viewer, "/new"), await ask(viewer, "/new")] == [b"here", b"here"]
        assert origin.requests == asked + 1


async def test_content_of_another_length_goes_along() -> None:
    async with taught() as (pop, origin, viewer):
        contents: list[bytes] = []

        async def echo(asked: Ask) -> None:
            contents.append(await asked.body())
            await asked.answer(200, (), contents[-1])

        origin.otherwise(echo)
        before = short(pop)[0]
        for content in (b"a", b"GET / HTTP/1.1\r\n\r\n", b"x" * 60_000):
            await until(lambda: not pop.count(Counter.FILLS_OPEN))
            assert await ask(viewer, "/echo", "POST", content) == content
        assert contents == [b"a", b"GET / HTTP/1.1\r\n\r\n", b"x" * 60_000]
        assert short(pop)[0] >= before + 2


async def test_whoever_asks_for_the_same_meanwhile_joins() -> None:
    async with taught() as (pop, origin, first):
        gate = asyncio.Event()

        async def late(asked: Ask) -> None:
            await gate.wait()
            await asked.answer(200, KEPT, b"for all")

        origin.otherwise(late)
        before, asked = short(pop), origin.requests
        async with await pop.viewer() as second:
            await first.ask("/joined", (), host="a.test")
            await until(lambda: short(pop)[0] == before[0] + 1)
            await second.ask("/joined", (), host="a.test")
            await pop.reaches(Counter.WAITS, 1)
            gate.set()
            told = [(await receive(each)) for each in (first, second)]
        assert [got.body for got in told] == [b"for all", b"for all"]
        assert ["collapsed" in (got.header("Cache-Status") or "") for got in told] == [False, True]
        assert origin.requests == asked + 1
        assert short(pop) == (before[0] + 1, before[1] + 1)
        await until(lambda: not pop.count(Counter.FILLS_OPEN))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_answer_in_pieces_goes_the_long_way(method: str) -> None:
    async with taught() as (pop, origin, viewer):

        async def slow(asked: Ask) -> None:
            await asked.body()
            asked.send(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            await asked.drain()
            asked.chunk(b"one")
            await asked.drain()
            asked.chunk(b"two")
            asked.last_chunk(())
            asked.done()

        origin.otherwise(slow)
        before = short(pop)
        await viewer.ask("/slow", (), b"sent" if method == "POST" else b"", method=method, host="a.test")
        got = await receive(viewer)
        assert (got.status, got.body, [status for status, _ in got.interim]) == (200, b"onetwo", [103])
        assert short(pop) == (before[0] + 1, before[1] + 1)
        assert await ask(viewer, "/GET/0") == b"here"


async def test_a_get_over_a_connection_that_turns_out_to_be_dead_is_sent_again() -> None:
    async with taught() as (_, origin, viewer):
        tried = []

        async def dies(asked: Ask) -> None:
            tried.append(asked)
            if len(tried) == 1:
                asked.close()
            else:
                await asked.answer(200, KEPT, b"again")

        origin.otherwise(dies)
        assert await ask(viewer, "/dies") == b"again"
        assert len(tried) == 2


async def test_a_post_that_may_have_arrived_is_not_sent_again() -> None:
    async with taught() as (_, origin, viewer):
        tried = []

        async def dies(asked: Ask) -> None:
            tried.append(await asked.body())
            asked.close()

        origin.otherwise(dies)
        await viewer.ask("/dies", (), b"sent", method="POST", host="a.test")
        assert (await receive(viewer)).status == 502
        assert tried == [b"sent"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_viewer_that_leaves_takes_its_request_along(method: str) -> None:
    async with taught() as (pop, origin, viewer):
        left: list[Ask] = []
        gone = asyncio.Event()

        async def never(asked: Ask) -> None:
            left.append(asked)
            await asked.gone()
            gone.set()

        origin.otherwise(never)
        before = short(pop)[0]
        await viewer.ask("/left", (), b"sent" if method == "POST" else b"", method=method, host="a.test")
        await until(lambda: bool(left) and short(pop)[0] == before + 1)
        viewer.reset()
        await gone.wait()
        await until(lambda: not pop.count(Counter.FILLS_OPEN))
        assert not pop.count(Counter.REQUESTS_FAILED)


async def test_a_viewer_that_half_closes_gets_its_answer() -> None:
    async with taught() as (pop, origin, viewer):
        gate = asyncio.Event()

        async def late(asked: Ask) -> None:
            await gate.wait()
            await asked.answer(200, KEPT, b"still")

        origin.otherwise(late)
        before = short(pop)
        await viewer.ask("/half", (), host="a.test")
        await until(lambda: short(pop)[0] == before[0] + 1)
        viewer.finish()
        await until(lambda: short(pop)[1] == before[1] + 1)
        gate.set()
        assert (await receive(viewer)).body == b"still"
        assert await viewer.closed()


async def test_requests_behind_it_wait_for_their_turn() -> None:
    async with taught() as (_, _, viewer):
        head = b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n"
        await viewer.send(b"".join(head % number for number in range(8)))
        for _ in range(8):
            assert (await receive(viewer)).body == b"here"


async def test_a_change_by_post_spoils_what_is_stored_and_what_is_on_its_way() -> None:
    async with taught() as (pop, origin, viewer):
        gate, started = asyncio.Event(), asyncio.Event()

        async def old(asked: Ask) -> None:
            started.set()
            await gate.wait()
            await asked.answer(200, KEPT, b"old")

        origin.on("/thing", old)
        async with await pop.viewer() as other:
            await other.ask("/thing", (), host="a.test")
            await started.wait()
            origin.on("/thing", _new)
            assert await ask(viewer, "/thing", "POST") == b"new"
            gate.set()
            assert (await receive(other)).body == b"old"
            assert await ask(viewer, "/thing") == b"new"


async def _new(asked: Ask) -> None:
    await asked.body()
    await asked.answer(200, KEPT, b"new")


async def test_none_is_taken_when_it_is_off_and_few_are_remembered() -> None:
    async with taught(shortcut_plans=0) as (pop, _, _):
        assert short(pop) == (0, 0)
    async with taught(warm=["GET"], shortcut_plans=2) as (pop, _, viewer):
        for number in range(12):
            for _ in range(2):
                await viewer.ask(f"/{number}", [("X-Kind", str(number))], host="a.test")
                await receive(viewer)
        assert pop.count(Counter.SHORTCUT_FORGOTTEN)
