"""Viewers and origins that mean harm: what they send, and that nobody else is hurt by it.

Every answer and every request that arrives at the far end is looked at; nothing is taken on trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.edge.node import NextTier
from edgeproxy.edge.page import owner_of
from edgeproxy.model import NO_EPOCH, Mode, Rules
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.client import Target
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Node, Tier, config_for, distribution_of, node, receive, tier
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest_asyncio.fixture(params=[1, 2], ids=["one worker", "two workers"])
async def cdn(request: pytest.FixtureRequest) -> AsyncIterator[Tier]:
    async with tier(workers=request.param) as made:
        yield made


async def named(ask: Ask) -> None:
    await ask.body()
    await ask.answer(200, FRESH, ask.target.encode())


# Requests hidden in requests


REFUSED = {
    "both framings": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 38\r\n\r\n",
    "one length twice": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"Content-Length: 0, 38\r\n\r\n",
    "an empty length": b"Content-Length:\r\n\r\n",
    "a signed length": b"Content-Length: +0\r\n\r\n",
    "a length in hexadecimal": b"Content-Length: 0x0\r\n\r\n",
    "a length with a blank in it": b"Content-Length: 0 0\r\n\r\n",
    "a coding that only looks like chunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked first": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked in quotes": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"X: 1\r\n Content-Length: 38\r\n\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": b"X: 1\nContent-Length: 38\r\n\r\n",
    "a bare carriage return": b"X: 1\rContent-Length: 38\r\n\r\n",
    "a NUL": b"X: 1\0\r\n\r\n",
    "an empty name": b": 1\r\nContent-Length: 38\r\n\r\n",
    "two hosts": b"Host: b.test\r\n\r\n",
}


@pytest.mark.parametrize("rest", REFUSED.values(), ids=REFUSED)
async def test_a_head_that_two_readers_could_read_differently_is_refused_and_nothing_goes_up(rest: bytes) -> None:
    async with tier() as cdn:
        cdn.origin.always(200, FRESH, b"no")
        async with await cdn.pop.viewer() as viewer:
            await viewer.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\n" + rest + HIDDEN)
            got = await receive(viewer)
            assert got.status in (400, 501)
            assert await viewer.closed()
        assert cdn.origin.requests == cdn.regional.count(Counter.REQUESTS) == 0


BAD_CHUNKS = {
    "no line end after the data": b"1\r\nA0\r\n\r\n",
    "any two bytes after the data": b"1\r\nAXX0\r\n\r\n",
    "a size with 0x": b"0x1\r\nA\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nA\r\n0\r\n\r\n",
    "a size that wraps": b"1" + b"0" * 16 + b"\r\n0\r\n\r\n",
    "a bare line feed after the size": b"1\nA\r\n0\r\n\r\n",
    "a line feed in an extension": b"1;a\nb\r\nA\r\n0\r\n\r\n",
    "a blank after the size": b"1 \r\nA\r\n0\r\n\r\n",
    "a malformed trailer": b"0\r\nX : 1\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_chunks_that_two_readers_could_read_differently_end_the_connection(body: bytes) -> None:
    async with tier() as cdn:
        async with await cdn.pop.viewer() as viewer:
            await viewer.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body + HIDDEN)
            assert (await receive(viewer)).status == 400
            assert await viewer.closed()
        assert "/hidden" not in [ask.target for ask in cdn.origin.log]


async def test_what_a_body_holds_is_never_a_request_whoever_answers(cdn: Tier) -> None:
    cdn.origin.on("/post", named)
    cdn.origin.on("/hit", named)
    cdn.origin.on("/next", named)
    await cdn.pop.get("/hit")
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    async with await cdn.pop.viewer() as viewer:
        await viewer.send(b"POST /post HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
        assert (await receive(viewer)).body == b"/post"
        await viewer.ask("/hit", body=HIDDEN)
        assert (await receive(viewer)).body == b"/hit"
        await viewer.ask("/hit", {"Range": "bytes=0-0"}, body=HIDDEN)
        assert (await receive(viewer)).status in (200, 206)
        await viewer.ask("/next")
        assert (await receive(viewer)).body == b"/next"
    assert "/hidden" not in [ask.target for ask in cdn.origin.log]


async def test_an_early_answer_to_an_upload_does_not_leave_its_rest_to_the_next_request(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as viewer:
        await viewer.send(b"POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (len(HIDDEN) + 9))
        ask = await cdn.origin.asked_for("/early")
        ask.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        assert (await receive(viewer)).status == 403
        await viewer.send(b"012345678" + HIDDEN)
        cdn.origin.on("/after", named)
        assert (await cdn.pop.get("/after")).body == b"/after"
    assert "/hidden" not in [ask.target for ask in cdn.origin.log]


async def test_nothing_that_follows_a_refused_head_is_read(cdn: Tier) -> None:
    async with await cdn.pop.viewer() as viewer:
        await viewer.send(b"GET /a\x01 HTTP/1.1\r\nHost: a.test\r\n\r\n" + HIDDEN * 10)
        assert (await receive(viewer)).status == 400
        assert await viewer.closed()
    assert cdn.origin.requests == 0


async def test_an_absolute_target_decides_and_its_host_is_the_only_one(cdn: Tier) -> None:
    cdn.origin.on("/x", named)
    async with await cdn.pop.viewer() as viewer:
        await viewer.ask("http://b.test/x", host="a.test")
        assert (await receive(viewer)).status == 200
    assert [value for name, value in cdn.origin.log[0].headers if name.lower() == b"host"] == [b"b.test"]
    await cdn.pop.get("/x", host="a.test")
    assert cdn.origin.requests == 2
    for target in (
        "http://a@b.test/x",
        "http://b.test:x/x",
        "http:/x",
        "ftp://a.test/x",
        "http:///x",
        "x",
        "*",
        "/x#y",
    ):
        assert (await cdn.pop.get(target)).status == 400, target
    assert (await cdn.pop.get("https://a.test/x")).status == 421
    assert (await cdn.pop.ask("b.test:443", method="CONNECT")).status == 501
    assert cdn.origin.requests == 2


# Answers that belong to nobody

POISON = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\npoison"

SURPLUS = {
    "after a length": ("GET", b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok"),
    "after chunks": ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    "after 204": ("GET", b"HTTP/1.1 204 No\r\n\r\n"),
    "after HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
    "the body of a HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 79\r\n\r\n"),
    "the body of a 204": ("GET", b"HTTP/1.1 204 No\r\nContent-Length: 79\r\n\r\n"),
    "after 304": ("POST", b"HTTP/1.1 304 No\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "answer"), SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_surplus_bytes_after_an_answer_reach_no_other_viewer(method: str, answer: bytes, late: bool) -> None:
    async with tier() as cdn:
        asking = asyncio.create_task(cdn.pop.ask("/first", method=method))
        ask = await cdn.origin.asked_for("/first")
        ask.send(answer if late else answer + POISON)
        await asking
        if late:
            ask.send(POISON)
        ask.done()
        cdn.origin.on("/second", named)
        for _ in range(3):
            got = await cdn.pop.get("/second")
            assert (got.status, got.body) == (200, b"/second")


INVALID = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "a length without a number": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
    "a length of many digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    "a coding we do not know": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 5\r\n\r\nhello",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 5\r\n\r\nhello",
    "no colon": b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 5\r\n\r\nhello",
    "a status of 99": b"HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status of 600": b"HTTP/1.1 600 OK\r\nContent-Length: 5\r\n\r\nhello",
    "another protocol": b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "no protocol at all": b"hello",
    "a control in the reason": b"HTTP/1.1 200 O\x1bK\r\nContent-Length: 5\r\n\r\nhello",
    "101 that nobody asked for": b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    "a flood of interim heads": b"HTTP/1.1 103 Early\r\n\r\n" * 100 + POISON,
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 300_000,
    "a million fields": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 60_000 + b"\r\n",
}


@pytest.mark.parametrize("answer", INVALID.values(), ids=INVALID)
async def test_an_answer_that_breaks_the_rules_is_a_502_for_all_and_is_forgotten(answer: bytes) -> None:
    async with tier() as cdn:
        asking = [asyncio.create_task(cdn.pop.get("/bad")) for _ in range(2)]
        ask = await cdn.origin.asked_for("/bad")
        await cdn.pop.reaches(Counter.WAITS, 1)
        ask.send(answer)
        ask.done()
        assert [got.status for got in await asyncio.gather(*asking)] == [502, 502]
        cdn.origin.on("/bad", named)
        got = await cdn.pop.get("/bad")
        assert (got.status, got.body) == (200, b"/bad")


CUT = {
    "chunks that break the rules": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n",
    "framing in the trailers": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "endless chunk extensions": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5;" + b"x" * 200_000,
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
async def test_a_body_that_breaks_the_rules_is_cut_for_everybody_and_is_forgotten(answer: bytes) -> None:
    async with tier() as cdn:
        async with await cdn.pop.viewer() as viewer:
            await viewer.ask("/bad")
            ask = await cdn.origin.asked_for("/bad")
            ask.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + answer)
            ask.done()
            got = await receive(viewer)
            assert got.cut or got.status == 502
        cdn.origin.on("/bad", named)
        assert (await cdn.pop.get("/bad")).body == b"/bad"


async def test_a_reason_phrase_of_the_origin_is_data(cdn: Tier) -> None:
    asking = asyncio.create_task(cdn.pop.get("/reason"))
    ask = await cdn.origin.asked_for("/reason")
    ask.send(b"HTTP/1.1 200 %s%n{}\xff\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")
    ask.done()
    assert (await asking).body == b"ok"
    assert (await cdn.pop.get("/reason")).body == b"ok"


# What is kept, for whom


async def test_no_two_targets_share_an_entry_however_they_are_spelled(cdn: Tier) -> None:
    targets = [
        "/a", "/a?", "/a?x", "/a%3fx", "/a%3Fx", "/a;x", "/a%20?x", "/a?%20x", "/a?x%20h:y=z", "/a?x\\20", "/a\\3fx",
        "//a", "/a/", "/./a", "/a/../a", "/A", "/a?x&y", "/a?y&x", "/a?x;y", "/a,HEAD", "/a%20HEAD", "/a%00", "/a?&",
    ]  # fmt: skip
    for target in targets:
        cdn.origin.on(target.partition("?")[0], named)
    for _ in range(2):
        for target in targets:
            assert (await cdn.pop.get(target)).body == target.encode()
    assert cdn.origin.requests == len(targets)


async def test_hosts_share_an_entry_only_if_they_are_the_same_host(cdn: Tier) -> None:
    async def host(ask: Ask) -> None:
        await ask.answer(200, FRESH, (ask.header("Host") or "").encode())

    cdn.origin.on("/", host)
    for name in ("a.test", "b.test", "a.test:81", "[::1]", "a.test."):
        assert (await cdn.pop.get("/", host=name)).body == name.encode()
    assert (await cdn.pop.get("/", host="A.TEST")).body == b"a.test"
    for bad in ("a.test@b.test", "a.test b.test", "a.test/b", "[::1", "a.test:99999", "", "a.test,b.test", "a_\x7f"):
        assert (await cdn.pop.get("/", host=bad)).status == 400
    assert cdn.origin.requests == 5


async def test_http_1_0_without_a_host_goes_the_same_way_as_everybody(cdn: Tier) -> None:
    cdn.origin.always(200, FRESH, b"x")
    async with await cdn.pop.viewer() as viewer:
        await viewer.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert (await receive(viewer)).status == 200
    assert cdn.origin.log[0].header("Host") == f"127.0.0.1:{cdn.origin.port}"
    assert cdn.regional.count(Counter.HOP_ORIGIN) == 1
    assert cdn.pop.count(Counter.HOP_ORIGIN) == 0


LARGE = {
    "a large head": [("X-Large", "x" * 32_600)],
    "many fields": [(f"X-{number}", "x") for number in range(198)],
}


@pytest.mark.parametrize("fields", LARGE.values(), ids=LARGE)
async def test_the_largest_request_that_a_pop_takes_passes_the_regional_too(
    cdn: Tier, fields: list[tuple[str, str]]
) -> None:
    cdn.origin.always(200, FRESH, b"x")
    assert (await cdn.pop.get("/large", fields)).status == 200
    assert (await cdn.pop.get("/" + "x" * 8_170)).status == 200
    assert cdn.pop.count(Counter.HOP_ORIGIN) == 0


async def test_one_request_that_the_regional_refuses_does_not_cut_all_others_off_from_it() -> None:
    async with ScriptedOrigin() as origin, ScriptedOrigin() as regional, node(origin=origin.url) as pop:
        origin.always(200, FRESH, b"from the origin")
        with_tier(pop, regional)
        asking = asyncio.create_task(pop.get("/refused"))
        await (await regional.asked_for("/refused")).answer(400)
        assert (await asking).body == b"from the origin"
        asking = asyncio.create_task(pop.get("/other"))
        ask = await regional.asked_for("/other")
        await ask.answer(200, {**FRESH, "EdgeProxy-Hop": f"e={NO_EPOCH}&n=0&o=Miss"}, b"from the regional")
        assert (await asking).body == b"from the regional"
        assert regional.requests == 2


def with_tier(pop: Node, regional: ScriptedOrigin) -> None:
    """Give a running node a scripted regional."""
    tier_of = NextTier("regional", Target("127.0.0.1", regional.port))
    for worker in pop.workers:
        worker.serve(dataclasses.replace(pop.serving, next_tier=tier_of))


@pytest.mark.parametrize("field", ["Accept-Language", "accept-language"])
async def test_a_field_that_connection_takes_away_does_not_count_for_vary_either(cdn: Tier, field: str) -> None:
    async def by_language(ask: Ask) -> None:
        language = ask.header("Accept-Language") or "none"
        await ask.answer(200, {**FRESH, "Vary": "Accept-Language"}, language.encode())

    cdn.origin.on("/v", by_language)
    assert (await cdn.pop.get("/v", {"Accept-Language": "de", "Connection": field})).body == b"none"
    assert (await cdn.pop.get("/v", {"Accept-Language": "de"})).body == b"de"


async def test_fields_and_cookies_in_the_key_cannot_be_forged_by_each_other() -> None:
    policy = {
        "behavior": {
            "MinTTL": 0,
            "ForwardedValues": {
                "QueryString": True,
                "Cookies": {"Forward": "all"},
                "Headers": {"Quantity": 1, "Items": ["X-Team"]},
            },
        }
    }

    async def seen(ask: Ask) -> None:
        text = f"{ask.target}|{ask.header('X-Team')}|{ask.header('Cookie')}"
        await ask.answer(200, FRESH, text.encode())

    async with one_distribution(**policy) as (pop, origin, host):
        origin.on("/k", seen)
        asked: list[tuple[str, dict[str, str]]] = [
            ("/k", {"X-Team": "a"}),
            ("/k", {"X-Team": "a c:sid=1"}),
            ("/k", {"X-Team": "a", "Cookie": "sid=1"}),
            ("/k", {"X-Team": "a", "Cookie": "sid=1 c:x=2"}),
            ("/k", {"X-Team": "a", "Cookie": "sid=1; x=2"}),
            ("/k?h:x-team=a", {}),
            ("/k?a", {"X-Team": "a"}),
            ("/k", {}),
        ]
        answers = [(await pop.get(target, fields, host=host)).body for target, fields in asked]
        again = [(await pop.get(target, fields, host=host)).body for target, fields in asked]
        assert answers == again
        assert len(set(answers)) == len({str(each) for each in asked})


@asynccontextmanager
async def one_distribution(**more: Any) -> AsyncIterator[tuple[Node, ScriptedOrigin, str]]:  # Any: JSON
    """A POP with one CloudFront distribution, its origin, and the Host it is served under."""
    async with ScriptedOrigin() as origin:
        config = config_for(origin.port, **more)
        behavior = config["DefaultCacheBehavior"]
        if "ForwardedValues" in behavior:
            behavior.pop("CachePolicyId")
        distribution = distribution_of(config)
        async with node(distributions=[distribution], rules=Rules.CLOUDFRONT) as pop:
            yield pop, origin, distribution.domain


async def test_what_is_not_in_the_key_does_not_reach_the_origin_in_cloudfront_rules() -> None:
    async with one_distribution() as (pop, origin, host):
        origin.always(200, FRESH, b"x")
        unkeyed = {
            "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "nothttps", "X-Original-URL": "/admin",
            "X-HTTP-Method-Override": "POST", "X-Real-IP": "1.2.3.4", "Forwarded": "host=evil.test",
            "Cookie": "sid=1", "Authorization": "Basic x", "Accept-Language": "de", "Origin": "http://evil.test",
        }  # fmt: skip
        await pop.get("/u", unkeyed, host=host)
        arrived = {name.decode().lower() for name, _ in origin.log[0].headers}
        assert arrived.isdisjoint(name.lower() for name in unkeyed)
        assert (await pop.ask("/u", body=b"fat", host=host)).status == 403


PRIVATE = {
    "private": {"Cache-Control": "private, max-age=60", "Set-Cookie": "sid=1"},
    "no-store": {"Cache-Control": "no-store"},
    "private and public": {"Cache-Control": "public, private, max-age=60"},
    "Vary: *": {"Cache-Control": "max-age=60", "Vary": "Accept, *"},
}


@pytest.mark.parametrize("fields", PRIVATE.values(), ids=PRIVATE)
async def test_answers_for_one_are_never_given_to_another(cdn: Tier, fields: dict[str, str]) -> None:
    count = iter(range(100))

    async def personal(ask: Ask) -> None:
        await ask.answer(200, fields, b"%d" % next(count))

    cdn.origin.on("/me", personal)
    together = await asyncio.gather(*(cdn.pop.get("/me") for _ in range(5)))
    alone = [await cdn.pop.get("/me") for _ in range(2)]
    assert len({got.body for got in [*together, *alone]}) == 7


async def test_an_answer_to_authorization_stays_with_its_viewer_unless_the_origin_shares_it(cdn: Tier) -> None:
    async def whose(ask: Ask) -> None:
        shared = {"Cache-Control": "public, max-age=60"} if ask.target == "/shared" else FRESH
        await ask.answer(200, shared, (ask.header("Authorization") or "nobody").encode())

    cdn.origin.on("/mine", whose)
    cdn.origin.on("/shared", whose)
    assert (await cdn.pop.get("/mine", {"Authorization": "a"})).body == b"a"
    assert (await cdn.pop.get("/mine", {"Authorization": "b"})).body == b"b"
    assert (await cdn.pop.get("/mine")).body == b"nobody"
    assert (await cdn.pop.get("/shared", {"Authorization": "a"})).body == b"a"
    assert (await cdn.pop.get("/shared")).body == b"a"


async def test_who_waits_for_another_variant_gets_its_own(cdn: Tier) -> None:
    languages = ["de", "fr", "it"]
    asking = [asyncio.create_task(cdn.pop.get("/c", {"Accept-Language": each})) for each in languages]
    await cdn.pop.reaches(Counter.WAITS, 2)

    async def by_language(ask: Ask) -> None:
        await ask.answer(200, {**FRESH, "Vary": "Accept-Language"}, (ask.header("Accept-Language") or "").encode())

    ask = await cdn.origin.asked_for("/c")
    cdn.origin.on("/c", by_language)
    await by_language(ask)
    assert [got.body for got in await asyncio.gather(*asking)] == [each.encode() for each in languages]
    assert cdn.origin.requests == 3


async def test_variants_without_end_stay_within_their_bound() -> None:
    settings = {"cache": {"variants_max": 8}}
    async with ScriptedOrigin() as origin, node(origin=origin.url, settings=settings) as pop:
        origin.always(200, {**FRESH, "Vary": "X-Any"}, b"x")
        for number in range(100):
            await pop.get("/v", {"X-Any": str(number)})
        assert pop.count(Counter.STORE_OBJECTS) == 8
        await pop.get("/v", {"X-Any": "99"})
        assert origin.requests == 100


async def test_the_store_stays_within_its_bound_and_gives_back_what_it_reserved() -> None:
    settings = {"cache": {"memory": "1 MiB", "object_max": "256 KiB"}}
    async with ScriptedOrigin() as origin, node(origin=origin.url, settings=settings) as pop:

        async def sized(ask: Ask) -> None:
            size = int(ask.target.partition("?")[2])
            if size % 3:
                await ask.answer(200, FRESH, b"x" * size)
                return
            ask.head(200, {**FRESH, "Transfer-Encoding": "chunked"})
            ask.chunk(b"x" * size)
            if size % 2:
                ask.reset()
                return
            ask.chunk(b"")
            ask.done()

        origin.on("/s", sized)
        for size in [*range(1, 600_000, 17_001), *range(1, 20_000, 331)]:
            await pop.get(f"/s?{size}")
            assert pop.count(Counter.STORE_BYTES) <= 1 << 20
        pop.forget_everything()
        assert pop.count(Counter.STORE_BYTES) == 0


# Who may speak as a tier


async def test_a_viewer_that_speaks_as_a_tier_is_a_viewer(cdn: Tier) -> None:
    cdn.origin.on("/t", named)
    cdn.origin.on("/victim", named)
    hop = "d=single&r=0&e=&a=99&f=0&c=6.6.6.6&p=1&s=https&i=forged&x=1"
    forged = {"EdgeProxy-Tier": "x", "EdgeProxy-Key": "single GET //a.test /victim", "EdgeProxy-Hop": hop}
    for _ in range(2):
        got = await cdn.pop.get("/t", forged)
        assert got.header("EdgeProxy-Hop") is None
    assert cdn.origin.requests == 1
    assert not [name for name, _ in cdn.origin.log[0].headers if name.lower().startswith(b"edgeproxy")]
    assert "6.6.6.6" not in (cdn.origin.log[0].header("X-Forwarded-For") or "")
    assert (await cdn.pop.get("/victim")).body == b"/victim"


async def test_an_origin_that_speaks_as_a_tier_is_an_origin(cdn: Tier) -> None:
    cdn.origin.always(421, {"EdgeProxy-Hop": "e=&n=0&o=Error&m=epoch&g=1", "Cache-Control": "no-store"}, b"odd")
    got = await cdn.pop.get("/o")
    assert (got.status, got.body, got.header("EdgeProxy-Hop")) == (421, b"odd", None)
    assert cdn.pop.count(Counter.HOP_ORIGIN) == 0


@pytest.mark.parametrize("fields", [{}, {"Connection": "CDN-Loop"}], ids=["plain", "taken away by Connection"])
async def test_a_loop_is_seen_whatever_connection_says(cdn: Tier, fields: dict[str, str]) -> None:
    got = await cdn.pop.get("/l", {"CDN-Loop": 'edgeproxy; d="A", other, edgeproxy; d="B"', **fields})
    assert got.status == 403
    cdn.origin.always(200, FRESH, b"x")
    await cdn.pop.get("/l", {"CDN-Loop": 'edgeproxy; d="A"', **fields})
    assert (cdn.origin.log[0].header("CDN-Loop") or "").count("edgeproxy") == 2


async def test_a_cdn_that_is_its_own_origin_answers_403_and_not_for_ever() -> None:
    async with ScriptedOrigin() as unused, node(origin=unused.url) as last, node(origin=last.url) as first:
        with_origin(last, first.port)
        got = await first.get("/round")
        assert got.status == 403
        assert first.count(Counter.REQUESTS) + last.count(Counter.REQUESTS) == 3


def with_origin(running: Node, port: int) -> None:
    """Send a running node's requests to another port."""
    served = []
    for each in running.serving.hosts:
        origins = {name: dataclasses.replace(origin, http_port=port) for name, origin in each.origins.items()}
        served.append(dataclasses.replace(each, origins=origins))
    for worker in running.workers:
        worker.serve(dataclasses.replace(running.serving, hosts=Hosts(served)))


async def test_the_cap_for_one_address_is_for_viewers_not_for_tiers_and_trusted_proxies() -> None:
    capped: dict[str, Any] = {"connections": {"connections_per_client_max": 1}}  # Any: settings
    trusting = {**capped, "trust": {"proxies": ["127.0.0.0/8"]}}
    async with (
        ScriptedOrigin() as origin,
        node(mode=Mode.REGIONAL, origin=origin.url, settings=capped) as regional,
        node(origin=origin.url, upstream=regional, settings=trusting) as pop,
    ):
        asking = [asyncio.create_task(pop.get(f"/{number}")) for number in range(5)]
        for number in range(5):
            await (await origin.asked_for(f"/{number}")).answer(200, FRESH, b"x")
        assert {got.status for got in await asyncio.gather(*asking)} == {200}
        assert pop.count(Counter.HOP_ORIGIN) == regional.count(Counter.CONNECTIONS_REFUSED) == 0


# Viewers that are slow, or leave


async def test_a_viewer_that_reads_nothing_stops_the_origin_and_nobody_else(cdn: Tier) -> None:
    cdn.origin.on("/other", named)
    async with await cdn.pop.viewer() as slow:
        await slow.ask("/huge")
        ask = await cdn.origin.asked_for("/huge")
        ask.head(200, {"Cache-Control": "no-store", "Content-Length": str(50 << 20)})
        sent = 0
        while ask.unsent() < 1 << 20:
            ask.send(b"x" * 65536)
            sent += 65536
            await asyncio.sleep(0)
        assert sent < 40 << 20
        assert (await cdn.pop.get("/other")).body == b"/other"
        assert cdn.pop.count(Counter.STORE_BYTES) < 1 << 20
    await ask.gone()


async def test_everybody_who_waits_hears_of_a_failure_and_the_next_one_asks_anew(cdn: Tier) -> None:
    asking = [asyncio.create_task(cdn.pop.get("/f")) for _ in range(5)]
    ask = await cdn.origin.asked_for("/f")
    await cdn.pop.reaches(Counter.WAITS, 4)
    cdn.origin.on("/f", broken)
    ask.reset()
    assert {got.status for got in await asyncio.gather(*asking)} == {502}
    cdn.origin.on("/f", named)
    assert (await cdn.pop.get("/f")).body == b"/f"


async def broken(ask: Ask) -> None:
    ask.reset()


async def test_the_first_viewer_leaves_before_the_head_and_the_others_still_share_one_fetch(cdn: Tier) -> None:
    first = await cdn.pop.viewer()
    await first.ask("/l")
    ask = await cdn.origin.asked_for("/l")
    others = [asyncio.create_task(cdn.pop.get("/l")) for _ in range(3)]
    await cdn.pop.reaches(Counter.WAITS, 3)
    first.reset()
    await until(lambda: cdn.pop.count(Counter.CONNECTIONS_OPEN) == 3)
    await ask.answer(200, FRESH, b"all")
    assert {got.body for got in await asyncio.gather(*others)} == {b"all"}
    assert cdn.origin.requests == 1


async def test_a_storm_of_viewers_that_ask_and_reset_leaves_nothing_behind(cdn: Tier) -> None:
    cdn.origin.on("/warm", named)
    await cdn.pop.get("/warm")
    tasks_before = len(tasks_of_nodes())
    for wave in range(20):
        viewers = [await cdn.pop.viewer() for _ in range(50)]
        for number, viewer in enumerate(viewers):
            await viewer.ask(f"/storm/{wave}/{number % 20}")
        if wave % 2:
            await cdn.pop.reaches(Counter.REQUESTS, 50 * (wave + 1))
        for viewer in viewers:
            viewer.reset()
    await until(lambda: cdn.pop.count(Counter.CONNECTIONS_OPEN) == 0)
    await until(lambda: cdn.pop.count(Counter.FILLS_OPEN) == cdn.regional.count(Counter.FILLS_OPEN) == 0)
    cdn.pop.forget_everything()
    assert cdn.pop.count(Counter.STORE_BYTES) == 0
    assert (await cdn.pop.get("/warm")).body == b"/warm"
    await until(lambda: len(tasks_of_nodes()) <= tasks_before)
    assert cdn.pop.count(Counter.REQUESTS_FAILED) == cdn.regional.count(Counter.REQUESTS_FAILED) == 0


def tasks_of_nodes() -> list[asyncio.Task[Any]]:  # Any: whatever they return
    """Everything that runs in the nodes now; the script's own tasks left out."""
    return [task for task in asyncio.all_tasks() if re.search("edgeproxy/(edge|upstream)/", repr(task))]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_tier_that_ends_its_connection_is_gone_and_its_fetch_stops_at_once(workers: int) -> None:
    hop = f"d=single&r=0&e={NO_EPOCH}&a=0&f=0&c=127.0.0.1&p=1&s=http&i=id"
    async with ScriptedOrigin() as origin, node(mode=Mode.REGIONAL, origin=origin.url, workers=workers) as regional:
        served = next(iter(regional.serving.hosts))
        fields = {"EdgeProxy-Hop": hop.replace("single", served.id), "EdgeProxy-Key": f"{served.id} GET //a.test /gone"}
        viewer = await regional.viewer()
        await viewer.ask("/gone", fields)
        ask = await origin.asked_for("/gone")
        viewer.finish()
        await ask.gone()
        assert await viewer.closed()
        await until(lambda: regional.count(Counter.FILLS_OPEN) == 0)


async def test_connections_between_workers_are_not_counted_as_viewers() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url, workers=2) as pop:
        origin.always(200, FRESH, b"x")
        for number in range(16):
            await pop.get(f"/{number}")
        assert pop.count(Counter.HOP_WORKER) > 0
        assert pop.count(Counter.CONNECTIONS) == 16
        await until(lambda: pop.count(Counter.CONNECTIONS_OPEN) == 0)


async def test_workers_at_two_revisions_serve_everybody_and_each_request_is_logged_once() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url, workers=2) as pop:
        origin.always(200, FRESH, b"x")
        reloaded = [dataclasses.replace(each, revision="1") for each in pop.serving.hosts]
        pop.workers[0].serve(dataclasses.replace(pop.serving, hosts=Hosts(reloaded)))
        for number in range(16):
            assert (await pop.get(f"/{number}")).status == 200
        assert pop.count(Counter.TIER_MISMATCH) > 0
        await until(lambda: pop.count(Counter.LOG_LINES) == 16)
        assert pop.count(Counter.RESULT_ERROR) == 0


async def test_a_worker_whose_connections_are_all_taken_does_not_fail_the_others() -> None:
    settings = {"upstream": {"connections_max": 1, "queue_max": 0}}
    async with ScriptedOrigin() as origin, node(origin=origin.url, workers=2, apart=True, settings=settings) as pop:
        served = next(iter(pop.serving.hosts)).id
        keys = ((f"{served} GET //a.test /{number}".encode(), f"/{number}") for number in range(100))
        first, second, *_ = [target for key, target in keys if owner_of(key, pop.workers[0].place.shards, 2) == 1]
        asking = asyncio.create_task(pop.ask(first))
        ask = await origin.asked_for(first)
        origin.always(200, FRESH, b"x")
        assert (await pop.ask(second)).status == 200
        assert pop.workers[0].counters[Counter.UPSTREAM_QUEUE_FULL] == 1
        await ask.answer(200, FRESH, b"x")
        assert (await asking).status == 200


async def test_a_worker_that_stops_leaves_its_keys_to_the_others() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url, workers=2) as pop:
        first, second = pop.workers
        viewers = [await pop.viewer() for _ in range(12)]
        for number, viewer in enumerate(viewers):
            await viewer.ask(f"/{number}")
        asks = [await origin.asked_for(f"/{number}") for number in range(12)]
        assert first.counters[Counter.REQUESTS_FROM_WORKER] + second.counters[Counter.REQUESTS_FROM_WORKER] > 0
        origin.always(200, FRESH, b"x")
        await second.close()
        for ask in asks:
            with contextlib.suppress(ConnectionError):  # what the stopped worker asked for, nobody waits for
                await ask.answer(200, FRESH, b"x")
        answered = 0
        for viewer in viewers:
            try:
                assert (await receive(viewer)).body == b"x"
                answered += 1
            except ConnectionError:
                pass  # it was the stopped worker's own viewer
        assert answered == first.counters[Counter.CONNECTIONS]
        assert first.counters[Counter.REQUESTS_FAILED] == second.counters[Counter.REQUESTS_FAILED] == 0


@pytest.mark.parametrize("who", ["origin", "viewer"])
async def test_an_answer_that_is_cut_is_an_error_in_the_log_and_says_whose(who: str) -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        viewer = await pop.viewer()
        await viewer.ask("/cut", {"User-Agent": "a\tb"})
        ask = await origin.asked_for("/cut")
        ask.head(200, {**FRESH, "Content-Length": "100"})
        ask.send(b"some")
        await viewer.read_head()
        assert await viewer.read() == b"some"
        if who == "origin":
            ask.reset()
        else:
            viewer.reset()
        await pop.reaches(Counter.LOG_LINES, 1)
        lines = (pop.directory / "access.log").read_text().splitlines()
        values = next(line for line in lines if not line.startswith("#")).split("\t")
        assert len(values) == 33
        assert (values[8], values[13], values[22]) == ("200", "Error", "Miss")
        assert values[28] == ("AbortedOrigin" if who == "origin" else "ClientHungUpRequest")
        assert pop.count(Counter.RESULT_ERROR) == 1


async def test_draining_finishes_a_fill_and_cuts_a_tunnel_at_the_deadline() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        viewer = await pop.viewer()
        await viewer.ask("/fill")
        fill = await origin.asked_for("/fill")
        fill.head(200, {**FRESH, "Content-Length": "8"})
        fill.send(b"half")
        await viewer.read_head()
        tunnel = await pop.viewer()
        await tunnel.ask("/ws", {"Connection": "Upgrade", "Upgrade": "raw"})
        upgraded = await origin.asked_for("/ws")
        upgraded.head(101, {"Connection": "Upgrade", "Upgrade": "raw"})
        assert (await tunnel.read_head())[0] == 101
        draining = asyncio.create_task(pop.workers[0].drain(0.2))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                while True:  # until one is refused
                    (await pop.viewer()).reset()
        fill.send(b"rest")
        fill.done()
        assert await viewer.read_body() == (b"halfrest", True)
        await draining
        assert await tunnel.closed()
        await upgraded.gone()
        assert pop.count(Counter.CONNECTIONS_OPEN) == pop.count(Counter.TUNNELS_OPEN) == 0
        assert pop.count(Counter.UPSTREAM_OPEN) == 0
