"""One HTTP/1.1 connection to the next hop: one request at a time, its answer streamed (RFC 9112).

    idle ──send──▶ waiting ──head──▶ streaming ──last byte──▶ idle again, or closed
                      └───── any fault, time-out or cancellation: aborted ─────▶ closed

A request's body is sent by a task of its own while the answer is read: an answer may begin, and end, before the
request has ended. One timer watches whatever the connection waits for.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import struct
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

from edgeproxy.errors import BodyAborted, Detail, EdgeError, OriginError, OriginInvalid, OriginTimeout, Side
from edgeproxy.headers import Headers
from edgeproxy.message import ResponseHead
from edgeproxy.settings import Upstream
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.body import ResponseBody, UpgradedTunnel, as_cut
from edgeproxy.upstream.call import Call, Hurried, send_body, with_body
from edgeproxy.upstream.deadline import Deadline
from edgeproxy.upstream.reading import ResponseReader, whole_answer

DRAIN_MAX = 64 * 1024
"""Bytes of an unwanted body that are read and forgotten to keep a connection; for more a new one is cheaper."""

CLOSE_PATIENCE = 5.0
"""Seconds that what was written may take to go out once a connection is to be closed."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, on, for 0 s: closing sends a reset (where the protocol has one: not on Unix sockets)."""


class Owner(Protocol):
    """Who keeps connections (a pool)."""

    def released(self, connection: Connection) -> None:
        """It is idle and may be used again."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        ...

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Keep this task until it is done."""
        ...


class Connection(asyncio.Protocol):
    """See the module. `used` counts requests; `closed` is done when the transport is gone."""

    def __init__(self, owner: Owner, settings: Upstream, counters: Counters, monotonic: Callable[[], float]) -> None:
        self._owner = owner
        self._settings = settings
        self._counters = counters
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._ssl: ssl.SSLObject | None = None
        self._call: Call | None = None
        self._closing = False
        self._keepalive = 0.0
        self._read_paused = False
        self._write_paused = False
        self._write_ended = False
        self._write_left = 0
        """Bytes that waited to be taken when the clock was last started for them."""
        self._writable: asyncio.Future[None] | None = None
        self._deadline = Deadline(self._expire)
        self.used = 0
        self.connect_seconds = 0.0
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # For the pool and the client

    def usable(self) -> bool:
        """Whether an idle or new connection may carry a request.

        Bytes that wait unread belong to no request of ours: the next one would take them for its answer (response
        queue poisoning). An end that waits unread spares a request that could not be sent again.
        """
        if self._closing:
            return False
        # After a handshake TLS has words of its own to say (session tickets).
        if not self._readable() or (self._ssl is not None and not self.used):
            return True
        surplus = self._ssl is None and self._peek()
        self._counters.add(Counter.UPSTREAM_SURPLUS if surplus else Counter.UPSTREAM_IDLE_CLOSED)
        self.abort()
        return False

    def send(self, call: Call, head: bytes) -> None:
        """Writes the request's head and starts to send its body; what comes of it comes in the call."""
        self._call = call
        if call.hurried is None:
            self._make_reader(call)
        call.reused = self.used > 0
        self.used += 1
        self._keepalive = call.patience.keepalive
        self._counters.add(Counter.UPSTREAM_REQUESTS)
        if call.reused:
            self._counters.add(Counter.UPSTREAM_REUSED)
        call.sent_at = self._monotonic()
        if call.unsent and call.go is None:
            try:
                head = with_body(call, head)
            except EdgeError as error:
                self._fail(error)
                return
        self._transport.write(head)
        if call.unsent:
            call.sender = self._loop.create_task(send_body(call, self, self._settings.expect_timeout))
            call.sender.add_done_callback(lambda task: self._body_sent(call, task))
            self._owner.adopt(call.sender)
        self._watch()

    def _make_reader(self, call: Call) -> None:
        call.reader = ResponseReader(self, call.method, self._settings.head_max, upgrade=call.upgrade)

    def slow_down(self, call: Call) -> None:
        """Whoever hurried this call waits for `answer` from now on."""
        if call.hurried is not None:
            call.hurried = None
            self._make_reader(call)

    def _slow(self, call: Call) -> None:
        """What comes now is no whole answer."""
        hurried = call.hurried
        if hurried is not None:
            self.slow_down(call)
            hurried.slow()

    def _hurry(self, call: Call, hurried: Hurried, data: bytes) -> bool:
        """Hand a whole answer over in one piece; False: it is to be read piece by piece."""
        whole = None if self._closing or self._keepalive <= 0 else whole_answer(data, self._settings.head_max)
        if whole is None:
            self._slow(call)
            return False
        self._call = call.hurried = None
        self._watch()
        self._owner.released(self)
        hurried.came(*whole)
        return True

    def cancel(self, call: Call) -> None:
        """Whoever waited for this call's answer has left."""
        if self._call is call:
            self.abort()

    def retire(self) -> None:
        """Closes an idle connection."""
        if not self._closing:
            self._counters.add(Counter.UPSTREAM_IDLE_CLOSED)
            self._close()

    def abort(self) -> None:
        """Closes at once, whatever is under way."""
        error = OriginError("The connection was closed here.")
        error.side = Side.HERE
        self._fail(error)

    def _body_sent(self, call: Call, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._call is not call:
            return
        if error is None:
            self._watch()
        else:
            self._fail(error)

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._ssl = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:
            if not self._closing:
                self._counters.add(Counter.UPSTREAM_SURPLUS)
                self.abort()
            return
        first = call.first_byte_at is None
        if first:
            call.first_byte_at = self._monotonic()
            if call.hurried is not None and self._hurry(call, call.hurried, data):
                return
        try:
            call.reader.feed(data)
        except OriginInvalid as error:
            self._fail(error)
            return
        # A head that comes in drops has the time of one first byte: its further bytes do not start the clock anew.
        if self._call is call and (first or call.answer.done()):
            self._watch()

    def eof_received(self) -> bool:
        call = self._call
        if call is not None:
            self._slow(call)
        if call is None:
            self.retire()
        elif call.tunnel is not None:
            call.body.end()
            return self._ssl is None and not self._write_ended
        elif not self._closed_in_order() or not call.reader.close():
            self._fail(_cut(call, "closed"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._conclude(call, _cut(call, str(exc) if exc else "closed"))
        elif not self._closing:
            self._counters.add(Counter.UPSTREAM_IDLE_CLOSED)
        self._closing = True
        self._deadline.cancel()
        self._let_write()
        self.closed.set_result(None)
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._write_left = self._transport.get_write_buffer_size()
        self._watch()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._let_write()
        self._watch()

    # From the reader

    def interim(self, head: ResponseHead) -> None:
        call = self._running()
        if head.status == 100:
            call.decide_to_send(True)
        else:
            call.interim(head)
        self._watch()

    def head(self, head: ResponseHead, length: int | None, close_delimited: bool) -> None:
        call = self._running()
        call.body = ResponseBody(self, self._settings.read_buffer, length, close_delimited)
        if head.status == 101:
            call.tunnel = UpgradedTunnel(self, call.body)
        if not call.answer.done():
            call.answer.set_result(head)
        call.decide_to_send(False)

    def data(self, block: bytes) -> None:
        body = self._running().body
        body.feed(block)
        if body.full and not body.closed and not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def end(self, trailers: Headers, surplus: bool) -> None:
        call = self._running()
        self._call = None
        call.body.end(trailers)
        self._resume_reading()
        if surplus:
            self._counters.add(Counter.UPSTREAM_SURPLUS)
        if surplus or call.unsent:
            if call.sender is not None:
                call.sender.cancel()
            self.abort()
        elif self._closing or not call.reader.reusable or self._keepalive <= 0:
            self._close()
        else:
            self._watch()
            self._owner.released(self)

    def _running(self) -> Call:
        assert self._call is not None  # the reader is fed only while there is a call
        return self._call

    # From the body, its sender and the tunnel

    def more(self, body: ResponseBody) -> None:
        self._resume_reading()
        self._watch()

    def give_up(self, body: ResponseBody) -> None:
        if self._running().tunnel is not None:
            self.hang_up()
        elif body.to_come is None or body.to_come > DRAIN_MAX:
            self.abort()
        else:
            self._resume_reading()
            self._watch()

    async def write(self, data: bytes) -> None:
        if not self._closing and self._readable():
            # An early answer, perhaps with a reset behind it: a failed write would throw away what is unread.
            await asyncio.sleep(0)
        if self._closing:
            raise BodyAborted("The connection is closed.")
        self._transport.write(data)
        self._watch()
        if self._write_paused:
            if self._writable is None or self._writable.done():
                self._writable = self._loop.create_future()
            await asyncio.shield(self._writable)

    def finish(self) -> None:
        if self._closing or self._write_ended:
            return
        self._write_ended = True
        if self._transport.can_write_eof() and not self._running().body.ended:
            self._transport.write_eof()
        else:
            self._close()

    def hang_up(self) -> None:
        if self._write_paused:
            self.abort()  # what waits is not being taken
        elif not self._closing:
            self._close()

    def _let_write(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # Ends

    def _close(self) -> None:
        """Closes once what was written has gone out, within reason."""
        self._closing = True
        self._transport.close()
        self._watch()

    def _fail(self, error: BaseException) -> None:
        call, self._call = self._call, None
        if not self._closing and self._ssl is None:
            # A plain end might only mean that we send no more: a reset says that nobody reads either.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._closing = True
        self._transport.abort()
        if call is not None:
            self._conclude(call, error)

    def _conclude(self, call: Call, error: BaseException) -> None:
        """Tells whoever waits for this call why there is no more of it."""
        self._slow(call)
        if call.sender is not None:
            call.sender.cancel()
        if isinstance(error, OriginTimeout):
            self._counters.add(Counter.UPSTREAM_TIMEOUTS)
        elif isinstance(error, OriginInvalid):
            self._counters.add(Counter.UPSTREAM_INVALID)
        if not call.answer.done():
            call.answer.set_exception(error)
        elif not call.answer.cancelled() and not call.body.closed:
            if isinstance(error, EdgeError) and error.side is Side.UPSTREAM and call.tunnel is None:
                self._counters.add(Counter.UPSTREAM_ABORTED)
            call.body.abort(as_cut(error))

    def _closed_in_order(self) -> bool:
        """Over TLS, whether the end was announced (close_notify): without that anybody on the way can cut."""
        if self._ssl is None:
            return True
        try:
            return self._ssl.read(1) == b""
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, OSError):
            return False

    # Reading and waiting

    def _readable(self) -> bool:
        """Whether the kernel holds bytes, an end or an error that the loop has not delivered yet."""
        return bool(self._poll.poll(0))

    def _peek(self) -> bool:
        """Whether what is readable are bytes, not an end or an error."""
        with socket.socket(fileno=os.dup(self._socket.fileno())) as twin:
            try:
                return bool(twin.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except OSError:
                return False

    def _resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def _waits(self) -> float:
        """Seconds the next hop may take for what we wait for now; inf when we wait for somebody else."""
        call = self._call
        if self._closing:
            return CLOSE_PATIENCE
        if call is None:
            return self._keepalive
        if self._read_paused or call.tunnel is not None:
            return inf
        if call.sending:
            return call.patience.idle if self._write_paused else inf
        return call.patience.idle if call.answer.done() else call.patience.first_byte

    def _watch(self) -> None:
        """Starts the clock anew for what we wait for now."""
        at = self._loop.time() + self._waits()
        call = self._call
        if call is not None and call.tunnel is None and call.completes_at < at:
            at = call.completes_at
        self._deadline.set(at)

    def _expire(self) -> None:
        call = self._call
        if self._closing:
            self._transport.abort()
        elif call is None:
            self.retire()
        elif self._deadline.passed(call.completes_at):
            self._fail(OriginTimeout("The whole exchange took longer than allowed."))
        elif call.sending and self._transport.get_write_buffer_size() < self._write_left:
            self._write_left = self._transport.get_write_buffer_size()
            self._watch()
        elif call.sending:
            self._fail(OriginTimeout("The request's body was not taken in time.", detail=Detail.ORIGIN_WRITE))
        elif call.answer.done():
            self._fail(OriginTimeout(f"No byte of the answer came for {call.patience.idle:g} s."))
        else:
            self._fail(OriginTimeout(f"No answer came within {call.patience.first_byte:g} s."))


def _cut(call: Call, how: str) -> EdgeError:
    """The error for a connection that ended before its answer did."""
    if call.answer.done():
        return BodyAborted(f"The answer ended before its end: {how}.")
    return OriginError(f"The connection ended before the answer: {how}.")
