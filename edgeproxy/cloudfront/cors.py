"""The CORS fields a response headers policy adds: to whom, and which (fact sheet 4.8)."""

from __future__ import annotations

import re
from functools import lru_cache

from edgeproxy.headers import Field, Headers
from edgeproxy.message import RequestHead
from edgeproxy.model import Cors

PREFIX = b"access-control-"
ORIGINS_SHOWN_MAX = 1024
"""Bytes of an Origin that is looked at; a longer one is of no browser's making."""


def is_preflight(request: RequestHead) -> bool:
    """Whether a browser asks beforehand what it may send (Fetch, "CORS-preflight request")."""
    return (
        request.method == "OPTIONS"
        and b"origin" in request.headers
        and b"access-control-request-method" in request.headers
    )


def cors_fields(policy: Cors, request: RequestHead, received: Headers) -> list[Field]:
    """The fields to add to an answer, each in the place of the origin's own: none for a request without Origin, for an
    origin that is not allowed, or where the origin has spoken of CORS itself and is not overridden."""
    origin = request.headers.get(b"origin")
    if origin is None:
        return []
    if not policy.override and any(name.startswith(PREFIX) for name in received.names()):
        return []
    anybody = policy.origins == ("*",)
    if not anybody and not any(allows(pattern, origin) for pattern in policy.origins):
        return []
    fields = [(b"Access-Control-Allow-Origin", b"*" if anybody else origin)]
    if policy.credentials:
        fields.append((b"Access-Control-Allow-Credentials", b"true"))
    if is_preflight(request):
        fields.append((b"Access-Control-Allow-Methods", ", ".join(policy.methods).encode()))
        names = allowed_headers(policy.headers, request.headers)
        if names:
            fields.append((b"Access-Control-Allow-Headers", names))
        if policy.max_age is not None:
            fields.append((b"Access-Control-Max-Age", b"%d" % policy.max_age))
    if policy.exposed:
        fields.append((b"Access-Control-Expose-Headers", ", ".join(policy.exposed).encode()))
    if not anybody:
        fields.append(_varying(received))
    return [field for field in fields if field[1]]


def _varying(received: Headers) -> Field:
    """Vary with Origin in it: whoever stores the answer behind us must not give it to another origin's page (memory:
    the fact sheet does not say whether CloudFront adds it)."""
    named = received.combined(b"vary") or b""
    listed = [name.strip().lower() for name in named.split(b",")]
    if b"origin" in listed or b"*" in listed:
        return (b"Vary", named)
    return (b"Vary", named + b", Origin" if named else b"Origin")


def allows(pattern: str, origin: bytes) -> bool:
    """Whether an Allow-Origin pattern covers the Origin of a request."""
    return len(origin) <= ORIGINS_SHOWN_MAX and _compiled(pattern).fullmatch(origin.decode("latin-1")) is not None


def allowed_headers(patterns: tuple[str, ...], headers: Headers) -> bytes:
    """Access-Control-Allow-Headers: names as they are configured; for a pattern with `*` those of the names asked for
    that it covers. `*` alone is sent as it is, which for browsers covers all but Authorization."""
    asked = [name.strip() for name in (headers.combined(b"access-control-request-headers") or b"").split(b",")]
    names: dict[bytes, None] = {}
    for pattern in patterns:
        if "*" not in pattern or pattern == "*":
            names[pattern.encode()] = None
        else:
            names |= dict.fromkeys(name for name in asked if name and _covers(pattern, name))
    return b", ".join(names)


def _covers(pattern: str, name: bytes) -> bool:
    first, *others = pattern.lower().encode().split(b"*")
    lower = name.lower()
    if not lower.startswith(first):
        return False
    position = len(first)
    for piece in others[:-1]:
        found = lower.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return len(lower) - len(others[-1]) >= position and lower.endswith(others[-1])


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    scheme, separator, rest = pattern.rpartition("://")
    host, _, port = rest.partition(":")
    text = re.escape(scheme) + "://" if separator else "https?://"
    if host == "*":
        text += "[^/:]+"
    elif host.startswith("*."):
        text += r"[^/:]*\." + re.escape(host[2:])
    else:
        text += re.escape(host)
    if port == "*":
        text += "(?::[0-9]*)?"
    elif port:
        text += ":" + port.replace("*", "[0-9]*")
    return re.compile(text, re.IGNORECASE)
