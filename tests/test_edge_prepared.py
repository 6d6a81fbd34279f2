"""Prepared answers: what changes in them, and when. That their bytes are right the conformance table shows."""

from __future__ import annotations

import re

from edgeproxy.edge.prepared import Reply
from edgeproxy.model import AsOf, Rules
from edgeproxy.telemetry.counters import Counter
from tests.scripted import ScriptedOrigin
from tests.tier import Got, Node, node
from tests.wire import until

START = 1_700_000_000.25


async def ask(pop: Node, headers: dict[str, str] | None = None) -> tuple[Got, bool]:
    """An answer, and whether the lane gave it."""
    before = pop.count(Counter.LANE_HITS)
    got = await pop.get("/a", headers or {})
    await until(lambda: not pop.count(Counter.FILLS_OPEN))
    return got, pop.count(Counter.LANE_HITS) > before


async def warm(pop: Node) -> None:
    for _ in range(4):
        _, at_once = await ask(pop)
    assert at_once


async def test_age_and_ttl_go_on_and_the_lane_ends_with_freshness() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, {"Cache-Control": "max-age=3"}, b"x")
        async with node(origin=origin.url, wall=lambda: START) as pop:
            await warm(pop)
            seen = []
            for _ in range(6):
                got, at_once = await ask(pop)
                assert at_once
                ttl = re.search("ttl=([0-9]+)", got.header("Cache-Status") or "")
                seen.append((got.header("Age"), ttl and ttl[1]))
                pop.advance(0.5)
            # The origin's Date has no fractions: a quarter of a second has passed at arrival.
            assert seen == [("0", "3"), ("0", "2"), ("1", "2"), ("1", "1"), ("2", "1"), ("2", "0")]
            got, at_once = await ask(pop)
            assert (at_once, got.header("Age"), origin.requests) == (False, None, 2)


async def test_a_clock_that_goes_back_makes_nothing_wrong() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, {"Cache-Control": "max-age=60"}, b"x")
        async with node(origin=origin.url, wall=lambda: START) as pop:
            await warm(pop)
            pop.advance(30)
            assert (await ask(pop))[0].header("Age") == "30"
            pop.advance(-20)
            got, at_once = await ask(pop)
            assert (got.header("Age"), at_once) == ("10", True)


async def test_an_answer_that_has_expired_holds_nothing() -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, {"Cache-Control": "max-age=60"}, b"x")
        async with node(origin=origin.url, rules=Rules.CLOUDFRONT) as pop:
            await warm(pop)
            (asked,) = next(iter(pop.workers[0].pipeline.lane._watched.values()))
            reply = asked.reply
            assert isinstance(reply, Reply)
            assert reply.stored is not None
            assert reply.stored.head.as_of == AsOf("0", 0)
            assert reply.weight() < 10_000
            pop.forget_everything()
            held = [reply.stored, reply.blocks, asked.reply, reply.body or None]
            assert held == [None] * 4
            assert not (await ask(pop))[1]
