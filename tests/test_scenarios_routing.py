"""Which way a request goes: what skips the regional, what happens when a hop fails, what a tier believes.

Each runs with one worker and with two.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edgeproxy.configuration import origin_only
from edgeproxy.model import Behavior, Caching, Distribution, KeyParts, Mode, Origin, OriginKind, Rules, Ttl
from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Tier, node, receive, tier

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}


@pytest_asyncio.fixture(params=[1, 2], ids=["one worker", "two workers"])
async def cdn(request: pytest.FixtureRequest) -> AsyncIterator[Tier]:
    async with tier(workers=request.param) as made:
        yield made


async def echo(ask: Ask) -> None:
    await ask.answer(200, {"Content-Type": "text/plain"}, ask.method.encode() + b" " + await ask.body())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_every_other_method_goes_straight_to_the_origin(cdn: Tier, method: str) -> None:
    cdn.origin.on("/m", echo)
    got = await cdn.pop.ask("/m", body=b"payload", method=method)
    assert got.body == method.encode() + b" payload"
    assert cdn.regional.count(Counter.REQUESTS) == 0


async def test_a_get_with_a_body_goes_straight_to_the_origin_and_is_not_stored(cdn: Tier) -> None:
    cdn.origin.on("/fat", echo)
    for payload in (b"one", b"two"):
        assert (await cdn.pop.ask("/fat", body=payload)).body == b"GET " + payload
    assert cdn.regional.count(Counter.REQUESTS) == 0


async def test_a_dynamic_behaviour_goes_straight_to_the_origin() -> None:
    def dynamic(port: int) -> list[Distribution]:
        made = origin_only(f"http://127.0.0.1:{port}", Rules.RFC9111)
        behavior = dataclasses.replace(made.behaviors[0], caching=Caching(ttl=Ttl(0, 0, 0)))
        return [dataclasses.replace(made, behaviors=(behavior,))]

    async with tier(distributions=dynamic) as cdn:
        cdn.origin.always(200, FRESH, b"x")
        for _ in range(2):
            assert (await cdn.pop.get("/d")).body == b"x"
        assert cdn.origin.requests == 2
        assert cdn.regional.count(Counter.REQUESTS) == 0


async def test_a_bucket_in_the_regionals_own_region_is_asked_straight_and_still_cached_at_the_pop() -> None:
    def bucket(port: int) -> list[Distribution]:
        origin = Origin("b", "127.0.0.1", kind=OriginKind.S3, region="local", http_port=port)
        behavior = Behavior("*", "b", Caching(), KeyParts(headers=(b"host",)))
        return [Distribution("d", "d.test", Rules.RFC9111, "1", {"b": origin}, (behavior,), any_host=True)]

    async with tier(distributions=bucket) as cdn:
        cdn.origin.always(200, FRESH, b"x")
        for _ in range(2):
            assert (await cdn.pop.get("/o")).body == b"x"
        assert cdn.origin.requests == 1
        assert cdn.regional.count(Counter.REQUESTS) == 0


async def test_a_websocket_is_tunnelled_both_ways_straight_to_the_origin(cdn: Tier) -> None:
    async def upgrade(ask: Ask) -> None:
        assert ask.header("Upgrade") == "websocket"
        ask.head(101, {"Connection": "upgrade", "Upgrade": "websocket"})
        ask.send(b"welcome")

    async with await cdn.pop.viewer() as viewer:
        await viewer.ask("/ws", {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"})
        ask = await cdn.origin.asked_for("/ws")
        await upgrade(ask)
        status, headers = await viewer.read_head()
        assert (status, headers.get("Upgrade")) == (101, "websocket")
        assert await viewer.reader.readexactly(7) == b"welcome"
        await viewer.send(b"from the viewer")
        assert await ask.read_raw(15) == b"from the viewer"
        ask.close()
        assert await viewer.closed()
    assert cdn.regional.count(Counter.REQUESTS) == 0


async def test_an_early_hint_and_trailers_pass_both_tiers(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as viewer:
        await viewer.ask("/hint", {"TE": "trailers"})
        ask = await cdn.origin.asked_for("/hint")
        ask.head(103, {"Link": "</a.css>; rel=preload"})
        status, headers = await viewer.read_head()
        assert (status, headers.get("Link")) == (103, "</a.css>; rel=preload")
        ask.head(200, {**FRESH, "Transfer-Encoding": "chunked", "Trailer": "Checksum"})
        ask.chunk(b"body")
        ask.last_chunk({"Checksum": "abc"})
        ask.done()
        got = await receive(viewer)
    assert (got.body, got.trailers.get("Checksum")) == (b"body", "abc")
    again = await cdn.pop.get("/hint")
    assert (again.body, cdn.origin.requests) == (b"body", 1)


async def test_a_chunked_upload_with_trailers_and_expect_reaches_the_origin(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as viewer:
        head = b"PUT /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        await viewer.send(head)
        ask = await cdn.origin.asked_for("/up")
        assert ask.header("Transfer-Encoding") == "chunked"
        if ask.header("Expect"):
            ask.head(100)
        assert (await viewer.read_head())[0] == 100
        await viewer.send(b"5\r\nhello\r\n0\r\nChecksum: abc\r\n\r\n")
        assert await ask.body() == b"hello"
        assert ask.trailers.get("Checksum") == "abc"
        await ask.answer(201)
        assert (await receive(viewer)).status == 201


async def test_a_success_of_an_unsafe_method_makes_every_worker_and_the_regional_ask_anew(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"old")
    for _ in range(8):  # enough connections that both workers have a copy
        assert (await cdn.pop.get("/w")).body == b"old"
    cdn.origin.always(200, FRESH, b"new")
    assert (await cdn.pop.ask("/w", body=b"x", method="PUT")).status == 200
    for _ in range(8):
        assert (await cdn.pop.get("/w")).body == b"new"
    assert cdn.origin.requests == 3


async def test_a_regional_that_is_down_is_passed_by(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    await cdn.regional.close()
    got = await cdn.pop.get("/down")
    assert (got.status, got.body) == (200, b"hello")
    assert "hit" in ((await cdn.pop.get("/down")).header("Cache-Status") or "")


async def test_a_regional_that_is_down_is_an_error_where_the_settings_say_so() -> None:
    async with tier(settings={"tier": {"fallback": "error"}}) as cdn:
        await cdn.regional.close()
        assert (await cdn.pop.get("/down")).status == 502
        assert cdn.origin.requests == 0


async def test_a_stale_copy_is_served_when_the_origin_is_gone(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    await cdn.pop.get("/stale")
    cdn.advance(100)

    async def broken(ask: Ask) -> None:
        ask.reset()

    cdn.origin.on("/stale", broken)
    got = await cdn.pop.get("/stale")
    assert (got.status, got.body) == (200, b"hello")
    assert int(got.header("Age") or 0) >= 100


async def test_without_a_copy_an_origin_that_is_gone_is_a_502_and_one_that_is_silent_a_504() -> None:
    async with tier(settings={"upstream": {"first_byte_timeout": 0.05}}) as cdn:

        async def broken(ask: Ask) -> None:
            ask.reset()

        cdn.origin.on("/gone", broken)
        gone = await cdn.pop.get("/gone")
        silent = await cdn.pop.get("/silent")
        assert (gone.status, silent.status) == (502, 504)
        assert cdn.pop.count(Counter.RESULT_ERROR) == 2


async def test_an_answer_that_breaks_the_rules_is_a_502_and_never_stored(cdn: Tier) -> None:
    async def nonsense(ask: Ask) -> None:
        ask.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nab")
        ask.close()

    cdn.origin.on("/bad", nonsense)
    assert (await cdn.pop.get("/bad")).status == 502
    assert (await cdn.pop.get("/bad")).status == 502
    assert cdn.origin.requests == 2


async def test_a_regional_refuses_everybody_who_does_not_know_the_key() -> None:
    settings = {"tier": {"key": "k" * 32}}
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"x")
        async with (
            node(mode=Mode.REGIONAL, origin=origin.url, settings=settings) as regional,
            node(mode=Mode.POP, origin=origin.url, upstream=regional, settings=settings) as pop,
        ):
            assert (await regional.get("/a")).status == 403
            assert (await regional.get("/a", {"EdgeProxy-Tier": "wrong"})).status == 403
            assert origin.requests == 0
            assert (await pop.get("/a")).body == b"x"
            assert regional.count(Counter.TIER_REFUSED) == 2
            assert origin.log[0].header("EdgeProxy-Tier") is None


async def test_a_pop_with_the_wrong_key_says_so_and_serves_from_the_origin() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"x")
        async with (
            node(mode=Mode.REGIONAL, origin=origin.url, settings={"tier": {"key": "a" * 32}}) as regional,
            node(origin=origin.url, upstream=regional, settings={"tier": {"key": "b" * 32}}) as pop,
        ):
            assert (await pop.get("/a")).body == b"x"
            assert regional.count(Counter.TIER_REFUSED) == 1


async def test_internal_fields_of_a_viewer_go_nowhere(cdn: Tier) -> None:
    cdn.origin.always(200, {**FRESH, "EdgeProxy-Hop": "e=0&n=0&o=Hit"}, b"x")
    forged = {"EdgeProxy-Hop": "d=other&r=1&e=0&a=9&f=0&c=1.2.3.4&p=1&s=https&i=x", "EdgeProxy-Key": "stolen"}
    for method in ("GET", "POST"):
        got = await cdn.pop.ask("/i", forged, method=method)
        assert (got.status, got.header("EdgeProxy-Hop")) == (200, None)
    for ask in cdn.origin.log:
        assert not [name for name, _ in ask.headers if name.lower().startswith(b"edgeproxy")]


async def test_a_tier_at_another_revision_stores_nothing_and_the_pop_asks_the_origin_itself() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"x")
        made = origin_only(origin.url, Rules.RFC9111)
        older, newer = (dataclasses.replace(made, revision=each) for each in ("1", "2"))
        async with (
            node(mode=Mode.REGIONAL, distributions=[older]) as regional,
            node(distributions=[newer], upstream=regional) as pop,
        ):
            assert (await pop.get("/a")).body == b"x"
            assert regional.count(Counter.TIER_MISMATCH) == 1
            assert regional.count(Counter.STORED) == 0
            assert pop.count(Counter.STORED) == 1


async def test_hop_by_hop_fields_and_what_connection_names_end_here(cdn: Tier) -> None:
    cdn.origin.always(200, {**FRESH, "Connection": "X-Secret", "X-Secret": "1", "Keep-Alive": "timeout=5"}, b"x")
    sent = {"Connection": "X-Drop, Host, Cookie", "X-Drop": "1", "TE": "trailers", "Cookie": "a=1", "X-Keep": "1"}
    got = await cdn.pop.get("/hop", sent)
    asked = cdn.origin.log[0]
    assert (asked.header("X-Drop"), asked.header("TE"), asked.header("X-Keep")) == (None, None, "1")
    assert (asked.header("Host"), asked.header("Cookie")) == ("a.test", "a=1")
    assert (got.header("X-Secret"), got.header("Keep-Alive")) == (None, None)


async def test_via_and_forwarded_for_name_every_hop(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"x")
    got = await cdn.pop.get("/via", {"Via": "1.0 before", "X-Forwarded-For": "192.0.2.1"})
    assert got.header("Via") == "1.1 regional, 1.1 pop"
    asked = cdn.origin.log[0]
    assert asked.header("Via") == "1.0 before, 1.1 pop, 1.1 regional"
    assert asked.header("X-Forwarded-For") == "192.0.2.1, 127.0.0.1"


async def test_a_loop_of_distributions_is_refused(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"x")
    once = 'edgeproxy; d="one"'
    assert (await cdn.pop.get("/l", {"CDN-Loop": once})).status == 200
    assert (await cdn.pop.get("/l2", {"CDN-Loop": f'{once}, edgeproxy; d="two"'})).status == 403
    assert cdn.origin.requests == 1
    assert cdn.pop.count(Counter.LOOPS_REFUSED) == 1


async def test_a_thousand_sequential_misses_use_one_connection() -> None:
    async with tier() as cdn:
        cdn.origin.always(200, FRESH, b"x")
        async with await cdn.pop.viewer() as viewer:
            for number in range(1000):
                await viewer.ask(f"/n{number}")
                assert (await receive(viewer)).status == 200
        assert cdn.origin.connections == 1
        assert cdn.pop.count(Counter.UPSTREAM_OPENED) == 1
        assert cdn.regional.count(Counter.UPSTREAM_REUSED) == 999


async def test_the_test_clock_moves_freshness_and_an_origins_dates_with_it() -> None:
    async with tier() as cdn:
        cdn.advance(86_400)

        async def dated(ask: Ask) -> None:
            await ask.answer(200, {"Date": "Fri, 20 Nov 2020 10:00:00 GMT", "Expires": "Fri, 20 Nov 2020 10:01:00 GMT"})

        cdn.origin.on("/t", dated)
        got = await cdn.pop.get("/t")
        assert got.header("Date") == "Sat, 21 Nov 2020 10:00:00 GMT"
        assert got.header("Expires") == "Sat, 21 Nov 2020 10:01:00 GMT"


async def test_a_viewer_may_say_who_it_is_only_with_the_test_clock_and_from_this_machine(cdn: Tier) -> None:
    cdn.origin.always(200, {}, b"x")
    await cdn.pop.get("/c", {"EdgeProxy-Client": "203.0.113.7"})
    assert cdn.origin.log[0].header("X-Forwarded-For") == "203.0.113.7"


async def test_stale_while_revalidate_serves_at_once_and_asks_once_in_the_background(cdn: Tier) -> None:
    swr = {"Cache-Control": "max-age=10, stale-while-revalidate=100", "ETag": '"1"'}
    cdn.origin.always(200, swr, b"old")
    await cdn.pop.get("/swr")
    cdn.advance(20)
    answers = await asyncio.gather(*(cdn.pop.get("/swr") for _ in range(5)))
    assert {each.body for each in answers} == {b"old"}
