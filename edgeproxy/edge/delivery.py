"""Answers on their way out: the bytes of their heads, the framing of their bodies, the viewer's pace.

Framing is written here and nowhere else; whatever framing or hop-by-hop field an answer's head carries is replaced
(security sheet, "never forward received framing headers").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum, auto
from http import HTTPStatus

from edgeproxy.edge.bodies import NOT_IN_TRAILERS
from edgeproxy.errors import BodyAborted, EdgeError
from edgeproxy.headers import HOP_BY_HOP, Field, Headers
from edgeproxy.message import Body, ResponseHead

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus}
_OURS = HOP_BY_HOP | {b"content-length"}
_OURS_BUT_LENGTH = HOP_BY_HOP

_JOIN_MAX = 64 * 1024
"""Parts up to this in all are copied into one write; larger ones are handed over as they are."""


class Framing(Enum):
    """How the end of an answer's body is told (RFC 9112 section 6.3)."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


def final_head(
    head: ResponseHead, length: int | None, *, method: str, version: str, close: bool
) -> tuple[bytes, Framing, bool]:
    """(the head's bytes, how its body is framed, whether the connection closes behind it).

    `method` and `version` are the request's, `length` the body's. Raises EdgeError when the head cannot be written.
    """
    status = head.status
    if method == "HEAD" or status in (204, 304):
        framing = Framing.NONE
    elif length is not None:
        framing = Framing.LENGTH
    elif version == "1.1":
        framing = Framing.CHUNKED
    else:
        framing, close = Framing.CLOSE, True
    extra: list[Field] = []
    if framing is Framing.LENGTH:
        extra.append((b"Content-Length", b"%d" % (length or 0)))
    elif framing is Framing.CHUNKED:
        extra.append((b"Transfer-Encoding", b"chunked"))
    if close:
        extra.append((b"Connection", b"close"))
    elif version == "1.0":
        extra.append((b"Connection", b"keep-alive"))
    describes_other_body = framing is Framing.NONE and status != 204
    return _encode(head, _OURS_BUT_LENGTH if describes_other_body else _OURS, extra), framing, close


def switching_head(head: ResponseHead, protocol: bytes) -> bytes:
    """A 101 to the protocol that was offered, unless the head names the one that was chosen."""
    chosen = head.headers.combined(b"upgrade") or protocol
    return _encode(head, _OURS, [(b"Connection", b"Upgrade"), (b"Upgrade", chosen)])


def interim_head(head: ResponseHead) -> bytes:
    """A 1xx head that goes before the final one."""
    return _encode(head, _OURS, [])


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with the trailer fields that may be there."""
    if not len(trailers):
        return b"0\r\n\r\n"
    fields = [field for field in trailers if field[0].lower() not in NOT_IN_TRAILERS]
    return _lines(b"0", fields)


def _encode(head: ResponseHead, ours: frozenset[bytes], extra: list[Field]) -> bytes:
    line = _STATUS_LINES.get(head.status, b"HTTP/1.1 %d " % head.status)
    if head.reason:
        line = b"HTTP/1.1 %d %b" % (head.status, head.reason)
    headers = head.headers if ours.isdisjoint(head.headers.names()) else head.headers.without(ours)
    return _lines(line, [*headers, *extra])


def _lines(first: bytes, fields: Iterable[Field]) -> bytes:
    lines = [first, *[name + b": " + value for name, value in fields], b"", b""]
    data = b"\r\n".join(lines)
    if not len(lines) - 1 == data.count(b"\n") == data.count(b"\r"):
        raise EdgeError("A field of the answer holds a line end.")
    return data


class Outlet:
    """The writing half of a connection: one write where one is enough, and a wait when the viewer is slow."""

    __slots__ = ("_flusher", "_held", "_loop", "_monotonic", "_paused", "_resumed", "_transport", "head_at", "written")

    def __init__(self, transport: asyncio.Transport, monotonic: Callable[[], float]) -> None:
        self._transport = transport
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._flusher: asyncio.Handle | None = None
        self._paused = False
        self._resumed: asyncio.Future[None] | None = None
        self.head_at: float | None = None
        """When the current answer's final head was written, on the monotonic clock, seconds."""
        self.written = 0
        """Bytes given to the transport so far."""

    def pause(self) -> None:
        """The transport holds more than it should."""
        self._paused = True

    def resume(self) -> None:
        """The transport can take more."""
        self._paused = False
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    @property
    def paused(self) -> bool:
        """Whoever has more to write should wait for `ready`."""
        return self._paused

    @property
    def lost(self) -> bool:
        """The connection is going or gone: what is written goes nowhere."""
        return self._transport.is_closing()

    async def ready(self) -> None:
        """Return when the transport can take more. A connection that is lost cancels its task instead."""
        while self._paused:
            self._resumed = self._loop.create_future()
            try:
                await self._resumed
            finally:
                self._resumed = None

    def hold_head(self, head: bytes, *, block_is_there: bool) -> None:
        """Write a final head with the first block of its body if that is there at once, else without it.

        `block_is_there`: it is known to come without a wait, so the loop need not be asked to write the head alone.
        """
        self._held = head
        if not block_is_there:
            self._flusher = self._loop.call_soon(self.finish)

    def write_head(self, head: bytes) -> None:
        """Write a final head that nothing follows soon."""
        self._held = head
        self.finish()

    def write(self, *parts: bytes) -> None:
        """Give bytes to the transport, in one piece where that is cheap."""
        if self._transport.is_closing():
            return
        if self._held:
            parts = (self._take_head(), *parts)
        size = sum(map(len, parts))
        self.written += size
        if len(parts) == 1:
            self._transport.write(parts[0])
        elif size <= _JOIN_MAX:
            self._transport.write(b"".join(parts))
        else:
            # Not writelines: in some releases of Python it forgets to pause the protocol (CVE-2024-12254).
            for part in parts:
                self._transport.write(part)

    def finish(self) -> None:
        """Write a head that is still held: nothing follows it soon."""
        if self._held:
            self.write()

    def forget_head(self) -> None:
        """A head still held will never be written."""
        self._held = b""
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None

    def _take_head(self) -> bytes:
        head = self._held
        self.forget_head()
        self.head_at = self._monotonic()
        return head


async def send_body(body: Body, framing: Framing, outlet: Outlet) -> None:
    """Send a body to its end. Raises BodyAborted when that is not the end its framing promises, or nobody is there."""
    left = body.length if framing is Framing.LENGTH else None
    while block := await body.read():
        if framing is Framing.CHUNKED:
            outlet.write(b"%x\r\n" % len(block), block, b"\r\n")
        else:
            if left is not None:
                left -= len(block)
                if left < 0:
                    raise BodyAborted("A body was longer than its length.")
            outlet.write(block)
        if outlet.paused:
            await outlet.ready()
        if outlet.lost:
            raise BodyAborted("The viewer left.")
    if left:
        raise BodyAborted("A body was shorter than its length.")
    if framing is Framing.CHUNKED:
        outlet.write(last_chunk(body.trailers))
    else:
        outlet.finish()
