"""The cache key: printable, self-describing bytes, the same for two requests only if they mean the same response.

    E1ABC GET //host /path ?query h:name=value c:name=value ae:br,gzip

Components stand apart by a blank, which no component contains: what is not printable ASCII, and blank and
backslash, is written as a backslash and two hexadecimal digits. Nothing received is normalised on the way in: the
origin sees the raw bytes, so the key has to tell them apart (fact sheet 1.3).
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead
from edgeproxy.model import Behavior, Choice, Distribution, Selector

_RANGE_BYTES_MAX = 256
"""A longer Range is none that anybody means; its digest does, so that what is remembered of it stays small."""

_ESCAPED = re.compile(rb"[^\x21-\x5b\x5d-\x7e]")
_ESCAPED_IN_NAME = re.compile(rb"[^\x21-\x3c\x3e-\x5b\x5d-\x7e]")
_CODING = re.compile(rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[Qq]=([01](?:\.\d{0,3})?)[ \t]*)?")


def cache_key(request: RequestHead, distribution: Distribution, behavior: Behavior) -> bytes:
    """The key of a request's response. The default root object has been put in place before.

    GET and HEAD share a key, and every other method but OPTIONS maps to theirs: it is what that method may spoil.
    """
    return variant_key(resource_key(request, distribution, behavior), request, behavior)


def variant_key(resource: bytes, request: RequestHead, behavior: Behavior) -> bytes:
    """The cache key, given what `resource_key` says of the same request."""
    parts = behavior.key
    components = [resource]
    for name in parts.headers:
        if name != b"host":
            components.append(b"h:" + _pair(name, request.headers.combined(name)))
    if parts.cookies.choice is not Choice.NONE:
        chosen = [(name, value) for name, value in cookies(request.headers) if parts.cookies.picks(name)]
        chosen.sort(key=lambda cookie: cookie[0])
        components.extend(b"c:" + _pair(name, value) for name, value in chosen)
    if parts.gzip or parts.brotli:
        accepted = None if request.version == "1.0" else request.headers.combined(b"accept-encoding")
        coding = normalised_accept_encoding(accepted, parts.gzip, parts.brotli)
        if coding is not None and coding != b"identity":
            components.append(b"ae:" + coding)
    return b" ".join(components)


def resource_key(request: RequestHead, distribution: Distribution, behavior: Behavior) -> bytes:
    """What all keys of one resource begin with, followed by a blank or by nothing: distribution, method class, Host
    where it counts, path and chosen query. An unsafe request knows this much of what it spoils."""
    keyed_host = distribution.any_host or b"host" in behavior.key.headers
    components = [
        _escaped(distribution.id.encode()),
        b"OPTIONS" if request.method == "OPTIONS" else b"GET",
        b"//" + (_escaped(request.authority) if keyed_host else b""),
        _escaped(request.path),
    ]
    query = chosen_query(request.query, behavior.key.query)
    if query is not None:
        components.append(b"?" + _escaped(query))
    return b" ".join(components)


def head_key(key: bytes) -> bytes:
    """The key under which a response that only a HEAD brought is kept."""
    return key + b" HEAD"


def range_key(key: bytes, request: RequestHead) -> bytes:
    """What two requests share that ask for the same part under the same condition; no response is kept under it."""
    asked = _pair(b"range", request.headers.combined(b"range"))
    condition = _pair(b"if-range", request.headers.combined(b"if-range"))
    if len(asked) + len(condition) > _RANGE_BYTES_MAX:
        asked, condition = hashlib.sha256(asked).hexdigest().encode(), hashlib.sha256(condition).hexdigest().encode()
    return b" ".join([key, b"PART", asked, condition])


def chosen_query(query: bytes | None, selector: Selector) -> bytes | None:
    """The parameters that a selector picks, raw and in the order received; None when nothing is left.

    Only `&` separates parameters (fact sheet 1.3); with choice ALL the query is not looked into at all.
    """
    if query is None or selector.choice is Choice.ALL:
        return query
    if selector.choice is Choice.NONE:
        return None
    picked = [pair for pair in query.split(b"&") if pair and selector.picks(pair.partition(b"=")[0])]
    return b"&".join(picked) if picked else None


def cookies(headers: Headers) -> list[tuple[bytes, bytes | None]]:
    """(name, value) of every cookie sent, in order; the value is None where there is no `=` (RFC 6265 5.4)."""
    pairs: list[tuple[bytes, bytes | None]] = []
    for line in headers.all(b"cookie"):
        for text in line.split(b";"):
            name, equals, value = text.strip(b" \t").partition(b"=")
            if name or equals:
                pairs.append((name, value if equals else None))
    return pairs


def normalised_accept_encoding(value: bytes | None, gzip: bool, brotli: bool) -> bytes | None:
    """Accept-Encoding as it is keyed and sent to the origin (fact sheet 4.4).

    `identity` (not keyed) when the viewer names none of the enabled codings or refuses them with q=0, None when it
    sent no such field.
    """
    if value is None:
        return None
    accepted = _codings(value) if len(value) <= 256 else _codings.__wrapped__(value)
    chosen = [name for name, enabled in ((b"br", brotli), (b"gzip", gzip)) if enabled and name in accepted]
    return b",".join(chosen) or b"identity"


@lru_cache(maxsize=1024)
def _codings(value: bytes) -> frozenset[bytes]:
    found = (_CODING.fullmatch(text) for text in value.split(b","))
    return frozenset(match[1].lower() for match in found if match and (match[2] is None or float(match[2]) > 0))


def _pair(name: bytes, value: bytes | None) -> bytes:
    label = _ESCAPED_IN_NAME.sub(_hexadecimal, name)
    return label if value is None else label + b"=" + _escaped(value)


def _escaped(raw: bytes) -> bytes:
    return _ESCAPED.sub(_hexadecimal, raw) if _ESCAPED.search(raw) else raw


def _hexadecimal(match: re.Match[bytes]) -> bytes:
    return b"\\%02x" % match[0][0]
