"""One timer for a connection: moving it to a later time costs nothing but writing the time down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

EARLY = 0.002
"""Seconds by which loops may call a timer early."""


class Deadline:
    """Calls `expire` once the loop's clock passes the time last set; inf is never."""

    __slots__ = ("_at", "_expire", "_loop", "_timer", "_timer_at")

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    def set(self, at: float) -> None:
        """A new time, on the loop's clock. The timer that is under way is left alone unless it would come too late."""
        self._at = at
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._start()

    def passed(self, at: float) -> bool:
        """Whether the loop's clock has come to `at`, as precisely as timers do."""
        return self._loop.time() + EARLY >= at

    def cancel(self) -> None:
        """Never, and the timer is gone."""
        self._at = self._timer_at = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_at = None, inf
        if self.passed(self._at):
            self._expire()
        elif self._at < inf:
            self._start()
