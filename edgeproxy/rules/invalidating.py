"""References in a response to other resources of the same origin, and which of them an unsafe request spoils."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit

from edgeproxy.message import RequestHead, ResponseHead

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
"""Methods registered as safe; any other, the unknown ones included, may have changed something (RFC 9111 4.4)."""

_PORTS = {"http": 80, "https": 443}


def invalidated_targets(request: RequestHead, response: ResponseHead) -> tuple[bytes, ...]:
    """The targets (origin-form) whose stored responses a request has made invalid (RFC 9111 section 4.4).

    After an unsafe method that did not fail (2xx or 3xx): the target itself, and what Location and Content-Location
    name on the same origin, scheme included: anything further would let one site spoil another's cache.
    """
    if request.method in SAFE_METHODS or not 200 <= response.status < 400:
        return ()
    targets = [request.target]
    for name in (b"location", b"content-location"):
        for reference in response.headers.all(name):
            target = same_origin_target(request, reference)
            if target is not None:
                targets.append(target)
    return tuple(dict.fromkeys(targets))


def same_origin_target(request: RequestHead, reference: bytes) -> bytes | None:
    """The origin-form of a URI reference (RFC 3986 section 5.2) relative to the request's target.

    None when it names another origin, is no http or https URI, or cannot be read.
    """
    base = f"{request.scheme}://{request.authority.decode('latin-1')}"
    try:
        own = urlsplit(base)
        resolved = urlsplit(urljoin(base + request.target.decode("latin-1"), reference.decode("latin-1")))
        if _origin(resolved) != _origin(own):
            return None
    except ValueError:  # a port or an IPv6 address that is none
        return None
    query = f"?{resolved.query}" if resolved.query else ""
    return f"{resolved.path or '/'}{query}".encode("latin-1")


def _origin(uri: SplitResult) -> tuple[str, str | None, int | None]:
    return uri.scheme, uri.hostname, uri.port if uri.port is not None else _PORTS.get(uri.scheme)
