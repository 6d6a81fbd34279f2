"""What observers of the feed are told of nodes, at once and without any promise.

Who follows, who is lost, who has left, whom the operator has drained. Nobody waits for it, nothing is written down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from edgeproxy.control.state import State
from edgeproxy.feed import Noticed

WAITING_MAX = 4096
"""Lines an observer may be behind; one that is further behind is cut off, and begins anew."""
DRAINED_MAX = 10_000


class Presence:
    """Of all nodes, by what the plane says of them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._following: set[str] = set()
        self._drained: dict[str, None] = {}
        self._observers: set[asyncio.Queue[Noticed | None]] = set()

    def joined(self, node: str) -> None:
        """It follows."""
        self._following.add(node)
        self._tell(node, "following")

    def parted(self, node: str) -> None:
        """Its connection has ended, whatever that means."""
        self._following.discard(node)
        if node in self._state.members:
            self._tell(node, "lost")

    def left(self, node: str) -> None:
        """It has said goodbye, or was forgotten."""
        self._following.discard(node)
        self._tell(node, "left")

    def ordered(self, node: str, order: str) -> None:
        """It has taken the operator's order: drain or undrain."""
        if order == "drain" and len(self._drained) < DRAINED_MAX:
            self._drained[node] = None
        elif order == "undrain":
            self._drained.pop(node, None)
        self._tell(node, f"{order}ed")

    async def observe(self) -> AsyncGenerator[Noticed, None]:
        """How things are, then what happens, until the observer is too slow."""
        waiting: asyncio.Queue[Noticed | None] = asyncio.Queue(WAITING_MAX)
        self._observers.add(waiting)
        try:
            for noticed in list(self._now()):
                yield noticed
            while (noticed_next := await waiting.get()) is not None:
                yield noticed_next
        finally:
            self._observers.discard(waiting)

    def _now(self) -> Iterator[Noticed]:
        for name in self._state.members:
            yield self._line(name, "following" if name in self._following else "lost")
        for name in self._drained:
            yield self._line(name, "drained")

    def _line(self, node: str, what: str) -> Noticed:
        return Noticed(self._state.number, node, what)

    def _tell(self, node: str, what: str) -> None:
        for waiting in list(self._observers):
            if waiting.qsize() >= WAITING_MAX - 1:
                self._observers.discard(waiting)
                waiting.put_nowait(None)
            else:
                waiting.put_nowait(self._line(node, what))
