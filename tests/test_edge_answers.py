"""Answers by themselves: through a node, what is made of a HEAD, a condition, a TRACE that goes no further."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edgeproxy.model import Rules
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Node, node
from tests.wire import FieldsLike

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as made:
        yield made


@pytest_asyncio.fixture
async def pop(origin: ScriptedOrigin) -> AsyncIterator[Node]:
    async with node(origin=origin.url) as made:
        yield made


async def test_a_head_has_the_length_that_a_get_would_find(origin: ScriptedOrigin, pop: Node) -> None:
    async def chunked(ask: Ask) -> None:
        ask.head(200, {**FRESH, "Transfer-Encoding": "chunked"})
        ask.chunk(b"hello")
        ask.chunk(b"")
        ask.done()

    origin.on("/a", chunked)
    await pop.get("/a")
    got = await pop.head("/a")
    assert (got.status, got.header("Content-Length"), got.body) == (200, "5", b"")
    assert origin.requests == 1


async def test_a_condition_on_a_cold_key_is_answered_and_the_body_kept(origin: ScriptedOrigin, pop: Node) -> None:
    origin.always(200, FRESH, b"x" * 2_000_000)
    got = await pop.get("/a", {"If-None-Match": '"1"'})
    assert (got.status, got.body) == (304, b"")
    assert len((await pop.get("/a")).body) == 2_000_000
    assert origin.requests == 1


@pytest.mark.parametrize(
    ("sent", "status"), [({"If-None-Match": '"1"'}, 304), ({"If-None-Match": '"2"'}, 200), ({"Range": "bytes=9-"}, 416)]
)
async def test_an_answer_without_the_body_leaves_the_connection_in_order(
    origin: ScriptedOrigin, pop: Node, sent: FieldsLike, status: int
) -> None:
    origin.always(200, FRESH, b"hello")
    await pop.get("/a")
    async with await pop.viewer() as viewer:
        for _ in range(2):
            await viewer.ask("/a", sent)
            head = await viewer.read_head()
            assert head[0] == status
            await viewer.read_body()


async def test_a_trace_that_may_go_no_further_comes_back_without_secrets(origin: ScriptedOrigin, pop: Node) -> None:
    sent = {"Max-Forwards": "0", "X-A": "1", "Cookie": "sid=1", "Authorization": "Basic x"}
    got = await pop.ask("/t?q", sent, method="TRACE")
    assert (got.status, got.header("Content-Type")) == (200, "message/http")
    assert got.body.startswith(b"TRACE /t?q HTTP/1.1\r\n")
    assert b"X-A: 1\r\n" in got.body
    assert b"sid=1" not in got.body
    assert b"Basic" not in got.body
    assert origin.requests == 0


async def test_an_options_that_may_go_no_further_says_what_is_allowed(origin: ScriptedOrigin, pop: Node) -> None:
    got = await pop.ask("/", {"Max-Forwards": "0"}, method="OPTIONS")
    assert (got.status, got.body) == (200, b"")
    assert "POST" in (got.header("Allow") or "")
    assert origin.requests == 0


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_one_that_may_is_passed_on_and_counted_down(origin: ScriptedOrigin, pop: Node, method: str) -> None:
    origin.always(200)
    assert (await pop.ask("/", {"Max-Forwards": "2"}, method=method)).status == 200
    assert origin.log[0].header("Max-Forwards") == "1"


async def test_cloudfront_rules_leave_max_forwards_to_the_origin(origin: ScriptedOrigin) -> None:
    origin.always(200)
    async with node(origin=origin.url, rules=Rules.CLOUDFRONT) as pop:
        await pop.ask("/", {"Max-Forwards": "0"}, method="OPTIONS")
    assert origin.requests == 1


async def test_a_range_of_what_the_origin_gave_whole_comes_whole_in_cloudfront_rules(origin: ScriptedOrigin) -> None:
    origin.always(200, FRESH, b"0123456789")
    async with node(origin=origin.url, rules=Rules.CLOUDFRONT) as pop:
        first = await pop.get("/a", {"Range": "bytes=2-3"})
        second = await pop.get("/a", {"Range": "bytes=2-3"})
    assert (first.status, first.body) == (200, b"0123456789")
    assert (second.status, second.body) == (206, b"23")
    assert origin.requests == 1
