"""What a flight does: ask upstream, and find out whether the answer may be stored, validates, or is for one only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fill import Fill
from edgeproxy.edge.flight import Alone, Came, Filled, Flight, Landing, Mark, Refreshed
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Clocks
from edgeproxy.errors import OriginError
from edgeproxy.headers import Headers
from edgeproxy.message import no_body
from edgeproxy.outcome import Reason, StoredHead
from edgeproxy.rules import freshness, lookup, storing, validation
from edgeproxy.rules.key import head_key
from edgeproxy.store.memory import MemoryStore, Stored, Writer
from edgeproxy.telemetry.counters import Counters

REFRESHED_MAX = 10_000


@dataclass(slots=True)
class Errand:
    """What to fetch, and what is at hand."""

    ask: Ask
    found: Sequence[Stored]
    validated: Stored | None
    """Ask with the validators of what is stored, this one chosen; None: ask without conditions."""
    hides_failures: bool
    """A stale copy may stand in for an answer that is a failure, so such an answer counts as none."""
    background: bool = False
    """Nobody waits; the fetch goes to its end all the same."""

    @property
    def key(self) -> bytes:
        """What HEAD brings is kept apart: it never leads a GET's fill."""
        return head_key(self.ask.key) if self.ask.request.method == "HEAD" else self.ask.key


class Fetcher:
    """Fetches for one worker."""

    def __init__(
        self, store: MemoryStore, nexthop: NextHop, ledger: Ledger, counters: Counters, clocks: Clocks
    ) -> None:
        self._store = store
        self._nexthop = nexthop
        self._ledger = ledger
        self._counters = counters
        self._clocks = clocks
        self._refreshed: LRUCache[tuple[bytes, int], bool] = LRUCache(REFRESHED_MAX)

    def mark(self, ask: Ask) -> Mark:
        """The circumstances under which a fetch for this request starts now."""
        return Mark(ask.distribution.revision, ask.generation, ask.refresh, self._ledger.applied())

    async def fetch(
        self, errand: Errand, flight: Flight[Reply]
    ) -> tuple[Landing[Reply], Callable[[], Awaitable[None]] | None]:
        """Ask upstream once (twice when a 304 is about nothing we have). Raises OriginError, Overloaded."""
        ask = errand.ask
        heads = [stored.head for stored in errand.found]
        if errand.validated is not None and ask.request.method != "HEAD":
            heads.remove(errand.validated.head)
            request = validation.conditional(ask.request, [*heads, errand.validated.head])
        else:
            request = validation.unconditional(ask.request)
        refresh = self._must_refresh(ask)
        reply = await self._nexthop.send(ask, request, no_body(), refresh=refresh, interim=flight.announce)
        if reply.head.status == 304:
            refreshed = self._refresh(errand, reply)
            if refreshed is not None:
                return refreshed, None
            request = validation.unconditional(ask.request)
            reply = await self._nexthop.send(ask, request, no_body(), refresh=refresh, interim=flight.announce)
        if errand.hides_failures and lookup.is_failure(reply.head.status, ask.behavior.caching):
            reply.body.close()
            raise OriginError("The origin answered with an error.", status=reply.head.status)
        if refresh:
            self._refreshed[errand.key, ask.generation] = True
        return self._landing(errand, flight, reply)

    def _must_refresh(self, ask: Ask) -> bool:
        """After an unsafe request the next tier's copy must not come back (INVALIDATION rule 6)."""
        if ask.owner is not None or ask.generation == 0:
            return ask.refresh
        return ask.refresh or (ask.key, ask.generation) not in self._refreshed

    def _refresh(self, errand: Errand, reply: Reply) -> Refreshed | None:
        reply.body.close()
        head = validation.selected([stored.head for stored in errand.found], reply.head)
        if head is None:
            return None
        ask = errand.ask
        stored = next(entry for entry in errand.found if entry.head is head)
        fresh = validation.freshened(
            head,
            reply.head,
            requested_at=reply.requested_at,
            received_at=reply.received_at,
            as_of=reply.as_of,
            request=ask.request,
        )
        kept = self._store.refresh(stored, fresh, self._keep_until(ask, fresh), ask.generation)
        return Refreshed(kept, _came(reply))

    def _landing(
        self, errand: Errand, flight: Flight[Reply], reply: Reply
    ) -> tuple[Landing[Reply], Callable[[], Awaitable[None]] | None]:
        ask = errand.ask
        refusal = storing.refusal(ask.request, reply.head, ask.behavior.caching, reply.received_at)
        if refusal is not None:
            return Alone(reply, refusal), None
        head = storing.stored_head(
            ask.request,
            reply.head,
            requested_at=reply.requested_at,
            received_at=reply.received_at,
            as_of=reply.as_of,
        )
        writer = self._store.begin(errand.key, reply.body.length)
        if writer is None:
            return Alone(reply, Reason.TOO_LARGE), None
        settings = ask.serving.settings.fills
        fill = Fill(head, reply.body, writer, settings.window, self._counters, lambda: flight.waiters > 0)
        if errand.background:
            fill.keep()

        def commit(writer: Writer, trailers: Headers) -> bool:
            return writer.commit(head, trailers, self._keep_until(ask, head), ask.generation)

        async def rest() -> None:
            await fill.pump(commit, settings.finish_remaining)

        return Filled(fill, _came(reply)), rest

    def _keep_until(self, ask: Ask, head: StoredHead) -> float:
        return freshness.keep_until(head, ask.behavior.caching, ask.serving.settings.cache.stale_keep)


def _came(reply: Reply) -> Came:
    return Came(reply.head.status, reply.result, reply.by_owner, reply.received_at - reply.requested_at)
