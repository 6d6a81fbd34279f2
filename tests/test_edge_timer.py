"""The lazy timer, on a loop whose time is a number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from edgeproxy.edge.timer import LazyTimer


class Handle:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """As much of an event loop as a timer uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        self.handles.append(Handle(when, callback))
        return self.handles[-1]

    def advance(self, to: float) -> None:
        """Let time pass, and what is due happen."""
        while due := [handle for handle in self.pending() if handle.when <= to]:
            self.handles.remove(due[0])
            self.now = max(self.now, due[0].when)
            due[0].callback()
        self.now = to

    def pending(self) -> list[Handle]:
        return [handle for handle in self.handles if not handle.cancelled]


def make() -> tuple[Clock, LazyTimer, list[float]]:
    clock = Clock()
    fired: list[float] = []
    timer = LazyTimer(cast(asyncio.AbstractEventLoop, clock), lambda: fired.append(clock.now))
    return clock, timer, fired


def test_it_fires_once_when_the_deadline_passes() -> None:
    clock, timer, fired = make()
    timer.arm(10)
    clock.advance(9.9)
    assert not fired
    clock.advance(30)
    assert fired == [10]


def test_moving_the_deadline_later_starts_no_other_timer() -> None:
    clock, timer, fired = make()
    timer.arm(10)
    for now in range(1, 10):
        clock.advance(now)
        timer.disarm()
        timer.arm(10)
    assert len(clock.handles) == 1
    clock.advance(18.9)
    assert not fired
    clock.advance(19)
    assert fired == [19]


def test_moving_the_deadline_nearer_does() -> None:
    clock, timer, fired = make()
    timer.arm(60)
    timer.arm(5)
    assert [handle.when for handle in clock.pending()] == [5]
    clock.advance(100)
    assert fired == [5]


def test_disarmed_it_does_not_fire_and_can_be_armed_again() -> None:
    clock, timer, fired = make()
    timer.arm(5)
    timer.disarm()
    clock.advance(20)
    assert not fired
    timer.arm(5)
    clock.advance(25)
    assert fired == [25]


def test_closed_it_leaves_nothing_in_the_loop() -> None:
    clock, timer, fired = make()
    timer.arm(5)
    timer.close()
    assert not clock.pending()
    timer.arm(5)
    clock.advance(10)
    assert not fired
