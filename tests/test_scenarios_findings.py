"""What a hostile review found once, each as it should be: fills that end at the wrong moment, memory that nobody
counted, answers that went to others, requests that left no trace."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from edgeproxy.edge.flight import Flight, Flights, Mark
from edgeproxy.headers import Headers
from edgeproxy.model import AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.settings import Fills
from edgeproxy.store.memory import MemoryStore, Terms
from edgeproxy.telemetry.counters import Counter, Counters
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import node, receive, tier
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}


async def plain(ask: Ask) -> None:
    await ask.answer(200, FRESH, b"x")


async def test_a_request_never_meets_a_fetch_that_is_being_stopped() -> None:
    statuses: dict[int, int] = {}
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        for number in range(60):
            target = f"/l{number}"
            first, second = await pop.viewer(), await pop.viewer()
            await pop.reaches(Counter.CONNECTIONS, 2 * number + 2)
            await first.ask(target)
            ask = await origin.asked_for(target)
            origin.on(target, plain)
            first.reset()
            for _ in range(number % 6):
                await asyncio.sleep(0)
            second.writer.write(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target.encode())
            for _ in range(20):
                await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):
                await ask.answer(200, FRESH, b"x")
            got = await receive(second)
            statuses[got.status] = statuses.get(got.status, 0) + 1
            second.reset()
    assert set(statuses) == {200}, statuses


async def test_a_flight_that_nobody_waits_for_takes_no_more_passengers() -> None:
    async def never(flight: Flight[None]) -> tuple[None, None]:
        await asyncio.Event().wait()
        raise AssertionError

    flights: Flights[None] = Flights(Fills(), Counters(), lambda: 0.0, lambda own: None)
    flight = flights.start(b"k", Mark("0", 0, False, AsOf("", 0)), never)  # type: ignore
    leader = asyncio.create_task(flights.lead(flight, lambda head: None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    found: list[object] = []
    leader.cancel()
    asyncio.get_running_loop().call_soon(lambda: found.extend(flights.in_progress(b"k")))
    await asyncio.wait([leader])
    assert not found
    await flights.close()


def head(size: int = 0) -> StoredHead:
    fields = Headers([(b"X", b"y" * size)])
    return StoredHead(
        status=200,
        reason=b"",
        headers=fields,
        requested_at=0,
        received_at=0,
        as_of=AsOf("", 0),
        method="GET",
        vary=(),
        parts=None,
    )


def test_what_can_never_fit_evicts_nothing() -> None:
    store = MemoryStore(1_000_000, 600_000, 8, Counters())
    small = store.begin(b"small", 1000)
    assert small is not None
    assert small.append(b"x" * 1000)
    assert small.commit(head(), Headers(), Terms(1e12, 0))
    assert store.begin(b"a", 600_000) is not None
    assert store.begin(b"b", 600_000) is None
    assert store.find(b"small", 0)


def test_heads_count_while_bodies_are_on_their_way() -> None:
    counters = Counters()
    store = MemoryStore(1_000_000, 1_000_000, 8, counters)
    assert store.begin(b"a", 990_000) is not None
    for number in range(5):
        writer = store.begin(b"%d" % number, 10)
        assert writer is not None
        assert writer.append(b"x" * 10)
        writer.commit(head(30_000), Headers(), Terms(1e12, 0))
        assert counters[Counter.STORE_BYTES] <= 1_000_000


async def test_one_viewer_of_what_turns_out_too_large_costs_one_request() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url, settings={"cache": {"object_max": 1024}}) as pop:

        async def big(ask: Ask) -> None:
            ask.head(200, {**FRESH, "Transfer-Encoding": "chunked"})
            for _ in range(10):
                ask.chunk(b"x" * 100_000)
            ask.chunk(b"")
            await ask.drain()

        origin.on("/big", big)
        assert len((await pop.get("/big")).body) == 1_000_000
        assert origin.requests == 1


async def test_a_304_that_nobody_asked_for_is_a_502() -> None:
    async with tier() as cdn:
        cdn.origin.always(304, {"ETag": '"1"'})
        assert (await cdn.pop.get("/a")).status == 502


async def test_one_request_with_no_store_does_not_stop_others_from_sharing() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        asking = asyncio.create_task(pop.get("/a", {"Cache-Control": "no-store"}))
        await (await origin.asked_for("/a")).answer(200, FRESH, b"x")
        await asking
        others = [asyncio.create_task(pop.get("/a")) for _ in range(5)]
        first = await origin.asked_for("/a")
        await pop.reaches(Counter.WAITS, 4)
        await first.answer(200, FRESH, b"x")
        await asyncio.gather(*others)


async def test_a_viewer_that_leaves_before_the_head_is_logged_with_000() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        viewer = await pop.viewer()
        await viewer.ask("/a")
        ask = await origin.asked_for("/a")
        viewer.reset()
        await ask.gone()
        await until(lambda: pop.count(Counter.CONNECTIONS_OPEN) == 0)
        assert pop.count(Counter.RESULT_ERROR) == 1


async def test_an_upload_that_breaks_is_logged() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        viewer = await pop.viewer()
        await viewer.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ")
        assert (await receive(viewer)).status == 400
        assert pop.count(Counter.RESULT_ERROR) == 1


async def test_requests_are_counted_once_however_many_workers_touch_them() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url, workers=2) as pop:
        origin.always(200, FRESH, b"x")
        for number in range(16):
            await pop.get(f"/{number}")
        assert pop.count(Counter.REQUESTS) == 16


async def test_slow_readers_of_what_is_stored_hold_no_more_than_the_store() -> None:
    mib = 1 << 20
    cache = {"memory": "16 MiB", "object_max": "16 MiB"}
    async with ScriptedOrigin() as origin, node(origin=origin.url, settings={"cache": cache}) as pop:

        async def big(ask: Ask) -> None:
            ask.head(200, {**FRESH, "Content-Length": str(12 * mib)})
            for _ in range(12):
                ask.send(bytes(mib))
                await ask.drain()

        origin.on("/b", big)
        before, kept = resident(), []
        for number in range(20):
            viewer = await pop.viewer()
            kept.append(viewer)
            viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a full transport
            await viewer.ask(f"/b?{number}")
            await pop.reaches(Counter.UPSTREAM_REQUESTS, number + 1)
        for _ in range(2000):
            await asyncio.sleep(0)
        assert resident() - before < 100 * mib
        assert pop.count(Counter.STORE_BYTES) <= 16 * mib
        for viewer in kept:
            viewer.reset()


def resident() -> int:
    """Bytes of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_vary_by_what_this_node_adds_is_vary_by_everything() -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:

        async def whose(ask: Ask) -> None:
            await ask.answer(200, {**FRESH, "Vary": "X-Forwarded-For"}, (ask.header("X-Forwarded-For") or "").encode())

        origin.on("/v", whose)
        for address in ("1.1.1.1", "2.2.2.2"):
            assert (await pop.get("/v", {"EdgeProxy-Client": address})).body == address.encode()


async def test_a_range_of_a_thousand_parts_is_taken_as_none(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url) as pop:
        origin.always(200, FRESH, b"x" * 100)
        many = ",".join(f"{number}-{number}" for number in range(17))
        got = await pop.get("/a", {"Range": f"bytes={many}"})
        assert (got.status, len(got.body)) == (200, 100)
        assert origin.log[0].header("Range") is None
