"""One fetch per key: how it lands, and every way that waiting for it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edgeproxy.edge.flight import Alone, Came, Flight, Flights, Landing, Mark, Refreshed
from edgeproxy.errors import EdgeError, OriginError
from edgeproxy.headers import Headers
from edgeproxy.message import ResponseHead, ignore_interim
from edgeproxy.model import NO_EPOCH, AsOf
from edgeproxy.outcome import Reason, Result
from edgeproxy.settings import Fills
from edgeproxy.store.memory import Stored, Terms
from edgeproxy.telemetry.counters import Counter, Counters
from tests.messages import NOW, stored
from tests.wire import PATIENCE, until

MARK = Mark("1", 0, refresh=False, as_of=AsOf(NO_EPOCH, 0))
STORED = Stored(b"k", 1, stored("Cache-Control: max-age=60"), (), 0, Headers(), Terms(NOW, 0))
CAME: Landing[str] = Refreshed(STORED, Came(304, Result.MISS, by_owner=False, seconds=0))


class Sky:
    """Flights, and one of them under the test's control."""

    def __init__(self, **settings: float) -> None:
        self.now = NOW
        self.counters = Counters()
        self.discarded: list[str] = []
        fills = Fills.model_validate(settings)
        self.flights: Flights[str] = Flights(fills, self.counters, lambda: self.now, self.discarded.append)
        self.landing: asyncio.Future[Landing[str]] = asyncio.get_running_loop().create_future()
        self.rest = asyncio.Event()

    def start(self, key: bytes = b"k") -> Flight[str]:
        return self.flights.start(key, MARK, self._fly)

    async def _fly(self, flight: Flight[str]) -> tuple[Landing[str], Callable[[], Awaitable[None]] | None]:
        return await self.landing, self._rest

    async def _rest(self) -> None:
        await self.rest.wait()

    async def lead(self, flight: Flight[str]) -> Landing[str]:
        return await self.flights.lead(flight, ignore_interim)

    async def wait(self, flight: Flight[str]) -> Landing[str] | None:
        return await self.flights.wait(flight, ignore_interim)

    def waits(self, flight: Flight[str], count: int) -> list[asyncio.Task[Landing[str] | None]]:
        return [asyncio.create_task(self.wait(flight)) for _ in range(count)]


@asynccontextmanager
async def sky(**settings: float) -> AsyncIterator[Sky]:
    made = Sky(**settings)
    try:
        async with asyncio.timeout(PATIENCE):
            yield made
    finally:
        await made.flights.close()


async def test_everybody_gets_what_the_flight_brings() -> None:
    async with sky() as made:
        flight = made.start()
        leading, waiting = asyncio.create_task(made.lead(flight)), made.waits(flight, 3)
        await until(lambda: flight.waiters == 4)
        made.landing.set_result(CAME)
        assert [await leading, *await asyncio.gather(*waiting)] == [CAME] * 4
        assert made.flights.in_progress(b"k") == [flight]
        assert await made.wait(flight) is CAME
        made.rest.set()
        await until(lambda: not made.flights.in_progress(b"k"))
        assert (made.counters[Counter.FILLS], made.counters[Counter.FILLS_OPEN]) == (1, 0)


async def test_an_error_is_everybodys() -> None:
    async with sky() as made:
        flight = made.start()
        leading, waiting = asyncio.create_task(made.lead(flight)), made.waits(flight, 2)
        await until(lambda: flight.waiters == 3)
        made.landing.set_exception(OriginError("down"))
        results = await asyncio.gather(leading, *waiting, return_exceptions=True)
        assert all(isinstance(result, OriginError) for result in results)
        assert made.flights.in_progress(b"k") == []


async def test_what_cannot_be_shared_is_the_leaders_and_nobody_waits_for_a_while() -> None:
    async with sky(hit_for_miss=10) as made:
        flight = made.start()
        leading, waiting = asyncio.create_task(made.lead(flight)), made.waits(flight, 1)
        await until(lambda: flight.waiters == 2)
        made.landing.set_result(Alone("mine", Reason.PRIVATE))
        landing = await leading
        assert isinstance(landing, Alone)
        assert landing.own == "mine"
        assert await waiting[0] is landing
        assert made.flights.unshared(b"k") == MARK.as_of
        made.now += 11
        assert made.flights.unshared(b"k") is None
        assert made.discarded == []


async def test_what_the_leader_has_left_behind_is_discarded() -> None:
    async with sky() as made:
        flight = made.start()
        leading, waiting = asyncio.create_task(made.lead(flight)), made.waits(flight, 1)
        await until(lambda: flight.waiters == 2)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        made.landing.set_result(Alone("nobody's", Reason.NO_STORE))
        landing = await waiting[0]
        assert isinstance(landing, Alone)
        assert landing.own is None
        assert made.discarded == ["nobody's"]


async def test_a_leader_that_leaves_while_others_wait_does_not_stop_the_flight() -> None:
    async with sky() as made:
        flight = made.start()
        leading, waiting = asyncio.create_task(made.lead(flight)), made.waits(flight, 1)
        await until(lambda: flight.waiters == 2)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        made.landing.set_result(CAME)
        assert await waiting[0] is CAME


async def test_a_flight_nobody_waits_for_any_more_is_stopped() -> None:
    async with sky() as made:
        flight = made.start()
        waiting = made.waits(flight, 1)
        await until(lambda: flight.waiters == 1)
        waiting[0].cancel()
        await until(lambda: not made.flights.in_progress(b"k"))
        assert made.landing.cancelled()


async def test_waiting_has_an_end() -> None:
    async with sky(wait_timeout=0.01) as made:
        flight = made.start()
        leading = asyncio.create_task(made.lead(flight))
        await until(lambda: flight.waiters == 1)
        assert await made.wait(flight) is None
        assert made.counters[Counter.WAITS_TIMED_OUT] == 1
        made.landing.set_result(CAME)
        assert await leading is CAME


async def test_only_so_many_wait() -> None:
    async with sky(waiters_max=2) as made:
        flight = made.start()
        made.waits(flight, 2)
        await until(lambda: flight.waiters == 2)
        assert await made.wait(flight) is None
        assert made.counters[Counter.WAITS_REFUSED] == 1


async def test_only_so_many_fly() -> None:
    async with sky(fills_max=1) as made:
        assert made.flights.may_start()
        made.start()
        assert not made.flights.may_start()
        assert made.counters[Counter.FILLS_REFUSED] == 1


async def test_interim_heads_reach_all_who_wait() -> None:
    async with sky() as made:
        flight, seen = made.start(), list[int]()
        tasks = [
            asyncio.create_task(made.flights.wait(flight, lambda head: seen.append(head.status))) for _ in range(2)
        ]
        await until(lambda: flight.waiters == 2)
        flight.announce(ResponseHead(103, Headers()))
        assert seen == [103, 103]
        made.landing.set_result(CAME)
        await asyncio.gather(*tasks)


async def test_a_fault_of_ours_ends_this_flight_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with sky() as made:
        flight = made.start()
        leading = asyncio.create_task(made.lead(flight))
        await until(lambda: flight.waiters == 1)
        with caplog.at_level(logging.CRITICAL):
            made.landing.set_exception(ZeroDivisionError())
            (result,) = await asyncio.gather(leading, return_exceptions=True)
        assert isinstance(result, EdgeError)
        assert result.status == 500
        assert made.counters[Counter.REQUESTS_FAILED] == 1
        assert made.flights.in_progress(b"k") == []


async def test_closing_ends_all_flights() -> None:
    async with sky() as made:
        flight = made.start()
        waiting = made.waits(flight, 1)
        await until(lambda: flight.waiters == 1)
        await made.flights.close()
        (result,) = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(result, EdgeError)
        assert made.counters[Counter.FILLS_OPEN] == 0


async def test_what_is_of_no_use_to_others_can_be_marked_so() -> None:
    async with sky() as made:
        made.flights.do_not_share(b"k", MARK.as_of)
        assert made.flights.unshared(b"k") == MARK.as_of
