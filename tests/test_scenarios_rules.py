"""What the rules of caching come to between real nodes: parts, changes, several workers, two tiers, a moved clock.

The cases of tests/conformance are played one request at a time; here is what needs several at once, or a look at who
was asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edgeproxy.edge.node import NextTier
from edgeproxy.model import Mode
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.client import Target
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Node, Tier, node, receive, tier
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}
BODY = bytes(range(256)) * 40


@pytest_asyncio.fixture(params=[1, 2], ids=["one worker", "two workers"])
async def cdn(request: pytest.FixtureRequest) -> AsyncIterator[Tier]:
    async with tier(workers=request.param) as made:
        yield made


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as made:
        yield made


@pytest_asyncio.fixture
async def pop(origin: ScriptedOrigin) -> AsyncIterator[Node]:
    async with node(origin=origin.url) as made:
        yield made


async def in_parts(ask: Ask, fields: dict[str, str] | None = None) -> None:
    """Answer with the part of BODY that is asked for."""
    first, _, last = (ask.header("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
    end = int(last or len(BODY) - 1) + 1
    if ask.header("Range") is None:
        await ask.answer(200, fields or FRESH, BODY)
        return
    named = {"Content-Range": f"bytes {first}-{end - 1}/{len(BODY)}"}
    await ask.answer(206, {**(fields or FRESH), **named}, BODY[int(first) : end])


async def settled(*nodes: Node) -> None:
    """Wait until no fetch is open."""
    await until(lambda: not any(each.count(Counter.FILLS_OPEN) for each in nodes))


# -- parts


async def test_a_range_costs_the_origin_no_more_than_that_range_and_both_tiers_keep_it(cdn: Tier) -> None:
    cdn.origin.on("/large", in_parts)
    got = await cdn.pop.get("/large", {"Range": "bytes=5000-5099"})
    assert (got.status, got.body) == (206, BODY[5000:5100])
    assert [ask.header("Range") for ask in cdn.origin.log] == ["bytes=5000-5099"]
    await settled(cdn.pop, cdn.regional)
    cdn.pop.forget_everything()
    assert (await cdn.pop.get("/large", {"Range": "bytes=5010-5019"})).body == BODY[5010:5020]
    assert cdn.origin.requests == 1


async def test_parts_that_came_by_different_ways_make_the_whole(cdn: Tier) -> None:
    cdn.origin.on("/large", in_parts)
    for first in range(0, len(BODY), 2048):
        await cdn.pop.get("/large", {"Range": f"bytes={first}-{first + 2047}"})
        await settled(cdn.pop, cdn.regional)
    asked = cdn.origin.requests
    got = await cdn.pop.get("/large")
    assert (got.status, got.body, cdn.origin.requests) == (200, BODY, asked)


async def test_viewers_of_the_same_cold_part_share_one_fetch(cdn: Tier) -> None:
    asking = [asyncio.create_task(cdn.pop.get("/large", {"Range": "bytes=10-19"})) for _ in range(5)]
    ask = await cdn.origin.asked_for("/large")
    await cdn.pop.reaches(Counter.REQUESTS, 5)
    await in_parts(ask)
    assert [(got.status, got.body) for got in await asyncio.gather(*asking)] == [(206, BODY[10:20])] * 5
    assert cdn.origin.requests == 1


async def test_a_part_of_what_is_on_its_way_is_read_as_it_comes(origin: ScriptedOrigin, pop: Node) -> None:
    async with await pop.viewer() as whole, await pop.viewer() as viewer:
        await whole.ask("/a")
        ask = await origin.asked_for("/a")
        ask.head(200, {**FRESH, "Content-Length": str(len(BODY))})
        ask.send(BODY[:100])
        await whole.read_head()
        await viewer.ask("/a", {"Range": "bytes=50-149"})
        status, headers = await viewer.read_head()
        assert (status, headers.get("Content-Range")) == (206, f"bytes 50-149/{len(BODY)}")
        assert await viewer.read() == BODY[50:100]
        ask.send(BODY[100:])
        ask.done()
        assert await viewer.read_body() == (BODY[100:150], True)
        assert await whole.read_body() == (BODY, True)
    assert origin.requests == 1


async def test_a_part_far_ahead_of_what_is_on_its_way_is_fetched_by_itself(origin: ScriptedOrigin) -> None:
    async with node(origin=origin.url, settings={"fills": {"finish_remaining": 0}, "log": {"path": "off"}}) as pop:
        whole = asyncio.create_task(pop.get("/a"))
        first = await origin.asked_for("/a")
        first.head(200, {**FRESH, "Content-Length": str(len(BODY))})
        part = asyncio.create_task(pop.get("/a", {"Range": "bytes=9000-9001"}))
        await in_parts(await origin.asked_for("/a"))
        assert (await part).body == BODY[9000:9002]
        first.send(BODY)
        first.done()
        assert (await whole).body == BODY


async def test_a_part_that_is_not_as_long_as_it_says_is_never_used_again(origin: ScriptedOrigin, pop: Node) -> None:
    async def short(ask: Ask) -> None:
        named = {"Content-Range": f"bytes 0-99/{len(BODY)}", "Transfer-Encoding": "chunked"}
        ask.head(206, {**FRESH, **named})
        ask.chunk(b"only this")
        ask.chunk(b"")
        ask.done()

    origin.on("/a", short)
    for _ in range(2):
        await pop.get("/a", {"Range": "bytes=0-99"})
        await settled(pop)
    assert origin.requests == 2
    assert pop.count(Counter.STORE_OBJECTS) == 0


@pytest.mark.parametrize("changed", [False, True])
async def test_a_stale_part_is_validated_as_a_part(origin: ScriptedOrigin, pop: Node, changed: bool) -> None:
    origin.on("/a", in_parts)
    await pop.get("/a", {"Range": "bytes=10-19"})
    await settled(pop)
    pop.advance(61)

    async def validating(ask: Ask) -> None:
        assert (ask.header("If-None-Match"), ask.header("Range")) == ('"1"', "bytes=10-19")
        await (in_parts(ask, {**FRESH, "ETag": '"2"'}) if changed else ask.answer(304, FRESH))

    origin.on("/a", validating)
    got = await pop.get("/a", {"Range": "bytes=10-19"})
    assert (got.status, got.body, got.header("ETag")) == (206, BODY[10:20], '"2"' if changed else '"1"')
    assert (await pop.get("/a", {"Range": "bytes=10-19"})).header("ETag") == got.header("ETag")
    assert origin.requests == 2


async def test_the_origin_judges_if_range_when_the_part_has_to_be_validated(origin: ScriptedOrigin, pop: Node) -> None:
    origin.on("/a", in_parts)
    await pop.get("/a", {"Range": "bytes=10-19"})
    await settled(pop)
    pop.advance(61)

    async def changed(ask: Ask) -> None:
        assert ask.header("If-Range") == '"1"'
        await ask.answer(200, {**FRESH, "ETag": '"2"'}, b"all new")

    origin.on("/a", changed)
    got = await pop.get("/a", {"Range": "bytes=10-19", "If-Range": '"1"'})
    assert (got.status, got.body) == (200, b"all new")


async def test_parts_are_kept_by_variant_even_where_their_validator_is_the_same(
    origin: ScriptedOrigin, pop: Node
) -> None:
    async def varying(ask: Ask) -> None:
        await in_parts(ask, {**FRESH, "Vary": "X-L"})

    origin.on("/a", varying)
    for language, part in (("de", "0-9"), ("fr", "10-19")) * 2:
        got = await pop.get("/a", {"X-L": language, "Range": f"bytes={part}"})
        assert got.status == 206
        await settled(pop)
    assert origin.requests == 2


# -- changes


async def test_a_change_spoils_the_parts_as_well(cdn: Tier) -> None:
    cdn.origin.on("/a", in_parts)
    await cdn.pop.get("/a", {"Range": "bytes=0-9"})
    await settled(cdn.pop, cdn.regional)

    async def changed(ask: Ask) -> None:
        if ask.method == "POST":
            await ask.answer(204)
        else:
            await ask.answer(206, {**FRESH, "ETag": '"2"', "Content-Range": "bytes 0-9/10"}, b"0123456789")

    cdn.origin.on("/a", changed)
    await cdn.pop.ask("/a", method="POST")
    assert (await cdn.pop.get("/a", {"Range": "bytes=0-9"})).body == b"0123456789"


async def test_what_the_regional_was_fetching_before_a_change_does_not_come_back(cdn: Tier) -> None:
    early = asyncio.create_task(cdn.pop.get("/a"))
    before = await cdn.origin.asked_for("/a")
    change = asyncio.create_task(cdn.pop.ask("/a", method="POST"))
    await (await cdn.origin.asked_for("/a")).answer(204)
    assert (await change).status == 204
    late = asyncio.create_task(cdn.pop.get("/a"))
    await (await cdn.origin.asked_for("/a")).answer(200, FRESH, b"new")
    assert (await late).body == b"new"
    await before.answer(200, FRESH, b"old")
    assert (await early).body == b"old"
    await settled(cdn.pop, cdn.regional)
    cdn.pop.forget_everything()
    asking = asyncio.create_task(cdn.pop.get("/a"))
    cdn.origin.always(200, FRESH, b"new")
    assert (await asking).body == b"new"


async def test_a_request_that_found_no_room_to_be_shared_gets_nothing_older_than_a_change(
    origin: ScriptedOrigin,
) -> None:
    async with (
        node(mode=Mode.REGIONAL, origin=origin.url) as regional,
        node(origin=origin.url, upstream=regional, settings={"fills": {"fills_max": 1}}) as pop,
    ):
        origin.always(200, FRESH, b"old")
        await pop.get("/a")
        origin.always(200, {**FRESH, "ETag": '"2"'}, b"new")
        await pop.ask("/a", method="POST")
        opened, release = asyncio.Event(), asyncio.Event()

        async def slow(ask: Ask) -> None:
            opened.set()
            await release.wait()
            await ask.answer(200, FRESH)

        origin.on("/slow", slow)
        occupying = asyncio.create_task(pop.get("/slow"))
        await opened.wait()
        assert (await pop.get("/a")).body == b"new"
        assert pop.count(Counter.FILLS_REFUSED) > 0
        release.set()
        await occupying


async def test_a_regional_that_could_not_be_told_of_a_change_is_told_later(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"old")
    await cdn.pop.get("/a")
    cdn.origin.always(200, {**FRESH, "ETag": '"2"'}, b"new")
    await cdn.pop.ask("/a", method="POST")
    async with ScriptedOrigin() as other:
        other.always(400)  # it does not speak as a tier, so the POP goes to the origin itself
        away = NextTier("regional", Target("127.0.0.1", other.port))
        for worker in cdn.pop.workers:
            worker.serve(dataclasses.replace(cdn.pop.serving, next_tier=away))
        assert (await cdn.pop.get("/a")).body == b"new"
        assert other.requests > 0
    for worker in cdn.pop.workers:
        worker.serve(cdn.pop.serving)
    cdn.pop.forget_everything()
    told = cdn.regional.count(Counter.REQUESTS_FROM_TIER)
    assert (await cdn.pop.get("/a")).body == b"new"
    assert cdn.regional.count(Counter.REQUESTS_FROM_TIER) == told + 1


async def test_a_worker_that_stands_in_for_the_owner_asks_for_nothing_older_than_a_change(
    origin: ScriptedOrigin,
) -> None:
    async with (
        node(mode=Mode.REGIONAL, origin=origin.url) as regional,
        node(origin=origin.url, upstream=regional, workers=2, apart=True) as pop,
    ):
        owner, other = await asked_at_the_other(origin, pop)
        origin.always(200, {**FRESH, "ETag": '"2"'}, b"new")
        await pop.ask("/a", method="POST", worker=other)
        await pop.workers[owner].close()
        assert (await pop.ask("/a", worker=other)).body == b"new"
        assert regional.count(Counter.REQUESTS_FROM_TIER) == 2


async def test_a_change_at_one_resource_leaves_what_location_does_not_name(cdn: Tier) -> None:
    async def making(ask: Ask) -> None:
        made = {"Location": "/list/7"} if ask.method == "POST" else FRESH
        await ask.answer(201 if ask.method == "POST" else 200, made, ask.target.encode())

    cdn.origin.always(200, FRESH)
    for path in ("/list", "/list/7", "/list?page=2"):
        cdn.origin.on(path.partition("?")[0], making)
        await cdn.pop.get(path)
    await cdn.pop.ask("/list", method="POST")
    asked = cdn.origin.requests
    for path in ("/list", "/list/7", "/list?page=2"):
        await cdn.pop.get(path)
    assert [ask.target for ask in cdn.origin.log[asked:]] == ["/list", "/list/7"]


# -- several workers


async def asked_at_the_other(origin: ScriptedOrigin, pop: Node) -> tuple[int, int]:
    """The owner of /a and the other worker."""
    origin.always(200, FRESH, b"x")
    await pop.ask("/a", worker=0)
    owner = 0 if not pop.workers[1].counters[Counter.REQUESTS_FROM_WORKER] else 1
    return owner, 1 - owner


async def test_a_stale_answer_that_one_viewer_permits_is_kept_for_no_other(origin: ScriptedOrigin) -> None:
    async with node(origin=origin.url, workers=2, apart=True) as pop:
        owner, other = await asked_at_the_other(origin, pop)
        await pop.ask("/a", worker=owner)
        pop.advance(100)
        origin.always(200, {**FRESH, "ETag": '"2"'}, b"new")
        refreshed = pop.count(Counter.REFRESHES)
        stale = await pop.ask("/a", {"Cache-Control": "max-stale"}, worker=other)
        assert stale.body == b"x"
        assert pop.count(Counter.REFRESHES) > refreshed
        await settled(pop)
        assert (await pop.ask("/a", worker=other)).body == b"new"


async def test_only_if_cached_is_answered_from_the_owners_store(origin: ScriptedOrigin) -> None:
    async with node(origin=origin.url, workers=2, apart=True) as pop:
        owner, other = await asked_at_the_other(origin, pop)
        await pop.ask("/a", worker=owner)
        pop.workers[other].store.memory.clear()
        cached = {"Cache-Control": "only-if-cached"}
        assert (await pop.ask("/a", cached, worker=other)).body == b"x"
        assert (await pop.ask("/none", cached, worker=other)).status == 504
        assert (await pop.ask("/none", cached, worker=owner)).status == 504
        assert origin.requests == 1


async def test_what_the_owner_replaces_is_of_no_use_to_the_other_worker(origin: ScriptedOrigin) -> None:
    async with node(origin=origin.url, workers=2, apart=True) as pop:
        owner, other = await asked_at_the_other(origin, pop)
        await pop.ask("/a", worker=other)
        hops = pop.count(Counter.HOP_WORKER)
        assert (await pop.ask("/a", worker=other)).body == b"x"
        assert pop.count(Counter.HOP_WORKER) == hops, "what it was given it keeps"
        origin.always(200, {**FRESH, "ETag": '"2"'}, b"new")
        await pop.ask("/a", {"Cache-Control": "no-cache"}, worker=owner)
        assert (await pop.ask("/a", worker=other)).body == b"new"


# -- answers that are of no use to those who waited


@pytest.mark.parametrize("value", ["max-age=0", "no-cache", "max-age=60, no-cache"])
async def test_those_who_waited_for_what_must_be_validated_ask_for_themselves(cdn: Tier, value: str) -> None:
    numbers = iter(range(100))

    async def numbered(ask: Ask) -> None:
        number = next(numbers)
        await ask.answer(200, {"Cache-Control": value, "ETag": f'"{number}"'}, b"%d" % number)

    cdn.origin.on("/a", numbered)
    got = await asyncio.gather(*(cdn.pop.get("/a") for _ in range(6)))
    assert len({each.body for each in got}) == 6


async def test_a_viewer_that_insists_does_not_keep_others_from_sharing(origin: ScriptedOrigin, pop: Node) -> None:
    origin.always(200, FRESH, b"x")
    await pop.get("/a", {"Cache-Control": "no-cache"})
    pop.forget_everything()
    asking = [asyncio.create_task(pop.get("/a")) for _ in range(3)]
    await asyncio.gather(*asking)
    assert origin.requests == 2


# -- a moved clock


async def test_an_origin_gets_its_own_last_modified_back_however_far_the_clock_has_moved(cdn: Tier) -> None:
    day = "Mon, 01 Jan 2001 00:00:00 GMT"

    async def exact(ask: Ask) -> None:
        same = ask.header("If-Modified-Since") == day
        await ask.answer(
            304 if same else 200, {"Cache-Control": "max-age=60", "Last-Modified": day}, b"" if same else b"x"
        )

    cdn.origin.on("/a", exact)
    await cdn.pop.get("/a")
    for _ in range(3):
        cdn.advance(86_400)
        got = await cdn.pop.get("/a")
        assert (got.header("Last-Modified"), got.body) == (day, b"x")
    assert [ask.header("If-Modified-Since") for ask in cdn.origin.log] == [None, day, day, day]


async def test_a_viewer_on_a_kept_connection_gets_part_and_whole_in_turn(origin: ScriptedOrigin, pop: Node) -> None:
    origin.on("/a", in_parts)
    async with await pop.viewer() as viewer:
        for sent, body in (({"Range": "bytes=0-9"}, BODY[:10]), ({}, BODY), ({"Range": "bytes=-1"}, BODY[-1:])):
            await viewer.ask("/a", sent)
            assert (await receive(viewer)).body == body


async def test_queries_that_no_vary_search_calls_the_same_share_a_response_where_the_settings_say_so() -> None:
    said = {**FRESH, "No-Vary-Search": 'params=("utm")'}
    for shared in (True, False):
        async with tier(settings={"cache": {"no_vary_search": shared}}) as cdn:
            cdn.origin.always(200, said, b"x")
            for query in ("id=1&utm=a", "utm=b&id=1", "id=1"):
                assert (await cdn.pop.get(f"/s?{query}")).body == b"x"
            assert cdn.origin.requests == (1 if shared else 3)
            await cdn.pop.get("/s?id=2")
            assert cdn.origin.requests == (2 if shared else 4)


async def test_what_a_post_has_spoilt_answers_no_other_query_either() -> None:
    async with tier(settings={"cache": {"no_vary_search": True}}) as cdn:
        cdn.origin.always(200, {**FRESH, "No-Vary-Search": "params"}, b"old")
        await cdn.pop.get("/s?a=1")
        cdn.origin.always(200, {**FRESH, "No-Vary-Search": "params"}, b"new")
        await cdn.pop.ask("/s?a=1", body=b"x", method="POST")
        assert (await cdn.pop.get("/s?a=2")).body == b"new"


async def test_cache_status_tells_the_key_where_the_settings_say_so() -> None:
    async with tier(settings={"tier": {"cache_status_key": True}}) as cdn:
        cdn.origin.always(200, FRESH, b"x")
        told = (await cdn.pop.get('/k?a="1"\\')).header("Cache-Status") or ""
        assert 'key="origin GET //a.test /k ?a=\\"1\\"\\\\5c"' in told
