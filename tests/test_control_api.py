"""The control plane's API against real admin listeners, and against nodes that are not there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from edgeproxy.binding import address_of, listening
from edgeproxy.control.api import Control, KnownNode, new_session
from edgeproxy.edge.admin import Admin, serve_admin
from edgeproxy.edge.node import Place
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.rtt import RoundTrips
from edgeproxy.model import Mode
from tests.commands import fetch

GONE = "http://127.0.0.1:9"


@asynccontextmanager
async def a_node(*, test_clock: bool) -> AsyncIterator[tuple[KnownNode, SharedPage]]:
    page = SharedPage(1)
    page.ready_workers = 1
    place = Place("one", Mode.POP, "local", "ONE", test_clock=test_clock)
    listener = listening("127.0.0.1:0")[0]
    url = f"http://{address_of(listener)}"
    round_trips = RoundTrips(100)
    round_trips.add("192.0.2.7", 12_000)
    admin = Admin(place, page, 1, lambda: 1000 + page.clock_offset, lambda: 5.0, round_trips)
    runner = await serve_admin(admin, listener)
    try:
        yield KnownNode("one", "pop", "local", url), page
    finally:
        await runner.cleanup()


@asynccontextmanager
async def control(*nodes: KnownNode, test_clock: bool = True) -> AsyncIterator[tuple[str, list[float]]]:
    moved: list[float] = []
    listener = listening("127.0.0.1:0")[0]
    url = f"http://{address_of(listener)}"
    async with new_session() as session:
        api = Control(nodes, lambda: 1000 + sum(moved), moved.append if test_clock else None, session)
        application = web.Application()
        api.add_to(application)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        try:
            yield url, moved
        finally:
            await runner.cleanup()


async def test_status_tells_of_every_node_and_why_one_is_silent() -> None:
    async with a_node(test_clock=True) as (known, _), control(known, KnownNode("two", "pop", "x", GONE)) as (url, _):
        nodes = json.loads((await fetch(url + "/status"))[1])["nodes"]
    assert [(node["name"], node["ready"]) for node in nodes] == [("one", True), ("two", False)]
    assert nodes[0]["counters"]["edgeproxy_requests_total"] == 0
    assert nodes[1]["error"]


async def test_the_clock_moves_on_every_node_before_the_answer() -> None:
    async with a_node(test_clock=True) as (known, page), control(known) as (url, moved):
        assert await fetch(url + "/clock", b'{"advance": 60}') == (200, b'{"now": 1060.0}')
        assert (page.clock_offset, moved) == (60, [60])
        assert json.loads((await fetch(url + "/clock"))[1]) == {"now": 1060}


async def test_a_bad_order_moves_nothing() -> None:
    async with a_node(test_clock=True) as (known, page), control(known) as (url, moved):
        for body in (b"", b"{}", b'{"advance": "1"}', b'{"advance": -1}', b'{"advance": true}', b'{"advance": 1e99}'):
            status, answer = await fetch(url + "/clock", body)
            assert status == 400
            assert "advance" in json.loads(answer)["error"]
        assert (page.clock_offset, moved) == (0, [])


async def test_with_a_node_that_does_not_follow_the_answer_names_it() -> None:
    async with (
        a_node(test_clock=True) as (known, _),
        a_node(test_clock=False) as (real, _),
        control(known, real, KnownNode("two", "pop", "x", GONE)) as (url, moved),
    ):
        status, answer = await fetch(url + "/clock", b'{"advance": 60}')
        assert status == 502
        assert set(json.loads(answer)["nodes"]) == {"one", "two"}
        assert moved == []


async def test_without_the_test_clock_nothing_moves() -> None:
    async with a_node(test_clock=True) as (known, page), control(known, test_clock=False) as (url, _):
        assert (await fetch(url + "/clock", b'{"advance": 60}'))[0] == 409
        assert page.clock_offset == 0


async def test_a_pop_is_drained_and_undrained_by_its_name() -> None:
    async with a_node(test_clock=False) as (known, page), control(known) as (url, _):
        assert await fetch(url + "/nodes/one/drain", b"") == (200, b'{"name": "one", "drained": true}')
        assert page.drained
        assert await fetch(known.admin + "/readyz") == (503, b"drained by the operator\n")
        assert await fetch(url + "/nodes/one/undrain", b"") == (200, b'{"name": "one", "drained": false}')
        assert await fetch(known.admin + "/readyz") == (200, b"ready\n")


async def test_an_order_that_reaches_nobody_says_so() -> None:
    async with (
        a_node(test_clock=False) as (known, page),
        control(known, KnownNode("two", "pop", "x", GONE), KnownNode("high", "regional", "x", GONE)) as (url, _),
    ):
        status, answer = await fetch(url + "/nodes/three/drain", b"")
        assert (status, json.loads(answer)["error"]) == (404, "There is no POP 'three'; there are: one, two.")
        assert (await fetch(url + "/nodes/high/drain", b""))[0] == 404
        status, answer = await fetch(url + "/nodes/two/drain", b"")
        assert status == 502
        assert json.loads(answer)["error"].startswith("two did not take the order")
        assert not page.drained
