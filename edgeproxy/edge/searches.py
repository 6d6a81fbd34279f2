"""Which stored responses may answer other queries too (No-Vary-Search). Off unless the settings ask for it.

An index beside the store: by everything of a key but the query, the queries whose responses said so. Bounded; what it
forgets is a miss, and what it remembers is judged again by the stored response itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cachetools import LRUCache

from edgeproxy.edge.admission import resource
from edgeproxy.edge.ask import Ask
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.key import cache_key
from edgeproxy.rules.search import equivalent, no_vary_search

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

    def __init__(self) -> None:
        self._known: LRUCache[bytes, list[Known]] = LRUCache(RESOURCES_MAX)

    def remember(self, ask: Ask, head: StoredHead) -> None:
        """This response to this request is being stored."""
        if no_vary_search(head.headers) is None:
            return
        known = self._known.setdefault(_without_query(ask), [])
        new = Known(ask.key, resource(ask.request, ask.distribution), ask.request.query)
        known[:] = [*(each for each in known if each.key != new.key), new][-QUERIES_MAX:]

    def others(self, ask: Ask) -> Iterator[Known]:
        """Stored responses to other queries of this request's resource, the newest first."""
        for known in reversed(self._known.get(_without_query(ask), [])):
            if known.key != ask.key:
                yield known

    def answers(self, ask: Ask, known: Known, head: StoredHead) -> bool:
        """Whether the stored response itself says that the two queries are the same."""
        rule = no_vary_search(head.headers)
        return rule is not None and equivalent(known.query, ask.request.query, rule)


def _without_query(ask: Ask) -> bytes:
    return cache_key(replace(ask.request, target=ask.request.path), ask.distribution, ask.behavior)
