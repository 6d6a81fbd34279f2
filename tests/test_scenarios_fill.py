"""Filling two tiers: the first byte at once, one origin request for many viewers, what is kept where.

Each runs with one worker and with two; every assertion is about bytes and counters, never about time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask
from tests.tier import Got, Tier, receive, tier
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}


@pytest_asyncio.fixture(params=[1, 2], ids=["one worker", "two workers"])
async def cdn(request: pytest.FixtureRequest) -> AsyncIterator[Tier]:
    async with tier(workers=request.param) as made:
        yield made


async def test_a_miss_travels_both_tiers_and_the_second_request_is_a_hit_at_the_pop(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    first = await cdn.pop.get("/a")
    second = await cdn.pop.get("/a")
    assert (first.status, first.body) == (second.status, second.body) == (200, b"hello")
    member = r"fwd=uri-miss; fwd-status=200; stored; ttl=(60|59)"
    assert re.fullmatch(f"regional; {member}, pop; {member}", first.header("Cache-Status") or "")
    assert (second.header("Cache-Status") or "").startswith("pop; hit; ttl=")
    assert cdn.origin.requests == 1
    assert cdn.regional.count(Counter.REQUESTS_FROM_TIER) == 1


async def test_the_first_byte_passes_both_tiers_before_the_origin_has_sent_the_second_chunk(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as viewer:
        await viewer.ask("/slow")
        ask = await cdn.origin.asked_for("/slow")
        ask.head(200, {**FRESH, "Transfer-Encoding": "chunked"})
        ask.chunk(b"first")
        assert (await viewer.read_head())[0] == 200
        assert await viewer.read() == b"first"
        ask.chunk(b"second")
        ask.chunk(b"")
        ask.done()
        assert await viewer.read_body() == (b"second", True)


async def test_ten_viewers_of_one_cold_key_cost_the_origin_one_request(cdn: Tier) -> None:
    asking = [asyncio.create_task(cdn.pop.get("/cold")) for _ in range(10)]
    ask = await cdn.origin.asked_for("/cold")
    await cdn.pop.reaches(Counter.REQUESTS, 10)
    await ask.answer(200, FRESH, b"x" * 100_000)
    got = await asyncio.gather(*asking)
    assert {each.body for each in got} == {b"x" * 100_000}
    assert cdn.origin.requests == 1
    assert cdn.regional.count(Counter.REQUESTS_FROM_TIER) == 1


async def test_a_follower_gets_at_once_what_is_already_there(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as first, await cdn.pop.viewer() as second:
        await first.ask("/part")
        ask = await cdn.origin.asked_for("/part")
        ask.head(200, {**FRESH, "Content-Length": "8"})
        ask.send(b"half")
        await first.read_head()
        assert await first.read() == b"half"
        await second.ask("/part")
        await second.read_head()
        assert await second.read() == b"half"
        ask.send(b"rest")
        ask.done()
        assert await first.read_body() == await second.read_body() == (b"rest", True)
    assert cdn.origin.requests == 1


async def test_the_first_viewer_leaves_and_the_others_get_it_all(cdn: Tier) -> None:
    first = await cdn.pop.viewer()
    await first.ask("/left")
    ask = await cdn.origin.asked_for("/left")
    ask.head(200, {**FRESH, "Content-Length": "8"})
    ask.send(b"half")
    await first.read_head()
    async with await cdn.pop.viewer() as second:
        await second.ask("/left")
        await second.read_head()
        open_before = cdn.pop.count(Counter.CONNECTIONS_OPEN)
        first.reset()
        await until(lambda: cdn.pop.count(Counter.CONNECTIONS_OPEN) < open_before)
        ask.send(b"rest")
        ask.done()
        assert await second.read_body() == (b"halfrest", True)
    assert (await cdn.pop.get("/left")).body == b"halfrest"
    assert cdn.origin.requests == 1


async def test_a_fetch_that_nobody_reads_is_stopped(cdn: Tier) -> None:
    viewer = await cdn.pop.viewer()
    await viewer.ask("/big")
    ask = await cdn.origin.asked_for("/big")
    ask.head(200, {**FRESH, "Content-Length": str(1 << 24)})
    ask.send(b"x" * 100_000)
    await viewer.read_head()
    viewer.reset()
    while not cdn.pop.count(Counter.FILLS_STOPPED):
        ask.send(b"x" * 10_000)
        await asyncio.sleep(0)
    await ask.gone()
    assert (await answered(cdn, "/big")).body == b"again"


async def answered(cdn: Tier, target: str) -> Got:
    """A request that the script answers at the origin."""
    asking = asyncio.create_task(cdn.pop.get(target))
    ask = await cdn.origin.asked_for(target)
    await ask.answer(200, FRESH, b"again")
    return await asking


async def test_an_object_evicted_at_the_pop_still_hits_at_the_regional(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"kept")
    await cdn.pop.get("/evicted")
    cdn.pop.forget_everything()
    got = await cdn.pop.get("/evicted")
    assert got.body == b"kept"
    assert (got.header("Cache-Status") or "").startswith("regional; hit; ttl=")
    assert cdn.origin.requests == 1


async def test_a_body_cut_at_the_origin_is_cut_for_the_viewer_and_never_stored(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as viewer:
        await viewer.ask("/cut")
        ask = await cdn.origin.asked_for("/cut")
        ask.head(200, {**FRESH, "Content-Length": "100"})
        ask.send(b"some")
        await viewer.read_head()
        assert await viewer.read() == b"some"
        ask.reset()
        assert (await viewer.read_body())[1] is False
    cdn.origin.always(200, FRESH, b"whole")
    assert (await cdn.pop.get("/cut")).body == b"whole"
    assert cdn.origin.requests == 2


async def test_an_answer_that_cannot_be_shared_goes_to_one_viewer_and_the_others_ask_themselves(cdn: Tier) -> None:
    asking = [asyncio.create_task(cdn.pop.get("/private")) for _ in range(3)]
    ask = await cdn.origin.asked_for("/private")
    await cdn.pop.reaches(Counter.REQUESTS, 3)
    await ask.answer(200, {"Cache-Control": "private"}, b"0")
    for number in (1, 2):
        ask = await cdn.origin.asked_for("/private")
        await ask.answer(200, {"Cache-Control": "private"}, str(number).encode())
    got = await asyncio.gather(*asking)
    assert sorted(each.body for each in got) == [b"0", b"1", b"2"]


async def test_variants_live_side_by_side(cdn: Tier) -> None:
    async def by_language(ask: Ask) -> None:
        language = ask.header("Accept-Language") or ""
        await ask.answer(200, {**FRESH, "Vary": "Accept-Language"}, language.encode())

    cdn.origin.on("/vary", by_language)
    for _ in range(2):
        for language in ("de", "fr", "en"):
            assert (await cdn.pop.get("/vary", {"Accept-Language": language})).body == language.encode()
    assert cdn.origin.requests == 3


async def test_head_is_answered_from_a_stored_get_and_never_fills_one(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    cold = await cdn.pop.head("/h")
    assert (cold.status, cold.body, cold.header("Content-Length")) == (200, b"", "5")
    assert cdn.origin.log[0].method == "HEAD"
    assert (await cdn.pop.get("/h")).body == b"hello"
    assert cdn.origin.requests == 2
    warm = await cdn.pop.head("/h")
    assert (warm.status, warm.header("Content-Length")) == (200, "5")
    assert "hit" in (warm.header("Cache-Status") or "")
    assert cdn.origin.requests == 2


async def test_a_range_of_a_stored_object_is_cut_from_it_and_of_a_cold_one_goes_up_as_it_came(cdn: Tier) -> None:
    cold = asyncio.create_task(cdn.pop.get("/r", {"Range": "bytes=2-4"}))
    ask = await cdn.origin.asked_for("/r")
    assert ask.header("Range") == "bytes=2-4"
    await ask.answer(206, {**FRESH, "Content-Range": "bytes 2-4/10"}, b"234")
    assert ((await cold).status, (await cold).body) == (206, b"234")
    cdn.origin.always(200, FRESH, b"0123456789" * 1000)
    await cdn.pop.get("/r")
    warm = await cdn.pop.get("/r", {"Range": "bytes=2-4"})
    assert (warm.status, warm.body, warm.header("Content-Range")) == (206, b"234", "bytes 2-4/10000")
    several = await cdn.pop.get("/r", {"Range": "bytes=0-0,-1"})
    assert several.status == 206
    assert b"Content-Range: bytes 0-0/10000\r\n\r\n0\r\n" in several.body
    assert (await cdn.pop.get("/r", {"Range": "bytes=10000-"})).status == 416
    assert cdn.origin.requests == 2


async def test_a_stale_object_is_validated_and_served_again(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    await cdn.pop.get("/v")
    cdn.advance(61)

    async def unchanged(ask: Ask) -> None:
        assert ask.header("If-None-Match") == '"1"'
        await ask.answer(304, FRESH)

    cdn.origin.on("/v", unchanged)
    got = await cdn.pop.get("/v")
    assert (got.status, got.body) == (200, b"hello")
    assert cdn.origin.requests == 2
    assert "hit" in ((await cdn.pop.get("/v")).header("Cache-Status") or "")
    assert cdn.origin.requests == 2


async def test_a_conditional_request_on_a_cold_object_fills_the_cache_and_gets_its_304(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    got = await cdn.pop.get("/c", {"If-None-Match": '"1"'})
    assert (got.status, got.body) == (304, b"")
    assert cdn.origin.log[0].header("If-None-Match") is None
    assert (await cdn.pop.get("/c")).body == b"hello"
    assert cdn.origin.requests == 1


async def test_a_connection_stays_open_over_many_answers_of_all_kinds(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"hello")
    async with await cdn.pop.viewer() as viewer:
        for target in ("/k1", "/k1", "/k2"):
            await viewer.ask(target)
            assert (await receive(viewer)).body == b"hello"
        await viewer.ask("/k1", {"If-None-Match": '"1"'})
        assert (await receive(viewer)).status == 304
        await viewer.ask("/k1", method="HEAD")
        assert (await receive(viewer)).status == 200
        await viewer.ask("/k1", body=b"x", method="POST")
        assert (await receive(viewer)).status == 200


async def test_the_longest_header_names_survive(cdn: Tier) -> None:
    cdn.origin.always(200, [*FRESH.items(), ("X-CaSe", "Kept as it Came")], b"")
    got = await cdn.pop.get("/raw", {"X-Viewer-CASE": "As It Was"})
    assert (b"X-CaSe", b"Kept as it Came") in got.headers
    assert (b"X-Viewer-CASE", b"As It Was") in cdn.origin.log[0].headers


async def test_pipelined_requests_are_answered_in_order(cdn: Tier) -> None:
    async def named(ask: Ask) -> None:
        await ask.answer(200, FRESH, ask.target.encode())

    for number in range(5):
        cdn.origin.on(f"/p{number}", named)
    async with await cdn.pop.viewer() as viewer:
        await viewer.send(b"".join(b"GET /p%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(5)))
        assert [(await receive(viewer)).body for _ in range(5)] == [b"/p%d" % number for number in range(5)]


async def broken(ask: Ask) -> None:
    """No answer."""
    ask.close()


async def test_a_fetch_that_fails_is_tried_once_more_for_all_who_waited(cdn: Tier) -> None:
    """Not by each of them: fifty viewers of a failing origin are two requests to it."""
    asking = [asyncio.create_task(cdn.pop.get("/fails")) for _ in range(50)]
    first = await cdn.origin.asked_for("/fails")
    await cdn.pop.reaches(Counter.WAITS, 49)
    await broken(first)
    second = await cdn.origin.asked_for("/fails")
    await second.answer(200, FRESH, b"at last")
    got = await asyncio.gather(*asking)
    assert sum(each.status == 502 for each in got) <= 1
    assert {each.body for each in got if each.status == 200} == {b"at last"}
    assert cdn.origin.requests == 2


async def test_a_fetch_that_fails_twice_is_an_error_for_all(cdn: Tier) -> None:
    asking = [asyncio.create_task(cdn.pop.get("/down")) for _ in range(50)]
    first = await cdn.origin.asked_for("/down")
    await cdn.pop.reaches(Counter.WAITS, 49)
    cdn.origin.on("/down", broken)
    await broken(first)
    assert {each.status for each in await asyncio.gather(*asking)} == {502}
    # Each worker's waiters agree on one more try; between workers nobody counts.
    assert cdn.origin.requests <= 1 + len(cdn.pop.workers)
