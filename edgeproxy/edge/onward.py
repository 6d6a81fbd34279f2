"""A connection's half of the shortcut: a request that is out at its origin, with no task and no exchange for it.

The bytes behind it wait among the heads. Whatever happens to the connection meanwhile, other than more bytes, makes an
exchange of it first (`Trip.slow`); if the viewer is gone, there is none (`Trip.leave`).
"""

from __future__ import annotations

import socket

from edgeproxy.edge.door import Door
from edgeproxy.edge.exchange import Exchange
from edgeproxy.edge.hits import NOTHING, Hits
from edgeproxy.edge.http1 import HeadBuffer, Limits, ParsedHead
from edgeproxy.edge.shortcut import Trip
from edgeproxy.errors import ViewerError
from edgeproxy.message import Client, Incoming


class Onward(Hits):
    """Between Hits and the connection, which says how an exchange is started and the next request taken."""

    __slots__ = ("_heads", "_trip")

    def __init__(self, door: Door, client: Client, accepted: socket.socket | None) -> None:
        super().__init__(door, client, accepted)
        self._heads = HeadBuffer(door.limits)
        self._trip: Trip | None = None
        """A request that is out, with no exchange."""

    def _go_short(self, head: bytes) -> bool:
        """Send a request to its origin at once, if that can be; False: nothing has been done."""
        shortcut = self._door.shortcut
        trip = None if shortcut is None else shortcut.begin(self, head)
        if trip is None:
            return False
        self._heads.skip(len(trip.content))
        self._trip = trip
        self._ready = NOTHING
        return True

    def _may_learn(self) -> bool:
        """Whether somebody would like to see heads as they came."""
        return self._lane is not None or self._door.shortcut is not None

    def _take_request(self) -> None:
        raise NotImplementedError

    def _start(
        self, request: ParsedHead | ViewerError, size: int, raw: bytes = b"", trip: Trip | None = None
    ) -> Exchange:
        raise NotImplementedError

    def abort(self) -> None:
        """As shortcut.Line."""
        raise NotImplementedError

    @property
    def scheme(self) -> str:
        """As shortcut.Line."""
        return self._scheme

    @property
    def limits(self) -> Limits:
        """As shortcut.Line."""
        return self._door.limits

    def content(self, length: int) -> bytes | None:
        """As shortcut.Line."""
        return self._heads.content(length)

    def room(self) -> int:
        """As shortcut.Line: what the transport holds without a pause, less what a head may take."""
        return 0 if self._paused else (self._door.settings.write_buffer - self._transport.get_write_buffer_size()) // 2

    def arrived(self, answer: bytes) -> bool:
        """As shortcut.Line."""
        if self._transport.is_closing():
            return False
        self._write_out(answer)
        return True

    def home(self) -> None:
        """As shortcut.Line."""
        self._trip = None
        self._take_request()

    def take_over(self, trip: Trip) -> Incoming:
        """As shortcut.Line."""
        self._trip = None
        came = trip.ask.incoming
        request = ParsedHead(came.head, len(trip.content), True, False, False)
        return self._start(request, came.head_bytes, came.raw, trip).incoming
