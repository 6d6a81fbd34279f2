"""The connections to one target: kept when idle, counted, and queued for when all are in use."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from edgeproxy.errors import OriginError, OriginTimeout, OriginUnreachable, Overloaded
from edgeproxy.settings import Upstream
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.http1 import Connection
from edgeproxy.upstream.target import Patience, Target, dial

Turn = asyncio.Future[Connection | None]
"""What a queued request gets: a connection, or None for the right to make one."""


class Pool:
    """Connections to `target`, at most `connections_max`; whoever comes first is served first.

    `emptied` is called when nothing is left: no connection, nobody waiting.
    """

    def __init__(
        self,
        target: Target,
        settings: Upstream,
        counters: Counters,
        monotonic: Callable[[], float],
        context: Callable[[], ssl.SSLContext],
        emptied: Callable[[Pool], None],
    ) -> None:
        self.target = target
        self._settings = settings
        self._counters = counters
        self._monotonic = monotonic
        self._context = context
        self._emptied = emptied
        self._idle: list[Connection] = []
        self._held: set[Connection] = set()
        self._places = 0
        """Connections held and being made; never more than connections_max."""
        self._queue: dict[Turn, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self) -> Connection | None:
        """The connection that became idle last, and so is the least likely to have been closed; None without one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
        return None

    async def obtain(self, patience: Patience, completes_at: float) -> Connection:
        """A connection when none is idle or a fresh one is wanted: made now, or waited for in the queue.

        `completes_at` is on the loop's clock. Raises Overloaded (queue), OriginUnreachable, OriginTimeout.
        """
        while self._places >= self._settings.connections_max:
            # Whoever wants a fresh one may find all places taken by idle ones.
            self.retire()
            connection = await self._turn(completes_at)
            if connection is None:
                return await self._connect(patience, completes_at)
            if connection.usable():
                return connection
        self._places += 1
        return await self._connect(patience, completes_at)

    async def _turn(self, completes_at: float) -> Connection | None:
        if len(self._queue) >= self._settings.queue_max:
            self._counters.add(Counter.UPSTREAM_QUEUE_FULL)
            raise Overloaded(f"Too many requests wait for a connection to {self.target}.")
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._queue[turn] = None
        timer = loop.call_at(min(loop.time() + self._settings.queue_timeout, completes_at), self._give_up_waiting, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._hand_back(turn.result())
            raise
        finally:
            timer.cancel()
            self._queue.pop(turn, None)

    def _give_up_waiting(self, turn: Turn) -> None:
        if not turn.done():
            self._counters.add(Counter.UPSTREAM_QUEUE_TIMED_OUT)
            turn.set_exception(Overloaded(f"No connection to {self.target} became free in time."))

    def _next_turn(self) -> Turn | None:
        while self._queue:
            turn = next(iter(self._queue))
            del self._queue[turn]
            if not turn.done():
                return turn
        return None

    def _hand_back(self, connection: Connection | None) -> None:
        """Whoever was given this has left."""
        if connection is None:
            self._free_place()
        elif connection.usable():
            self.released(connection)

    async def _connect(self, patience: Patience, completes_at: float) -> Connection:
        """Fills one of the places, which is free again when that fails."""
        loop = asyncio.get_running_loop()
        started = self._monotonic()
        seconds = min(patience.connect, completes_at - loop.time())
        connection: Connection | None = None
        try:
            connection = await dial(self.target, self._new, self._context, seconds)
        except OriginError as error:
            self._counters.add(Counter.UPSTREAM_UNREACHABLE)
            if isinstance(error, OriginTimeout):
                self._counters.add(Counter.UPSTREAM_TIMEOUTS)
            raise
        finally:
            if connection is None:
                self._free_place()
        connection.connect_seconds = self._monotonic() - started
        self._held.add(connection)
        # Counted here: a loop may drop what it was connecting without telling the protocol (uvloop does).
        self._counters.add(Counter.UPSTREAM_OPENED)
        self._counters.add(Counter.UPSTREAM_OPEN)
        if connection.closed.done():
            self.lost(connection)
        if self._closed:
            connection.abort()
        if not connection.usable():
            self._counters.add(Counter.UPSTREAM_UNREACHABLE)
            raise OriginUnreachable(f"{self.target} closed the connection, or spoke, before it was asked.")
        return connection

    def _new(self) -> Connection:
        return Connection(self, self._settings, self._counters, self._monotonic)

    # From the connections

    def released(self, connection: Connection) -> None:
        """An idle connection: for the first in the queue, else kept while there are not too many."""
        turn = self._next_turn()
        if turn is not None:
            turn.set_result(connection)
            return
        self._idle.append(connection)
        if len(self._idle) > self._settings.idle_max:
            self._idle.pop(0).retire()

    def lost(self, connection: Connection) -> None:
        """A closed connection: its place is free. One that never got as far as having a place is ignored."""
        if connection not in self._held:
            return
        self._held.discard(connection)
        self._counters.add(Counter.UPSTREAM_OPEN, -1)
        if connection in self._idle:
            self._idle.remove(connection)
        self._free_place()

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Keeps the sender of a request's body until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _free_place(self) -> None:
        turn = self._next_turn()
        if turn is not None:
            turn.set_result(None)
            return
        self._places -= 1
        if not self._places:
            self._emptied(self)

    # Ends

    @property
    def resting(self) -> bool:
        """Whether every connection is idle: nobody would miss this pool."""
        return len(self._idle) == self._places

    def retire(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().retire()

    async def close(self) -> None:
        """Aborts everything and returns when it is gone. A connection still being made ends with whoever wants it."""
        self._closed = True
        for turn in self._queue:
            if not turn.done():
                turn.set_exception(Overloaded("This node is shutting down."))
        self._idle.clear()
        for connection in self._held:
            connection.abort()
        leaving = [*(connection.closed for connection in self._held), *self._tasks]
        if leaving:
            await asyncio.wait(leaving)
