"""The public face of the upstream client: one request to a target, sent again where that is safe.

exchange ─▶ pool.take / obtain ─▶ connection.send ─▶ the answer's head, its body streaming
                  ▲                     │ failed
                  └── again? ◀──────────┘
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from edgeproxy.errors import Detail, OriginError, OriginTimeout, OriginUnreachable, Overloaded
from edgeproxy.message import Body, RequestHead, ResponseHead, Tunnel, ignore_interim, no_body
from edgeproxy.settings import Upstream
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.body import ResponseBody
from edgeproxy.upstream.call import Call, Hurried, hurried_call
from edgeproxy.upstream.deadline import EARLY
from edgeproxy.upstream.http1 import Connection
from edgeproxy.upstream.pool import Pool
from edgeproxy.upstream.target import Patience, Target
from edgeproxy.upstream.writing import request_head

__all__ = ["Begun", "Client", "Exchange", "Hurried", "Patience", "ResponseBody", "Target"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that ask for nothing to be changed (RFC 9110 section 9.2.1)."""

REPEATABLE = frozenset({"PUT", "DELETE"})
"""Methods that change something, once or twice alike (RFC 9110 section 9.2.2)."""

STALE_MAX = 2
"""Times a request may meet a kept connection that turns out to be dead."""


@dataclass(slots=True)
class Exchange:
    """An answer whose head has come. Whoever gets it reads the body to its end or closes it."""

    head: ResponseHead
    """The final head, every field as received, hop-by-hop ones included."""
    body: Body
    """Pulled, with back pressure; a ResponseBody unless there is a tunnel."""
    tunnel: Tunnel | None
    """Behind a 101; to be closed by whoever gets it."""
    reused: bool
    connect_seconds: float
    """0 on a connection that was used before."""
    first_byte_seconds: float
    """From the request's head written to the first byte of the answer, interim heads included."""


class Begun:
    """A request that is out, and whose answer nobody waits for yet in the way of `exchange`."""

    __slots__ = ("call", "connection", "head", "taken", "target")

    def __init__(self, target: Target, connection: Connection, call: Call, head: bytes) -> None:
        self.target = target
        self.connection = connection
        self.call = call
        self.head = head
        self.taken = False
        """Somebody waits for it: what becomes of it is up to them."""

    def slow_down(self, interim: Callable[[ResponseHead], None]) -> None:
        """From now on the call is like any other: `exchange_begun` follows, or `cancel`."""
        self.call.interim = interim
        self.connection.slow_down(self.call)

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self.call.hurried = None
        if not self.call.answer.cancel() and not self.call.answer.cancelled():
            self.call.answer.exception()  # nobody else will look at it
        self.connection.cancel(self.call)


class Client:
    """Requests to the next hops of one worker."""

    def __init__(self, settings: Upstream, counters: Counters, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._counters = counters
        self._monotonic = monotonic
        self._pools: dict[Target, Pool] = {}
        self._leaving: set[Pool] = set()
        """Forgotten ones whose connections are not closed yet."""
        self._context: ssl.SSLContext | None = None
        self._closed = False

    async def exchange(
        self,
        target: Target,
        request: RequestHead,
        body: Body,
        patience: Patience,
        *,
        interim: Callable[[ResponseHead], None] = ignore_interim,
        upgrade: bool = False,
    ) -> Exchange:
        """Sends `request` with its `body` and returns as soon as the final head is there.

        The request's framing fields are ignored: the body's length decides. `interim` gets 1xx heads other than 100.
        The body is read but never closed here: that is for whoever made it.

        Raises OriginUnreachable, OriginTimeout, OriginInvalid, OriginError (closed before the head), Overloaded,
        ViewerError (not allowed on the wire), and what `body.read` raises. After the head the same faults reach the
        reader of the answer's body, as BodyAborted. Cancelling closes the connection.
        """
        head = request_head(request, body.length, upgrade=upgrade, close=patience.keepalive <= 0)
        completes_at = inf
        if patience.completion is not None:
            completes_at = asyncio.get_running_loop().time() + patience.completion
        return await self._until_answered(
            target, Call(request, body, patience, interim, upgrade, completes_at), head, None
        )

    def begin(
        self, target: Target, request: RequestHead, head: bytes, content: bytes, patience: Patience, hurried: Hurried
    ) -> Begun | None:
        """Send a request at once over a connection that is idle, with all of its content; None when there is none.

        `head` is what `request_head` makes of it. `hurried` is told what comes, unless `exchange_begun` is first.
        """
        pool = self._pools.get(target)
        connection = None if pool is None else pool.take()
        if connection is None:
            return None
        completes_at = inf
        if patience.completion is not None:
            completes_at = asyncio.get_running_loop().time() + patience.completion
        call = hurried_call(request, patience, completes_at, hurried, with_content=bool(content))
        connection.send(call, head + content)
        return Begun(target, connection, call, head)

    async def exchange_begun(self, begun: Begun, interim: Callable[[ResponseHead], None]) -> Exchange:
        """As `exchange`, for a request that was sent by `begin` and whose answer is not there yet."""
        begun.slow_down(interim)
        begun.taken = True
        return await self._until_answered(begun.target, begun.call, begun.head, begun.connection)

    async def _until_answered(self, target: Target, call: Call, head: bytes, connection: Connection | None) -> Exchange:
        """`connection`: where it has been sent already."""
        tries = _Tries(call.patience.attempts)
        while True:
            try:
                return await self._attempt(target, call, head, tries, connection)
            except OriginError as error:
                if not tries.again(call, error) or asyncio.get_running_loop().time() + EARLY >= call.completes_at:
                    raise
                if call.sent:
                    self._counters.add(Counter.UPSTREAM_RETRIES)
            call, connection = call.again(), None

    async def _attempt(
        self, target: Target, call: Call, head: bytes, tries: _Tries, connection: Connection | None
    ) -> Exchange:
        if connection is None:
            pool = self._pool(target)
            connection = None if tries.fresh else pool.take()
            if connection is None:
                connection = await pool.obtain(call.patience, call.completes_at)
            connection.send(call, head)
        try:
            answer = await call.answer
        except asyncio.CancelledError:
            connection.cancel(call)
            raise
        return Exchange(
            head=answer,
            body=call.body if call.tunnel is None else no_body(),
            tunnel=call.tunnel,
            reused=call.reused,
            connect_seconds=0.0 if call.reused else connection.connect_seconds,
            first_byte_seconds=call.first_byte_seconds,
        )

    def _pool(self, target: Target) -> Pool:
        pool = self._pools.get(target)
        if pool is None:
            if self._closed:
                raise Overloaded("This node is shutting down.")
            self._make_room()
            pool = self._pools[target] = Pool(
                target, self._settings, self._counters, self._monotonic, self._tls, self._forget
            )
        return pool

    def _make_room(self) -> None:
        """One more upstream: the oldest one that nobody uses is forgotten when there are too many."""
        if len(self._pools) < self._settings.upstreams_max:
            return
        for target, pool in self._pools.items():
            if pool.resting:
                del self._pools[target]
                self._leaving.add(pool)
                pool.retire()
                return
        self._counters.add(Counter.UPSTREAM_QUEUE_FULL)
        raise Overloaded("Too many upstreams are in use.")

    def _forget(self, pool: Pool) -> None:
        self._leaving.discard(pool)
        if self._pools.get(pool.target) is pool:
            del self._pools[pool.target]

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context(cafile=self._settings.ca_file)
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context

    async def close(self) -> None:
        """Ends every exchange and closes every connection before it returns."""
        self._closed = True
        pools = [*self._pools.values(), *self._leaving]
        self._pools.clear()
        await asyncio.gather(*(pool.close() for pool in pools))


class _Tries:
    """What is left of the patience to send one request again."""

    __slots__ = ("_left", "_stale_left", "fresh")

    def __init__(self, attempts: int) -> None:
        self._left = attempts
        self._stale_left = STALE_MAX
        self.fresh = False
        """Kept connections have proved to be dead: make one."""

    def again(self, call: Call, error: OriginError) -> bool:
        """Whether the request may be sent once more after `error` (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1)."""
        if not call.sent:
            self._left -= 1
            may_help = isinstance(error, OriginUnreachable) and error.may_retry
            timed_out = isinstance(error, OriginTimeout) and error.detail is Detail.ORIGIN_CONNECT
            return self._left > 0 and (may_help or timed_out)
        if call.first_byte_at is not None:
            return False
        if isinstance(error, OriginTimeout):
            self._left -= 1
            return self._left > 0 and call.method in ("GET", "HEAD") and call.without_body
        if not call.reused or self._stale_left == 0:
            return False
        self._stale_left -= 1
        self.fresh = True
        return (call.method in SAFE and call.without_body) or (call.method in REPEATABLE and not call.pulled)
