"""Answers made of what is stored, of what is being fetched, of what upstream said, or here: their heads, their bodies,
and what the trace tells of them."""

from __future__ import annotations

from edgeproxy.cloudfront import pages
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fill import Fill
from edgeproxy.edge.flight import Came
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import Reply
from edgeproxy.edge.node import Clocks
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.parts import Cut, part_of, part_of_fill
from edgeproxy.edge.spans import Spans
from edgeproxy.errors import EdgeError
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Body, BytesBody, RequestHead, ResponseHead, no_body
from edgeproxy.model import Rules
from edgeproxy.outcome import Result, StoredHead
from edgeproxy.rules import freshness, validation
from edgeproxy.store.memory import Stored
from edgeproxy.store.tiers import Held, Tiers, with_head

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_NOT_REFLECTED = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
"""RFC 9110 section 9.3.8: what is likely to be secret has no place in the answer to a TRACE."""


class Answers:
    """Makes answers for one worker."""

    def __init__(self, store: Tiers, spans: Spans, page: SharedPage, ledger: Ledger, clocks: Clocks) -> None:
        self._store = store
        self._spans = spans
        self._page = page
        self._ledger = ledger
        self._clocks = clocks

    def stored(self, ask: Ask, held: Held, age: float, result: Result) -> Answer:
        """From what is stored: whole, a part, or 304 (RFC 9110 section 13.2.2)."""
        trace, head = ask.trace, held.head
        trace.age = age
        trace.as_of = head.as_of
        trace.edition = self._page.edition(ask.key)
        trace.ttl = freshness.lifetime(head, ask.behavior.caching) - age
        trace.result = Result.ERROR if head.status >= 400 else result
        return self._of_held(ask, held, self._spans.cut(ask, held))

    def completed(self, ask: Ask, held: Held, fill: Fill, came: Came, at: int) -> Answer:
        """From what is stored and from a fill that brings the bytes from `at` on, and whose head is that of both."""
        trace, head = ask.trace, fill.head
        self.came(ask, came)
        trace.age = freshness.current_age(head, self._clocks.wall())
        trace.stored = True
        trace.as_of = head.as_of
        trace.ttl = freshness.lifetime(head, ask.behavior.caching) - trace.age
        trace.result = Result.HIT if trace.collapsed else came.result
        held = with_head(held, head)
        return self._of_held(ask, held, self._spans.cut(ask, held, fill, at))

    def _of_held(self, ask: Ask, held: Held, cut: Cut) -> Answer:
        head = held.head
        if (conditional := self._conditional(ask, head)) is not None:
            return conditional
        if ask.request.method == "HEAD":
            length = None if head.method == "HEAD" else held.length
            return Answer(self._present(ask, _sized(head, length)), no_body())
        if b"range" in ask.request.headers:
            part = part_of(ask.request, held, ask.distribution.rules, self._clocks.random_bytes, cut)
            if part is not None:
                return Answer(self._present(ask, part[0]), part[1])
        whole = ResponseHead(head.status, head.headers, head.reason)
        if isinstance(held, Stored) and held.is_whole:
            return Answer(self._present(ask, whole), BytesBody(held.blocks, held.trailers, self._store.lend(held)))
        return Answer(self._present(ask, whole), cut(0, held.length))

    def filled(self, ask: Ask, fill: Fill, came: Came) -> Answer:
        """From a body on its way into the store."""
        trace, head = ask.trace, fill.head
        self._fetched(ask, head, came)
        if (conditional := self._conditional(ask, head)) is not None:
            fill.keep()
            return conditional
        if ask.request.method == "HEAD":
            fill.keep()
            length = None if head.method == "HEAD" else fill.length
            return Answer(self._present(ask, _sized(head, length)), no_body())
        # Fact sheet 1.7: whoever asked for a range and brought the whole is given the whole.
        as_it_came = fill.part is None and ask.distribution.rules is Rules.CLOUDFRONT and not trace.collapsed
        if not as_it_came and (fill.part is not None or b"range" in ask.request.headers):
            part = part_of_fill(ask.request, fill, ask.distribution.rules, self._spans.reading(ask, fill))
            if part is not None:
                if part[0].status == 416:
                    fill.keep()
                return Answer(self._present(ask, part[0]), part[1])
        whole = ResponseHead(head.status, head.headers, head.reason)
        return Answer(self._present(ask, whole), self._spans.whole(ask, fill))

    def kept(self, ask: Ask, head: StoredHead, came: Came) -> ResponseHead:
        """The head of a whole response that was asked for without conditions, and is in the store by now."""
        self._fetched(ask, head, came)
        return self._present(ask, ResponseHead(head.status, head.headers, head.reason))

    def _fetched(self, ask: Ask, head: StoredHead, came: Came) -> None:
        """Note what a response that is stored has to tell of itself."""
        trace = ask.trace
        self.came(ask, came)
        age = freshness.current_age(head, self._clocks.wall())
        trace.stored = True
        trace.as_of = head.as_of
        trace.ttl = freshness.lifetime(head, ask.behavior.caching) - age
        if b"age" in head.headers or trace.collapsed:
            trace.age = age
        trace.result = Result.ERROR if head.status >= 400 else Result.HIT if trace.collapsed else came.result

    def relayed(self, ask: Ask, reply: Reply) -> Answer:
        """What upstream said, for this request alone."""
        trace, status = ask.trace, reply.head.status
        self.came(ask, Came(status, reply.result, reply.by_owner, reply.received_at - reply.requested_at))
        trace.as_of = reply.as_of
        trace.result = Result.ERROR if status >= 400 else reply.result
        if ask.request.method == "HEAD":
            reply.body.close()
        return Answer(self._present(ask, reply.head), reply.body, tunnel=reply.tunnel)

    def came(self, ask: Ask, came: Came) -> None:
        """Note what upstream answered."""
        ask.trace.forwarded_status = came.status
        ask.trace.by_owner = came.by_owner
        ask.trace.upstream_seconds = came.seconds
        ask.trace.edition = came.edition

    def failed(self, ask: Ask, error: EdgeError) -> Answer:
        """Upstream gave nothing that can be used."""
        ask.trace.detail = error.detail.value
        return self.page(ask, error.status, pages.cause_of(error))

    def page(self, ask: Ask, status: int, cause: pages.Cause) -> Answer:
        """A generated page."""
        head, body = pages.page(ask.distribution.rules, status, cause, ask.request_id)
        return self._made(ask, head, BytesBody([body]), Result.ERROR)

    def last_recipient(self, ask: Ask) -> Answer:
        """To an OPTIONS or TRACE that may not be passed on any more (RFC 9110 sections 7.6.2, 9.3.7, 9.3.8)."""
        if ask.request.method == "TRACE":
            kind = (b"Content-Type", b"message/http")
            return self._made(
                ask, ResponseHead(200, Headers([kind])), BytesBody([_reflected(ask.request)]), Result.MISS
            )
        allowed = ask.behavior.allowed_methods
        methods = [method for method in _METHODS if allowed is None or method in allowed]
        allow = (b"Allow", ", ".join(methods).encode())
        return self._made(ask, ResponseHead(200, Headers([allow])), no_body(), Result.MISS)

    def _made(self, ask: Ask, head: ResponseHead, body: Body, result: Result) -> Answer:
        trace = ask.trace
        trace.generated = True
        trace.age = None
        trace.result = result
        trace.as_of = self._ledger.applied()
        return Answer(self._present(ask, head), body)

    def _conditional(self, ask: Ask, head: StoredHead) -> Answer | None:
        """304, when the viewer, or the tier that asks, has this response already."""
        status = validation.precondition(ask.request, head.status, head.headers)
        if status is None:
            return None
        fields = validation.not_modified(head.headers, to_cache=ask.hop is not None)
        return Answer(self._present(ask, ResponseHead(status, fields)), no_body())

    def _present(self, ask: Ask, head: ResponseHead) -> ResponseHead:
        return ask.presenter.head(head, ask.trace, self._clocks.wall())


def _sized(head: StoredHead, length: int | None) -> ResponseHead:
    """The head that answers a HEAD, with the length that a GET would find."""
    answer = ResponseHead(head.status, head.headers, head.reason)
    if length is None:
        return answer
    return answer.with_headers(head.headers.replaced(b"Content-Length", b"%d" % length))


def _reflected(request: RequestHead) -> bytes:
    """The request as it arrived, less what is nobody's business."""
    kept = request.headers.without(_NOT_REFLECTED)
    lines = [
        b"%b %b HTTP/1.1" % (request.method.encode(), request.target),
        *(name + b": " + value for name, value in kept),
    ]
    return b"\r\n".join([*lines, b"", b""])
