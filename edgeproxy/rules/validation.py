"""Conditional requests: those a cache makes, those it answers, and what a 304 does to a stored response.

RFC 9110 section 13, RFC 9111 sections 4.3 and 3.2. If-Match and If-Unmodified-Since are not evaluated here: RFC
9111 section 4.3.2 leaves them to the origin (`lookup.decide` sends such requests there), so no 412 arises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from edgeproxy.headers import Headers, end_to_end
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import AsOf, Rules
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.cachecontrol import response_directives
from edgeproxy.rules.dates import format_date, parse_date
from edgeproxy.rules.freshness import date_value
from edgeproxy.rules.vary import varies

PRECONDITIONS = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"})

ORIGIN_PRECONDITIONS = frozenset({b"if-match", b"if-unmodified-since"})
"""Conditions on the origin's present state, which no cache can judge (RFC 9111 section 4.3.2)."""

PROXY_FIELDS = frozenset({b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization"})
"""Fields about the way to one proxy; never stored (RFC 9111 section 3.1)."""

# RFC 9111 section 3.2: a 304 says nothing about these; they describe the bytes that are stored.
_BODY_FIELDS = frozenset({b"content-length", b"content-encoding", b"content-type", b"content-range"})

# RFC 9110 section 15.4.5: a 304 carries what guides a cache, not what describes a body it does not have.
_NOT_IN_304 = _BODY_FIELDS | {b"content-language", b"content-md5", b"content-digest", b"repr-digest", b"accept-ranges"}

_ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_ENTITY_TAGS = re.compile(rb'[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|\Z)|[ \t]*(?:,|\Z)')

# RFC 9110 section 8.8.2.2 makes a Last-Modified strong once the response was made clearly later, "clearly" being a
# matter of trust in clocks; RFC 7232 said 60 seconds.
_STRONG_AFTER = 60.0


def entity_tag(headers: Headers) -> bytes | None:
    """The ETag, None when there is none or it is malformed."""
    value = headers.get(b"etag")
    return value if value is not None and _ENTITY_TAG.fullmatch(value) else None


def strong_validator(headers: Headers, received_at: float) -> bytes | None:
    """What names these very bytes (section 8.8.1): a strong ETag, or where there is no ETag a strong Last-Modified."""
    tag = headers.get(b"etag")
    if tag is not None:
        return tag if tag.startswith(b'"') and _ENTITY_TAG.fullmatch(tag) else None
    modified = headers.get(b"last-modified")
    if modified is None:
        return None
    moment = parse_date(modified, received_at)
    return modified if moment is not None and moment + _STRONG_AFTER <= date_value(headers, received_at) else None


def has_validator(headers: Headers) -> bool:
    """Whether a stored response with these fields can be asked about."""
    return entity_tag(headers) is not None or b"last-modified" in headers


def unconditional(request: RequestHead) -> RequestHead:
    """The request for a fill that others may share: no conditions, no Range."""
    return request.with_headers(request.headers.without(PRECONDITIONS | {b"range"}))


def conditional(request: RequestHead, stored: Sequence[StoredHead]) -> RequestHead:
    """The request that validates `stored`: the chosen response is the last, before it other variants under its key.

    All ETags go along (RFC 9111 section 4.3.1), so that the origin may choose another variant; Last-Modified only
    when a single response is asked about. Without any validator the request stays unconditional.
    """
    chosen = stored[-1].headers
    complete = [other.headers for other in stored[:-1] if other.parts is None]
    fields: list[tuple[bytes, bytes]] = []
    if (tag := entity_tag(chosen)) is not None:
        tags = dict.fromkeys([tag, *filter(None, map(entity_tag, complete))])
        fields.append((b"If-None-Match", b", ".join(tags)))
    modified = chosen.get(b"last-modified")
    if modified is not None and (not complete or not fields):
        fields.append((b"If-Modified-Since", modified))
    bare = unconditional(request)
    return bare.with_headers(bare.headers.plus(*fields))


def with_range(outward: RequestHead, request: RequestHead) -> RequestHead:
    """A request for upstream with the viewer's Range, and its If-Range: that is for the origin to judge as well."""
    fields = [(name, value) for name, value in request.headers if name.lower() in (b"range", b"if-range")]
    return outward.with_headers(outward.headers.without({b"range", b"if-range"}).plus(*fields))


def for_part(request: RequestHead, first: int, last: int, validator: bytes) -> RequestHead:
    """The request for some bytes of the representation that a strong validator names, or for the whole if there is
    another one by now (RFC 9110 section 13.1.5)."""
    bare = unconditional(request)
    asked = [(b"Range", b"bytes=%d-%d" % (first, last)), (b"If-Range", validator)]
    return bare.with_headers(bare.headers.plus(*asked))


def precondition(request: RequestHead, status: int, headers: Headers) -> int | None:
    """304 when the request's conditions say the viewer has this response already, else None (section 13.2.2).

    Only If-None-Match and, in its absence, If-Modified-Since count, and only for a GET or HEAD that would be
    answered 2xx. What cannot be read never yields 304.
    """
    if request.method not in ("GET", "HEAD") or not 200 <= status < 300:
        return None
    wanted = request.headers.combined(b"if-none-match")
    if wanted is not None:
        return 304 if _none_match_fails(wanted, headers.get(b"etag")) else None
    since_values = request.headers.all(b"if-modified-since")
    if len(since_values) != 1:
        return None
    # Two-digit years are read beside the response's own date: nothing else here knows the time.
    made_at = date_value(headers, 0.0)
    since = parse_date(since_values[0], made_at)
    # RFC 9111 section 4.3.2: without a Last-Modified the response's Date stands in.
    changed = parse_date(headers.get(b"last-modified") or headers.get(b"date") or b"", made_at)
    return 304 if since is not None and changed is not None and changed <= since else None


def range_condition_holds(request: RequestHead, headers: Headers) -> bool:
    """Whether If-Range, if there is one, lets the Range count (section 13.1.5): strong comparison, exact date."""
    values = request.headers.all(b"if-range")
    if not values:
        return True
    return len(values) == 1 and values[0] == _strong_validator_like(headers, values[0])


def _strong_validator_like(headers: Headers, presented: bytes) -> bytes | None:
    """The response's strong validator of the kind presented: an ETag for an ETag, a date for a date."""
    if presented.startswith((b'"', b"W/")):
        return strong_validator(headers, 0.0) if b"etag" in headers else None
    return strong_validator(headers.without({b"etag"}), 0.0)


def not_modified(headers: Headers, *, to_cache: bool = False) -> Headers:
    """The fields of a 304 made from a stored or fetched response (section 15.4.5).

    `to_cache`: it goes to another cache of ours, which takes over from it what has changed.
    """
    if to_cache:
        return headers.without(_BODY_FIELDS)
    drop = _NOT_IN_304 | {b"last-modified"} if b"etag" in headers else _NOT_IN_304
    return headers.without(drop)


def selected(stored: Sequence[StoredHead], response: ResponseHead) -> StoredHead | None:
    """Which of the stored responses that were asked about a 304 vouches for (RFC 9111 section 4.3.4), None for none.

    A strong ETag names its response; a weak one or a Last-Modified names the most recent that has it. A 304
    with no validator speaks of the only one there is: the RFC says so where that one has no validator either, and
    origins that leave out the fields a 304 must have are too many to be refused.
    """
    tag = entity_tag(response.headers)
    modified = response.headers.get(b"last-modified")
    if tag is None and modified is None:
        return stored[0] if len(stored) == 1 else None
    if tag is not None and not tag.startswith(b"W/"):
        named = [each for each in stored if each.headers.get(b"etag") == tag]
    elif tag is not None:
        named = [each for each in stored if _weakly(each.headers.get(b"etag")) == _weakly(tag)]
    else:
        named = [each for each in stored if each.headers.get(b"last-modified") == modified]
    return max(named, key=recency, default=None)


def recency(stored: StoredHead) -> tuple[float, float]:
    """Orders stored responses by their Date, then by their arrival (RFC 9111 section 4)."""
    return date_value(stored.headers, stored.received_at), stored.received_at


def freshened(
    stored: StoredHead,
    response: ResponseHead,
    *,
    requested_at: float,
    received_at: float,
    as_of: AsOf,
    request: RequestHead | None = None,
    sources: tuple[bytes, ...] | None = None,
) -> StoredHead:
    """The stored response after a 304 vouched for it (RFC 9111 section 3.2).

    New fields replace old ones, except those that describe the body. `as_of` never falls. With `request`, the one that
    was answered 304, a Vary that has changed is taken over with that request's values; with `sources`, those.
    """
    headers = updated_fields(stored.headers, response.headers, received_at)
    changed = request is not None and headers.combined(b"vary") != stored.headers.combined(b"vary")
    return replace(
        stored,
        headers=headers,
        requested_at=requested_at,
        received_at=received_at,
        as_of=later(stored.as_of, as_of),
        vary=varies(headers, request) if changed and request is not None else stored.vary,
        sources=stored.sources if sources is None else sources,
    )


def freshened_by_head(
    stored: StoredHead, response: ResponseHead, *, requested_at: float, received_at: float, as_of: AsOf
) -> StoredHead | None:
    """The stored GET response after a 200 to a HEAD (RFC 9111 section 4.3.5).

    None when the HEAD tells of another representation: what is stored is then to be taken as stale.
    """
    for name in (b"etag", b"last-modified", b"content-length"):
        told = response.headers.get(name)
        if told is not None and told != stored.headers.get(name):
            return None
    if response.status != stored.status:
        return None
    return freshened(stored, response, requested_at=requested_at, received_at=received_at, as_of=as_of)


def updated_fields(old: Headers, new: Headers, received_at: float) -> Headers:
    """Stored fields with newer ones over them: `new` wins, except for what describes the body.

    An Age goes even if no new one has come: it belonged to the old journey.
    """
    offered = storable_fields(new, received_at).without(_BODY_FIELDS)
    return without_limited(Headers((*old.without({*offered.names(), b"age"}), *offered)))


def storable_fields(headers: Headers, received_at: float) -> Headers:
    """The fields that may be stored (RFC 9111 section 3.1), with a Date where a right one is missing (9110 6.6.1)."""
    kept = end_to_end(headers).without(PROXY_FIELDS)
    date = kept.get(b"date")
    if date is None or parse_date(date, received_at) is None:
        kept = kept.replaced(b"Date", format_date(received_at))
    return kept


def without_limited(headers: Headers) -> Headers:
    """The fields but those that private="…" or no-cache="…" keeps from other viewers (RFC 9111 5.2.2.4, 5.2.2.7).

    In `cloudfront` rules too: what the origin marks so is not for sharing, whatever keeps the rest.
    """
    said = response_directives(headers, Rules.RFC9111)
    limited = said.fields(b"private") | said.fields(b"no-cache")
    return headers.without(limited) if limited else headers


def later(one: AsOf, other: AsOf) -> AsOf:
    """What is known after a revalidation (INVALIDATION rule 4): the higher number; of another epoch nothing is."""
    return AsOf(one.epoch, max(one.number, other.number)) if one.epoch == other.epoch else one


def earlier(one: AsOf, other: AsOf) -> AsOf:
    """What a body is as of that was put together: its oldest bytes count; those of two epochs are of neither."""
    return AsOf(one.epoch, min(one.number, other.number)) if one.epoch == other.epoch else AsOf("", 0)


def _none_match_fails(wanted: bytes, tag: bytes | None) -> bool:
    """Whether If-None-Match names the response: `*` names any, a list by weak comparison (section 13.1.2)."""
    if wanted.strip(b" \t") == b"*":
        return True
    if tag is None or not _ENTITY_TAG.fullmatch(tag):
        return False
    position = 0
    found = False
    while position < len(wanted):
        match = _ENTITY_TAGS.match(wanted, position)
        if match is None:
            return False
        found = found or _weakly(match[1]) == _weakly(tag)
        position = match.end()
    return found


def _weakly(tag: bytes | None) -> bytes | None:
    return tag.removeprefix(b"W/") if tag is not None else None
