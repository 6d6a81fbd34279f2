"""One viewer connection over HTTP/1.1: requests in, answers out in order, every wait bounded.

Bytes belong to a head, a body, a tunnel or nobody (`_received`). A whole head is answered at once if that answer is
prepared (hits.py), else it starts a request (`_take_request`, `_begin`); one task runs its exchange (`_run`); then the
next one is taken or the connection ends (`_over`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Protocol, cast

from edgeproxy.edge.door import Door as Door
from edgeproxy.edge.exchange import Ending, Exchange
from edgeproxy.edge.hits import NOTHING, reset, with_tls
from edgeproxy.edge.http1 import ParsedHead, parse_head
from edgeproxy.edge.inbox import Inbox
from edgeproxy.edge.onward import Onward
from edgeproxy.edge.shortcut import Trip
from edgeproxy.edge.stages import Reading, Waiting
from edgeproxy.edge.timer import LazyTimer
from edgeproxy.errors import BodyAborted, Detail, ViewerError
from edgeproxy.message import Client
from edgeproxy.telemetry.counters import Counter

_logger = logging.getLogger(__name__)

LINGER_SECONDS = 2.0
"""After a last answer that left input unread: how long a viewer may take to read it and close."""

LINGER_BYTES = 1024 * 1024
"""Input dropped meanwhile; what comes beyond waits in the kernel."""


class Home(Protocol):
    """Whoever keeps the connections."""

    def opened(self, connection: Connection) -> None:
        """It has its transport."""
        ...

    def closed(self, connection: Connection) -> None:
        """It is over."""
        ...


class Connection(Onward):
    """The protocol object of one accepted (and, for HTTPS, secured) connection.

    `home` hears of its beginning, and of its end: the transport is gone, and no task of it runs any more.
    """

    __slots__ = (
        "_draining", "_dropped", "_exchange", "_half_closed", "_held", "_home", "_inbox",
        "_lost", "_read_timer", "_reading", "_running", "_task", "_waiting",
        "made",
    )  # fmt: skip

    def __init__(self, door: Door, home: Home, address: str, port: int, accepted: socket.socket | None = None) -> None:
        """`accepted`: as for Hits."""
        super().__init__(door, Client(address, port, door.peer), accepted)
        self._home = home
        self._reading = Reading.HEADS
        self._waiting = Waiting.NOTHING
        self._read_timer = LazyTimer(self._loop, self._read_expired)
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = False  # the task has taken its first step, so that it will come to `_over`
        self._inbox: Inbox | None = None
        self._draining = False
        self._held = False
        self._half_closed = False
        self._lost = False
        self._dropped = 0
        self.made = False
        """It has, or had, a transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._door.settings.write_buffer)
        self.client = with_tls(self.client, self._transport)
        self._scheme = "http" if self.client.tls_protocol is None else "https"
        self._wait_for(Waiting.FIRST_HEAD, self._door.settings.header_timeout)
        self.made = True
        self._home.opened(self)

    def _received(self, data: bytes) -> None:
        match self._reading:
            case Reading.HEADS:
                self._heads.feed(data)
                if self._exchange is None and self._pour is None and self._trip is None:
                    self._take_request()
                elif len(self._heads) > self._door.limits.head_max:
                    self.hold()
            case Reading.BODY:
                self._feed_body(data)
            case Reading.TUNNEL:
                self._feed_tunnel(data)
            case Reading.NOBODY:
                self._dropped += len(data)
                if self._dropped > LINGER_BYTES:
                    self.hold()

    def eof_received(self) -> bool:
        """The viewer sends no more: it has half-closed and waits for its answer, or it is gone.

        The two look the same, so an answer that has not begun is given up after `half_closed_timeout`. Where nobody
        half-closes (door.half_close) it is gone, and what was done for it stops at once.
        """
        self._half_closed = True
        self._ready = NOTHING
        if self._trip is not None:
            self._trip.slow()
        if not self._door.half_close and self._inbox is None and self._exchange is not None:
            self._exchange.left = True
            self.abort()
            return False
        if self._inbox is not None:
            self._inbox.finish()
        elif self._reading is Reading.BODY:
            self._fail_body("The request body ended too soon.", 400)
        if (self._task is None and self._pour is None) or self._scheme == "https":
            # asyncio's TLS cannot keep one direction open: the connection ends here, and its task with it.
            return False
        if self._inbox is None and self._pour is None:
            self._wait_for(Waiting.ANSWER_AFTER_EOF, self._door.settings.half_closed_timeout)
        return True

    def _go_on_writing(self) -> None:
        if self._pour is not None:
            self._pour_on()
        elif (
            self._exchange is None
            and self._trip is None
            and self._reading is Reading.HEADS
            and not self._transport.is_closing()
        ):
            self._take_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._ready = NOTHING
        self._read_timer.close()
        if self._write_timer is not None:
            self._write_timer.close()
        self._poured(complete=False, viewer_left=not self._closed_here)
        if isinstance(exc, ssl.SSLError) and self._waiting is Waiting.FIRST_HEAD and not self._busy_at:
            # In TLS 1.3 our half of the handshake is over before the viewer says that it does not trust us.
            self._door.counters.add(Counter.TLS_FAILED)
        if self._trip is not None:
            self._trip.leave()
            self._trip = None
        if self._task is not None:
            self._task.cancel()
            if not self._running and self._exchange is not None and self._exchange.trip is not None:
                self._exchange.trip.leave()
        if not self._running:
            self._task = None
            self._home.closed(self)

    # Requests

    def _take_request(self) -> None:
        """Answer or begin the next request if its head is here, else wait for it."""
        settings = self._door.settings
        self._ready = NOTHING
        try:
            while not self._paused and (head := self._heads.take()) is not None:
                if self._draining or self._half_closed or not self._answer_at_once(head):
                    self._begin(head)
                    return
                if self._waiting is Waiting.HEAD:
                    self._stop_waiting()
                if self._pour is not None:
                    return
        except ViewerError as error:
            self._refuse(error)
            return
        if self._paused:
            # A viewer that does not take its answers is not asked what else it would like.
            if len(self._heads) > self._door.limits.head_max:
                self.hold()
            return
        if len(self._heads):
            if self._waiting is not Waiting.HEAD:
                self._wait_for(Waiting.HEAD, settings.header_timeout)
        elif self._half_closed or self._draining:
            self._close()
        else:
            if self._waiting is Waiting.NOTHING:
                self._wait_for(Waiting.NEXT_HEAD, settings.idle_timeout)
            if self._space is not None and self._address and not self._transport.get_write_buffer_size():
                self._ready = self._space.heads
        self.go_on()

    def _begin(self, head: bytes) -> None:
        """One whole head as it came, with no request in progress: what happens to it in the pipeline starts here."""
        if not self._draining and not self._half_closed and self._go_short(head):
            self._stop_waiting()
            return
        request = parse_head(head, self._scheme, self._door.limits)
        if request.length and request.length > self._door.settings.body_max:
            raise ViewerError("The request body is too large.", status=413)
        self._start(request, len(head), head if self._may_learn() else b"")

    def _start(
        self, request: ParsedHead | ViewerError, size: int, raw: bytes = b"", trip: Trip | None = None
    ) -> Exchange:
        exchange = Exchange(self._door, self, self._outlet_there(), self.client, request, size, raw, trip)
        self._ready = NOTHING
        exchange.last = self._draining
        self._exchange = exchange
        self._stop_waiting()
        if self._half_closed:
            self._wait_for(Waiting.ANSWER_AFTER_EOF, self._door.settings.half_closed_timeout)
        if exchange.body is not None:
            self._reading = Reading.BODY
            self.go_on()
            rest = self._heads.take_rest() if trip is None else trip.content
            if rest:
                self._feed_body(rest)
            if self._half_closed and self._reading is Reading.BODY:
                self._fail_body("The request body ended too soon.", 400)
        self._task = self._loop.create_task(self._run(exchange))
        return exchange

    def _refuse(self, error: ViewerError) -> None:
        """Answer what cannot be read as a request, and read no more."""
        if error.status in (413, 414, 431, self._door.too_large_status):
            self._door.counters.add(Counter.REQUESTS_TOO_LARGE)
        elif error.status != 408:
            self._door.counters.add(Counter.REQUESTS_MALFORMED)
        self._reading = Reading.NOBODY
        self._start(error, len(self._heads.take_rest()))

    async def _run(self, exchange: Exchange) -> None:
        self._running = True
        ending = Ending.RESET
        try:
            ending = await exchange.run()
        except Exception:  # a fault of ours ends this connection and no other
            self._door.counters.add(Counter.REQUESTS_FAILED)
            _logger.exception("an exchange with %s failed unexpectedly", self.client.address)
        finally:
            self._running = False
            self._over(exchange, ending)

    def _over(self, exchange: Exchange, ending: Ending) -> None:
        self._task = None
        if self._lost:
            self._home.closed(self)
        elif ending is Ending.RESET:
            self.abort()
        elif ending is Ending.CUT:
            self._close()
        elif ending is Ending.CLOSE:
            self._finish()
        elif exchange.body is not None and not exchange.body.arrived:
            # The rest of the body is small: it is read and dropped before the next head.
            self.go_on()
            self._wait_for(Waiting.BODY, exchange.body.patience())
        else:
            self._exchange = None
            self._stop_waiting()
            self._take_request()

    # Bodies and tunnels

    def _feed_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or exchange.body is None:
            raise AssertionError("bytes for a body without a request")
        rest = exchange.body.feed(data)
        if exchange.body.arrived:
            self._reading = Reading.HEADS
            if rest:
                self._heads.feed(rest)
            if self._task is None and self._waiting is Waiting.BODY:
                self._over(exchange, Ending.KEEP)
        elif exchange.body.broken:
            self._reading = Reading.NOBODY
        elif self._waiting is Waiting.BODY:
            self._wait_for(Waiting.BODY, exchange.body.patience())

    def _fail_body(self, message: str, status: int) -> None:
        self._reading = Reading.NOBODY
        if self._exchange is not None and self._exchange.body is not None:
            self._exchange.body.fail(message, status, Detail.CLIENT_COMM)

    def hold(self) -> None:
        """As inbox.Source."""
        if not self._held and not self._transport.is_closing():
            self._held = True
            self._transport.pause_reading()

    def go_on(self) -> None:
        """As inbox.Source."""
        if self._held and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()

    def expect(self, waiting: bool) -> None:
        """As inbox.Source: a viewer that is waited for has a time for its next bytes."""
        if self._exchange is None or (body := self._exchange.body) is None:
            return
        if waiting and self._reading is Reading.BODY and self._waiting is Waiting.NOTHING:
            self._wait_for(Waiting.BODY, body.patience())
        elif not waiting and self._waiting is Waiting.BODY:
            body.rest()
            self._stop_waiting()

    def _feed_tunnel(self, data: bytes) -> None:
        if self._inbox is not None:
            self._inbox.put([data])
            self.moved()

    def switch(self) -> Inbox:
        """As exchange.Line. Bytes that came after the head are the tunnel's first."""
        self._inbox = inbox = Inbox(self, self._door.settings.read_buffer)
        self._reading = Reading.TUNNEL
        self.go_on()
        rest = self._heads.take_rest()
        if rest:
            inbox.put([rest])
        if self._half_closed:
            inbox.finish()
        self.moved()
        return inbox

    def moved(self) -> None:
        """As exchange.Line."""
        self._wait_for(Waiting.TUNNEL, self._door.settings.tunnel_idle_timeout)

    def half_close(self) -> bool:
        """As exchange.Line."""
        if self._lost or not self._transport.can_write_eof():
            return False
        self._transport.write_eof()
        return True

    # Time-outs

    def _wait_for(self, waiting: Waiting, seconds: float) -> None:
        self._waiting = waiting
        self._read_timer.arm(seconds)

    def _stop_waiting(self) -> None:
        self._waiting = Waiting.NOTHING
        self._read_timer.disarm()

    def _read_expired(self) -> None:
        waiting, self._waiting = self._waiting, Waiting.NOTHING
        count = self._door.counters.add
        match waiting:
            case Waiting.FIRST_HEAD | Waiting.NEXT_HEAD if (left := self._idle_left()) > 0:
                self._wait_for(Waiting.NEXT_HEAD, left)
            case Waiting.FIRST_HEAD | Waiting.NEXT_HEAD:
                count(Counter.TIMEOUTS_IDLE)
                self._close()
            case Waiting.HEAD:
                count(Counter.TIMEOUTS_HEADER)
                self._refuse(ViewerError("The request head took too long.", status=408))
            case Waiting.BODY:
                count(Counter.TIMEOUTS_BODY)
                self._fail_body("The request body took too long.", 408)
                if self._task is None:
                    self._close()
            case Waiting.TUNNEL if self._inbox is not None:
                count(Counter.TIMEOUTS_IDLE)
                self._inbox.fail(BodyAborted("The tunnel was idle for too long.", detail=Detail.CLIENT_COMM))
            case Waiting.ANSWER_AFTER_EOF if self._exchange is not None:
                if not self._exchange.begun:
                    self._exchange.left = True
                    self.abort()
            case _:
                self._close()

    def _settled(self) -> None:
        if self._draining:
            self._finish()
        else:
            self._take_request()

    def _write_expired(self) -> None:
        """Any byte taken since the last look is progress."""
        if self._transport.get_write_buffer_size() < self._unflushed:
            self._watch_writing()
            return
        self._door.counters.add(Counter.TIMEOUTS_WRITE)
        if self._exchange is not None:
            self._exchange.left = True
        self._poured(complete=False, viewer_left=True)
        self.abort()

    # The end

    def drain(self) -> None:
        """Serve what has begun, then close; an idle connection closes now."""
        self._draining = True
        self._ready = NOTHING
        if self._trip is not None:
            self._trip.slow()
        if self._exchange is not None:
            self._exchange.last = True
            if self._task is None and self._waiting is Waiting.BODY:
                self._close()
        elif self._reading is Reading.HEADS and not len(self._heads) and self._pour is None:
            self._close()

    def abort(self) -> None:
        """Reset the connection now; its task is cancelled when the transport says that it is gone.

        An answer that is delimited by the close would look whole if the close were orderly.
        """
        self._closed_here = True
        self._ready = NOTHING
        if self._exchange is not None:
            self._exchange.aborted = True
        reset(self._transport)

    def _finish(self) -> None:
        """Close after a last answer so that it arrives.

        To close a socket with unread input is to reset it, and a reset can overtake the answer (RFC 9112 section
        9.6): where input is left, only our side closes, and what still comes is dropped for a while.
        """
        unread = self._held or self._reading is not Reading.HEADS or len(self._heads)
        if not unread or self._half_closed or not self._transport.can_write_eof():
            self._close()
            return
        self._reading = Reading.NOBODY
        self._heads.take_rest()
        self._transport.write_eof()
        self.go_on()
        self._wait_for(Waiting.LINGER, LINGER_SECONDS)

    def _close(self) -> None:
        """Close when everything written has gone out; a viewer that takes nothing is not waited for."""
        self._closed_here = True
        self._ready = NOTHING
        self._stop_waiting()
        self._transport.close()
        if not self._lost:
            self._watch_writing()
