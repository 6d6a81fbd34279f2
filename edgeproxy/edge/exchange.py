"""One request on a connection: it is asked of the pipeline, and what comes back is sent."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import Protocol

from edgeproxy.edge.bodies import BodyDecoder, ChunkedDecoder, LengthDecoder
from edgeproxy.edge.delivery import Framing, Outlet, final_head, interim_head, send_body, switching_head
from edgeproxy.edge.door import Door
from edgeproxy.edge.http1 import ParsedHead
from edgeproxy.edge.inbox import Inbox, Pace, RequestBody, Source
from edgeproxy.edge.shortcut import Trip
from edgeproxy.edge.tunnel import relay
from edgeproxy.errors import EdgeError, Side, ViewerError
from edgeproxy.headers import Headers
from edgeproxy.message import (
    Answer,
    BytesBody,
    Client,
    Delivery,
    Incoming,
    RequestHead,
    ResponseHead,
    Tunnel,
    ignore_interim,
    no_body,
)
from edgeproxy.telemetry.counters import Counter

_logger = logging.getLogger(__name__)

_NO_BODY = no_body()  # one for all: nothing can be taken from it

# What is answered when no request could be read: nothing is known of the viewer, so nothing is assumed.
_UNREAD = ParsedHead(RequestHead("GET", b"/", b"", Headers()), 0, False, False, False)


class Line(Source, Protocol):
    """What a request needs of its connection beside the outlet."""

    def switch(self) -> Inbox:
        """From now on all bytes belong to the tunnel; here they come."""
        ...

    def moved(self) -> None:
        """Bytes went through the tunnel."""
        ...

    def half_close(self) -> bool:
        """Tell the viewer that no more will come. Whether it may still send after that."""
        ...


class Ending(Enum):
    """What becomes of the connection after an exchange."""

    KEEP = auto()
    CLOSE = auto()
    CUT = auto()
    """Close without another byte: the framing shows that the answer is not whole."""
    RESET = auto()
    """Close so that even an answer delimited by the close is seen to be cut."""


class Exchange:
    """A request, its body as it comes in, and its answer as it goes out.

    A ViewerError stands for a request that could not be read. The connection sets `last`: no request follows this
    one; `aborted`: the connection was dropped by us; and `left`: because of the viewer.
    """

    __slots__ = (
        "_answering", "_door", "_line", "_mark", "_outlet", "_over", "_refused", "_request", "_tunnel_in",
        "aborted", "body", "incoming", "last", "left", "trip",
    )  # fmt: skip

    def __init__(
        self,
        door: Door,
        line: Line,
        outlet: Outlet,
        client: Client,
        request: ParsedHead | ViewerError,
        head_bytes: int,
        raw: bytes = b"",
        trip: Trip | None = None,
    ) -> None:
        """`trip`: which began on the shortcut and goes on here."""
        self._door = door
        self._line = line
        self._outlet = outlet
        self._refused = request if isinstance(request, ViewerError) else None
        self._request = _UNREAD if isinstance(request, ViewerError) else request
        self.body = self._make_body()
        self.last = False
        self.aborted = False
        self.left = False
        self._answering = False
        self._over = False
        self._tunnel_in: Inbox | None = None
        self._mark = outlet.written
        outlet.head_at = None
        head, body = self._request.head, self.body or _NO_BODY
        self.trip = trip
        """As long as nobody has begun to care for it."""
        received_at = door.monotonic() if trip is None else trip.ask.incoming.received_at
        self.incoming = Incoming(head, body, client, received_at, head_bytes, self._interim, raw)

    def _make_body(self) -> RequestBody | None:
        length, settings = self._request.length, self._door.settings
        if length == 0:
            return None
        decoder: BodyDecoder
        decoder = ChunkedDecoder(self._door.limits, settings.body_max) if length is None else LengthDecoder(length)
        pace = Pace(settings.body_timeout, settings.body_rate_min, self._door.monotonic)
        return RequestBody(decoder, self._line, settings.read_buffer, self._continue, pace)

    @property
    def begun(self) -> bool:
        """The final head has been written, or will be in this turn of the loop."""
        return self._answering

    async def run(self) -> Ending:
        """The whole exchange. Raises what is nobody's expected fault; the connection is to be reset then."""
        try:
            return await self._send(await self._answer())
        finally:
            self._over = True
            self.incoming.body.close()
            # Here alone the request points back to us: without this every request would be left to the cycle collector.
            self.incoming.interim = ignore_interim

    async def _answer(self) -> Answer:
        if self._refused is not None:
            return self._refusal(self._refused)
        try:
            if (trip := self.trip) is not None:
                self.trip = None
                return await trip.go_on(self.incoming)
            return await self._door.handle(self.incoming)
        except EdgeError as error:
            return self._refusal(error)
        except Exception:  # whatever one request met, the worker and its other viewers go on
            self._door.counters.add(Counter.REQUESTS_FAILED)
            head = self.incoming.head
            _logger.exception("a request failed unexpectedly: %s %r at %r", head.method, head.target, head.authority)
            return self._refusal(EdgeError("The request met an unexpected fault.", status=500), close=True)

    def _refusal(self, error: EdgeError, *, close: bool = False) -> Answer:
        answer = self._door.refuse(error.status, str(error))
        answer.close = answer.close or close or error.side is Side.VIEWER
        return answer

    async def _send(self, answer: Answer) -> Ending:
        self._answering = True
        try:
            head, framing, close = self._prepare(answer)
        except EdgeError as fault:
            self._door.counters.add(Counter.REQUESTS_FAILED)
            _logger.error("an answer could not be written: %s", fault)
            self._finish(answer, complete=False)
            answer = self._refusal(fault, close=True)
            head, framing, close = self._prepare(answer)
        if answer.tunnel is not None:
            return await self._send_tunnel(answer, answer.tunnel, head)
        complete = False
        try:
            if framing is Framing.NONE or answer.body.length == 0:
                self._outlet.write_head(head)
            else:
                self._outlet.hold_head(head, block_is_there=isinstance(answer.body, BytesBody))
                await send_body(answer.body, framing, self._outlet)
            complete = not self._outlet.lost
        except EdgeError:
            self._outlet.finish()
            return Ending.RESET if framing is Framing.CLOSE else Ending.CUT
        finally:
            self._finish(answer, complete=complete)
        return Ending.CLOSE if close or self.last or self._unread_body() else Ending.KEEP

    async def _send_tunnel(self, answer: Answer, tunnel: Tunnel, head: bytes) -> Ending:
        complete = False
        self._door.counters.add(Counter.TUNNELS_OPEN)
        try:
            self._outlet.write_head(head)
            inbox = self._tunnel_in = self._line.switch()
            complete = await relay(inbox, self._outlet, tunnel, moved=self._line.moved, end=self._line.half_close)
        finally:
            self._door.counters.add(Counter.TUNNELS_OPEN, -1)
            self._finish(answer, complete=complete)
        return Ending.CLOSE if complete else Ending.RESET

    def _prepare(self, answer: Answer) -> tuple[bytes, Framing, bool]:
        """As `final_head`. A tunnel opens only behind a 101 to an upgrade that was asked for (CVE-2026-2833)."""
        request = self._request
        switching = answer.head.status == 101
        if switching or answer.tunnel is not None or answer.head.status < 200:
            offered = request.head.headers.combined(b"upgrade") if request.upgrade else None
            whole = self.body is None or self.body.arrived
            if not switching or answer.tunnel is None or offered is None or not whole:
                raise EdgeError("The upstream switched protocols, which was not asked for.", status=502)
            return switching_head(answer.head, offered), Framing.NONE, True
        close = answer.close or self.last or not request.keep_alive or self._unread_body(may_be_read=True)
        return final_head(
            answer.head, answer.body.length, method=request.head.method, version=request.head.version, close=close
        )

    def _unread_body(self, *, may_be_read: bool = False) -> bool:
        """The rest of the request's body costs the connection; `may_be_read`: somebody may still be reading it.

        A viewer that was not told to continue may send its body or the next request: nobody can tell which.
        """
        body = self.body
        if body is None or body.arrived:
            return False
        if self._request.expect_continue and not body.asked and not body.bytes_in:
            return True
        return body.wasted and not (may_be_read and body.open)

    def _finish(self, answer: Answer, *, complete: bool) -> None:
        """The answer is over: give back what it holds, and say what went out."""
        self._outlet.forget_head()
        answer.body.close()
        if answer.tunnel is not None:
            answer.tunnel.close()
        left = self.left or (self._outlet.lost and not self.aborted)
        bytes_in = self.incoming.head_bytes
        broken = False
        if self.body is not None:
            bytes_in += self.body.bytes_in
            broken = self.body.broken
        if self._tunnel_in is not None:
            bytes_in += self._tunnel_in.received
        answer.sent(
            Delivery(
                bytes_out=self._outlet.written - self._mark,
                bytes_in=bytes_in,
                first_byte_at=self._outlet.head_at,
                ended_at=self._door.monotonic(),
                complete=complete,
                sender_left=not complete and (left or broken),
            )
        )

    def _continue(self) -> None:
        """The body is wanted (RFC 9110 section 10.1.1)."""
        if self._request.expect_continue and not self._answering:
            self._outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _interim(self, head: ResponseHead) -> None:
        """Pass a 1xx head on, if the viewer knows such and is not too slow to care."""
        late = self._answering or self._over or self._outlet.paused
        if not late and self._request.head.version == "1.1" and 101 < head.status < 200:
            self._outlet.write(interim_head(head))
