"""One timer that is moved by writing a time down."""

from __future__ import annotations

import asyncio

from edgeproxy.upstream.deadline import Deadline

SHORT = 0.02
LONG = 60.0


class Rung:
    """A deadline that notes when it expires."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.times: list[float] = []
        self.first = asyncio.Event()
        self.deadline = Deadline(self.ring)

    def ring(self) -> None:
        self.times.append(self.loop.time())
        self.first.set()

    def set(self, seconds: float) -> float:
        at = self.loop.time() + seconds
        self.deadline.set(at)
        return at

    async def expires(self) -> float:
        async with asyncio.timeout(5):
            await self.first.wait()
        return self.times[0]


async def test_it_expires_at_its_time() -> None:
    rung = Rung()
    at = rung.set(SHORT)
    assert abs(await rung.expires() - at) < LONG / 2
    assert rung.times[0] >= at - 0.005


async def test_moved_to_a_later_time_it_expires_once_and_then() -> None:
    rung = Rung()
    rung.set(SHORT)
    at = rung.set(3 * SHORT)
    assert await rung.expires() >= at - 0.005
    assert len(rung.times) == 1


async def test_moved_to_an_earlier_time_it_expires_then() -> None:
    rung = Rung()
    late = rung.set(LONG)
    rung.set(SHORT)
    assert await rung.expires() < late


async def test_set_to_never_or_cancelled_it_does_not_expire() -> None:
    never, cancelled, other = Rung(), Rung(), Rung()
    never.set(SHORT)
    never.deadline.set(float("inf"))
    cancelled.set(SHORT)
    cancelled.deadline.cancel()
    other.set(3 * SHORT)
    await other.expires()
    assert never.times == cancelled.times == []


async def test_it_can_be_set_again_after_it_expired() -> None:
    rung = Rung()
    rung.set(SHORT)
    await rung.expires()
    rung.first.clear()
    rung.set(SHORT)
    await rung.expires()
    assert len(rung.times) == 2
