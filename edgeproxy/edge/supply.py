"""What there is for a request: stored responses that are new enough, and fetches in progress that may bring one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fetch import Errand, Fetcher, Hole
from edgeproxy.edge.fill import Fill
from edgeproxy.edge.flight import Filled, Flight, Flights
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import Reply
from edgeproxy.edge.node import Clocks, Place
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.parts import soon_there
from edgeproxy.model import Mode
from edgeproxy.outcome import Serve, ServeStale, StoredHead
from edgeproxy.rules import lookup, partial, ranges, validation
from edgeproxy.rules.key import head_key
from edgeproxy.store.tiers import Held, Tiers
from edgeproxy.telemetry.counters import Counter, Counters


class Supply:
    """For one worker."""

    def __init__(
        self,
        place: Place,
        store: Tiers,
        flights: Flights[Reply],
        fetcher: Fetcher,
        page: SharedPage,
        ledger: Ledger,
        counters: Counters,
        clocks: Clocks,
    ) -> None:
        self._place = place
        self._store = store
        self._flights = flights
        self._fetcher = fetcher
        self._page = page
        self._ledger = ledger
        self._counters = counters
        self._clocks = clocks

    # -- stored -----------------------------------------------------------------------------------------------------

    def in_memory(self, ask: Ask, now: float) -> list[Held]:
        """What is stored under the key and covers this request (INVALIDATION rule 1), as if nothing else were there."""
        if ask.refresh:
            return []
        found = list(self._store.find(ask.key, now))
        if ask.request.method == "HEAD":
            found += self._store.find(head_key(ask.key), now)
        return self._usable(ask, found)

    def may_be_on_disk(self, ask: Ask) -> bool:
        """Whether `anywhere` may find more than `in_memory` does."""
        if ask.refresh or ask.owner is not None:
            return False
        return self._store.may_load(ask.key) or (
            ask.request.method == "HEAD" and self._store.may_load(head_key(ask.key))
        )

    async def anywhere(self, ask: Ask, now: float) -> list[Held]:
        """As `in_memory`, with what is on disk."""
        keys = [ask.key, head_key(ask.key)] if ask.request.method == "HEAD" else [ask.key]
        found: list[Held] = []
        for key in keys:
            found += await self._store.load(key, now) if self._store.may_load(key) else self._store.find(key, now)
        return self._usable(ask, found)

    async def again(self, ask: Ask, head: StoredHead) -> Held | None:
        """The stored response with these very bytes, or some of them, as it is now."""
        now = self._clocks.wall()
        found = await self.anywhere(ask, now) if self.may_be_on_disk(ask) else self.in_memory(ask, now)
        return next((each for each in found if same_body(each.head, head)), None)

    def _usable(self, ask: Ask, found: Iterable[Held]) -> list[Held]:
        edition = None if ask.owner is None else self._page.edition(ask.key)
        usable = []
        for stored in found:
            if stored.terms.generation != ask.generation or edition not in (None, stored.terms.edition):
                continue
            if self.covers(ask, stored.head):
                usable.append(stored)
            else:
                self._counters.add(Counter.INVALIDATED)
        return usable

    def covers(self, ask: Ask, head: StoredHead) -> bool:
        """Whether no invalidation that this request must heed is newer than a response."""
        return self._ledger.covers(head.as_of, ask.floor, head.sources)

    # -- on its way -------------------------------------------------------------------------------------------------

    def to_join(self, errand: Errand) -> Flight[Reply] | None:
        """A flight in progress that may bring what this request wants."""
        ask = errand.ask
        unshared = self._flights.unshared(errand.key)
        if unshared is not None and self._ledger.reaches(unshared, ask.floor):
            return None
        if not lookup.collapses(ask.behavior.caching):
            return None
        if errand.hole is not None:
            return self._brings_hole(errand, errand.hole)
        for flight in self._flights.in_progress(errand.key):
            if self._alike(ask, flight) and (
                flight.landing is None or (isinstance(flight.landing, Filled) and self._joinable(ask, flight.landing))
            ):
                return flight
        return self._brings_part(errand) if errand.ranged else None

    def _alike(self, ask: Ask, flight: Flight[Reply]) -> bool:
        """Started under circumstances that let this request join."""
        mark = self._fetcher.mark(ask)
        same = flight.mark.revision == mark.revision and flight.mark.generation == mark.generation
        covers = self._ledger.reaches(flight.mark.as_of, ask.floor)
        return same and flight.mark.refresh >= mark.refresh and covers and not flight.spoiled

    def _brings_hole(self, errand: Errand, hole: Hole) -> Flight[Reply] | None:
        """A fetch of missing bytes, or of the whole, that will soon have the first of those wanted."""
        ask, at = errand.ask, errand.at
        for key in (errand.key, errand.store_key):
            for flight in self._flights.in_progress(key):
                if not self._alike(ask, flight):
                    continue
                if flight.landing is None:
                    region = flight.region
                    if region is not None and region[0] <= at < region[1] and at - region[0] <= self._patience(ask):
                        return flight
                elif isinstance(flight.landing, Filled) and self.brings(
                    ask, flight.landing.fill, hole.head, at, self._patience(ask)
                ):
                    return flight
        return None

    def brings(self, ask: Ask, fill: Fill, head: StoredHead, at: int, ahead: int | None = None) -> bool:
        """Whether a fill has a byte of this response, or will have it once no more than `ahead` others have come."""
        within = fill.first <= at and (fill.length is None or at < fill.first + fill.length)
        soon = ahead is None or at <= fill.first + fill.received + ahead
        covers = self.covers(ask, fill.head)
        return fill.joinable and within and soon and covers and same_body(fill.head, head)

    def _patience(self, ask: Ask) -> int:
        settings = ask.serving.settings.fills
        return max(settings.finish_remaining, (1 + settings.read_ahead) * settings.interval)

    def _brings_part(self, errand: Errand) -> Flight[Reply] | None:
        """A fetch of the whole that will soon have the part asked for."""
        ask = errand.ask
        ahead = ask.serving.settings.fills.finish_remaining
        for flight in self._flights.in_progress(errand.store_key):
            if flight.mark.generation != ask.generation or flight.spoiled or not isinstance(flight.landing, Filled):
                continue
            near = soon_there(ask.request, flight.landing.fill, ask.distribution.rules, ahead)
            if near and self._joinable(ask, flight.landing):
                return flight
        return None

    def _joinable(self, ask: Ask, filled: Filled) -> bool:
        """Whether a fill that this request did not start answers it too."""
        return self.readable(ask, filled.fill) and self.shared(ask, filled.fill.head)

    def shared(self, ask: Ask, head: StoredHead) -> bool:
        """Whether a response that another request has just brought may be used for this one without asking again: a
        collapsed request is no excuse for what a stored response would not do (RFC 9111 section 4)."""
        decision = lookup.decide(ask.request, [replace(head, parts=None)], ask.behavior.caching, self._clocks.wall())
        return isinstance(decision, Serve | ServeStale)

    def readable(self, ask: Ask, fill: Fill) -> bool:
        """Whether a fill answers this request too: all of it is there, its Vary matches, it covers."""
        covers = self.covers(ask, fill.head)
        return fill.joinable and covers and lookup.matches(fill.head, ask.request, ask.behavior.caching)

    # -- missing ----------------------------------------------------------------------------------------------------

    def errand(
        self, ask: Ask, head: StoredHead, held: Held | None, wanted: ranges.Part, found: Sequence[Held] = ()
    ) -> Errand | None:
        """How to get bytes that `held` lacks of a response, the first of which is wanted first. None when nothing but
        chance would keep them apart from those of another representation."""
        validator = validation.strong_validator(head.headers, head.received_at)
        length = partial.complete_length(head)
        if validator is None or length is None:
            return None
        errand = Errand(ask, found, None, False, hole=Hole(head, validator, wanted, held), at=wanted.first)
        there = () if held is None else held.head.parts or ()
        for flight in self._flights.in_progress(errand.key):
            if flight.region is not None and flight.region[0] > wanted.first:
                there = partial.union(there, (flight.region,))
        settings = ask.serving.settings.fills
        # Only the node that the viewer asks reads ahead, all of them together would read far ahead; and of its workers
        # only the owner rounds up, who keeps what comes.
        ahead = settings.read_ahead if ask.hop is None or self._place.mode is Mode.POP else 0
        interval, ahead = (settings.interval, ahead) if ask.owner is None else (1, 0)
        part = partial.gap(there, wanted, length, interval, ahead)
        errand.hole = Hole(head, validator, part, held)
        return errand


def same_body(one: StoredHead, other: StoredHead) -> bool:
    """Both are of the same bytes, and answer the same requests."""
    return one.vary == other.vary and partial.of_one_body(one, other)
