"""Which orders about a key are not carried out yet: who looks the key up waits for them, or knows that all is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgeproxy.store.orders import Begin, DropPiece, Finish, GiveUp, Order, Rebuild, Remove, Write

_NO_MATTER = (Begin, Write, GiveUp, DropPiece, Rebuild)
"""Orders that change nothing of what a lookup finds."""


class _Key:
    __slots__ = ("count", "dropped", "waiters")

    def __init__(self) -> None:
        self.count = 0
        self.dropped = False
        self.waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Pending:
    """Keys with orders under way. On the event loop."""

    def __init__(self) -> None:
        self._keys: dict[bytes, _Key] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    async def settled(self, seconds: float, hurry: Callable[[], None], off: Callable[[], bool]) -> bool:
        """Wait until all that is under way now is done; False when that takes longer, or nothing is done now."""
        try:
            async with asyncio.timeout(seconds):
                for key in list(self._keys):
                    if off():
                        return False
                    if key in self._keys:
                        hurry()
                        await self.wait(key)
        except TimeoutError:
            return False
        return True

    def dropped(self, key: bytes) -> bool:
        """The last of them removes everything under the key."""
        found = self._keys.get(key)
        return found is not None and found.dropped

    def wait(self, key: bytes) -> asyncio.Future[None]:
        """Done when all of them were carried out, or are known not to be soon."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keys[key].waiters.append(waiter)
        return waiter

    def ordered(self, order: Order) -> None:
        """One more."""
        if isinstance(order, _NO_MATTER):
            return
        found = self._keys.setdefault(order.key, _Key())
        found.count += 1
        found.dropped = isinstance(order, Remove) and order.variant is None and order.row is None

    def done(self, order: Order) -> None:
        """It was carried out, or never will be."""
        _settle(order)
        found = None if isinstance(order, _NO_MATTER) else self._keys.get(order.key)
        if found is not None:
            found.count -= 1
            if not found.count:
                del self._keys[order.key]
                found.wake()

    def held(self, order: Order) -> None:
        """It has to wait for a disk that has failed; nobody waits with it."""
        _settle(order)
        found = self._keys.get(order.key)
        if found is not None:
            found.wake()


def _settle(order: Order) -> None:
    """Tell the writer of a large body."""
    if isinstance(order, Write):
        order.writer.settled(len(order.data))
    elif isinstance(order, Begin):
        order.writer.settled(0)
    elif isinstance(order, Finish):
        order.writer.promise.end()
        order.writer.settled(0)
        if order.done is not None and not order.done.done():
            order.done.set_result(order.made)
