"""Failures of upstream, remembered for as long as CloudFront caches errors (fact sheet 2.5, 2.6).

An error that an origin answers is stored like any response. Here is what it did not answer: no connection, no bytes in
time; and the answers that a stale copy covered. For ErrorCachingMinTTL nobody tries again for the same key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from edgeproxy.errors import Detail, OriginError
from edgeproxy.model import AsOf, Caching
from edgeproxy.rules.overlay import error_minimum

FAILURES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened, without the error itself: that holds on to all that led to it."""

    kind: type[OriginError]
    message: str
    status: int
    detail: Detail
    as_of: AsOf
    """What had been invalidated when upstream was asked."""
    generation: int
    covered: bool
    """A stale copy stood in: the error may have been an answer, which this is not."""
    seconds: float

    def error(self) -> OriginError:
        """The same once more."""
        return self.kind(self.message, status=self.status, detail=self.detail, may_retry=False)


class Failures:
    """Those of one worker, in `cloudfront` rules."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._remembered: TLRUCache[bytes, Failure] = TLRUCache(
            FAILURES_MAX, lambda key, failure, now: now + failure.seconds, timer=wall
        )

    def remember(
        self, key: bytes, error: OriginError, as_of: AsOf, generation: int, caching: Caching, *, covered: bool
    ) -> None:
        """Upstream failed for this key just now."""
        seconds = error_minimum(error.status, caching)
        if seconds > 0:
            self._remembered[key] = Failure(
                type(error), str(error), error.status, error.detail, as_of, generation, covered, seconds
            )

    def find(self, key: bytes, generation: int) -> Failure | None:
        """How it failed for this key, while that is not too long ago and nothing was changed meanwhile."""
        failure = self._remembered.get(key)
        return failure if failure is not None and failure.generation == generation else None
