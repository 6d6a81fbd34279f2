"""A shared cache made of the rules and nothing else: a dictionary, a clock that the case moves, a scripted origin.

It does what the pipeline does around the same decisions, in as few lines as can be, so that a fault of the rules
shows without sockets, flights or stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import NO_EPOCH, AsOf, Caching, Rules, Ttl
from edgeproxy.outcome import Bypass, Decision, Fetch, Reason, Revalidate, Serve, ServeStale, StoredHead, Unsatisfiable
from edgeproxy.rules.freshness import current_age
from edgeproxy.rules.invalidating import invalidated_targets
from edgeproxy.rules.lookup import decide, is_failure, stale_allowed
from edgeproxy.rules.partial import combined, combines, complete_length
from edgeproxy.rules.ranges import Unsatisfiable as NoRange
from edgeproxy.rules.ranges import Whole, content_range_field, received_part, select, unsatisfied_range_field
from edgeproxy.rules.storing import refusal, stored_head
from edgeproxy.rules.validation import (
    PRECONDITIONS,
    conditional,
    freshened,
    freshened_by_head,
    not_modified,
    precondition,
    selected,
    unconditional,
)
from tests.conformance.case import Ask, Case, Reply, rendered
from tests.conformance.judge import Message, faults

START = 1_700_000_000.0
HERE = AsOf(NO_EPOCH, 0)
_BODILESS = frozenset({204, 205, 304})


class Silence(Exception):
    """The origin closed the connection."""


@dataclass(slots=True)
class Entry:
    """A stored response and its body; bytes outside `head.parts` are zeros."""

    head: StoredHead
    body: bytes


@dataclass(slots=True)
class Origin:
    """What the origin answers to one ask, and what it saw of it."""

    number: int
    ask: Ask
    now: float
    seen: list[Message]

    def answer(self, request: RequestHead) -> tuple[ResponseHead, bytes]:
        message = Message(request.method, _text(request.headers))
        self.seen.append(message)
        said = self.ask.reply
        if message.conditional() and self.ask.conditional_reply is not None:
            said = self.ask.conditional_reply
        if said.silent:
            raise Silence
        fields = [(name.encode(), rendered(value, self.now).encode("latin-1")) for name, value in said.headers]
        if said.status != 304:
            fields.append((b"Reply-Id", b"%d" % self.number))
        return ResponseHead(said.status, Headers(fields)), self._body(said, request.method)

    def _body(self, said: Reply, method: str) -> bytes:
        if method == "HEAD" or said.status in _BODILESS:
            return b""
        return f"body {self.number}".encode() if said.body is None else said.body.encode()


Decide = Callable[[RequestHead, Sequence[StoredHead], Caching, float], Decision]


class SharedCache:
    """The cache. `decide` can be replaced, to see whether the cases notice."""

    def __init__(self, caching: Caching, decide: Decide = decide, stores: bool = True) -> None:
        self._caching = caching
        self._decide = decide
        self._stores = stores
        self._entries: dict[bytes, list[Entry]] = {}

    def handle(self, request: RequestHead, origin: Origin) -> tuple[ResponseHead, bytes]:
        """Answer a request."""
        if request.method not in ("GET", "HEAD"):
            return self._change(request, origin)
        found = self._entries.get(request.target, [])
        decision = self._decide(request, [entry.head for entry in found], self._caching, origin.now)
        match decision:
            case Serve(head, _):
                return self._present(request, _entry(found, head), origin.now)
            case ServeStale(head, _):
                answer = self._present(request, _entry(found, head), origin.now)
                background = replace(origin, seen=[])
                self._fetch(unconditional(request), Revalidate(head, Reason.STALE, stale_if_error=True), background)
                return answer
            case Unsatisfiable():
                return ResponseHead(504, Headers()), b""
            case Bypass():
                return self._passed(request, origin)
            case Fetch() | Revalidate():
                return self._fetch(request, decision, origin)

    def _change(self, request: RequestHead, origin: Origin) -> tuple[ResponseHead, bytes]:
        try:
            response, body = origin.answer(request)
        except Silence:
            return ResponseHead(502, Headers()), b""
        for target in invalidated_targets(request, response):
            self._entries.pop(target, None)
        if request.method == "POST":
            self._keep(request, response, body, origin.now)
        return response, body

    def _passed(self, request: RequestHead, origin: Origin) -> tuple[ResponseHead, bytes]:
        try:
            return origin.answer(request)
        except Silence:
            return ResponseHead(502, Headers()), b""

    def _fetch(self, request: RequestHead, decision: Fetch | Revalidate, origin: Origin) -> tuple[ResponseHead, bytes]:
        found = self._entries.get(request.target, [])
        old = decision.stale if isinstance(decision, Fetch) else decision.stored if decision.stale_if_error else None
        try:
            if isinstance(decision, Revalidate):
                others = [entry.head for entry in found if entry.head is not decision.stored]
                response, body = origin.answer(conditional(request, [*others, decision.stored]))
                if response.status == 304:
                    return self._refreshed(request, response, found, origin)
            else:
                # A range of something that is not here goes on as it came.
                ranged = request.headers.without(PRECONDITIONS - {b"if-range"})
                response, body = origin.answer(request.with_headers(ranged))
        except Silence:
            if old is not None and stale_allowed(old, self._caching, origin.now, error=False, request=request):
                return self._present(request, _entry(found, old), origin.now)
            return ResponseHead(502, Headers()), b""
        failed = old is not None and is_failure(response.status, self._caching)
        if failed and old and stale_allowed(old, self._caching, origin.now, error=True, request=request):
            return self._present(request, _entry(found, old), origin.now)
        if request.method == "HEAD":
            self._told_by_head(found, response, origin.now)
        kept = self._keep(request, response, body, origin.now)
        if kept is None or response.status == 206:
            return response, body
        return self._present(request, kept, origin.now)

    def _refreshed(
        self, request: RequestHead, response: ResponseHead, found: list[Entry], origin: Origin
    ) -> tuple[ResponseHead, bytes]:
        head = selected([entry.head for entry in found], response)
        if head is None:
            again, body = origin.answer(unconditional(request))
            kept = self._keep(request, again, body, origin.now)
            return (again, body) if kept is None else self._present(request, kept, origin.now)
        entry = _entry(found, head)
        entry.head = freshened(
            head, response, requested_at=origin.now, received_at=origin.now, as_of=HERE, request=request
        )
        return self._present(request, entry, origin.now)

    def _told_by_head(self, found: list[Entry], response: ResponseHead, now: float) -> None:
        for entry in list(found):
            if entry.head.method == "GET":
                head = freshened_by_head(entry.head, response, requested_at=now, received_at=now, as_of=HERE)
                if head is None:
                    found.remove(entry)
                else:
                    entry.head = head

    def _keep(self, request: RequestHead, response: ResponseHead, body: bytes, now: float) -> Entry | None:
        if not self._stores or refusal(request, response, self._caching, now, parts=True) is not None:
            return None
        found = self._entries.setdefault(request.target, [])
        for entry in found:
            if combines(entry.head, response, now):
                entry.body = _with_part(entry.body, response, body)
                entry.head = combined(entry.head, response, requested_at=now, received_at=now, as_of=HERE)
                return entry
        head = stored_head(request, response, requested_at=now, received_at=now, as_of=HERE)
        if head.parts is not None or response.status == 206:
            body = _with_part(bytes(complete_length(head) or 0), response, body)
        found[:] = [entry for entry in found if (entry.head.vary, entry.head.method) != (head.vary, head.method)]
        found.append(Entry(head, body))
        return found[-1]

    def _present(self, request: RequestHead, entry: Entry, now: float) -> tuple[ResponseHead, bytes]:
        head = entry.head
        headers = head.headers.replaced(b"Age", b"%d" % current_age(head, now))
        status = precondition(request, head.status, headers)
        if status is not None:
            return ResponseHead(status, not_modified(headers)), b""
        if request.method == "HEAD":
            return ResponseHead(head.status, headers), b""
        chosen = select(request, head.status, headers, len(entry.body), self._caching.rules)
        match chosen:
            case Whole():
                return ResponseHead(head.status, headers), entry.body
            case NoRange():
                unsatisfied = unsatisfied_range_field(len(entry.body))
                return ResponseHead(416, headers.replaced(b"Content-Range", unsatisfied)), b""
            case [part]:
                named = headers.replaced(b"Content-Range", content_range_field(part, len(entry.body)))
                sized = named.replaced(b"Content-Length", b"%d" % part.length)
                return ResponseHead(206, sized), entry.body[part.first : part.last + 1]
            case parts:
                several = headers.replaced(b"Content-Type", b"multipart/byteranges; boundary=x")
                return ResponseHead(206, several), b"|".join(entry.body[p.first : p.last + 1] for p in parts)


def play(case: Case, decide: Decide = decide, stores: bool = True) -> list[str]:
    """What goes wrong when a case is played; nothing, one hopes."""
    caching = Caching() if case.ttl is None else Caching(Rules.CLOUDFRONT, Ttl(*case.ttl))
    cache = SharedCache(caching, decide, stores)
    now, found = START, []
    for number, ask in enumerate(case.asks):
        now += ask.wait
        origin = Origin(number, ask, now, [])
        fields = Headers((name.encode(), rendered(value, now).encode("latin-1")) for name, value in ask.headers)
        target = f"/{case.id}{ask.path}".encode()
        request = RequestHead(ask.method, target, b"www.example.com", fields)
        head, body = cache.handle(request, origin)
        answer = Message(str(head.status), _text(head.headers), body)
        found += [f"ask {number}: {fault}" for fault in faults(ask, answer, origin.seen, now)]
    return found


def _text(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _entry(found: list[Entry], head: StoredHead) -> Entry:
    return next(entry for entry in found if entry.head is head)


def _with_part(body: bytes, response: ResponseHead, part: bytes) -> bytes:
    carried = received_part(response)
    if carried is None or carried.part is None:
        raise AssertionError("not a partial response")
    return body[: carried.part.first] + part + body[carried.part.last + 1 :]
