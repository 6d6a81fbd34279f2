"""The life of a request, from a head to an answer. It does not know who brought it.

admission   who asks, which distribution and behaviour, which key            edge/admission.py
decide      what the rules say of what the store remembers                    rules/lookup.py
flight      one fetch per key; everybody reads what it brings                 edge/flight.py
next hop    the key's owner, the regional, the origin                         edge/nexthop.py
present     Age, Via, Cache-Status, X-Cache                                   edge/present.py
record      one per request, when the last byte is out                        telemetry/record.py
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import assert_never

from cachetools import TTLCache

from edgeproxy.cloudfront import pages
from edgeproxy.edge.admission import Admission, Refused
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fetch import Errand, Fetcher
from edgeproxy.edge.fill import Fill
from edgeproxy.edge.flight import Alone, Came, Filled, Flight, Flights, Landing, Refreshed
from edgeproxy.edge.hop import HopAnswer
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.parts import part_of
from edgeproxy.edge.present import Trace
from edgeproxy.edge.recorder import Recorder
from edgeproxy.errors import EdgeError, OriginError, Overloaded, Side
from edgeproxy.message import Answer, Body, BytesBody, Incoming, Peer, ResponseHead, no_body
from edgeproxy.model import Rules
from edgeproxy.outcome import (
    Bypass,
    Fetch,
    Reason,
    Result,
    Revalidate,
    Serve,
    ServeStale,
    StoredHead,
    Unsatisfiable,
)
from edgeproxy.rules import freshness, lookup, validation
from edgeproxy.rules.invalidating import invalidated_targets
from edgeproxy.rules.key import head_key
from edgeproxy.store.memory import MemoryStore, Stored
from edgeproxy.telemetry.counters import Counter, Counters

RESTING_SECONDS = 10
RESTING_MAX = 10_000
"""After a failure that a stale copy covered, how long upstream is not asked again for that key (fact sheet 2.6)."""
JOIN_TRIES = 3
"""How often a request decides again after a flight that turned out not to be for it."""


class Pipeline:
    """Answers requests for one worker."""

    def __init__(
        self,
        place: Place,
        serving: Serving,
        store: MemoryStore,
        nexthop: NextHop,
        page: SharedPage,
        ledger: Ledger,
        recorder: Recorder,
        counters: Counters,
        clocks: Clocks,
    ) -> None:
        self.serving = serving
        self._place = place
        self._store = store
        self._nexthop = nexthop
        self._page = page
        self._ledger = ledger
        self._recorder = recorder
        self._counters = counters
        self._clocks = clocks
        self._admission = Admission(place, page, ledger, counters, clocks)
        fills = serving.settings.fills
        self._flights: Flights[Reply] = Flights(fills, counters, clocks.wall, lambda reply: reply.body.close())
        self._fetcher = Fetcher(store, nexthop, ledger, counters, clocks)
        self._resting: TTLCache[bytes, None] = TTLCache(RESTING_MAX, RESTING_SECONDS, timer=clocks.wall)

    async def handle(self, incoming: Incoming) -> Answer:
        """The answer to a request. Raises only ViewerError (the connection refuses it) and what is a fault of ours."""
        self._counters.add(Counter.REQUESTS)
        request_id = self._admission.request_id()
        try:
            ask = self._admission.admit(incoming, self.serving, request_id)
        except Refused as refused:
            return self._refuse(incoming, refused, request_id)
        try:
            answer = await self._answer(ask)
        except EdgeError as error:
            if error.side is Side.VIEWER:
                raise
            answer = self._failed(ask, error)
        answer.sent = self._recorder.finished(ask, answer.head, answer.tunnel is not None)
        return answer

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self._flights.close()

    # -- the decision -----------------------------------------------------------------------------------------------

    async def _answer(self, ask: Ask) -> Answer:
        if not ask.route.cached:
            return await self._relay(ask, ask.route.reason or Reason.METHOD)
        if b"range" in ask.request.headers:
            answer = self._part_of_stored(ask)
            return await self._relay(ask, Reason.RANGE_COLD) if answer is None else answer
        for _ in range(JOIN_TRIES):
            answer = await self._from_cache(ask)
            if answer is not None:
                return answer
        return await self._relay(ask, ask.trace.reason or Reason.URI_MISS)

    async def _from_cache(self, ask: Ask) -> Answer | None:
        """One round: decide, and do what was decided. None: decide again, what was waited for is not for us."""
        now = self._clocks.wall()
        found = self._usable(ask, now)
        decision = lookup.decide(ask.request, [stored.head for stored in found], ask.behavior.caching, now)
        match decision:
            case Serve(head, age):
                return self._serve(ask, _entry(found, head), age, Result.HIT)
            case ServeStale(head, _):
                stale = _entry(found, head)
                self._refresh_later(ask, found, stale)
                return self._serve_stale(ask, stale)
            case Unsatisfiable(reason):
                ask.trace.reason = reason
                return self._page_answer(ask, 504, pages.Cause.NOT_STORED)
            case Bypass(reason):
                return await self._relay(ask, reason)
            case Revalidate(head, reason, stale_if_error):
                stored = _entry(found, head)
                return await self._ask_upstream(ask, reason, found, stored, stored if stale_if_error else None)
            case Fetch(reason, head):
                return await self._ask_upstream(ask, reason, found, None, None if head is None else _entry(found, head))
            case _:
                assert_never(decision)

    def _usable(self, ask: Ask, now: float) -> list[Stored]:
        """What is stored under the key and covers this request (INVALIDATION rule 1), as if nothing else were there."""
        if ask.refresh:
            return []
        found = list(self._store.find(ask.key, now))
        if ask.request.method == "HEAD":
            found += self._store.find(head_key(ask.key), now)
        return [
            stored
            for stored in found
            if stored.generation == ask.generation and self._ledger.covers(stored.head.as_of, ask.floor)
        ]

    # -- from the store ---------------------------------------------------------------------------------------------

    def _serve(self, ask: Ask, stored: Stored, age: float, result: Result) -> Answer:
        trace = ask.trace
        trace.age = age
        trace.as_of = stored.head.as_of
        trace.ttl = freshness.lifetime(stored.head, ask.behavior.caching) - age
        trace.result = Result.ERROR if stored.head.status >= 400 else result
        return self._stored_answer(ask, stored.head, BytesBody(stored.blocks, stored.trailers), stored.length)

    def _serve_stale(self, ask: Ask, stored: Stored) -> Answer:
        self._counters.add(Counter.STALE_SERVED)
        return self._serve(ask, stored, freshness.current_age(stored.head, self._clocks.wall()), Result.HIT)

    def _stored_answer(self, ask: Ask, stored: StoredHead, body: Body, length: int | None) -> Answer:
        """The answer that a stored response gives to this request: whole, or 304 or 412 (RFC 9110 section 13.2.2)."""
        status = validation.precondition(ask.request, stored.status, stored.headers)
        if status is not None or ask.request.method == "HEAD":
            body.close()
        if status == 304:
            return Answer(self._present(ask, ResponseHead(304, validation.not_modified(stored.headers))), no_body())
        if status is not None:
            return self._page_answer(ask, status, pages.Cause.PRECONDITION)
        head = ResponseHead(stored.status, stored.headers, stored.reason)
        if ask.request.method == "HEAD":
            if stored.method == "GET" and length is not None:
                head = head.with_headers(stored.headers.replaced(b"Content-Length", str(length).encode()))
            return Answer(self._present(ask, head), no_body())
        return Answer(self._present(ask, head), body)

    def _part_of_stored(self, ask: Ask) -> Answer | None:
        """The answer to a Range request from a fresh stored response; None when it must go upstream."""
        now = self._clocks.wall()
        found = self._usable(ask, now)
        decision = lookup.decide(ask.request, [stored.head for stored in found], ask.behavior.caching, now)
        if not isinstance(decision, Serve):
            return None
        stored = _entry(found, decision.stored)
        whole = self._serve(ask, stored, decision.age, Result.HIT)
        if ask.request.method != "GET" or whole.head.status != 200:
            return whole
        partial_answer = part_of(ask.request, stored, ask.distribution.rules, self._clocks.random_bytes)
        if partial_answer is None:
            return whole
        head, body = partial_answer
        return Answer(self._present(ask, head), body)

    # -- upstream ---------------------------------------------------------------------------------------------------

    async def _ask_upstream(
        self, ask: Ask, reason: Reason, found: Sequence[Stored], validated: Stored | None, fallback: Stored | None
    ) -> Answer | None:
        """Fetch or revalidate, together with everybody who wants the same; `fallback` covers for a failure.

        None: decide again, what was waited for turned out not to be for this request.
        """
        ask.trace.reason = reason
        if fallback is not None and ask.key in self._resting:
            return self._serve_stale(ask, fallback)
        hides = fallback is not None and self._hides_failures(ask, fallback)
        errand = Errand(ask, found, validated, hides)
        try:
            flight = None if reason is Reason.REQUEST else self._to_join(errand)
            if flight is not None:
                self._counters.add(Counter.WAITS)
                landing = await self._flights.wait(flight, ask.incoming.interim)
                ask.trace.collapsed = landing is not None
            elif self._flights.may_start():
                flight = self._flights.start(errand.key, self._fetcher.mark(ask), partial(self._fetcher.fetch, errand))
                landing = await self._flights.lead(flight, ask.incoming.interim)
            else:
                landing = None
        except (OriginError, Overloaded) as error:
            if fallback is None:
                raise
            if ask.distribution.rules is Rules.CLOUDFRONT:
                self._resting[ask.key] = None
            ask.trace.detail = error.detail.value
            return self._serve_stale(ask, fallback)
        if landing is None:
            return await self._relay(ask, reason)
        return self._landed(errand, landing)

    def _hides_failures(self, ask: Ask, fallback: Stored) -> bool:
        """Whether the stale copy may also stand in for an answer that is a failure (RFC 5861 section 4)."""
        return lookup.stale_allowed(
            fallback.head, ask.behavior.caching, self._clocks.wall(), error=True, request=ask.request
        )

    def _to_join(self, errand: Errand) -> Flight[Reply] | None:
        """A flight in progress that may bring what this request wants."""
        ask = errand.ask
        if self._flights.unshared(errand.key) is not None:
            return None
        mark = self._fetcher.mark(ask)
        for flight in self._flights.in_progress(errand.key):
            same = flight.mark.revision == mark.revision and flight.mark.generation == mark.generation
            if not same or flight.mark.refresh < mark.refresh or not self._ledger.covers(flight.mark.as_of, ask.floor):
                continue
            if flight.landing is None or (isinstance(flight.landing, Filled) and self._readable(ask, flight.landing)):
                return flight
        return None

    def _readable(self, ask: Ask, filled: Filled) -> bool:
        """Whether a fill answers this request too: all of it is there, its Vary matches, it covers."""
        fill = filled.fill
        covers = self._ledger.covers(fill.head.as_of, ask.floor)
        return fill.joinable and covers and lookup.matches(fill.head, ask.request, ask.behavior.caching)

    def _landed(self, errand: Errand, landing: Landing[Reply]) -> Answer | None:
        ask, trace = errand.ask, errand.ask.trace
        match landing:
            case Refreshed(stored, came):
                self._came(ask, came)
                if not lookup.matches(stored.head, ask.request, ask.behavior.caching):
                    return None
                age = freshness.current_age(stored.head, self._clocks.wall())
                trace.stored = True
                return self._serve(ask, stored, age, Result.HIT if came.result is Result.HIT else Result.REFRESH_HIT)
            case Filled(fill, came):
                self._came(ask, came)
                if not self._readable(ask, landing):
                    return None
                return self._from_fill(ask, fill, came)
            case Alone(None, _):
                trace.collapsed = False
                return None
            case Alone(Reply() as reply, refusal):
                landing.own = None
                trace.refusal = refusal
                return self._relayed(ask, reply)
        raise AssertionError(landing)

    def _came(self, ask: Ask, came: Came) -> None:
        ask.trace.forwarded_status = came.status
        ask.trace.by_owner = came.by_owner
        ask.trace.upstream_seconds = came.seconds

    def _from_fill(self, ask: Ask, fill: Fill, came: Came) -> Answer:
        trace = ask.trace
        age = freshness.current_age(fill.head, self._clocks.wall())
        trace.stored = True
        trace.as_of = fill.head.as_of
        trace.ttl = freshness.lifetime(fill.head, ask.behavior.caching) - age
        if b"age" in fill.head.headers or trace.collapsed:
            trace.age = age
        result = Result.HIT if trace.collapsed else came.result
        trace.result = Result.ERROR if fill.head.status >= 400 else result
        answer = self._stored_answer(ask, fill.head, fill.reader(), fill.length)
        if answer.body.length == 0 and fill.length != 0:
            fill.keep()
        return answer

    def _refresh_later(self, ask: Ask, found: Sequence[Stored], stale: Stored) -> None:
        """Revalidate in the background, unless somebody does already (RFC 5861 section 3)."""
        errand = Errand(ask, found, stale, self._hides_failures(ask, stale), background=True)
        if self._flights.in_progress(errand.key) or not self._flights.may_start():
            return
        self._flights.start(errand.key, self._fetcher.mark(ask), partial(self._fetcher.fetch, errand))

    # -- past the cache ---------------------------------------------------------------------------------------------

    async def _relay(self, ask: Ask, reason: Reason) -> Answer:
        """Send the request on as it came, and the answer back as it comes; nothing is stored, nobody joins."""
        trace = ask.trace
        if trace.reason is None or not ask.route.cached:
            trace.reason = reason
        self._counters.add(Counter.BYPASSED)
        reply = await self._nexthop.send(ask, ask.request, ask.incoming.body, interim=ask.incoming.interim)
        for target in invalidated_targets(ask.request, reply.head):
            self._page.next_generation(ask.distribution.id, target.partition(b"?")[0])
        return self._relayed(ask, reply)

    def _relayed(self, ask: Ask, reply: Reply) -> Answer:
        trace, status = ask.trace, reply.head.status
        self._came(ask, Came(status, reply.result, reply.by_owner, reply.received_at - reply.requested_at))
        trace.as_of = reply.as_of
        trace.result = Result.ERROR if status >= 400 else reply.result
        if ask.request.method == "HEAD":
            reply.body.close()
        return Answer(self._present(ask, reply.head), reply.body, tunnel=reply.tunnel)

    # -- answers made here ------------------------------------------------------------------------------------------

    def _failed(self, ask: Ask, error: EdgeError) -> Answer:
        """Upstream gave nothing that can be used."""
        ask.trace.detail = error.detail.value
        return self._page_answer(ask, error.status, pages.cause_of(error))

    def _page_answer(self, ask: Ask, status: int, cause: pages.Cause) -> Answer:
        trace = ask.trace
        trace.generated = True
        trace.age = None
        trace.result = Result.ERROR
        trace.as_of = self._ledger.applied()
        head, body = pages.page(ask.distribution.rules, status, cause, ask.request_id)
        return Answer(self._present(ask, head), BytesBody([body]))

    def _refuse(self, incoming: Incoming, refused: Refused, request_id: str) -> Answer:
        """The answer to a request that was not admitted."""
        serving = self.serving
        peer = Peer.VIEWER if refused.mismatch is None else Peer.TIER
        presenter = self._admission.presenter(serving, refused.distribution, request_id, peer)
        trace = Trace(result=refused.result, generated=True, as_of=self._ledger.applied())
        head, body = pages.page(presenter.rules, refused.status, refused.cause, request_id, refused.location)
        head = presenter.head(head, trace, self._clocks.wall())
        if refused.mismatch is not None:
            answer = HopAnswer(self._ledger.applied(), Result.ERROR, refused.mismatch)
            head = head.with_headers(head.headers.without({b"edgeproxy-hop"}).plus(answer.field()))
        unread = incoming.body.length != 0
        return Answer(
            head,
            BytesBody([body]),
            close=unread or refused.distribution is None,
            sent=self._recorder.refused(incoming, refused, serving, request_id, head, trace),
        )

    def _present(self, ask: Ask, head: ResponseHead) -> ResponseHead:
        return ask.presenter.head(head, ask.trace, self._clocks.wall())


def _entry(found: Sequence[Stored], head: StoredHead) -> Stored:
    """The stored response that a decision is about: the rules know heads only."""
    return next(stored for stored in found if stored.head is head)
