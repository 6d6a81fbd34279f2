"""One fetch per key, and everybody who reads what it brings.

A flight is a task of its own. It lands once, when the head is known:

    Filled      the body is being stored; everybody may read it from its beginning, each at its own pace
    Refreshed   a 304: what is stored may be used again
    Alone       the answer cannot be shared: it belongs to the leader, all others go on by themselves
    (an error)  everybody who waits gets it

How a follower's wait ends: landed · landed as Alone (goes alone) · failed (its own stale copy; else it waits once more,
for another fetch that one of those who waited leads; else the error) · waited too long (goes alone) · too many wait
already (goes alone). All of these are counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from cachetools import TTLCache

from edgeproxy.edge.fill import Fill
from edgeproxy.errors import EdgeError
from edgeproxy.message import ResponseHead
from edgeproxy.model import AsOf
from edgeproxy.outcome import Reason, Result
from edgeproxy.settings import Fills
from edgeproxy.store.tiers import Held
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.values import value

log = logging.getLogger(__name__)

Own = TypeVar("Own")


@value(frozen=True, slots=True)
class Came:
    """What upstream answered, for the traces of all who waited for it."""

    status: int
    result: Result
    by_owner: bool
    seconds: float
    edition: int = 0
    """Of the key, as of this answer (see SharedPage.edition)."""


@value(frozen=True, slots=True)
class Filled:
    """The body is being stored."""

    fill: Fill
    came: Came


@value(frozen=True, slots=True)
class Refreshed:
    """What is stored was validated."""

    stored: Held
    came: Came


@dataclass(slots=True)
class Alone(Generic[Own]):
    """The answer is the leader's only. `own` is taken once; when nobody takes it, it is discarded."""

    own: Own | None
    reason: Reason
    lasting: bool = True
    """The answer is why, and not the request that brought it: the next one will be alike."""


Landing: TypeAlias = Filled | Refreshed | Alone[Own]


@value(frozen=True, slots=True)
class Mark:
    """Under which circumstances a fetch was started; a request under others must not join it."""

    revision: str
    generation: int
    refresh: bool
    as_of: AsOf


@dataclass(eq=False)
class Flight(Generic[Own]):
    """A fetch in progress. `mark` is what tells whether a request may join."""

    key: bytes
    mark: Mark
    landed: asyncio.Future[Landing[Own]]
    interim: list[Callable[[ResponseHead], None]] = field(default_factory=list)
    waiters: int = 0
    led: bool = False
    """The request that started it is still there."""
    landing: Landing[Own] | None = None
    region: tuple[int, int] | None = None
    """[start, end) of the body that it was sent for, when that is not the whole."""
    whole_key: bytes = b""
    """Where it is to be found when the whole has come instead."""
    spoiled: bool = False
    """What it brings is not to be kept, nor shared with those who come from now on."""
    task: asyncio.Task[None] | None = None

    def announce(self, head: ResponseHead) -> None:
        """Pass an interim head to everybody who waits."""
        for listener in self.interim:
            listener(head)


Start: TypeAlias = Callable[[Flight[Own]], Awaitable[tuple[Landing[Own], Callable[[], Awaitable[None]] | None]]]
"""Ask upstream: what came, and what is left to do (the pump) once everybody knows."""


async def _come(landed: asyncio.Future[Landing[Own]]) -> Landing[Own]:
    """What a future gives, without cancelling it when the one who waits is cancelled. As asyncio.wait without a time
    limit, at a third of its cost."""
    if not landed.done():
        turn = landed.get_loop().create_future()

        def wake(landed: asyncio.Future[Landing[Own]]) -> None:
            if not turn.done():
                turn.set_result(None)

        landed.add_done_callback(wake)
        try:
            await turn
        finally:
            landed.remove_done_callback(wake)
    return landed.result()


class Flights(Generic[Own]):
    """All fetches in progress of one worker. `discard` frees an answer that nobody took."""

    def __init__(self, settings: Fills, counters: Counters, wall: Callable[[], float], discard: Callable[[Own], None]):
        self._settings = settings
        self._counters = counters
        self._discard = discard
        self._flights: dict[bytes, list[Flight[Own]]] = {}
        self._open = 0
        self._wall = wall
        self._marked_until = 0.0
        """After this there are no marks: most caches never have one, and asking costs more than this look."""
        self._short: dict[bytes, Callable[[], None]] = {}
        """Fetches that are no flights, and what makes them such as soon as anybody asks (shortcut.py)."""
        self._unshared: TTLCache[bytes, AsOf] = TTLCache(
            max(settings.hit_for_miss_max, 1), settings.hit_for_miss, timer=wall
        )

    def unshared(self, key: bytes) -> AsOf | None:
        """What the last answer under this key was as of, if it could not be shared and that is remembered
        (hit-for-miss): the mark says nothing of content that is newer (INVALIDATION rule 5)."""
        return self._unshared.get(key) if self._wall() < self._marked_until else None

    def do_not_share(self, key: bytes, as_of: AsOf) -> None:
        """What came under this key is of no use to those who wait for it: for a while nobody does."""
        self._marked_until = self._wall() + self._settings.hit_for_miss
        self._unshared[key] = as_of

    def in_progress(self, key: bytes) -> list[Flight[Own]]:
        """The fetches of a key that are running now."""
        if key in self._short:
            self._short.pop(key)()
        return self._flights.get(key, [])

    def may_start(self) -> bool:
        """Whether one more shared fetch is allowed."""
        if not self.has_room:
            self._counters.add(Counter.FILLS_REFUSED)
            return False
        return True

    @property
    def has_room(self) -> bool:
        """As `may_start`, for whoever need not share its fetch."""
        return self._open < self._settings.fills_max

    def begin_short(self, key: bytes, lengthen: Callable[[], None]) -> None:
        """Begin a fetch that is done in one step when its answer comes. Whoever looks for it before makes a flight of
        it by `lengthen`, which `start`s that. None other is in progress under the key."""
        self._short[key] = lengthen
        self._counted()

    def end_short(self, key: bytes) -> None:
        """Its answer has come, or nobody waits for it any more: no flight will be made of it."""
        if self._short.pop(key, None) is not None:
            self._discount()
            self._shareable(key)

    def _counted(self) -> None:
        self._open += 1
        self._counters.add(Counter.FILLS)
        self._counters.add(Counter.FILLS_OPEN)

    def _discount(self) -> None:
        self._open -= 1
        self._counters.add(Counter.FILLS_OPEN, -1)

    def _shareable(self, key: bytes) -> None:
        if self._wall() < self._marked_until:
            self._unshared.pop(key, None)

    def start(
        self,
        key: bytes,
        mark: Mark,
        start: Start[Own],
        region: tuple[int, int] | None = None,
        whole_key: bytes = b"",
        *,
        counted: bool = False,
    ) -> Flight[Own]:
        """Begin a fetch that others may join. `counted`: it was begun as a short one."""
        loop = asyncio.get_running_loop()
        flight: Flight[Own] = Flight(key, mark, loop.create_future(), region=region, whole_key=whole_key)
        self._flights.setdefault(key, []).append(flight)
        if counted:
            self._short.pop(key, None)
        else:
            self._counted()
        flight.task = loop.create_task(self._fly(flight, start), name="flight")
        return flight

    async def wait(self, flight: Flight[Own], interim: Callable[[ResponseHead], None]) -> Landing[Own] | None:
        """The landing; None when there is no place to wait, or it took too long. Raises what the fetch raised."""
        if flight.landing is not None:
            return flight.landing
        if flight.waiters >= self._settings.waiters_max:
            self._counters.add(Counter.WAITS_REFUSED)
            return None
        flight.waiters += 1
        flight.interim.append(interim)
        try:
            done, _ = await asyncio.wait([flight.landed], timeout=self._settings.wait_timeout)
            if not done:
                self._counters.add(Counter.WAITS_TIMED_OUT)
                return None
            return flight.landed.result()
        finally:
            self._leave(flight, interim)

    async def lead(self, flight: Flight[Own], interim: Callable[[ResponseHead], None]) -> Landing[Own]:
        """The landing, for the request that started it: it waits as long as upstream's time-outs allow.

        An answer that cannot be shared belongs to the caller: `Alone.own` is there, once.
        """
        if not flight.led:
            self.enter(flight, interim)
        try:
            return await _come(flight.landed)
        except asyncio.CancelledError:
            if isinstance(flight.landing, Alone):
                self._reclaim(flight.landing)
            raise
        finally:
            flight.led = False
            self._leave(flight, interim)

    def enter(self, flight: Flight[Own], interim: Callable[[ResponseHead], None]) -> None:
        """Whoever started it will `lead`, as soon as its task runs, or `leave` if that never comes."""
        flight.waiters += 1
        flight.interim.append(interim)
        flight.led = True

    def leave(self, flight: Flight[Own], interim: Callable[[ResponseHead], None]) -> None:
        """Whoever has entered will not lead."""
        flight.led = False
        self._leave(flight, interim)

    def _leave(self, flight: Flight[Own], interim: Callable[[ResponseHead], None]) -> None:
        flight.waiters -= 1
        flight.interim.remove(interim)
        if flight.waiters == 0 and not flight.landed.done() and flight.task is not None:
            # Nobody has seen anything of it and nobody waits for it; nor may anybody come to wait for it now.
            self._end(flight)
            flight.task.cancel()

    async def _fly(self, flight: Flight[Own], start: Start[Own]) -> None:
        try:
            landing, rest = await start(flight)
        except EdgeError as error:
            self._counters.add(Counter.FILLS_FAILED)
            self._end(flight)
            flight.landed.set_exception(error)
            flight.landed.exception()  # nobody may be left to look at it
            return
        except BaseException as error:  # also a cancellation: whoever waits must not wait for ever
            self._end(flight)
            if not isinstance(error, asyncio.CancelledError):
                log.exception("a fetch failed unexpectedly")
                self._counters.add(Counter.REQUESTS_FAILED)
            if not flight.landed.done():
                flight.landed.set_exception(EdgeError("The fetch failed unexpectedly.", status=500))
                flight.landed.exception()
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        flight.landing = landing
        if flight.region is not None and isinstance(landing, Filled) and landing.fill.part is None:
            self._move(flight, flight.whole_key)
        flight.landed.set_result(landing)
        if isinstance(landing, Alone):
            if landing.lasting:
                self.do_not_share(flight.key, flight.mark.as_of)
            self._end(flight)
            if not flight.led:
                self._reclaim(landing)
            return
        self._shareable(flight.key)
        try:
            if rest is not None:
                await rest()
        finally:
            self._end(flight)

    def spoil(self, matches: Callable[[bytes], bool]) -> int:
        """Fetches under keys that match bring nothing that is kept or joined any more; how many there were."""
        spoiled = 0
        for key in list(filter(matches, self._short)):
            self.in_progress(key)
        for flights in self._flights.values():
            for flight in flights:
                if matches(flight.key):
                    spoiled += 1
                    flight.spoiled = True
                    if isinstance(flight.landing, Filled):
                        flight.landing.fill.spoil()
        return spoiled

    def _move(self, flight: Flight[Own], key: bytes) -> None:
        """It is to be found under another key from now on."""
        self._unlist(flight)
        flight.key = key
        self._flights.setdefault(key, []).append(flight)

    def _unlist(self, flight: Flight[Own]) -> bool:
        flights = self._flights.get(flight.key)
        if flights is None or flight not in flights:
            return False
        flights.remove(flight)
        if not flights:
            del self._flights[flight.key]
        return True

    def _reclaim(self, landing: Alone[Own]) -> None:
        if landing.own is not None:
            own, landing.own = landing.own, None
            self._discard(own)

    def _end(self, flight: Flight[Own]) -> None:
        if self._unlist(flight):
            self._discount()

    async def close(self) -> None:
        """Stop every fetch."""
        tasks = [flight.task for flights in self._flights.values() for flight in flights if flight.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
