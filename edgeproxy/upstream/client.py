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
from edgeproxy.upstream.call import Call
from edgeproxy.upstream.deadline import EARLY
from edgeproxy.upstream.pool import Pool
from edgeproxy.upstream.target import Patience, Target
from edgeproxy.upstream.writing import request_head

__all__ = ["Client", "Exchange", "Patience", "ResponseBody", "Target"]

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
        tries = _Tries(patience.attempts)
        while True:
            call = Call(request, body, patience, interim, upgrade, completes_at)
            try:
                return await self._attempt(target, call, head, tries)
            except OriginError as error:
                if not tries.again(call, error) or asyncio.get_running_loop().time() + EARLY >= completes_at:
                    raise
                if call.sent:
                    self._counters.add(Counter.UPSTREAM_RETRIES)

    async def _attempt(self, target: Target, call: Call, head: bytes, tries: _Tries) -> Exchange:
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
