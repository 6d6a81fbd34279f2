"""The hit lane: what it knows, and when it must not know any more."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgeproxy.configuration import origin_only
from edgeproxy.model import Cors, Countries, KeyParts, ResponsePolicy, Rules
from edgeproxy.places.clients import Clients
from edgeproxy.settings import Network
from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask, ScriptedOrigin, Viewer
from tests.tier import Got, Node, config_for, distribution_of, node
from tests.wire import FieldsLike, until

FRESH = {"Cache-Control": "max-age=3600", "ETag": '"1"'}


@asynccontextmanager
async def pop(**given: Any) -> AsyncIterator[tuple[Node, ScriptedOrigin]]:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"first")
        if "distributions" not in given:
            given["origin"] = origin.url
        async with node(**given) as running:
            yield running, origin


async def ask(at: Node, fields: FieldsLike = (), target: str = "/a", **more: Any) -> tuple[Got, bool]:
    """An answer, and whether the lane gave it."""
    before = at.count(Counter.LANE_HITS)
    got = await at.ask(target, fields, **more)
    await until(lambda: not at.count(Counter.FILLS_OPEN))
    return got, at.count(Counter.LANE_HITS) > before


async def warm(at: Node, fields: FieldsLike = (), **more: Any) -> None:
    for _ in range(4):
        _, at_once = await ask(at, fields, **more)
    assert at_once


async def test_a_change_in_the_store_ends_what_was_known() -> None:
    async with pop() as (at, origin):
        await warm(at)
        origin.always(200, FRESH, b"second")
        at.forget_everything()
        got, at_once = await ask(at)
        assert (got.body, at_once) == (b"second", False)
        await warm(at)
        assert (await ask(at))[0].body == b"second"


async def test_a_put_ends_what_was_known() -> None:
    async with pop() as (at, origin):
        await warm(at)
        origin.always(200, FRESH, b"second")
        await ask(at, method="PUT", body=b"x")
        got, at_once = await ask(at)
        assert (got.body, at_once) == (b"second", False)


async def test_another_configuration_ends_what_was_known() -> None:
    async with pop() as (at, origin):
        await warm(at)
        origin.always(200, FRESH, b"second")
        other = dataclasses.replace(origin_only(origin.url, Rules.RFC9111), revision="1", id="other")
        serving = dataclasses.replace(at.serving, hosts=type(at.serving.hosts)([other]))
        async with await at.viewer() as viewer:
            for _ in range(2):
                await viewer.ask("/a")
                await viewer.read_head()
                assert (await viewer.read_body())[0] == b"first"
            at.workers[0].serve(serving)
            for expected in (b"second", b"second", b"second"):
                await viewer.ask("/a")
                await viewer.read_head()
                assert (await viewer.read_body())[0] == expected
                await until(lambda: not at.count(Counter.FILLS_OPEN))


async def test_a_newer_number_is_looked_at_once() -> None:
    """Without a control plane every number covers: the answer stays, and is known to be good at the new one."""
    async with pop() as (at, _):
        await warm(at)
        at.page.stand(1, quarantined=False)
        assert (await ask(at))[1]
        (asked,) = next(iter(at.workers[0].pipeline.lane._watched.values()))
        assert asked.reply is not None
        assert asked.reply.standing == at.page.standing


async def test_a_response_that_varies_is_chosen_again_for_every_value() -> None:
    async with pop() as (at, origin):

        async def say(asked: Ask) -> None:
            language = asked.header("Accept-Language") or "none"
            await asked.answer(200, {**FRESH, "Vary": "Accept-Language"}, language.encode())

        origin.otherwise(say)
        for language in ("de", "en", "de"):  # what comes under the key ends what was known of it
            await warm(at, {"Accept-Language": language})
        await warm(at, {"Accept-Language": "en"})
        for language in ("de", "en"):
            got, at_once = await ask(at, {"Accept-Language": language, "X-Trace": "1"})
            assert (got.body, at_once) == (language.encode(), True)
        got, at_once = await ask(at)
        assert (got.body, at_once) == (b"none", False)


async def test_a_variant_that_comes_later_counts_from_then_on() -> None:
    """What is known without Vary is not known any more when a response under the same key begins to vary."""
    async with pop() as (at, origin):
        await warm(at, {"X-Color": "red"})

        async def say(asked: Ask) -> None:
            await asked.answer(200, {**FRESH, "Vary": "X-Color"}, (asked.header("X-Color") or "none").encode())

        origin.otherwise(say)
        got, _ = await ask(at, {"X-Color": "blue", "Cache-Control": "no-cache"})
        assert got.body == b"blue"
        await warm(at, {"X-Color": "blue"})
        assert (await ask(at, {"X-Color": "blue", "A": "b"}))[0].body == b"blue"


async def test_what_the_key_is_made_of_matters_and_nothing_else() -> None:
    async with ScriptedOrigin() as origin:
        plain = dataclasses.replace(origin_only(origin.url, Rules.CLOUDFRONT), revision="0")
        key = KeyParts(headers=(b"x-color",), gzip=True)
        keyed = dataclasses.replace(plain, behaviors=(dataclasses.replace(plain.behaviors[0], key=key),))

        async def say(asked: Ask) -> None:
            await asked.answer(200, FRESH, (asked.header("X-Color") or "none").encode())

        origin.otherwise(say)
        async with node(distributions=[keyed], rules=Rules.CLOUDFRONT) as at:
            await warm(at, {"X-Color": "red", "Accept-Encoding": "gzip"})
            same = {"X-Color": "red", "Accept-Encoding": "gzip", "Cookie": "a=1", "User-Agent": "x"}
            assert (await ask(at, same))[1]
            for other in ({"X-Color": "blue", "Accept-Encoding": "gzip"}, {"X-Color": "red"}):
                got, at_once = await ask(at, other)
                assert (got.body, at_once) == (other["X-Color"].encode(), False)


async def test_hosts_and_queries_are_told_apart() -> None:
    async with pop() as (at, _):
        await warm(at, target="/a?b")
        assert not (await ask(at, target="/a?c"))[1]
        assert not (await ask(at, target="/a?b", host="b.test"))[1]
        assert (await ask(at, target="/a?b"))[1]


@pytest.mark.parametrize("proxies", [[], ["127.0.0.0/8"]])
async def test_the_viewer_of_a_trusted_proxy_is_the_one_in_the_log(proxies: list[str]) -> None:
    log = {"path": "DATA_DIR/log", "flush_interval": 0.01}
    async with pop(settings={"trust": {"proxies": proxies}, "log": log}) as (at, _):
        for viewer in ("192.0.2.1", "192.0.2.2"):
            await warm(at, {"X-Forwarded-For": viewer})
        await at.reaches(Counter.LOG_LINES, at.count(Counter.REQUESTS))
        rows = [line.split("\t") for line in (at.directory / "log").read_text().splitlines() if line[0] != "#"]
        addresses = [(row[4], row[19]) for row in rows]
        told = [("192.0.2.1", "192.0.2.1")] * 4 + [("192.0.2.2", "192.0.2.2")] * (len(rows) - 4)
        assert addresses == (told if proxies else [("127.0.0.1", forwarded) for _, forwarded in told])


async def test_the_test_clock_s_viewer_is_the_one_in_the_log() -> None:
    log = {"path": "DATA_DIR/log", "flush_interval": 0.01}
    async with pop(settings={"log": log}) as (at, _):
        for viewer in ("192.0.2.1", "192.0.2.2"):
            await warm(at, {"EdgeProxy-Client": viewer})
        await at.reaches(Counter.LOG_LINES, at.count(Counter.REQUESTS))
        rows = [line.split("\t") for line in (at.directory / "log").read_text().splitlines() if line[0] != "#"]
        assert [row[4] for row in rows] == ["192.0.2.1"] * 4 + ["192.0.2.2"] * (len(rows) - 4)


async def test_what_is_known_is_bounded_and_the_least_recent_half_goes() -> None:
    async with pop(settings={"connections": {"hit_lane_memory": "1 MiB"}, "log": {"path": "off"}}) as (at, _):
        async with await at.viewer() as viewer:
            for number in range(600):
                for target in ("/kept", *[f"/{number}"] * 4):
                    await viewer.ask(target)
                    await viewer.read_head()
                    await viewer.read_body()
        lane = at.workers[0].pipeline.lane
        (space,) = lane._spaces.values()
        assert at.count(Counter.LANE_FORGOTTEN) > 100
        assert len(space.families) + len(space.older_families) < 400
        assert len(lane._watched) < 400
        assert (await ask(at, target="/kept"))[1]


async def test_a_lane_that_is_off_learns_nothing() -> None:
    async with pop(settings={"connections": {"hit_lane": False}}) as (at, _):
        for _ in range(4):
            assert not (await ask(at))[1]
        assert not at.count(Counter.LANE_LEARNT)


async def test_a_copy_of_another_worker_s_key_is_given_out_only_at_the_owner_s_edition() -> None:
    async with pop(workers=2, apart=True) as (at, origin):
        for worker in (0, 1):
            await warm(at, worker=worker)
        origin.always(200, FRESH, b"second")
        await ask(at, {"Cache-Control": "no-cache"}, worker=0)
        for worker in (0, 1):
            assert (await ask(at, worker=worker))[0].body == b"second"


async def test_hits_keep_an_object_in_memory() -> None:
    """What is asked for through the lane is known to be asked for when room has to be made."""
    async with pop(settings={"cache": {"memory": "1 MiB"}}) as (at, origin):
        await warm(at)
        origin.always(200, FRESH, bytes(50_000))
        for number in range(60):
            await ask(at, target=f"/{number}")
            assert (await ask(at))[1], "it has left"
        assert at.count(Counter.EVICTED)


async def test_cloudfront_s_rules_give_every_answer_its_own_id() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"x")
        served = [distribution_of(config_for(origin.port))]
        async with node(distributions=served, rules=Rules.CLOUDFRONT) as at:
            ids = set()
            for _ in range(6):
                got, _ = await ask(at, host="demo.edge.localhost")
                assert got.status == 200
                ids.add(got.header("X-Amz-Cf-Id"))
            assert at.count(Counter.LANE_HITS) == 3
            assert len(ids) == 6


async def test_who_is_turned_away_for_its_country_is_not_given_what_others_are() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"x")
        plain = dataclasses.replace(origin_only(origin.url, Rules.CLOUDFRONT), revision="0")
        served = dataclasses.replace(plain, countries=Countries(False, frozenset({"DE"})))
        clients = Clients([Network(network="127.0.0.2/32", pops=[], country="DE")])
        async with node(distributions=[served], rules=Rules.CLOUDFRONT, clients=clients) as at:
            await warm(at)
            for address, status in (("127.0.0.1", 200), ("127.0.0.2", 403), ("127.0.0.3", 200)):
                streams = await asyncio.open_connection("127.0.0.1", at.port, local_addr=(address, 0))
                async with Viewer(*streams) as viewer:
                    for _ in range(3):
                        await viewer.ask("/a")
                        assert (await viewer.read_head())[0] == status
                        await viewer.read_body()


@pytest.mark.parametrize(
    ("policy", "plain"),
    [
        (ResponsePolicy("1", "x", cors=Cors(("https://a.test", "https://b.test"), (), ())), True),
        (ResponsePolicy("1", "x", removed=frozenset({b"etag"})), True),
        (ResponsePolicy("1", "x", removed=frozenset({b"date"})), False),
        (ResponsePolicy("1", "x", timing=0.0), False),
    ],
)
async def test_a_response_headers_policy_that_looks_at_the_request_or_the_clock(
    policy: ResponsePolicy, plain: bool
) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"x")
        only = dataclasses.replace(origin_only(origin.url, Rules.CLOUDFRONT), revision="0")
        served = dataclasses.replace(only, behaviors=(dataclasses.replace(only.behaviors[0], response=policy),))
        async with node(distributions=[served], rules=Rules.CLOUDFRONT) as at:
            for _ in range(3):
                for origin_said in ("https://a.test", "https://b.test", "https://c.test"):
                    got, at_once = await ask(at, {"Origin": origin_said})
                    allowed = policy.cors is not None and origin_said in policy.cors.origins
                    assert got.header("Access-Control-Allow-Origin") == (origin_said if allowed else None)
                got, _ = await ask(at, {"Pragma": "server-timing"})
                assert (got.header("Server-Timing") is None) is (policy.timing is None)
            assert at_once is plain
