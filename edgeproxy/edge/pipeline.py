"""The life of a request, from a head to an answer. It does not know who brought it.

admission   who asks, which distribution and behaviour, which key            edge/admission.py
decide      what the rules say of what the store remembers                    rules/lookup.py
flight      one fetch per key; everybody reads what it brings                 edge/flight.py
next hop    the key's owner, the regional, the origin                         edge/nexthop.py
answer      from the store, from a fill, as it came; Age, Via, Cache-Status   edge/answers.py, edge/present.py
record      one per request, when the last byte is out                        telemetry/record.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from cachetools import TTLCache

from edgeproxy.cloudfront import pages
from edgeproxy.cloudfront.origin_request import forwards_left
from edgeproxy.edge.admission import Admission, Refused, resource
from edgeproxy.edge.answers import Answers
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fetch import Errand, Fetcher
from edgeproxy.edge.flight import Alone, Filled, Flight, Flights, Landing, Refreshed
from edgeproxy.edge.hop import HopAnswer
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage, owner_of
from edgeproxy.edge.parts import soon_there
from edgeproxy.edge.present import Trace
from edgeproxy.edge.recorder import Recorder
from edgeproxy.edge.searches import Searches
from edgeproxy.errors import EdgeError, OriginError, Overloaded, Side
from edgeproxy.message import Answer, BytesBody, Incoming, Peer
from edgeproxy.model import Rules
from edgeproxy.outcome import (
    Bypass,
    Decision,
    Fetch,
    Reason,
    Result,
    Revalidate,
    Serve,
    ServeStale,
    StoredHead,
    Unsatisfiable,
)
from edgeproxy.rules import freshness, lookup, storing
from edgeproxy.rules.invalidating import invalidated_targets
from edgeproxy.rules.key import head_key
from edgeproxy.rules.partial import holds
from edgeproxy.rules.validation import has_validator
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
        self._searches = Searches(store, page, ledger)
        self._fetcher = Fetcher(store, nexthop, page, ledger, counters, clocks, self._searches)
        self._answers = Answers(store, page, ledger, clocks)
        self._resting: TTLCache[bytes, None] = TTLCache(RESTING_MAX, RESTING_SECONDS, timer=clocks.wall)

    async def handle(self, incoming: Incoming) -> Answer:
        """The answer to a request. Raises only ViewerError (the connection refuses it) and what is a fault of ours."""
        if incoming.client.peer is not Peer.WORKER:
            self._counters.add(Counter.REQUESTS)
        request_id = self._clocks.request_id()
        try:
            ask = self._admission.admit(incoming, self.serving, request_id)
        except Refused as refused:
            return self._refuse(incoming, refused, request_id)
        try:
            answer = await self._answer(ask)
        except asyncio.CancelledError:
            self._recorder.left(ask)
            raise
        except EdgeError as error:
            if error.side is Side.VIEWER:
                self._recorder.broken(ask, error)
                raise
            answer = self._answers.failed(ask, error)
        answer.sent = self._recorder.finished(ask, answer.head, answer.tunnel is not None)
        return answer

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self._flights.close()

    # -- the decision -----------------------------------------------------------------------------------------------

    async def _answer(self, ask: Ask) -> Answer:
        if ask.distribution.rules is Rules.RFC9111 and forwards_left(ask.request) == 0:
            return self._answers.last_recipient(ask)
        if not ask.route.cached:
            return await self._relay(ask, ask.route.reason or Reason.METHOD)
        if not ask.floor.usable:
            return await self._relay(ask, Reason.QUARANTINE)
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
        if isinstance(decision, Fetch) and not found and ask.serving.settings.cache.no_vary_search:
            found, decision = self._searches.instead(ask, now) or (found, decision)
        if isinstance(decision, Serve | ServeStale):
            decision = self._unless_softened(ask, decision, now)
        match decision:
            case Serve(head, age):
                return self._answers.stored(ask, _entry(found, head), age, Result.HIT)
            case ServeStale(head, _) if not ask.current:
                stale = _entry(found, head)
                self._refresh_later(ask, found, stale)
                return self._serve_stale(ask, stale)
            case ServeStale(head, _):
                stale = _entry(found, head)
                return await self._ask_upstream(ask, Reason.STALE, found, stale, stale)
            case Fetch(reason) | Revalidate(_, reason) | Unsatisfiable(reason) if self._is_for_the_owner(ask):
                return await self._relay(ask, reason)
            case Unsatisfiable(reason):
                ask.trace.reason = reason
                return self._answers.page(ask, 504, pages.Cause.NOT_STORED)
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
        edition = None if ask.owner is None else self._page.edition(ask.key)
        usable = []
        for stored in found:
            if stored.terms.generation != ask.generation or edition not in (None, stored.terms.edition):
                continue
            if self._ledger.covers(stored.head.as_of, ask.floor, stored.head.sources):
                usable.append(stored)
            else:
                self._counters.add(Counter.INVALIDATED)
        return usable

    def _unless_softened(self, ask: Ask, decision: Serve | ServeStale, now: float) -> Decision:
        """The same, unless a soft invalidation has named the response: then it is validated first, however fresh."""
        head = decision.stored
        if not self._ledger.softened(head.as_of, ask.floor, ask.key, head.sources):
            return decision
        in_need = lookup.stale_allowed(head, ask.behavior.caching, now, error=False, request=ask.request)
        if has_validator(head.headers) and not ask.behavior.caching.forwards_cookies:
            return Revalidate(head, Reason.STALE, in_need)
        return Fetch(Reason.STALE, head if in_need else None)

    def _is_for_the_owner(self, ask: Ask) -> bool:
        """What the owner of the key may answer is for this request alone, so nobody here shares or keeps it."""
        return ask.owner is not None and lookup.asks_for_itself(ask.request, ask.behavior.caching)

    def _serve_stale(self, ask: Ask, stored: Stored) -> Answer:
        self._counters.add(Counter.STALE_SERVED)
        age = freshness.current_age(stored.head, self._clocks.wall())
        return self._answers.stored(ask, stored, age, Result.HIT)

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
        unshared = self._flights.unshared(errand.key)
        if unshared is not None and self._ledger.reaches(unshared, ask.floor):
            return None
        if not lookup.collapses(ask.behavior.caching):
            return None
        mark = self._fetcher.mark(ask)
        for flight in self._flights.in_progress(errand.key):
            same = flight.mark.revision == mark.revision and flight.mark.generation == mark.generation
            if not same or flight.mark.refresh < mark.refresh or not self._ledger.reaches(flight.mark.as_of, ask.floor):
                continue
            if flight.landing is None or (isinstance(flight.landing, Filled) and self._joinable(ask, flight.landing)):
                return flight
        return self._brings_part(errand) if errand.ranged else None

    def _brings_part(self, errand: Errand) -> Flight[Reply] | None:
        """A fetch of the whole that will soon have the part asked for."""
        ask = errand.ask
        ahead = ask.serving.settings.fills.finish_remaining
        for flight in self._flights.in_progress(errand.store_key):
            if flight.mark.generation != ask.generation or not isinstance(flight.landing, Filled):
                continue
            near = soon_there(ask.request, flight.landing.fill, ask.distribution.rules, ahead)
            if near and self._joinable(ask, flight.landing):
                return flight
        return None

    def _joinable(self, ask: Ask, filled: Filled) -> bool:
        """Whether a fill that this request did not start answers it too."""
        return self._readable(ask, filled) and self._shared(ask, filled.fill.head)

    def _shared(self, ask: Ask, head: StoredHead) -> bool:
        """Whether a response that another request has just brought may be used for this one without asking again: a
        collapsed request is no excuse for what a stored response would not do (RFC 9111 section 4)."""
        decision = lookup.decide(ask.request, [replace(head, parts=None)], ask.behavior.caching, self._clocks.wall())
        return isinstance(decision, Serve | ServeStale)

    def _readable(self, ask: Ask, filled: Filled) -> bool:
        """Whether a fill answers this request too: all of it is there, its Vary matches, it covers."""
        fill = filled.fill
        matches = lookup.matches(fill.head, ask.request, ask.behavior.caching)
        return fill.joinable and matches and self._covers(ask, fill.head)

    def _covers(self, ask: Ask, head: StoredHead) -> bool:
        return self._ledger.covers(head.as_of, ask.floor, head.sources)

    def _landed(self, errand: Errand, landing: Landing[Reply]) -> Answer | None:
        ask, trace = errand.ask, errand.ask.trace
        head = _head_of(landing)
        if head is not None and not lookup.reusable(head, ask.behavior.caching, self._clocks.wall()):
            self._flights.do_not_share(errand.key, head.as_of)
        if head is not None and trace.collapsed and not self._shared(ask, head):
            trace.collapsed = False
            return None
        match landing:
            case Refreshed(stored, came):
                self._answers.came(ask, came)
                # An invalidation may have come between the leader's arrival and this one's: a 304 does not count then.
                fits = self._covers(ask, stored.head) and lookup.matches(stored.head, ask.request, ask.behavior.caching)
                if not fits or not holds(stored.head, ask.request, ask.distribution.rules):
                    return None
                trace.stored = True
                age = freshness.current_age(stored.head, self._clocks.wall())
                result = Result.HIT if came.result is Result.HIT else Result.REFRESH_HIT
                return self._answers.stored(ask, stored, age, result)
            case Filled(fill, came):
                return self._answers.filled(ask, fill, came) if self._readable(ask, landing) else None
            case Alone(None, _):
                trace.collapsed = False
                return None
            case Alone(Reply() as reply, refusal):
                landing.own = None
                trace.refusal = refusal
                return self._answers.relayed(ask, reply)
        raise AssertionError(landing)

    def _refresh_later(self, ask: Ask, found: Sequence[Stored], stale: Stored) -> None:
        """Revalidate in the background, unless somebody does already (RFC 5861 section 3)."""
        errand = Errand(ask, found, stale, self._hides_failures(ask, stale), background=True)
        if self._flights.in_progress(errand.key) or not self._flights.may_start():
            return
        self._counters.add(Counter.REFRESHES)
        self._flights.start(errand.key, self._fetcher.mark(ask), partial(self._fetcher.fetch, errand))

    # -- past the cache ---------------------------------------------------------------------------------------------

    async def _relay(self, ask: Ask, reason: Reason) -> Answer:
        """Send the request on as it came, and the answer back as it comes; nobody joins, hardly anything is stored."""
        trace = ask.trace
        if trace.reason is None or not ask.route.cached:
            trace.reason = reason
        self._counters.add(Counter.BYPASSED)
        refresh = ask.route.cached and self._fetcher.must_refresh(ask, ask.key)
        reply = await self._nexthop.send(
            ask, ask.request, ask.incoming.body, refresh=refresh, interim=ask.incoming.interim
        )
        for target in invalidated_targets(ask.request, reply.head):
            self._page.next_generation(resource(replace(ask.request, target=target), ask.distribution))
        if ask.request.method == "POST" and self._may_keep(ask, reply):
            return await self._kept(ask, reply)
        return self._answers.relayed(ask, reply)

    def _may_keep(self, ask: Ask, reply: Reply) -> bool:
        """Whether the answer to a POST may be used for a GET, and this worker is the one that keeps it."""
        workers = len(self._place.owners)
        if workers > 1 and owner_of(ask.key, self._place.shards, workers) != self._place.worker:
            return False
        refusal = storing.refusal(ask.request, reply.head, ask.behavior.caching, reply.received_at)
        return refusal is None and self._flights.may_start()

    async def _kept(self, ask: Ask, reply: Reply) -> Answer:
        """Store what a POST brought, as of the state that it made."""
        ask.generation = self._page.generation(resource(ask.request, ask.distribution))
        errand = Errand(ask, (), None, hides_failures=False)
        start = partial(self._fetcher.keep, errand, reply)
        flight = self._flights.start(errand.key, self._fetcher.mark(ask), start)
        landing = await self._flights.lead(flight, ask.incoming.interim)
        if isinstance(landing, Filled):
            return self._answers.filled(ask, landing.fill, landing.came)
        return self._answers.relayed(ask, reply)

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


def _head_of(landing: Landing[Reply]) -> StoredHead | None:
    match landing:
        case Filled(fill, _):
            return fill.head
        case Refreshed(stored, _):
            return stored.head
        case _:
            return None


def _entry(found: Sequence[Stored], head: StoredHead) -> Stored:
    """The stored response that a decision is about: the rules know heads only."""
    return next(stored for stored in found if stored.head is head)
