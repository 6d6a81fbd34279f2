"""How old a stored response is, and how old it may become (RFC 9111 section 4.2)."""

from __future__ import annotations

from edgeproxy.headers import Headers
from edgeproxy.model import Caching, Rules
from edgeproxy.outcome import StoredHead
from edgeproxy.rules import overlay
from edgeproxy.rules.cachecontrol import DELTA_MAX, Directives, response_directives
from edgeproxy.rules.dates import parse_date

HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 section 15.1."""

HEURISTIC_FRACTION = 0.1
"""Of the time since the last modification, as RFC 9111 section 4.2.2 suggests."""

HEURISTIC_MAX = 7 * 86_400.0
"""A week, in seconds: what nobody promised should not live for years because a file is old."""


def date_value(headers: Headers, received_at: float) -> float:
    """When the response was made: its Date, or its arrival where that is missing or wrong (RFC 9110 6.6.1)."""
    value = headers.get(b"date")
    moment = None if value is None else parse_date(value, received_at)
    return received_at if moment is None else moment


def age_value(headers: Headers) -> int:
    """The Age received, in seconds. Of several members the first counts; a wrong one is overlooked (section 5.1)."""
    value = headers.get(b"age")
    if value is None:
        return 0
    first = value.partition(b",")[0].strip(b" \t")
    if not first.isdigit():
        return 0
    return min(int(first), DELTA_MAX) if len(first) <= 10 else DELTA_MAX


def current_age(stored: StoredHead, now: float) -> float:
    """Seconds since the response was made or validated at the origin, by the sums of section 4.2.3.

    A clock that was set back makes nothing younger than it was on arrival.
    """
    received_at = stored.received_at
    apparent_age = max(0.0, received_at - date_value(stored.headers, received_at))
    response_delay = max(0.0, received_at - stored.requested_at)
    corrected_age_value = age_value(stored.headers) + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    resident_time = max(0.0, now - received_at)
    return corrected_initial_age + resident_time


def explicit_lifetime(headers: Headers, said: Directives, received_at: float) -> float | None:
    """Seconds of freshness the origin gave a shared cache: s-maxage, else max-age, else Expires; None for none.

    Expires counts from Date, not from arrival, so that the time spent in the tier above, which Age brings
    along, is not taken off twice.
    """
    for name in (b"s-maxage", b"max-age"):
        seconds = said.seconds(name)
        if seconds is not None:
            return float(seconds)
    if said.targeted or b"expires" not in headers:
        return None
    moments = {parse_date(value, received_at) for value in headers.all(b"expires")}
    expires = moments.pop()
    if expires is None or moments:  # unreadable, or two that disagree: in the past (sections 4.2.1, 5.3)
        return 0.0
    return max(0.0, expires - date_value(headers, received_at))


def heuristic_lifetime(status: int, headers: Headers, received_at: float) -> float:
    """Seconds of freshness to assume where the origin gave none (section 4.2.2); 0 without a Last-Modified."""
    value = headers.get(b"last-modified")
    if value is None or status not in HEURISTICALLY_CACHEABLE:
        return 0.0
    modified = parse_date(value, received_at)
    if modified is None:
        return 0.0
    unchanged_for = max(0.0, date_value(headers, received_at) - modified)
    return min(HEURISTIC_FRACTION * unchanged_for, HEURISTIC_MAX)


def lifetime_of(status: int, headers: Headers, received_at: float, caching: Caching) -> float:
    """Seconds a response with this head stays fresh, counted from its making."""
    said = response_directives(headers, caching.rules)
    told = explicit_lifetime(headers, said, received_at)
    if caching.rules is Rules.CLOUDFRONT:
        return overlay.lifetime(status, told, said, caching)
    return heuristic_lifetime(status, headers, received_at) if told is None else told


def lifetime(stored: StoredHead, caching: Caching) -> float:
    """Seconds a stored response stays fresh, counted from its making; it is stale at that age, not after it."""
    return lifetime_of(stored.status, stored.headers, stored.received_at, caching)


def remaining(stored: StoredHead, caching: Caching, now: float) -> float:
    """Seconds of freshness left; 0 or less when stale."""
    return lifetime(stored, caching) - current_age(stored, now)


def keep_until(stored: StoredHead, caching: Caching, stale_keep: float) -> float:
    """Wall time after which a stored response is of no use, not even stale or to be revalidated.

    `stale_keep` is how many seconds past its freshness one is kept. `cloudfront` rules end every stale use MaxTTL
    after storage, but no response leaves while it is fresh.
    """
    fresh_until = stored.received_at + max(0.0, remaining(stored, caching, stored.received_at))
    if caching.rules is Rules.CLOUDFRONT:
        return max(fresh_until, min(fresh_until + stale_keep, overlay.stale_end(stored.received_at, caching)))
    return fresh_until + stale_keep
