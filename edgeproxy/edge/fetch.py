"""What a flight does: ask upstream, and find out whether the answer may be stored, validates, or is for one only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from cachetools import LRUCache

from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fill import Fill, Windows
from edgeproxy.edge.flight import Alone, Came, Filled, Flight, Landing, Mark, Refreshed
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Clocks
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.searches import Searches
from edgeproxy.edge.settling import Settler
from edgeproxy.errors import OriginError, OriginInvalid
from edgeproxy.headers import NO_HEADERS
from edgeproxy.message import RequestHead, no_body
from edgeproxy.model import AsOf
from edgeproxy.outcome import Reason, StoredHead
from edgeproxy.rules import floors, freshness, lookup, partial, storing, validation
from edgeproxy.rules.key import head_key, hole_key, range_key
from edgeproxy.rules.ranges import Part, received_part
from edgeproxy.store.deposit import Deposit
from edgeproxy.store.memory import Terms
from edgeproxy.store.tiers import Held, Tiers
from edgeproxy.telemetry.counters import Counters

REFRESHED_MAX = 10_000

PERSONAL = frozenset({b"cache-control", b"pragma", b"authorization"})
"""Fields for which a request's answer may not be stored although the next one's may."""

Landed: TypeAlias = tuple[Landing[Reply], Callable[[], Awaitable[None]] | None]
"""What came, and what is left to do once everybody knows."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes that a stored response lacks, to be fetched under its validator."""

    head: StoredHead
    validator: bytes
    part: Part
    held: Held | None
    """What is stored of it; None for nothing any more."""


@dataclass(slots=True)
class Errand:
    """What to fetch, and what is at hand."""

    ask: Ask
    found: Sequence[Held]
    validated: Held | None
    """Ask with the validators of what is stored, this one chosen; None: ask without conditions."""
    hides_failures: bool
    """A stale copy may stand in for an answer that is a failure, so such an answer counts as none."""
    background: bool = False
    """Nobody waits; the fetch goes to its end all the same."""
    hole: Hole | None = None
    at: int = 0
    """Of the bytes in the hole the first that is wanted."""
    flight: Flight[Reply] | None = None
    """The fetch, where it was begun before; whoever asked leads it."""
    narrowed: bytes | None = None
    """A Range that goes along instead of the viewer's."""

    @property
    def request(self) -> RequestHead:
        """The request that the fetch is for."""
        asked = self.ask.request
        if self.narrowed is None:
            return asked
        return asked.with_headers(asked.headers.replaced(b"Range", self.narrowed))

    @property
    def ranged(self) -> bool:
        """The Range goes along: nothing is stored, or not all of it. What is stored whole is validated as a whole."""
        asked = self.ask.request.method == "GET" and b"range" in self.ask.request.headers
        return asked and (self.validated is None or self.validated.head.parts is not None)

    @property
    def key(self) -> bytes:
        """Whoever wants the same joins under this key; a part is shared by those who asked for the same part."""
        if self.hole is not None:
            return hole_key(self.ask.key, self.hole.validator)
        return range_key(self.ask.key, self.request) if self.ranged else self.store_key

    @property
    def region(self) -> tuple[int, int] | None:
        """The bytes [start, end) that the fetch is for, when it is for others than those the viewer asked for."""
        return None if self.hole is None else (self.hole.part.first, self.hole.part.last + 1)

    @property
    def store_key(self) -> bytes:
        """What HEAD brings is kept apart: it never leads a GET's fill."""
        return head_key(self.ask.key) if self.ask.request.method == "HEAD" else self.ask.key


class Fetcher:
    """Fetches for one worker."""

    def __init__(
        self,
        store: Tiers,
        nexthop: NextHop,
        page: SharedPage,
        ledger: Ledger,
        counters: Counters,
        clocks: Clocks,
        searches: Searches,
        windows: Windows,
    ) -> None:
        self._windows = windows
        self._searches = searches
        self._store = store
        self._nexthop = nexthop
        self._page = page
        self._ledger = ledger
        self._counters = counters
        self._clocks = clocks
        self._refreshed: LRUCache[tuple[bytes, int], bool] = LRUCache(REFRESHED_MAX)

    def mark(self, ask: Ask) -> Mark:
        """The circumstances under which a fetch for this request starts now."""
        return Mark(ask.distribution.revision, ask.generation, ask.refresh, self._ledger.asking(ask.carried))

    def must_refresh(self, ask: Ask, key: bytes) -> bool:
        """After an unsafe request the next tier's copy must not come back (INVALIDATION rule 6)."""
        if ask.owner is not None or ask.generation == 0:
            return ask.refresh
        return ask.refresh or (key, ask.generation) not in self._refreshed

    async def fetch(self, errand: Errand, flight: Flight[Reply]) -> Landed:
        """Ask upstream once (twice when a 304 is about nothing we have, or a part of nothing we have). Raises
        OriginError, Overloaded."""
        ask = errand.ask
        refresh = self.must_refresh(ask, errand.store_key)
        if errand.hole is not None:
            return await self._fetch_hole(errand, errand.hole, refresh, flight)
        reply = await self._send(errand, self._question(errand), refresh, flight)
        if reply.head.status == 304:
            refreshed = self._refresh(errand, reply)
            if refreshed is not None:
                return refreshed, None
            reply = await self._send(errand, self._plain(errand), refresh, flight)
            if reply.head.status == 304:
                reply.body.close()
                raise OriginInvalid("The origin answered 304 to a request without conditions.")
        if errand.hides_failures and lookup.is_failure(reply.head.status, ask.behavior.caching):
            reply.body.close()
            raise OriginError("The origin answered with an error.", status=reply.head.status)
        if refresh and reply.by_tier:
            self._refreshed[errand.store_key, ask.generation] = True
        if ask.request.method == "HEAD" and reply.head.status == 200:
            self._heed_head(errand, reply)
        return self._land(errand, flight, reply)

    async def _fetch_hole(self, errand: Errand, hole: Hole, refresh: bool, flight: Flight[Reply]) -> Landed:
        """The bytes that are missing; or whatever the origin has instead of the response that lacks them."""
        ask = errand.ask
        asked = validation.for_part(errand.ask.request, hole.part.first, hole.part.last, hole.validator)
        reply = await self._send(errand, asked, refresh, flight)
        carried = received_part(reply.head)
        if carried is not None and partial.combines(hole.head, reply.head, reply.received_at):
            brings = carried.part is not None and carried.part.first <= errand.at <= carried.part.last
            if refresh and reply.by_tier:
                self._refreshed[errand.store_key, ask.generation] = True
            if brings and self._refusal(errand, reply, parts=True) is None:
                return self._land(errand, flight, reply)
        instead = replace(errand, hole=None)
        if reply.head.status in (206, 304, 412, 416):
            # Another representation by now, or one not to be kept: the viewer gets what the origin makes of its own.
            reply.body.close()
            reply = await self._send(errand, self._plain(instead), refresh, flight)
        if hole.held is not None and not lookup.is_failure(reply.head.status, errand.ask.behavior.caching):
            self._store.remove(hole.held)
        return self._land(instead, flight, reply)

    def _refusal(self, errand: Errand, reply: Reply, *, parts: bool) -> Reason | None:
        ask = errand.ask
        return storing.refusal(ask.request, reply.head, ask.behavior.caching, reply.received_at, parts=parts)

    async def keep(self, errand: Errand, reply: Reply, flight: Flight[Reply]) -> Landed:
        """Store an answer that has come already: to a POST that speaks for its target (RFC 9110 section 9.3.3)."""
        return self._land(errand, flight, reply)

    def keep_at_once(self, errand: Errand, reply: Reply, body: bytes) -> tuple[StoredHead, Came] | None:
        """Store a small answer that is here as a whole, and that nobody else waits for. None for one that may not be
        stored, or not used again, or that has no room in memory: that is for `keep` to see to."""
        ask = errand.ask
        if self._refusal(errand, reply, parts=False) is not None:
            return None
        head = self._stored_head(ask, reply)
        if not lookup.reusable(head, ask.behavior.caching, self._clocks.wall()):
            return None
        edition = self._edition(ask, reply)
        terms = self._terms(ask, head, edition)
        deposit = self._store.deposit(ask.key, head, terms, size=len(body), length=len(body))
        if deposit is None:
            return None
        if not deposit.in_memory or not (not body or deposit.append(body)) or not deposit.in_memory:
            deposit.abandon()
            return None
        self._store.commit_at_once(deposit, ask.key, head, NO_HEADERS, terms)
        return head, _came(reply, edition)

    async def _send(self, errand: Errand, request: RequestHead, refresh: bool, flight: Flight[Reply]) -> Reply:
        ask = errand.ask
        current = errand.background or lookup.asks_for_itself(ask.request, ask.behavior.caching)
        return await self._nexthop.send(
            ask, request, no_body(), refresh=refresh, current=current, interim=flight.announce
        )

    def _question(self, errand: Errand) -> RequestHead:
        """The request with the validators of what is stored; a HEAD needs none, there is no body to be spared."""
        request = errand.ask.request
        if errand.validated is None or request.method == "HEAD":
            return self._plain(errand)
        others = [stored.head for stored in errand.found if stored is not errand.validated]
        asking = validation.conditional(request, [*others, errand.validated.head])
        return validation.with_range(asking, request) if errand.ranged else asking

    def _plain(self, errand: Errand) -> RequestHead:
        request = errand.request
        bare = validation.unconditional(request)
        return validation.with_range(bare, request) if errand.ranged else bare

    def _refresh(self, errand: Errand, reply: Reply) -> Refreshed | None:
        """What a 304 vouches for, under its new head; None when it is about nothing we have."""
        reply.body.close()
        head = validation.selected([stored.head for stored in errand.found], reply.head)
        if head is None:
            return None
        ask = errand.ask
        stored = next(entry for entry in errand.found if entry.head is head)
        sources = self._sources_after(ask, head, reply)
        fresh = validation.freshened(
            head,
            reply.head,
            requested_at=reply.requested_at,
            received_at=reply.received_at,
            as_of=self._vouched(ask, head, sources, reply),
            request=ask.request,
            sources=sources,
        )
        edition = self._edition(ask, reply)
        kept = self._store.refresh(stored, fresh, self._terms(ask, fresh, edition))
        return Refreshed(kept, _came(reply, edition))

    @staticmethod
    def _sources_after(ask: Ask, head: StoredHead, reply: Reply) -> tuple[bytes, ...]:
        """The tags that a 304 brings, if it brings any; a field of another name does not retag (fact sheet 7)."""
        named = floors.tags(reply.head.headers, ask.distribution.tag_header)
        return (*named, *(each for each in head.sources if not each.startswith(b"#"))) if named else head.sources

    def _vouched(self, ask: Ask, head: StoredHead, sources: tuple[bytes, ...], reply: Reply) -> AsOf:
        return self._ledger.vouched(replace(head, sources=(*head.sources, *sources)), ask.key, reply.as_of)

    def _heed_head(self, errand: Errand, reply: Reply) -> None:
        """A 200 to a HEAD renews the stored responses to GET that it could have been about, or ends them (4.3.5)."""
        ask = errand.ask
        edition = self._edition(ask, reply)
        for stored in errand.found:
            if stored.head.method == "HEAD" or not lookup.matches(stored.head, ask.request, ask.behavior.caching):
                continue
            fresh = validation.freshened_by_head(
                _sized(stored),
                reply.head,
                requested_at=reply.requested_at,
                received_at=reply.received_at,
                as_of=self._vouched(ask, stored.head, (), reply),
            )
            if fresh is None:
                self._store.remove(stored)
            else:
                self._store.refresh(stored, fresh, self._terms(ask, fresh, edition))

    def _land(self, errand: Errand, flight: Flight[Reply], reply: Reply) -> Landed:
        ask, parts = errand.ask, errand.ranged or errand.hole is not None
        refusal = self._refusal(errand, reply, parts=parts)
        if refusal is not None:
            anybody = ask.request.with_headers(ask.request.headers.without(PERSONAL))
            caching = ask.behavior.caching
            lasting = storing.refusal(anybody, reply.head, caching, reply.received_at, parts=parts) is not None
            return Alone(reply, refusal, lasting), None
        came = self._stored_head(ask, reply)
        settings, part, edition = ask.serving.settings.fills, received_part(reply.head), self._edition(ask, reply)
        onto = None if part is None else self._onto(errand, came)
        head = came if onto is None else partial.joined(onto.head, came)
        first = 0 if part is None or part.part is None else part.part.first
        deposit = self._store.deposit(
            errand.store_key,
            head,
            self._terms(ask, head, edition),
            size=reply.body.length,
            first=first,
            length=reply.body.length if part is None else part.length,
            onto=onto,
            memory_only=came.parts is not None and not partial.completable(came),
        )
        if deposit is None and errand.hole is not None:
            deposit = Deposit(None)  # not kept, but what is stored is of use with it only
        if deposit is None:
            too_large = (reply.body.length or 0) > self._store.object_max
            return Alone(reply, Reason.TOO_LARGE if too_large else Reason.NO_SPACE), None
        fill = Fill(head, reply.body, deposit, self._windows, self._counters, lambda: flight.waiters > 0, part)
        if errand.background:
            fill.keep()

        def remember() -> None:
            if ask.serving.settings.cache.no_vary_search:
                self._searches.remember(ask, head)

        settler = Settler(
            store=self._store,
            ledger=self._ledger,
            ask=ask,
            key=errand.store_key,
            reply=reply,
            head=came,
            filled=head,
            part=part,
            deposit=deposit,
            flight=flight,
            terms=lambda head: self._terms(ask, head, edition),
            remember=remember,
            now=self._clocks.wall,
        )
        ahead = 0 if errand.hole is None else (1 + settings.read_ahead) * settings.interval

        async def rest() -> None:
            await fill.pump(settler, max(ahead, settings.finish_remaining))

        return Filled(fill, _came(reply, edition)), rest

    @staticmethod
    def _stored_head(ask: Ask, reply: Reply) -> StoredHead:
        return storing.stored_head(
            ask.request,
            reply.head,
            requested_at=reply.requested_at,
            received_at=reply.received_at,
            as_of=reply.as_of,
            sources=floors.tags(reply.head.headers, ask.distribution.tag_header),
        )

    def _onto(self, errand: Errand, came: StoredHead) -> Held | None:
        """The stored response that a part which has come is of."""
        hole = errand.hole
        held: Sequence[Held] = errand.found if hole is None else () if hole.held is None else (hole.held,)
        for each in held:
            if each.head.vary == came.vary and each.head.parts is not None and partial.of_one_body(each.head, came):
                return each
        return None

    def _edition(self, ask: Ask, reply: Reply) -> int:
        """The edition of what has just come: the owner of the key makes a new one, others are told."""
        if ask.owner is None:
            return self._page.next_edition(ask.key)
        return reply.edition if reply.by_owner else self._page.edition(ask.key)

    def _terms(self, ask: Ask, head: StoredHead, edition: int) -> Terms:
        keep_until = freshness.keep_until(head, ask.behavior.caching, ask.serving.settings.cache.stale_keep)
        return Terms(keep_until, ask.generation, edition)


def _sized(stored: Held) -> StoredHead:
    """The head of a stored response with a Content-Length: one that came in chunks has a length by now too."""
    if b"content-length" in stored.head.headers:
        return stored.head
    headers = stored.head.headers.replaced(b"Content-Length", b"%d" % stored.length)
    return stored.head.with_headers(headers)


def _came(reply: Reply, edition: int) -> Came:
    seconds = reply.received_at - reply.requested_at
    return Came(reply.head.status, reply.result, reply.by_owner, seconds, edition)
