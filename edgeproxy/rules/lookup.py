"""What to do for a request, given what is stored under its key (RFC 9111 section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from edgeproxy.message import RequestHead
from edgeproxy.model import Caching, Rules
from edgeproxy.outcome import (
    Bypass,
    Decision,
    Fetch,
    Reason,
    Revalidate,
    Serve,
    ServeStale,
    StoredHead,
    Unsatisfiable,
)
from edgeproxy.rules import overlay
from edgeproxy.rules.cachecontrol import NO_DIRECTIVES, Directives, request_directives, response_directives
from edgeproxy.rules.freshness import current_age, lifetime
from edgeproxy.rules.partial import completable, holds
from edgeproxy.rules.storing import forbidden
from edgeproxy.rules.validation import ORIGIN_PRECONDITIONS, has_validator, recency
from edgeproxy.rules.vary import normalised

# Each of them forbids a shared cache to serve the response once it is stale (sections 4.2.4, 5.2.2.2, .8, .10).
_NEVER_STALE = (b"must-revalidate", b"proxy-revalidate", b"s-maxage")

RFC_FAILURES = frozenset({500, 502, 503, 504})
"""What RFC 5861 section 4 calls an error."""


def decide(request: RequestHead, candidates: Sequence[StoredHead], caching: Caching, now: float) -> Decision:
    """What to do for a GET, a HEAD or a cached OPTIONS.

    `candidates`: all that is stored under the key and covers the request's invalidation floor. Of those that match
    the most recent one counts. A viewer's Cache-Control counts in `rfc9111` rules only (fact sheet 1.5).
    """
    plain = caching.rules is Rules.RFC9111
    asked = request_directives(request.headers) if plain else NO_DIRECTIVES
    if plain and not ORIGIN_PRECONDITIONS.isdisjoint(request.headers.names()):
        decision: Decision = Bypass(Reason.CONDITION)
    else:
        decision = _choose(request, candidates, caching, asked, now)
    if b"only-if-cached" in asked and isinstance(decision, Fetch | Revalidate | Bypass):
        return Unsatisfiable(decision.reason)
    return decision


def matches(stored: StoredHead, request: RequestHead, caching: Caching) -> bool:
    """Whether a response stored under the request's key fits the request.

    A field that is absent matches only its absence. In `cloudfront` rules the key alone decides (fact sheet 2.1).
    """
    if caching.rules is Rules.CLOUDFRONT:
        return True
    return all(normalised(name, request.headers.combined(name)) == value for name, value in stored.vary)


def stale_allowed(
    stored: StoredHead, caching: Caching, now: float, *, error: bool, request: RequestHead | None = None
) -> bool:
    """Whether a stored response may stand in for what upstream failed to give.

    `error`: upstream answered, with a failure (see `is_failure`); otherwise it gave no answer. RFC 9111 section
    4.2.4 permits stale responses when disconnected, RFC 5861 section 4 also for failures if stale-if-error says so,
    in the response or in `request`, and bounds both. What is still fresh may always stand in.
    """
    said = response_directives(stored.headers, caching.rules)
    staleness = current_age(stored, now) - lifetime(stored, caching)
    if caching.rules is Rules.CLOUDFRONT:
        return now < overlay.stale_end(stored.received_at, caching) and overlay.stale_allowed(
            stored.status, said, staleness, caching
        )
    if forbidden(stored.status, said) or said.whole(b"no-cache"):
        return False
    if staleness < 0:
        return True
    if any(name in said for name in _NEVER_STALE):
        return False
    asked = NO_DIRECTIVES if request is None else request_directives(request.headers)
    limits = [seconds for each in (said, asked) if (seconds := each.seconds(b"stale-if-error")) is not None]
    return staleness <= max(limits) if limits else not error


def reusable(stored: StoredHead, caching: Caching, now: float) -> bool:
    """Whether a response may be given without asking again to anyone who merely asks for it and whom it matches."""
    said = response_directives(stored.headers, caching.rules)
    age = current_age(stored, now)
    left = lifetime(stored, caching) - age
    reason = _obstacle(said, NO_DIRECTIVES, caching, age, left)
    return reason is None or (
        reason is Reason.STALE and _welcome_stale(stored, said, NO_DIRECTIVES, caching, -left, now)
    )


def asks_for_itself(request: RequestHead, caching: Caching) -> bool:
    """Whether a cache above may answer this request with what it would answer to no other: `max-stale` permits a stale
    response and `only-if-cached` a 504. Such an answer is not to be shared."""
    if caching.rules is Rules.CLOUDFRONT:
        return False
    asked = request_directives(request.headers)
    return b"max-stale" in asked or b"only-if-cached" in asked


def collapses(caching: Caching) -> bool:
    """Whether requests may wait for the fetch of another: not where cookies reach the origin (fact sheet 1.8)."""
    return caching.rules is Rules.RFC9111 or not caching.forwards_cookies


def is_failure(status: int, caching: Caching) -> bool:
    """Whether an upstream status is a failure that a stale response may hide (RFC 5861; fact sheet 2.6)."""
    return 500 <= status <= 599 if caching.rules is Rules.CLOUDFRONT else status in RFC_FAILURES


def _choose(
    request: RequestHead, candidates: Sequence[StoredHead], caching: Caching, asked: Directives, now: float
) -> Decision:
    # What answered a HEAD has no body for a GET; everything else that is stored answers both (section 4).
    fitting = [each for each in candidates if each.method != "HEAD" or request.method == "HEAD"]
    matching = [each for each in fitting if matches(each, request, caching)]
    if not matching:
        return Fetch(Reason.VARY_MISS if fitting else Reason.URI_MISS)
    return _judge(request, max(matching, key=recency), caching, asked, now)


def _judge(request: RequestHead, stored: StoredHead, caching: Caching, asked: Directives, now: float) -> Decision:
    said = response_directives(stored.headers, caching.rules)
    if caching.rules is Rules.RFC9111 and (barred := forbidden(stored.status, said)):
        return Fetch(barred)  # a 304 has brought a directive that forbids the response since
    age = current_age(stored, now)
    left = lifetime(stored, caching) - age
    reason = _obstacle(said, asked, caching, age, left)
    if not holds(stored, request, caching.rules):
        # What is missing is fetched under the stored validator, which also validates what is there (section 3.4).
        addable = reason in (None, Reason.STALE) and completable(stored) and collapses(caching)
        return Fetch(reason or Reason.PARTIAL, partial=stored if addable else None)
    if reason is None:
        return Serve(stored, age)
    if reason is Reason.STALE and _welcome_stale(stored, said, asked, caching, -left, now):
        return ServeStale(stored, age)
    insists = b"no-cache" in asked
    in_need = not insists and stale_allowed(stored, caching, now, error=False, request=request)
    # Fact sheet 3: CloudFront asks without conditions where cookies reach the origin.
    asks_plainly = caching.rules is Rules.CLOUDFRONT and caching.forwards_cookies
    if has_validator(stored.headers) and not asks_plainly:
        return Revalidate(stored, reason, in_need)
    return Fetch(reason, stored if in_need else None)


def _obstacle(said: Directives, asked: Directives, caching: Caching, age: float, left: float) -> Reason | None:
    """What keeps the response from being served as fresh; None when nothing does."""
    if caching.rules is Rules.CLOUDFRONT:
        return None if left > 0 else Reason.STALE
    if said.whole(b"no-cache"):
        return Reason.REVALIDATE_ALWAYS
    if b"no-cache" in asked:
        return Reason.REQUEST
    max_age = asked.seconds(b"max-age")
    if max_age is not None and age > max_age:
        return Reason.REQUEST
    if left <= 0:
        return Reason.STALE
    min_fresh = asked.seconds(b"min-fresh")
    return Reason.REQUEST if min_fresh is not None and left < min_fresh else None


def _welcome_stale(
    stored: StoredHead, said: Directives, asked: Directives, caching: Caching, staleness: float, now: float
) -> bool:
    """Whether the stale response may be served without asking first: stale-while-revalidate, max-stale."""
    window = said.seconds(b"stale-while-revalidate")
    offered = window is not None and staleness <= window
    if caching.rules is Rules.CLOUDFRONT:
        withheld = overlay.withheld(said) is not None and not caching.ttl.minimum
        return offered and not withheld and now < overlay.stale_end(stored.received_at, caching)
    if any(name in said for name in _NEVER_STALE):
        return False
    if offered or b"max-stale" not in asked:
        return offered
    limit = asked.seconds(b"max-stale")
    return asked.get(b"max-stale") is None or (limit is not None and staleness <= limit)
