"""What may be stored (RFC 9111 section 3), and what of it is (section 3.1)."""

from __future__ import annotations

from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import AsOf, Caching, Rules
from edgeproxy.outcome import Reason, StoredHead
from edgeproxy.rules import overlay
from edgeproxy.rules.cachecontrol import Directives, directives, response_directives
from edgeproxy.rules.freshness import HEURISTICALLY_CACHEABLE, explicit_lifetime, lifetime_of
from edgeproxy.rules.invalidating import same_origin_target
from edgeproxy.rules.ranges import received_part
from edgeproxy.rules.validation import PRECONDITIONS, has_validator, storable_fields, without_limited
from edgeproxy.rules.vary import varies, vary_names

UNDERSTOOD = frozenset({*range(200, 207), *range(300, 309), *range(400, 418), 421, 422, 426, *range(500, 506)}) - {306}
"""Statuses whose caching requirements are known here: all of RFC 9110 section 15 (`must-understand`, 5.2.2.3)."""

# Without one of these a response to a request with Authorization stays with that viewer (section 3.5).
_SHARING = (b"must-revalidate", b"public", b"s-maxage")


def refusal(
    request: RequestHead, response: ResponseHead, caching: Caching, now: float, *, parts: bool = False
) -> Reason | None:
    """Why a response must not be stored, or need not be; None when it may be. `now` is when it arrived.

    `request` is the viewer's. `parts`: the caller can store a partial response as parts of an incomplete one.
    """
    said = response_directives(response.headers, caching.rules)
    reason = _status_refusal(request, response, parts)
    if reason is not None:
        return reason
    if caching.rules is Rules.CLOUDFRONT:
        return _cloudfront_refusal(request, response, said, caching)
    if b"no-store" in directives(request.headers):
        return Reason.NO_STORE
    reason = _method_refusal(request, response, said, now) or forbidden(response.status, said)
    if reason is not None:
        return reason
    if b"authorization" in request.headers and not any(name in said for name in _SHARING):
        return Reason.AUTHORIZATION
    if vary_names(response.headers) is None:
        return Reason.VARY_ANY
    return _useless(response, said, caching, now)


def forbidden(status: int, said: Directives) -> Reason | None:
    """Which directive forbids a shared cache to store the response, or to use it if it is stored (rfc9111 rules).

    must-understand lifts no-store for a status that is understood, and forbids all others (section 5.2.2.3).
    """
    if b"must-understand" in said:
        if status not in UNDERSTOOD:
            return Reason.NOT_UNDERSTOOD
    elif b"no-store" in said:
        return Reason.NO_STORE
    return Reason.PRIVATE if said.whole(b"private") else None


def stored_head(
    request: RequestHead,
    response: ResponseHead,
    *,
    requested_at: float,
    received_at: float,
    as_of: AsOf,
    sources: tuple[bytes, ...] = (),
) -> StoredHead:
    """What to remember of a response that `refusal` let pass.

    Left out: hop-by-hop fields, those about a proxy (section 3.1), and those that private="…" or no-cache="…" names
    (sections 5.2.2.4 and 5.2.2.7: served later without them, the response needs no validation). A 206 becomes an
    incomplete 200 (section 3.3).
    """
    headers = without_limited(storable_fields(response.headers, received_at))
    status, parts = response.status, None
    carried = received_part(response)
    if carried is not None and carried.part is not None and carried.length is not None:
        status = 200
        headers = headers.without({b"content-range"}).replaced(b"Content-Length", b"%d" % carried.length)
        if carried.part.length < carried.length:
            parts = ((carried.part.first, carried.part.last + 1),)
    return StoredHead(
        status=status,
        reason=b"OK" if status != response.status else response.reason,
        headers=headers,
        requested_at=requested_at,
        received_at=received_at,
        as_of=as_of,
        method=request.method,
        vary=varies(headers, request),
        parts=parts,
        sources=sources,
    )


def _status_refusal(request: RequestHead, response: ResponseHead, parts: bool) -> Reason | None:
    status = response.status
    if status < 200 or status == 304 or (status == 412 and PRECONDITIONS & set(request.headers.names())):
        return Reason.STATUS  # neither final nor about the resource as such
    if status == 416:
        return Reason.STATUS  # about one request's Range, and the next request has another
    if status == 206:
        carried = received_part(response)
        usable = parts and request.method == "GET" and carried is not None and carried.length is not None
        return None if usable else Reason.PARTIAL_RESPONSE
    return None


def _method_refusal(request: RequestHead, response: ResponseHead, said: Directives, now: float) -> Reason | None:
    """GET and HEAD; and POST, where the answer says how long it is fresh and that it stands for the target itself
    (RFC 9110 section 9.3.3)."""
    if request.method in ("GET", "HEAD"):
        return None
    location = response.headers.all(b"content-location")
    if request.method != "POST" or len(location) != 1 or not 200 <= response.status < 300:
        return Reason.STORE_METHOD
    stands_for_itself = same_origin_target(request, location[0]) == request.target
    fresh = explicit_lifetime(response.headers, said, now)
    return None if stands_for_itself and fresh else Reason.STORE_METHOD


def _useless(response: ResponseHead, said: Directives, caching: Caching, now: float) -> Reason | None:
    """What the last clause of section 3 wants to see, and some way to use the response again."""
    explicit = explicit_lifetime(response.headers, said, now) is not None
    if not explicit and b"public" not in said and response.status not in HEURISTICALLY_CACHEABLE:
        return Reason.NO_EXPLICIT_FRESHNESS
    if has_validator(response.headers):
        return None
    if said.whole(b"no-cache"):
        return Reason.REVALIDATE_ALWAYS
    if not explicit and not lifetime_of(response.status, response.headers, now, caching):
        return Reason.NO_EXPLICIT_FRESHNESS
    return None


def _cloudfront_refusal(
    request: RequestHead, response: ResponseHead, said: Directives, caching: Caching
) -> Reason | None:
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        return Reason.STORE_METHOD
    if vary_names(response.headers) is None and not caching.ttl.minimum:
        return Reason.VARY_ANY  # kept or not: every request goes to the origin, without conditions (fact sheet 2.1)
    return overlay.refusal(response.status, said, b"cache-control" in response.headers, caching)
