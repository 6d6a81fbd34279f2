"""An event loop whose time passes only when there is nothing left to do: an hour of a history takes milliseconds, and
the same seed does the same things in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Stuck(Exception):
    """Everybody waits and nothing will ever happen."""


class _NoSelector:
    """Stands where a loop waits for sockets: there are none, so waiting is to let time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:  # Any: there is never one
        if timeout is None:
            raise Stuck("every task waits for another")
        self._loop.now += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop without sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _NoSelector(self)

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]  # what its arguments are does not matter here
        self,
        executor: Any,
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """At once: another thread would do things in an order that no seed repeats."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # whoever waits gets it, as from a thread
            done.set_exception(error)
        return done

    def _process_events(self, events: list[Any]) -> None:  # Any: as above
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody wakes this loop from outside."""


def run(main: Coroutine[Any, Any, None]) -> None:  # Any: what a coroutine yields and is sent is the loop's business
    """Run to the end, on a loop of its own."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(main)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    finally:
        loop.close()
