"""Fact sheet 4.5: what is compressed on its way into the store, and what is not, through nodes."""

from __future__ import annotations

import gzip

import brotli
import pytest

from edgeproxy.model import Rules
from edgeproxy.telemetry.counters import Counter
from tests.facts import CLIENTS, JSON, cache, distribution
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Got, config_for, node, tier

HOST = "demo.edge.localhost"
TEXT = b"".join(b"line %d of a text that compresses well\n" % number for number in range(400))
HTML = {"Content-Type": "text/html", "ETag": '"v1"'}
COMPRESS: JSON = {"behavior": {"Compress": True, "CachePolicyId": "p0"}}
BOTH = cache(gzip=True, brotli=True)


def plain(got: Got) -> bytes:
    """The body, whatever it is coded in."""
    match got.header("Content-Encoding"):
        case "gzip":
            return gzip.decompress(got.body)
        case "br":
            inflated: bytes = brotli.decompress(got.body)
            return inflated
        case _:
            return got.body


async def answer(
    accepted: str | None,
    *,
    config: JSON = COMPRESS,
    policy: JSON = BOTH,
    status: int = 200,
    headers: dict[str, str] | None = None,
    body: bytes = TEXT,
    method: str = "GET",
) -> tuple[Got, Got]:
    """What two viewers get, one after the other; the origin is asked for one of them where it is cached."""
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **dict(config)), [policy])
        origin.always(status, HTML if headers is None else headers, body)
        async with node(distributions=[served], rules=Rules.CLOUDFRONT, clients=CLIENTS) as pop:
            asked = {} if accepted is None else {"Accept-Encoding": accepted}
            first = await pop.ask("/a", asked, method=method, host=HOST)
            return first, await pop.ask("/a", asked, method=method, host=HOST)


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip, br", "br"), ("br", "br"), ("gzip", "gzip"), ("GZIP;q=0.2", "gzip")]
)
async def test_4_5_a_miss_and_a_hit_in_the_best_coding(accepted: str, coding: str) -> None:
    for got, cached in zip(await answer(accepted), ("Miss", "Hit"), strict=True):
        assert got.header("Content-Encoding") == coding
        assert got.header("X-Cache") == f"{cached} from cloudfront"
        assert got.header("ETag") == 'W/"v1"'
        assert got.header("Vary") == "Accept-Encoding"
        assert plain(got) == TEXT
        assert len(got.body) < len(TEXT) / 4


NOT: dict[str, JSON] = {
    "4.5 Compress is off": {"config": {"behavior": {"CachePolicyId": "p0"}}},
    "4.5 neither format is enabled": {"policy": cache()},
    "4.5 TTL 0": {"policy": cache((0, 0, 0))},
    "4.5 already coded": {"headers": {**HTML, "Content-Encoding": "zstd"}},
    "4.5 coded as identity": {"headers": {**HTML, "Content-Encoding": "identity"}},
    "4.5 not cached: no-store": {"headers": {**HTML, "Cache-Control": "no-store"}},
    "4.5 too short": {"body": b"x" * 999},
    "4.5 another type": {"headers": {"Content-Type": "image/png"}},
    "4.5 no type": {"headers": {}},
    "4.5 status 201": {"status": 201},
    "4.5 status 500": {"status": 500},
}


@pytest.mark.parametrize("changes", NOT.values(), ids=NOT.keys())
async def test_not_compressed(changes: JSON) -> None:
    for got in await answer("gzip, br", **changes):
        assert got.header("Content-Encoding") in (None, changes.get("headers", {}).get("Content-Encoding"))
        assert got.body == changes.get("body", TEXT)


@pytest.mark.parametrize("accepted", [None, "identity", "deflate, zstd", "gzip;q=0"])
async def test_4_5_nor_for_who_does_not_take_it(accepted: str | None) -> None:
    for got in await answer(accepted):
        assert got.header("Content-Encoding") is None
        assert got.body == TEXT


@pytest.mark.parametrize("status", [403, 404])
async def test_4_5_errors_are_compressed(status: int) -> None:
    for got in await answer("gzip", status=status, headers={**HTML, "Cache-Control": "max-age=60"}):
        assert (got.status, got.header("Content-Encoding"), plain(got)) == (status, "gzip", TEXT)


async def test_4_5_just_long_enough() -> None:
    for got in await answer("gzip", body=b"x" * 1000):
        assert (got.header("Content-Encoding"), plain(got)) == ("gzip", b"x" * 1000)


async def test_4_9_legacy_settings_know_gzip_alone() -> None:
    values = {"QueryString": False, "Cookies": {"Forward": "none"}}
    config = {"behavior": {"CachePolicyId": "", "Compress": True, "ForwardedValues": values, "MinTTL": 0}}
    for got in await answer("gzip, br", config=config):
        assert (got.header("Content-Encoding"), plain(got)) == ("gzip", TEXT)


@pytest.mark.parametrize(("tag", "seen"), [('W/"v1"', 'W/"v1"'), ("v1", None)])
async def test_4_5_a_weak_etag_stays_and_a_malformed_one_goes(tag: str, seen: str | None) -> None:
    for got in await answer("gzip", headers={**HTML, "ETag": tag}):
        assert got.header("ETag") == seen


async def test_4_5_each_form_is_an_object_of_its_own_and_a_hit_compresses_nothing() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        origin.always(200, HTML, TEXT)
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as pop:
            for accepted in ("br, gzip", "gzip", "br", "", "gzip", "br"):
                got = await pop.get("/a", {"Accept-Encoding": accepted} if accepted else {}, host=HOST)
                assert plain(got) == TEXT
            assert origin.requests == 4
            assert pop.count(Counter.COMPRESSED) == 3
            assert pop.count(Counter.COMPRESSION_IN) == 3 * len(TEXT)
            assert 0 < pop.count(Counter.COMPRESSION_OUT) < len(TEXT)


async def test_4_5_a_304_keeps_what_is_compressed() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        origin.always(200, {**HTML, "Cache-Control": "max-age=10"}, TEXT)
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as pop:
            await pop.get("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            pop.advance(20)
            origin.always(304, {"ETag": '"v1"', "Cache-Control": "max-age=10"})
            got = await pop.get("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            assert (got.header("X-Cache"), plain(got)) == ("RefreshHit from cloudfront", TEXT)
            assert (got.header("Content-Encoding"), got.header("ETag")) == ("gzip", 'W/"v1"')
            assert origin.log[-1].header("If-None-Match") == 'W/"v1"'
            assert origin.requests == 2
            assert pop.count(Counter.COMPRESSED) == 1


async def test_1_7_ranges_count_compressed_bytes() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        origin.always(200, HTML, TEXT)
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as pop:
            whole = await pop.get("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            part = await pop.get("/a", {"Accept-Encoding": "gzip", "Range": "bytes=10-19"}, host=HOST)
            assert (part.status, part.body) == (206, whole.body[10:20])
            assert part.header("Content-Range") == f"bytes 10-19/{len(whole.body)}"


async def test_4_5_an_http_1_0_viewer_and_a_head_get_what_fits() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        origin.always(200, HTML, TEXT)
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as pop:
            got = await pop.get("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            head = await pop.head("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            assert head.header("Content-Encoding") == "gzip"
            assert head.header("Content-Length") == str(len(got.body))


async def test_compressed_at_the_tier_that_asks_the_origin_and_stored_so_at_both() -> None:
    async with tier(
        rules=Rules.CLOUDFRONT, distributions=lambda port: [distribution(config_for(port, **COMPRESS), [BOTH])]
    ) as cdn:
        cdn.origin.always(200, HTML, TEXT)
        for _ in range(2):
            got = await cdn.pop.get("/a", {"Accept-Encoding": "br"}, host=HOST)
            assert (got.header("Content-Encoding"), plain(got)) == ("br", TEXT)
            cdn.pop.forget_everything()
        assert cdn.origin.requests == 1
        assert (cdn.pop.count(Counter.COMPRESSED), cdn.regional.count(Counter.COMPRESSED)) == (0, 1)


async def test_the_first_bytes_go_out_while_the_origin_is_still_sending() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as pop, await pop.viewer() as viewer:
            await viewer.ask("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            ask: Ask = await origin.asked_for("/a")
            ask.head(200, {**HTML, "Content-Length": str(len(TEXT))})
            ask.send(TEXT[:5000])
            await viewer.read_head()
            assert await viewer.read()
            ask.send(TEXT[5000:])


async def test_when_too_many_are_compressed_at_once_the_others_stay_as_they_are() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        origin.always(200, HTML, TEXT)
        settings = {"compression": {"at_once_max": 0}}
        async with node(distributions=[served], rules=Rules.CLOUDFRONT, settings=settings) as pop:
            got = await pop.get("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            assert (got.header("Content-Encoding"), got.header("ETag"), got.body) == (None, '"v1"', TEXT)
            assert pop.count(Counter.COMPRESSION_SKIPPED) == 1


async def test_a_body_that_is_cut_is_cut_for_the_viewer_too_and_not_kept() -> None:
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **COMPRESS), [BOTH])
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as pop, await pop.viewer() as viewer:
            await viewer.ask("/a", {"Accept-Encoding": "gzip"}, host=HOST)
            ask = await origin.asked_for("/a")
            ask.head(200, {**HTML, "Content-Length": str(len(TEXT))})
            ask.send(TEXT[:5000])
            await viewer.read_head()
            await viewer.read()
            ask.reset()
            assert (await viewer.read_body())[1] is False
            origin.always(200, HTML, TEXT)
            assert plain(await pop.get("/a", {"Accept-Encoding": "gzip"}, host=HOST)) == TEXT
