"""What CloudFront does differently, as data: laid over the RFC's functions when a behaviour's rules say so.

The tables are those of the fact sheet. Read them beside `freshness.lifetime`, `storing.refusal` and
`lookup.stale_allowed`, which ask here in `cloudfront` rules and the RFC otherwise.
"""

from __future__ import annotations

from edgeproxy.model import Caching
from edgeproxy.outcome import Reason
from edgeproxy.rules.cachecontrol import Directives

WITHHOLDING = {
    b"no-store": Reason.NO_STORE,
    b"private": Reason.PRIVATE,
    b"no-cache": Reason.REVALIDATE_ALWAYS,
}
"""Directives that keep a response from being served from cache, unless MinTTL is above 0 (section 3)."""

CACHED_ERRORS = frozenset({404, 410, 414, 500, 501, 502, 503, 504})
"""Errors that are cached whatever they say, save what follows (section 2.5)."""

CACHED_WHEN_TOLD = frozenset({400, 403, 405, 412, 415})
"""Errors that are cached only with max-age or s-maxage. Any other error is not cached, 416 least of all."""

ERRORS_THAT_MAY_WITHHOLD = frozenset({404, 410, 414, 501})
"""Errors on which the withholding directives count; on others they are overlooked."""

ERROR_TTL_DEFAULT = 10.0
"""ErrorCachingMinTTL in seconds where none is set."""

REDIRECTS_CACHED_WHEN_TOLD = frozenset({307, 308})
"""Redirects that are cached only with a Cache-Control field (section 2.4)."""


def withheld(said: Directives) -> Reason | None:
    """Which directive asks that the response is not served from cache. A no-cache that names fields is about those
    alone (section 4.9: `no-cache="Set-Cookie"`)."""
    if said.members.keys().isdisjoint(WITHHOLDING):
        return None
    for name, reason in WITHHOLDING.items():
        if name in said and (reason is not Reason.REVALIDATE_ALWAYS or said.whole(name)):
            return reason
    return None


def lifetime(status: int, told: float | None, said: Directives, caching: Caching) -> float:
    """Seconds a response is fresh. `told` is its explicit lifetime, None when it gives none.

    =======================  =========================  ==========================
    the origin says          MinTTL 0                   MinTTL above 0
    =======================  =========================  ==========================
    a lifetime               at most MaxTTL             within MinTTL and MaxTTL
    nothing                  DefaultTTL                 the larger of Min, Default
    no-cache and its like    0                          MinTTL
    an error, a lifetime     the larger of ErrorCachingMinTTL and that, at most MaxTTL
    an error, nothing        ErrorCachingMinTTL         ErrorCachingMinTTL
    an error that may        0                          0
    withhold, and does
    =======================  =========================  ==========================
    """
    ttl = caching.ttl
    if withheld(said):
        told = 0.0
    if status in ERRORS_THAT_MAY_WITHHOLD and withheld(said):
        return 0.0
    if status >= 400:
        return max(error_minimum(status, caching), min(told or 0.0, ttl.maximum))
    return min(max(ttl.default if told is None else told, ttl.minimum), ttl.maximum)


def error_minimum(status: int, caching: Caching) -> float:
    """ErrorCachingMinTTL of a status, in seconds (section 2.5)."""
    return caching.error_ttl.get(status, ERROR_TTL_DEFAULT)


def refusal(status: int, said: Directives, has_cache_control: bool, caching: Caching) -> Reason | None:
    """Why a final response is not stored; None when it is. `no-cache` alone is stored, to be revalidated."""
    if not caching.ttl.maximum:
        return Reason.DYNAMIC
    if status >= 400:
        return _error_refusal(status, said, caching)
    if status in REDIRECTS_CACHED_WHEN_TOLD and not has_cache_control:
        return Reason.STATUS
    reason = withheld(said)
    return None if caching.ttl.minimum or reason is Reason.REVALIDATE_ALWAYS else reason


def _error_refusal(status: int, said: Directives, caching: Caching) -> Reason | None:
    if status in CACHED_WHEN_TOLD:
        if b"max-age" not in said and b"s-maxage" not in said:
            return Reason.STATUS
    elif status not in CACHED_ERRORS:
        return Reason.STATUS
    if status in ERRORS_THAT_MAY_WITHHOLD and (reason := withheld(said)):
        return reason
    return None


def stale_end(received_at: float, caching: Caching) -> float:
    """Wall time at which stale use of every kind ends: MaxTTL after storage (section 2.6)."""
    return received_at + caching.ttl.maximum


def stale_allowed(status: int, said: Directives, staleness: float, caching: Caching) -> bool:
    """Whether an expired copy stands in for an origin that fails or answers 5xx, before `stale_end` (section 2.6).

    `staleness` is how many seconds ago it expired. An error never stands in for another error.
    """
    if status >= 400 or (withheld(said) and not caching.ttl.minimum):
        return False
    limit = said.seconds(b"stale-if-error")
    return limit is None or staleness <= limit
