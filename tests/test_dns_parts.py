"""dns/parts.py: real POP admin listeners, a real resolver, real clients. What POPs measure moves their viewers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.asyncquery
import dns.edns
import dns.message
from aiohttp import web

from edgeproxy.binding import address_of, listening
from edgeproxy.dns.admin import serve_admin
from edgeproxy.dns.parts import ResolverParts
from edgeproxy.dns.server import Surroundings, serve
from edgeproxy.dns.zone import Zone
from edgeproxy.model import Distribution, Rules
from edgeproxy.settings import Settings
from edgeproxy.telemetry.counters import Counters
from edgeproxy.units import split_address
from tests.commands import fetch

PATIENCE = 10
ADDRESSES = {"fra": "192.0.2.1", "iad": "198.51.100.1"}
SUBNET = "203.0.113.0/24"


@dataclass
class Pop:
    """An admin listener that says what it is told to."""

    status: int = 200
    connections: str = "0"
    samples: Any = field(default_factory=list)  # Any: a report, right or wrong
    asked: int = 0
    url: str = ""

    async def readyz(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, headers={"EdgeProxy-Connections": self.connections})

    async def rtt(self, request: web.Request) -> web.Response:
        samples, self.samples = self.samples, []
        return web.json_response({"samples": samples})


@asynccontextmanager
async def running_pop(pop: Pop) -> AsyncIterator[Pop]:
    application = web.Application()
    application.router.add_get("/readyz", pop.readyz)
    application.router.add_get("/rtt", pop.rtt)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = listening("127.0.0.1:0")[0]
    pop.url = f"http://{address_of(listener)}"
    await web.SockSite(runner, listener).start()
    try:
        yield pop
    finally:
        await runner.cleanup()


@dataclass
class Cdn:
    """A resolver and the POPs it asks."""

    parts: ResolverParts
    pops: Mapping[str, Pop]
    host: str
    port: int
    admin: str

    async def ask(self, subnet: str) -> dns.message.Message:
        query = dns.message.make_query("d1.cdn.test", "A", use_edns=0, options=[dns.edns.ECSOption.from_text(subnet)])
        return await dns.asyncquery.udp(query, self.host, PATIENCE, self.port)

    async def scope_of(self, subnet: str) -> int:
        (option,) = (await self.ask(subnet)).options
        assert isinstance(option, dns.edns.ECSOption)
        return option.scopelen

    async def sent_to(self, subnet: str = SUBNET) -> str:
        reply = await self.ask(subnet)
        address = reply.answer[0][0].to_text()
        return next(name for name, each in ADDRESSES.items() if each == address)

    async def until(self, happens: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not happens():  # noqa: ASYNC110 - there is no event for what another side has noticed
                await asyncio.sleep(0)

    async def until_sent_to(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.sent_to() != name:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)


@asynccontextmanager
async def running(checked: tuple[str, ...] = ("fra", "iad"), load_max: int = 100, **latency: Any) -> AsyncIterator[Cdn]:
    """`Any`: settings."""
    places = {"fra": (50.0, 8.0), "iad": (39.0, -77.0)}
    nodes = [
        {"name": name, "mode": "pop", "addresses": [ADDRESSES[name]], "latitude": north, "longitude": east,
         "load_max": load_max}
        for name, (north, east) in places.items()
    ]  # fmt: skip
    settings = Settings.model_validate({"zone": "cdn.test", "nodes": nodes, "resolver": {
        "listen": ["127.0.0.1:0"], "health": {"interval": 0.05, "timeout": 5},
        "networks": [{"network": SUBNET, "latitude": 48.0, "longitude": 2.0, "country": "FR"}],
        "latency": {"samples_min": 5, **latency},
    }})  # fmt: skip
    zone = Zone.build(settings, [Distribution("d1", "d1.cdn.test", Rules.CLOUDFRONT, "1", {}, ())])
    counters, loop = Counters(), asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        pops = {name: await stack.enter_async_context(running_pop(Pop())) for name in checked}
        surroundings = Surroundings(lambda: 1_700_000_000.0, loop.time, bytes)
        server = await serve(settings.resolver, zone, counters, surroundings)
        admins = {name: pop.url for name, pop in pops.items()}
        parts = ResolverParts(server, settings, admins, counters, loop.time, lambda: 0.0)
        stack.push_async_callback(parts.close)
        await parts.start()
        listener = listening("127.0.0.1:0")[0]
        runner = await serve_admin(parts, listener)
        stack.push_async_callback(runner.cleanup)
        yield Cdn(parts, pops, *split_address(server.addresses[0]), admin=f"http://{address_of(listener)}")


async def test_what_pops_measure_overrules_distance_once_there_is_enough_of_it() -> None:
    async with running(explore_share=0) as cdn:
        cdn.pops["fra"].samples = [[SUBNET, 10, 150.0]]
        await cdn.until(lambda: cdn.parts.latency is not None and len(cdn.parts.latency) == 1)
        assert await cdn.sent_to() == "iad", "it is expected to be nearer than fra was measured to be"
        cdn.pops["iad"].samples = [[SUBNET, 4, 400.0]]
        await cdn.until(lambda: not cdn.pops["iad"].samples)
        cdn.pops["iad"].samples = [[SUBNET, 4, 400.0]]
        await cdn.until_sent_to("fra")


async def test_the_first_measurement_narrows_what_everybody_is_told() -> None:
    async with running(explore_share=0) as cdn:
        assert await cdn.scope_of("10.9.9.0/24") == 1
        cdn.pops["fra"].samples = [[SUBNET, 10, 20.0]]
        async with asyncio.timeout(PATIENCE):
            while await cdn.scope_of("10.9.9.0/24") != 16:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)


async def test_another_pop_is_tried_and_answers_to_others_stay() -> None:
    async with running(explore_share=1, explore_time=1) as cdn:
        cdn.pops["fra"].samples = [[SUBNET, 10, 60.0]]
        await cdn.until_sent_to("iad")
        assert await cdn.sent_to("192.0.2.0/24") == "fra"
        said = json.loads((await fetch(cdn.admin + "/explain?ip=203.0.113.7&name=d1.cdn.test"))[1])
        assert (said["chosen"], said["reason"], said["tried"]) == ("iad", "explore", "iad")


async def test_another_configuration_keeps_what_was_learnt_of_the_pops_that_stay() -> None:
    async with running(explore_share=0) as cdn:
        cdn.pops["fra"].samples = [[SUBNET, 10, 40.0]]
        cdn.pops["iad"].status = 503
        await cdn.until(lambda: cdn.parts.server.conditions.down == {"iad"})
        settings, zone = cdn.parts._settings, cdn.parts.server.zone
        await cdn.parts.use(settings, zone, {name: pop.url for name, pop in cdn.pops.items()})
        assert cdn.parts.server.conditions.down == {"iad"}
        fewer = settings.model_copy(update={"nodes": settings.nodes[:1]})
        await cdn.parts.use(fewer, zone, {"fra": cdn.pops["fra"].url})
        assert cdn.parts.server.conditions.down == frozenset()
        assert set(cdn.parts.health.standings) == {"fra"}


async def test_what_the_control_plane_notices_counts_at_once_and_words_of_a_later_version_do_not() -> None:
    async with running() as cdn:
        await cdn.until(lambda: all(pop.asked for pop in cdn.pops.values()))
        cdn.pops["fra"].status = 503
        cdn.parts.noticed("fra", "drained")
        assert cdn.parts.server.conditions.down == {"fra"}
        cdn.parts.noticed("iad", "abducted")
        assert cdn.parts.server.conditions.down == {"fra"}


async def test_other_distributions_are_answered_for_at_once_and_checks_go_on() -> None:
    async with running() as cdn:
        tasks = dict(cdn.parts.health._tasks)
        zone = cdn.parts.server.zone
        more = [Distribution(name, f"{name}.cdn.test", Rules.CLOUDFRONT, "1", {}, ()) for name in ("d1", "d2")]
        cdn.parts.answer_from(zone.with_distributions(cdn.parts._settings, more, 9))
        query = dns.message.make_query("d2.cdn.test", "A")
        assert (await dns.asyncquery.udp(query, cdn.host, PATIENCE, cdn.port)).answer
        assert cdn.parts.health._tasks == tasks
