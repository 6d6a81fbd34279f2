"""A time-out that costs next to nothing to set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _nothing() -> None:
    """The timer is closed."""


class LazyTimer:
    """One deadline that moves often and rarely passes.

    Moving it later only writes a number: the loop's timer that is already running looks at the number when it fires
    and goes on waiting. So a busy connection costs the loop one timer every time-out, not two every request.
    """

    __slots__ = ("_closed", "_deadline", "_expired", "_fires_at", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._deadline: float | None = None
        self._fires_at = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._closed = False

    def arm(self, seconds: float) -> None:
        """Call `expired` once, this long from now; replaces what was set before."""
        if self._closed:
            return
        self._deadline = deadline = self._loop.time() + seconds
        if self._handle is None:
            self._schedule(deadline)
        elif self._fires_at > deadline:
            self._handle.cancel()
            self._schedule(deadline)

    def disarm(self) -> None:
        """Nothing is waited for now. A timer already running finds that out when it fires."""
        self._deadline = None

    def close(self) -> None:
        """Give the loop's timer back at once, and take no other."""
        self._closed = True
        self._expired = _nothing  # it is its owner's, which would be held in a circle
        self._deadline = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self, deadline: float) -> None:
        self._fires_at = deadline
        self._handle = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._deadline is None:
            return
        if self._deadline > self._loop.time():
            self._schedule(self._deadline)
            return
        self._deadline = None
        self._expired()
