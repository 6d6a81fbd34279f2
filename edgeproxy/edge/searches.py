"""Which stored responses may answer other queries too (No-Vary-Search). Off unless the settings ask for it.

An index beside the store: by everything of a key but the query, the queries whose responses said so. Bounded; what it
forgets is a miss, and what it remembers is judged again by the stored response itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachetools import LRUCache

from edgeproxy.edge.admission import resource
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.page import SharedPage
from edgeproxy.outcome import Serve, StoredHead
from edgeproxy.rules.key import cache_key
from edgeproxy.rules.lookup import decide
from edgeproxy.rules.search import equivalent, no_vary_search
from edgeproxy.store.memory import MemoryStore, Stored
from edgeproxy.store.tiers import Held

RESOURCES_MAX = 10_000
QUERIES_MAX = 16
"""Per resource; the oldest goes."""


@dataclass(frozen=True, slots=True)
class Known:
    """A stored response that ignores parts of its query."""

    key: bytes
    resource: bytes
    """Its name for generations (SharedPage.generation)."""
    query: bytes | None


class Searches:
    """The index of one worker."""

    def __init__(self, store: MemoryStore, page: SharedPage, ledger: Ledger) -> None:
        self._store = store
        self._page = page
        self._ledger = ledger
        self._known: LRUCache[bytes, list[Known]] = LRUCache(RESOURCES_MAX)

    def remember(self, ask: Ask, head: StoredHead) -> None:
        """This response to this request is being stored."""
        if no_vary_search(head.headers) is None:
            return
        known = self._known.setdefault(_without_query(ask), [])
        new = Known(ask.key, resource(ask.request, ask.distribution), ask.request.query)
        known[:] = [*(each for each in known if each.key != new.key), new][-QUERIES_MAX:]

    def instead(self, ask: Ask, now: float) -> tuple[list[Held], Serve] | None:
        """A fresh response to a query that its No-Vary-Search calls the same; None when there is none.

        A tier that asks knows of changes to the query it names, not of those to others: it is given none.
        """
        if ask.hop is not None or ask.request.method != "GET":
            return None
        for known in reversed(self._known.get(_without_query(ask), [])):
            found: list[Held] = [
                stored for stored in self._store.find(known.key, now) if self._fits(ask, known, stored)
            ]
            decision = decide(ask.request, [stored.head for stored in found], ask.behavior.caching, now)
            if isinstance(decision, Serve):
                return found, decision
        return None

    def _fits(self, ask: Ask, known: Known, stored: Stored) -> bool:
        """It is as new as it must be, and says itself that the two queries are the same."""
        rule = no_vary_search(stored.head.headers)
        return (
            rule is not None
            and equivalent(known.query, ask.request.query, rule)
            and stored.terms.generation == self._page.generation(known.resource)
            and stored.terms.edition == self._page.edition(known.key)
            and self._ledger.covers(stored.head.as_of, ask.floor, stored.head.sources)
            and self._ledger.covers(stored.head.as_of, self._ledger.named(ask.floor, known.key), stored.head.sources)
        )


def _without_query(ask: Ask) -> bytes:
    return cache_key(replace(ask.request, target=ask.request.path), ask.distribution, ask.behavior)
