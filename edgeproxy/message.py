"""Requests and responses between the front doors, the pipeline and the upstream client.

The pipeline does not know who brought a request: it takes an `Incoming` and gives an `Answer`. Bodies are
pulled, so that whoever reads slowly slows whoever sends (RFC 9112 section 9.3 allows any pace).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from edgeproxy.headers import Headers
from edgeproxy.values import value


@value(frozen=True, slots=True)
class RequestHead:
    """A request's head. `target` is in origin-form (path and query as received), or `*` for OPTIONS."""

    method: str
    target: bytes
    authority: bytes
    headers: Headers
    scheme: str = "http"
    version: str = "1.1"

    @property
    def path(self) -> bytes:
        """The target up to the first `?`, raw."""
        target = self.target
        return target.partition(b"?")[0] if b"?" in target else target

    @property
    def query(self) -> bytes | None:
        """What follows the first `?`, raw; None when there is no `?`."""
        target = self.target
        return target.partition(b"?")[2] if b"?" in target else None

    def with_headers(self, headers: Headers) -> RequestHead:
        """The same request with other fields."""
        if headers is self.headers:
            return self
        return RequestHead(self.method, self.target, self.authority, headers, self.scheme, self.version)


@value(frozen=True, slots=True)
class ResponseHead:
    """A response's head; `reason` is the raw phrase, empty when the sender gave none."""

    status: int
    headers: Headers
    reason: bytes = b""
    version: str = "1.1"

    def with_headers(self, headers: Headers) -> ResponseHead:
        """The same response with other fields."""
        if headers is self.headers:
            return self
        return ResponseHead(self.status, headers, self.reason, self.version)


class Body(Protocol):
    """A message body that is pulled.

    `length` is the number of bytes still to come when that is known from the framing, else None.
    """

    @property
    def length(self) -> int | None: ...

    @property
    def trailers(self) -> Headers:
        """Trailer fields; complete once `read` has returned b""."""
        ...

    def read(self) -> Coroutine[Any, Any, bytes]:  # Any: what a coroutine exchanges with its loop
        """The next bytes, b"" at the end. Raises BodyAborted when the sender stopped before the end.

        Whoever stops waiting for it may read again later: it takes nothing before it returns.
        """
        ...

    def close(self) -> None:
        """Say that no more will be read. Idempotent; frees the sender, or cuts it off."""
        ...


def _nothing() -> None:
    """Nobody wants to know."""


class BytesBody:
    """A body that is already in memory, as blocks. `closed` is called once, when it is closed."""

    __slots__ = ("_blocks", "_closed", "_length", "trailers")

    def __init__(
        self, blocks: Iterable[bytes] = (), trailers: Headers = Headers(), closed: Callable[[], None] = _nothing
    ) -> None:
        self._closed = closed
        self._blocks = [block for block in blocks if block]
        self._blocks.reverse()
        self._length = sum(map(len, self._blocks))
        self.trailers = trailers

    @property
    def length(self) -> int | None:
        return self._length

    async def read(self) -> bytes:
        if not self._blocks:
            return b""
        block = self._blocks.pop()
        self._length -= len(block)
        return block

    def close(self) -> None:
        self._blocks.clear()
        closed, self._closed = self._closed, _nothing
        closed()


def at_once(body: Body) -> bytes | None:
    """What `body.read` gives when it need not wait, None when it must: then nothing was taken."""
    reading = body.read()
    try:
        reading.send(None)
    except StopIteration as come:
        block: bytes = come.value
        return block
    reading.close()
    return None


def no_body() -> Body:
    """The body of a message that has none."""
    return BytesBody()


class Tunnel(Protocol):
    """The upstream side of a connection that was upgraded (RFC 9110 section 7.8): bytes in both directions."""

    async def read(self) -> bytes:
        """The next bytes from the other side, b"" when it will send no more. Raises BodyAborted on a reset."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the connection can take more."""
        ...

    def finish(self) -> None:
        """Say that no more will be written."""
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...


class Peer(Enum):
    """Who sent a request."""

    VIEWER = "viewer"
    TIER = "tier"
    """Another node of this CDN, which proved that it knows the tier key."""
    WORKER = "worker"
    """Another worker of this node, over a Unix socket."""


@value(frozen=True, slots=True)
class Client:
    """Where a request came from. For a viewer it is the viewer; TLS facts are None on plain HTTP."""

    address: str
    port: int
    peer: Peer = Peer.VIEWER
    tls_protocol: str | None = None
    tls_cipher: str | None = None
    tls_resumed: bool = False
    """The TLS session went on from an earlier one."""


def ignore_interim(head: ResponseHead) -> None:
    """An interim response that nobody waits for."""


@dataclass(slots=True)
class Incoming:
    """A request on its way into the pipeline.

    `received_at` is on the monotonic clock, seconds, when the head was complete. `head_bytes` is the size of the
    head on the wire. `interim` sends a 1xx head to the sender at once; 100 (Continue) is not sent through it: the
    front door sends that by itself when the body is first read.
    """

    head: RequestHead
    body: Body
    client: Client
    received_at: float
    head_bytes: int = 0
    interim: Callable[[ResponseHead], None] = ignore_interim


@dataclass(slots=True)
class Answer:
    """What goes back: a final head, its body, and for a 101 the tunnel behind it.

    `head` carries end-to-end fields only; framing (Content-Length, Transfer-Encoding, Connection) is written by the
    front door from `body.length`, apart from a Content-Length that describes a body that is not sent (HEAD, 304).
    `sent` is called once by the front door when all is over, with what really went out.
    """

    head: ResponseHead
    body: Body
    tunnel: Tunnel | None = None
    close: bool = False
    """Close the connection after this answer."""
    sent: Callable[[Delivery], None] = field(default=lambda delivery: None)


@value(frozen=True, slots=True)
class Delivery:
    """What happened to an answer on its way out. Times are on the monotonic clock, seconds."""

    bytes_out: int
    """Head and body bytes written to the sender of the request, framing included."""
    bytes_in: int
    """Head and body bytes read from it."""
    first_byte_at: float | None
    """When the first byte of the final head was written; None when the sender had left before."""
    ended_at: float
    complete: bool
    """The whole answer was written."""
    sender_left: bool
    """The sender closed, reset or stalled before the end: its fault, not the upstream's."""
