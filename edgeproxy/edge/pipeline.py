"""The life of a request, from a head to an answer. It does not know who brought it.

lane        a fresh hit that was answered before: at once, on its connection          edge/lane.py
shortcut    a plain miss, or a request past the cache, like one before: without a task   edge/shortcut.py
admission   who asks, which distribution and behaviour, which key            edge/admission.py
decide      what the rules say of what the store remembers                    rules/lookup.py
flight      one fetch per key; everybody reads what it brings                 edge/flight.py
next hop    the key's owner, the regional, the origin                         edge/nexthop.py
answer      from the store, from a fill, as it came; Age, Via, Cache-Status   edge/answers.py, edge/present.py
record      one per request, when the last byte is out                        telemetry/record.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import assert_never

from edgeproxy.cloudfront import pages
from edgeproxy.cloudfront.origin_request import forwards_left
from edgeproxy.edge.admission import Admission, Refused
from edgeproxy.edge.answers import Answers
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.chain import Chain
from edgeproxy.edge.errorpages import ErrorPages
from edgeproxy.edge.explaining import Explanation, Question, explain
from edgeproxy.edge.failures import Failures
from edgeproxy.edge.fetch import Errand, Fetcher, Hole
from edgeproxy.edge.fill import Fill, Windows
from edgeproxy.edge.flight import Alone, Came, Filled, Flight, Flights, Landing, Refreshed
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.lane import Lane
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.parts import wanted
from edgeproxy.edge.passing import Passing
from edgeproxy.edge.recorder import Recorder
from edgeproxy.edge.refusing import Refusals
from edgeproxy.edge.searches import Searches
from edgeproxy.edge.shortcut import Shortcut
from edgeproxy.edge.spans import Span, Spans
from edgeproxy.edge.supply import Supply
from edgeproxy.errors import BodyAborted, EdgeError, OriginError, OriginInvalid, Overloaded, Side
from edgeproxy.message import Answer, Incoming, Peer
from edgeproxy.model import AsOf, Rules
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
from edgeproxy.rules import freshness, lookup
from edgeproxy.rules.partial import holds, missing
from edgeproxy.rules.ranges import foremost
from edgeproxy.rules.validation import has_validator
from edgeproxy.store.memory import Stored
from edgeproxy.store.tiers import Held, Tiers
from edgeproxy.telemetry.counters import Counter, Counters

JOIN_TRIES = 3
"""How often a request decides again after a flight that turned out not to be for it."""


class Pipeline:
    """Answers requests for one worker."""

    def __init__(
        self,
        place: Place,
        serving: Serving,
        store: Tiers,
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
        self.flights: Flights[Reply] = Flights(fills, counters, clocks.wall, lambda reply: reply.body.close())
        self._searches = Searches(store.memory, page, ledger)
        cache = serving.settings.cache
        owed_max = min(cache.disk_queue, cache.disk // 8) // 4
        windows = Windows(fills.windows, fills.window, owed_max, cache.disk_timeout)
        self._fetcher = Fetcher(store, nexthop, page, ledger, counters, clocks, self._searches, windows)
        self._supply = Supply(place, store, self.flights, self._fetcher, page, ledger, counters, clocks)
        spans = Spans(store, self._supply, self.flights, self._fetcher, windows, counters)
        self._answers = Answers(store, spans, page, ledger, clocks)
        self._passing = Passing(place, nexthop, self._fetcher, self.flights, self._answers, page, counters)
        self.lane = Lane(place, serving, store.memory, page, ledger, self._answers, recorder, counters, clocks)
        """What connections may answer without asking here."""
        self._failures = Failures(clocks.wall)
        self.shortcut = Shortcut(
            serving, self._admission, nexthop, store, self.flights, self._fetcher, self._passing, self._answers,
            self._failures, recorder, counters, clocks, self.go_on,
        )  # fmt: skip
        """What connections may ask of origins without a task."""
        self._error_pages = ErrorPages(self._admission, self._answered, counters)
        self._refusals = Refusals(self._admission, self._error_pages, ledger, recorder, clocks)

    async def handle(self, incoming: Incoming) -> Answer:
        """The answer to a request. Raises only ViewerError (the connection refuses it) and what is a fault of ours."""
        if incoming.client.peer is not Peer.WORKER:
            self._counters.add(Counter.REQUESTS)
        request_id = self._clocks.request_id()
        try:
            ask = self._admission.admit(incoming, self.serving, request_id)
        except Refused as refused:
            return await self._refusals.answer(incoming, refused, self.serving, request_id)
        if incoming.raw:
            self.shortcut.learn(ask)
        return await self._told(ask, self._answer(ask))

    async def go_on(self, ask: Ask, errand: Errand | None, reply: Reply | None) -> Answer:
        """The answer to a request that was to be answered at once (shortcut.py), and is not.

        It is on its way upstream, or has come back with `reply`. `errand`: with its flight, where there is one.
        """
        return await self._told(ask, self._rest(ask, errand, reply))

    async def _rest(self, ask: Ask, errand: Errand | None, reply: Reply | None) -> Answer:
        if errand is not None:
            answer = await self._fetched(errand, Reason.URI_MISS, None)
            return await self._answer(ask) if answer is None else answer
        return await (self._passing.send(ask) if reply is None else self._passing.came(ask, reply))

    async def _told(self, ask: Ask, answering: Awaitable[Answer]) -> Answer:
        """The answer, or the distribution's own page instead, and a record of it when it is over."""
        try:
            answer = await self._made(ask, answering)
            if answer.head.status in ask.distribution.error_pages:
                answer = await self._error_pages.instead(answer, ask)
        except asyncio.CancelledError:
            self._recorder.left(ask)
            raise
        except EdgeError as error:
            self._recorder.broken(ask, error)
            raise
        answer.sent = self._recorder.finished(ask, answer.head, answer.tunnel is not None)
        return answer

    def explain(self, question: Question) -> Explanation:
        """What would become of a request, and what is stored here. Raises ValueError for a question that is none."""
        return explain(question, self.serving, self._place, self._page, self._clocks, self._supply.in_memory)

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self.flights.close()

    # -- the decision -----------------------------------------------------------------------------------------------

    async def _answered(self, ask: Ask) -> Answer:
        return await self._made(ask, self._answer(ask))

    async def _made(self, ask: Ask, answering: Awaitable[Answer]) -> Answer:
        """The answer, made here where upstream has none. Raises what is the viewer's fault alone."""
        try:
            return await answering
        except EdgeError as error:
            if error.side is Side.VIEWER:
                raise
            answer = self._answers.failed(ask, error)
            if isinstance(error, Overloaded):
                ask.trace.result = Result.CAPACITY_EXCEEDED
            return answer

    async def _answer(self, ask: Ask) -> Answer:
        if ask.distribution.rules is Rules.RFC9111 and forwards_left(ask.request) == 0:
            return self._answers.last_recipient(ask)
        if not ask.route.cached:
            return await self._passing.relay(ask, ask.route.reason or Reason.METHOD)
        if not ask.floor.usable:
            return await self._passing.relay(ask, Reason.QUARANTINE)
        for _ in range(JOIN_TRIES):
            answer = await self._from_cache(ask)
            if answer is not None:
                return answer
        return await self._passing.relay(ask, ask.trace.reason or Reason.URI_MISS)

    async def _from_cache(self, ask: Ask) -> Answer | None:
        """One round: decide, and do what was decided. None: decide again, what was waited for is not for us."""
        now = self._clocks.wall()
        found = self._supply.in_memory(ask, now)
        decision = self._decide(ask, found, now)
        if isinstance(decision, Fetch | Unsatisfiable) and self._supply.may_be_on_disk(ask):
            found = await self._supply.anywhere(ask, now)
            decision = self._decide(ask, found, now)
        if isinstance(decision, Fetch) and not found and ask.serving.settings.cache.no_vary_search:
            found, decision = self._searches.instead(ask, now) or (found, decision)
        if isinstance(decision, Serve | ServeStale):
            decision = self._unless_softened(ask, decision, now)
        match decision:
            case Serve(head, age):
                self._store.touch(ask.key)
                stored = _entry(found, head)
                if isinstance(stored, Stored):
                    self.lane.learn(ask, stored, found)
                return await self._begun(self._answers.stored(ask, stored, age, Result.HIT))
            case ServeStale(head, _) if not ask.current:
                stale = _entry(found, head)
                self._refresh_later(ask, found, stale)
                return await self._serve_stale(ask, stale)
            case ServeStale(head, _):
                stale = _entry(found, head)
                return await self._ask_upstream(ask, Reason.STALE, found, stale, stale)
            case Fetch(reason) | Revalidate(_, reason) | Unsatisfiable(reason) if self._is_for_the_owner(ask):
                return await self._passing.relay(ask, reason)
            case Unsatisfiable(reason):
                ask.trace.reason = reason
                return self._answers.page(ask, 504, pages.Cause.NOT_STORED)
            case Bypass(reason):
                return await self._passing.relay(ask, reason)
            case Revalidate(head, reason, stale_if_error):
                stored = _entry(found, head)
                return await self._ask_upstream(ask, reason, found, stored, stored if stale_if_error else None)
            case Fetch(reason, stale=None, partial=StoredHead() as head):
                return await self._complete(ask, reason, found, _entry(found, head))
            case Fetch(reason, head) if not found and not ask.learned and self._asks_for_several(ask):
                return await self._learn(ask, reason)
            case Fetch(reason, head):
                return await self._ask_upstream(ask, reason, found, None, None if head is None else _entry(found, head))
            case _:
                assert_never(decision)

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

    def _decide(self, ask: Ask, found: Sequence[Held], now: float) -> Decision:
        return lookup.decide(ask.request, [stored.head for stored in found], ask.behavior.caching, now)

    async def _serve_stale(self, ask: Ask, stored: Held) -> Answer | None:
        self._counters.add(Counter.STALE_SERVED)
        age = freshness.current_age(stored.head, self._clocks.wall())
        return await self._begun(self._answers.stored(ask, stored, age, Result.HIT))

    async def _begun(self, answer: Answer) -> Answer | None:
        """An answer whose first bytes are at hand. None: they are damaged or gone, decide again."""
        if isinstance(answer.body, Span | Chain):
            try:
                await answer.body.begin()
            except BaseException as error:  # also when the viewer leaves: whoever fetches for it must know
                answer.body.close()
                if isinstance(error, BodyAborted):
                    return None
                raise
        return answer

    async def _complete(self, ask: Ask, reason: Reason, found: Sequence[Held], held: Held) -> Answer | None:
        """Fetch what is missing of what was asked for: the first of it before anything is said, the rest as it goes."""
        parts = wanted(ask.request, held.head, held.length, ask.distribution.rules)
        first = next(hole for part in parts for hole in missing(held.head.parts or (), part))
        errand = self._supply.errand(ask, held.head, held, first, found)
        return await self._fetched(errand or Errand(ask, found, None, False), reason, None)

    def _asks_for_several(self, ask: Ask) -> bool:
        return ask.request.method == "GET" and foremost(ask.request.headers, 1) is not None

    async def _learn(self, ask: Ask, reason: Reason) -> Answer | None:
        """Several parts of something that is not stored: the first tells what the others are parts of. One fetch each
        then, shared with others; instead of an answer that nobody else can use."""
        ask.learned = True
        ask.trace.reason = reason
        errand = Errand(ask, (), None, False)
        errand.narrowed = foremost(ask.request.headers, ask.serving.settings.fills.interval)
        landing = await self._landing(errand, reason)
        if isinstance(landing, Filled) and landing.fill.part is not None:
            landing.fill.keep()
            await landing.fill.over()
            return None
        if isinstance(landing, Alone) and (own := landing.own) is not None and own.head.status in (206, 416):
            landing.own = None
            own.body.close()
            return await self._passing.relay(ask, reason)
        return None if landing is None else await self._landed(errand, landing)

    # -- upstream ---------------------------------------------------------------------------------------------------

    async def _ask_upstream(
        self, ask: Ask, reason: Reason, found: Sequence[Held], validated: Held | None, fallback: Held | None
    ) -> Answer | None:
        """Fetch or revalidate, together with everybody who wants the same; `fallback` covers for a failure.

        None: decide again, what was waited for turned out not to be for this request.
        """
        ask.trace.reason = reason
        failure = None if ask.retried else self._failures.find(ask.key, ask.generation)
        if failure is not None and self._ledger.covers(failure.as_of, ask.floor, ()) and not ask.refresh:
            if fallback is not None:
                return await self._serve_stale(ask, fallback)
            if not failure.covered:
                self._counters.add(Counter.ERRORS_REMEMBERED)
                raise failure.error()
        hides = fallback is not None and self._hides_failures(ask, fallback)
        return await self._fetched(Errand(ask, found, validated, hides), reason, fallback)

    async def _fetched(self, errand: Errand, reason: Reason, fallback: Held | None) -> Answer | None:
        ask, as_of = errand.ask, self._ledger.applied()
        ask.trace.reason = reason
        try:
            landing = await self._landing(errand, reason)
        except (OriginError, Overloaded) as error:
            if not ask.follows:
                self._remember(ask, error, as_of, covered=fallback is not None)
            if fallback is None and self._may_retry(ask, error):
                return None
            if fallback is None:
                raise
            ask.trace.detail = error.detail.value
            return await self._serve_stale(ask, fallback)
        return await self._passing.relay(ask, reason) if landing is None else await self._landed(errand, landing)

    def _remember(self, ask: Ask, error: EdgeError, as_of: AsOf, *, covered: bool) -> None:
        """Nobody is to ask again for a while; `as_of` is when upstream was."""
        if ask.distribution.rules is Rules.CLOUDFRONT and isinstance(error, OriginError):
            self._failures.remember(ask.key, error, as_of, ask.generation, ask.behavior.caching, covered=covered)

    def _may_retry(self, ask: Ask, error: EdgeError) -> bool:
        """Whether a request whose fetch has failed waits for another: once, if it did not lead that one itself. One of
        those who waited leads the other, and all others wait for that. An answer that cannot be understood is one."""
        if not ask.follows or ask.retried or not isinstance(error, OriginError) or isinstance(error, OriginInvalid):
            return False
        ask.retried = True
        self._counters.add(Counter.WAITS_RETRIED)
        return True

    async def _landing(self, errand: Errand, reason: Reason) -> Landing[Reply] | None:
        """What a fetch brings that this request joins or leads; None when it has to go alone."""
        ask = errand.ask
        if errand.flight is not None:
            return await self.flights.lead(errand.flight, ask.incoming.interim)
        flight = None if reason is Reason.REQUEST else self._supply.to_join(errand)
        ask.follows = flight is not None
        if flight is not None:
            self._counters.add(Counter.WAITS)
            landing = await self.flights.wait(flight, ask.incoming.interim)
            ask.trace.collapsed = landing is not None
            return landing
        if not self.flights.may_start():
            return None
        return await self.flights.lead(self._start(errand), ask.incoming.interim)

    def _start(self, errand: Errand) -> Flight[Reply]:
        fetch = partial(self._fetcher.fetch, errand)
        mark = self._fetcher.mark(errand.ask)
        return self.flights.start(errand.key, mark, fetch, errand.region, errand.store_key)

    def _hides_failures(self, ask: Ask, fallback: Held) -> bool:
        """Whether the stale copy may also stand in for an answer that is a failure (RFC 5861 section 4)."""
        return lookup.stale_allowed(
            fallback.head, ask.behavior.caching, self._clocks.wall(), error=True, request=ask.request
        )

    async def _landed(self, errand: Errand, landing: Landing[Reply]) -> Answer | None:
        ask, trace = errand.ask, errand.ask.trace
        head = _head_of(landing)
        if head is not None and not lookup.reusable(head, ask.behavior.caching, self._clocks.wall()):
            self.flights.do_not_share(errand.key, head.as_of)
        if head is not None and trace.collapsed and not self._supply.shared(ask, head):
            trace.collapsed = False
            return None
        match landing:
            case Refreshed(stored, came):
                self._answers.came(ask, came)
                # An invalidation may have come between the leader's arrival and this one's: a 304 does not count then.
                fits = self._supply.covers(ask, stored.head) and lookup.matches(
                    stored.head, ask.request, ask.behavior.caching
                )
                if not fits or not holds(stored.head, ask.request, ask.distribution.rules):
                    return None
                trace.stored = True
                age = freshness.current_age(stored.head, self._clocks.wall())
                result = Result.HIT if came.result is Result.HIT else Result.REFRESH_HIT
                return await self._begun(self._answers.stored(ask, stored, age, result))
            case Filled(fill, came) if errand.hole is not None and fill.part is not None:
                return self._completed(ask, errand, errand.hole, fill, came)
            case Filled(fill, came):
                return self._answers.filled(ask, fill, came) if self._supply.readable(ask, fill) else None
            case Alone(None, _):
                trace.collapsed = False
                return None
            case Alone(Reply() as reply, refusal):
                landing.own = None
                trace.refusal = refusal
                return self._answers.relayed(ask, reply)
        raise AssertionError(landing)

    def _completed(self, ask: Ask, errand: Errand, hole: Hole, fill: Fill, came: Came) -> Answer | None:
        """The missing bytes come; or, to the one who asked, its own part of another representation."""
        if hole.held is not None and self._supply.brings(ask, fill, hole.head, errand.at):
            return self._answers.completed(ask, hole.held, fill, came, errand.at)
        return None if ask.trace.collapsed else self._answers.filled(ask, fill, came)

    def _refresh_later(self, ask: Ask, found: Sequence[Held], stale: Held) -> None:
        """Revalidate in the background, unless somebody does already (RFC 5861 section 3)."""
        errand = Errand(ask, found, stale, self._hides_failures(ask, stale), background=True)
        if self.flights.in_progress(errand.key) or not self.flights.may_start():
            return
        self._counters.add(Counter.REFRESHES)
        self._start(errand)


def _head_of(landing: Landing[Reply]) -> StoredHead | None:
    match landing:
        case Filled(fill, _):
            return fill.head
        case Refreshed(stored, _):
            return stored.head
        case _:
            return None


def _entry(found: Sequence[Held], head: StoredHead) -> Held:
    """The stored response that a decision is about: the rules know heads only."""
    return next(stored for stored in found if stored.head is head)
