"""One request and its answer on one connection, and how the request's body gets out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edgeproxy.errors import BodyAborted, Detail, Side, ViewerError
from edgeproxy.message import Body, RequestHead, ResponseHead, at_once, ignore_interim, no_body
from edgeproxy.upstream.body import ResponseBody, UpgradedTunnel
from edgeproxy.upstream.reading import ResponseReader
from edgeproxy.upstream.target import Patience
from edgeproxy.upstream.writing import chunk, last_chunk


class Hurried(Protocol):
    """Who would have the whole answer in one piece. It is told once, in one of two ways."""

    def came(self, head: ResponseHead, body: bytes) -> None:
        """The whole answer; the connection is free again."""
        ...

    def slow(self) -> None:
        """Anything else has happened: from now on the call is like any other."""
        ...


class Call:
    """What one exchange on one connection knows. `completes_at` is on the loop's clock, inf for no bound."""

    __slots__ = (
        "answer", "body", "completes_at", "first_byte_at", "go", "hurried", "interim", "left", "method", "patience",
        "pulled", "reader", "request", "request_body", "reused", "sender", "sending", "sent_at", "tunnel", "unsent",
        "upgrade", "without_body",
    )  # fmt: skip

    def __init__(
        self,
        request: RequestHead,
        body: Body,
        patience: Patience,
        interim: Callable[[ResponseHead], None],
        upgrade: bool,
        completes_at: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.request = request
        self.method = request.method
        self.request_body = body
        self.patience = patience
        self.interim = interim
        self.upgrade = upgrade
        self.completes_at = completes_at
        self.answer: asyncio.Future[ResponseHead] = loop.create_future()
        """The final head, or what went wrong before it."""
        self.left = body.length
        """Bytes of the request's body that are not written yet, None when it will be chunked."""
        self.without_body = self.left == 0
        self.unsent = not self.without_body
        """Part of the request is not written yet."""
        self.sending = self.unsent
        """The sender is at work; it no longer is when a final head came instead of 100 (Continue)."""
        self.pulled = False
        """The request's body has been asked for bytes: it cannot be sent again."""
        expects = self.unsent and (request.headers.get(b"expect") or b"").lower() == b"100-continue"
        self.go: asyncio.Future[bool] | None = loop.create_future() if expects else None
        """Whether to send the body, once 100 (Continue) or a final head has come; None when it goes out at once."""
        self.reader: ResponseReader
        self.body: ResponseBody
        """There as soon as `answer` has a head."""
        self.tunnel: UpgradedTunnel | None = None
        self.sender: asyncio.Task[None] | None = None
        self.hurried: Hurried | None = None
        """There until the answer begins, where somebody hopes for all of it at once; the reader is not there then."""
        self.reused = False
        self.sent_at: float | None = None
        self.first_byte_at: float | None = None

    def again(self) -> Call:
        """The same once more, with nothing of it sent."""
        return Call(self.request, self.request_body, self.patience, self.interim, self.upgrade, self.completes_at)

    @property
    def sent(self) -> bool:
        """Whether anything of the request has been written."""
        return self.sent_at is not None

    @property
    def first_byte_seconds(self) -> float:
        """From the head written to the first byte of an answer; 0 before that."""
        if self.sent_at is None or self.first_byte_at is None:
            return 0.0
        return self.first_byte_at - self.sent_at

    def decide_to_send(self, go: bool) -> None:
        """The first word on whether the body is wanted stands."""
        if self.go is not None and not self.go.done():
            self.go.set_result(go)


def hurried_call(
    request: RequestHead, patience: Patience, completes_at: float, hurried: Hurried, *, with_content: bool
) -> Call:
    """The call for a request that is written in one piece, its content included."""
    call = Call(request, no_body(), patience, ignore_interim, False, completes_at)
    call.hurried = hurried
    call.without_body = not with_content
    call.pulled = with_content
    return call


class Outlet(Protocol):
    """Where a request's body goes."""

    async def write(self, data: bytes) -> None:
        """Returns when more can be taken."""
        ...


JOIN_MAX = 64 * 1024
"""A body is written in one piece with its head up to about this many bytes."""


def with_body(call: Call, head: bytes) -> bytes:
    """The head, and behind it what has come of a body of known length: most bodies are there when they are sent.

    What is still `unsent` then is for `send_body`. Raises as that does.
    """
    if call.left is None:
        return head
    call.pulled = True
    parts, size = [head], 0
    while call.left and size < JOIN_MAX and (block := at_once(call.request_body)) is not None:
        size += len(block)
        call.left = _less(call.left, block)
        parts.append(block)
    if not call.left:
        call.sending = call.unsent = False
    return b"".join(parts)


def _less(left: int, block: bytes) -> int:
    """What is still to be sent of a body behind its next block, which is empty at its end."""
    if left < len(block):
        raise ViewerError("The request's body is longer than its Content-Length.")
    if not block:
        cut = BodyAborted("The request's body ended before its Content-Length.", detail=Detail.CLIENT_HUNG_UP)
        cut.side = Side.VIEWER
        raise cut
    return left - len(block)


async def send_body(call: Call, outlet: Outlet, expect_timeout: float) -> None:
    """Sends the body of `call`, after 100 (Continue) where that is expected, and marks it as sent.

    Raises what the body raises; ViewerError or BodyAborted when the body is not what its length says.
    """
    if call.go is not None:
        await asyncio.wait({call.go}, timeout=expect_timeout)
        if call.go.done() and not call.go.result():
            call.sending = False
            return
    body = call.request_body
    chunked = call.left is None
    call.pulled = True
    while call.left != 0:
        block = await body.read()
        if call.left is not None:
            call.left = _less(call.left, block)
        elif not block:
            break
        await outlet.write(chunk(block) if chunked else block)
    if chunked:
        await outlet.write(last_chunk(body.trailers))
    call.sending = call.unsent = False
