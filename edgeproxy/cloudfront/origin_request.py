"""What an origin is asked, and what of its answer is kept: header fields in and out of a distribution.

In `cloudfront` rules a table decides (fact sheet 1.5, 2.1); in `rfc9111` rules everything end-to-end passes, as the
RFCs have it. Pure: a request goes in, another comes out. Fields about conditions and ranges pass in both; whoever fills
a cache takes them out first, and whoever revalidates puts its own in.
"""

from __future__ import annotations

from functools import lru_cache

from edgeproxy.cloudfront.fields import cdn_loop
from edgeproxy.cloudfront.viewer import DEVICES
from edgeproxy.headers import INTERNAL_PREFIX, Field, Headers, connection_options, end_to_end
from edgeproxy.message import Client, RequestHead
from edgeproxy.model import Behavior, Choice, Distribution, Origin, OriginKind, OriginScheme, Rules
from edgeproxy.rules.key import chosen_query, cookies, normalised_accept_encoding
from edgeproxy.units import join_address

# Fact sheet 1.5. What no setting can name passes whatever the settings are, or never does; the same holds for what
# describes a body, conditions and ranges, since without them a request would mean something else. Which further fields
# pass under a cache policy alone is not documented.
ALWAYS = frozenset(
    {b"cache-control", b"pragma", b"max-forwards", b"request-range", b"content-length", b"range",
     b"content-md5", b"content-type", b"content-encoding", b"content-language", b"content-location",
     b"content-disposition", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"}
)  # fmt: skip
NEVER = frozenset({b"proxy-authenticate", b"proxy-authorization", b"x-forwarded-proto", b"x-real-ip", b"expect"})
MADE_PREFIX = b"cloudfront-"
NEVER_PREFIXES = (b"x-edge-", INTERNAL_PREFIX)
REWRITTEN = frozenset(
    {b"host", b"user-agent", b"cookie", b"accept-encoding", b"via", b"x-forwarded-for", b"x-amz-cf-id", b"cdn-loop",
     b"upgrade"}
)  # fmt: skip
HANDSHAKE = frozenset({b"sec-websocket-key", b"sec-websocket-version"})
"""Without these there is no WebSocket (RFC 6455 section 4.1); its other fields pass where settings forward them."""

OVERRIDES = frozenset(
    {b"x-forwarded-host", b"x-forwarded-server", b"x-host", b"x-original-url", b"x-rewrite-url",
     b"x-http-method-override", b"x-http-method", b"x-method-override"}
)  # fmt: skip
"""Fields by which frameworks let a request be taken for another one. They are in no key, so what they bring about must
not get into a cache: in `rfc9111` rules a GET or HEAD loses them (security sheet, "cache poisoning", "CPDoS")."""

AUTHORIZED_METHODS = frozenset({"PUT", "POST", "PATCH", "DELETE"})
"""Authorization passes with these whatever the settings are, and with OPTIONS where that is not cached."""

USER_AGENT = b"Amazon CloudFront"
S3_OWN = frozenset({b"x-amz-id-2", b"x-amz-request-id"})


_ADDED = frozenset({b"via", b"x-forwarded-for", b"cdn-loop"})


def origin_request(
    request: RequestHead,
    distribution: Distribution,
    behavior: Behavior,
    origin: Origin,
    client: Client,
    *,
    request_id: bytes,
    via: bytes,
) -> RequestHead:
    """The request as the origin gets it. `client` is the viewer, `via` this node's member of Via.

    Host is in `authority` alone. An upgrade that is passed on keeps its `Upgrade` field; the framing and `Connection`
    are for the sender to write. In `rfc9111` rules Max-Forwards of OPTIONS and TRACE is counted down; a request that
    came with 0 is for the caller to answer (RFC 9110 section 7.6.2).
    """
    if distribution.rules is Rules.CLOUDFRONT:
        headers = _by_table(request, behavior, request_id)
        host = request.authority if behavior.forward.headers.picks(b"host") else origin_host(origin, request.scheme)
        separator = b","
    else:
        headers = _as_it_came(request)
        host = request.authority if distribution.any_host else origin_host(origin, request.scheme)
        separator = b", "
    added: list[Field] = [
        (b"Via", _appended(request.headers, b"via", via, b", ")),
        (b"X-Forwarded-For", _appended(request.headers, b"x-forwarded-for", client.address.encode(), separator)),
        (b"CDN-Loop", _appended(request.headers, b"cdn-loop", cdn_loop(distribution.id), b", ")),
    ]
    headers = headers.without(_ADDED).plus(*added)
    if origin.custom_headers:
        headers = headers.without({name.lower() for name, _ in origin.custom_headers}).plus(*origin.custom_headers)
    scheme = origin_scheme(origin, request.scheme)
    target = origin_target(request, distribution, behavior, origin)
    return RequestHead(request.method, target, host, headers, scheme, request.version)


def origin_scheme(origin: Origin, viewer_scheme: str) -> str:
    """How the origin is spoken to: `http` or `https` (OriginProtocolPolicy)."""
    if origin.scheme is OriginScheme.MATCH_VIEWER:
        return viewer_scheme
    return "https" if origin.scheme is OriginScheme.HTTPS else "http"


def origin_host(origin: Origin, viewer_scheme: str) -> bytes:
    """The Host an origin is asked under when the viewer's is not forwarded."""
    if origin.host_header:
        return origin.host_header.encode()
    tls = origin_scheme(origin, viewer_scheme) == "https"
    port = origin.https_port if tls else origin.http_port
    if port == (443 if tls else 80):
        return (f"[{origin.host}]" if ":" in origin.host else origin.host).encode()
    return _host_and_port(origin.host, port)


@lru_cache(maxsize=1024)
def _host_and_port(host: str, port: int) -> bytes:
    return join_address(host, port).encode()


def certificate_name(request: RequestHead, distribution: Distribution, behavior: Behavior, origin: Origin) -> str:
    """Whose certificate an https origin has to show: the viewer's host where that is forwarded (fact sheet 1.4), "" for
    the origin's own. An origin that the settings send elsewhere shows the certificate of where it really is."""
    if distribution.rules is Rules.RFC9111 or origin.host_header or not behavior.forward.headers.picks(b"host"):
        return ""
    host = request.authority.decode("latin-1")
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]")


def forwards_left(request: RequestHead) -> int | None:
    """How often a request may still be passed on; None when it does not say, or its method has no such thing."""
    value = request.headers.get(b"max-forwards")
    if request.method not in ("OPTIONS", "TRACE") or value is None or not value.isdigit() or len(value) > 18:
        return None
    return int(value)


def response_fields(headers: Headers, behavior: Behavior, origin: Origin) -> Headers:
    """What is kept of an origin's answer in `cloudfront` rules (fact sheet 2.1)."""
    dropped = {b"via"}
    if behavior.forward.cookies.choice is Choice.NONE:
        dropped.add(b"set-cookie")
    if origin.kind is OriginKind.S3:
        dropped |= S3_OWN
    kept = end_to_end(headers).without(dropped)
    vary = kept.combined(b"vary")
    if vary is None:
        return kept
    names = [name.strip() for name in vary.split(b",")]
    if b"*" in names and behavior.caching.ttl.minimum == 0:
        return kept
    named = b", ".join(name for name in names if _varies(name.lower(), behavior))
    return kept.replaced(b"Vary", named) if named else kept.without({b"vary"})


def _varies(name: bytes, behavior: Behavior) -> bool:
    if name in (b"accept-encoding", b"cookie"):
        return True
    if name == b"user-agent" and behavior.forward.made_up & DEVICES:
        return True
    return bool(name) and name != b"*" and (name in behavior.key.headers or behavior.forward.headers.picks(name))


def origin_target(request: RequestHead, distribution: Distribution, behavior: Behavior, origin: Origin) -> bytes:
    """What the origin is asked for: of the fields of a request nothing of it depends on any."""
    if request.target == b"*":
        return request.target
    query = request.query
    if distribution.rules is Rules.CLOUDFRONT:
        query = chosen_query(query, behavior.forward.query)
    path = origin.path.encode() + request.path if origin.path else request.path
    return path if query is None else path + b"?" + query


def _appended(headers: Headers, name: bytes, member: bytes, separator: bytes) -> bytes:
    if name not in headers:
        return member
    return separator.join([*(value for value in headers.all(name) if value), member])


def _as_it_came(request: RequestHead) -> Headers:
    headers = end_to_end(request.headers).without({b"host"})
    if any(name.startswith(INTERNAL_PREFIX) for name in headers.names()):
        headers = Headers(field for field in headers if not field[0].lower().startswith(INTERNAL_PREFIX))
    if request.method in ("GET", "HEAD"):
        headers = headers.without(OVERRIDES)
    left = forwards_left(request)
    if left:
        headers = headers.replaced(b"Max-Forwards", str(left - 1).encode())
    return headers.plus(*_upgrade(request)) if asks_upgrade(request) else headers


def _by_table(request: RequestHead, behavior: Behavior, request_id: bytes) -> Headers:
    websocket = is_websocket(request)
    fields = [
        (name, value)
        for name, value in end_to_end(request.headers)
        if _passes(name.lower(), request.method, behavior) or (websocket and name.lower() in HANDSHAKE)
    ]
    picks = behavior.forward.headers.picks
    agents = request.headers.all(b"user-agent") if picks(b"user-agent") else []
    fields.append((b"User-Agent", agents[0] if agents else USER_AGENT))
    fields += _accept_encoding(request, behavior)
    chosen = _cookies(request, behavior)
    if chosen:
        fields.append((b"Cookie", chosen))
    fields.append((b"X-Amz-Cf-Id", request_id))
    if websocket:
        fields += _upgrade(request)
    return Headers(fields)


def _passes(name: bytes, method: str, behavior: Behavior) -> bool:
    if name.startswith(MADE_PREFIX):  # made when the viewer's request came in; its own copies went then
        return name in behavior.forward.made_up
    if name in NEVER or name in REWRITTEN or name.startswith(NEVER_PREFIXES):
        return False
    if name in ALWAYS:
        return True
    if name == b"authorization" and (
        method in AUTHORIZED_METHODS or (method == "OPTIONS" and method not in behavior.cached_methods)
    ):
        return True
    return behavior.forward.headers.picks(name)


def _accept_encoding(request: RequestHead, behavior: Behavior) -> list[Field]:
    """Fact sheet 4.4: normalised where the key takes part in it, else as any other field."""
    sent = request.headers.combined(b"accept-encoding")
    key = behavior.key
    if key.gzip or key.brotli:
        sent = None if request.version == "1.0" else normalised_accept_encoding(sent, key.gzip, key.brotli)
    elif not behavior.forward.headers.picks(b"accept-encoding"):
        sent = None
    return [] if sent is None else [(b"Accept-Encoding", sent)]


def _cookies(request: RequestHead, behavior: Behavior) -> bytes:
    """The chosen cookies by name; none at all when the viewer's field is no list of NAME=VALUE (fact sheet 4.9)."""
    selector = behavior.forward.cookies
    if selector.choice is Choice.NONE:
        return b""
    sent = cookies(request.headers)
    if any(value is None or not name for name, value in sent):
        return b""
    chosen = [(name, value or b"") for name, value in sent if selector.picks(name) and not name.startswith(b"$")]
    return b"; ".join(name + b"=" + value for name, value in sorted(chosen, key=lambda cookie: cookie[0]))


def asks_upgrade(request: RequestHead) -> bool:
    """Whether a request asks to switch to another protocol (RFC 9110 section 7.8)."""
    return b"upgrade" in request.headers and b"upgrade" in connection_options(request.headers)


def _upgrade(request: RequestHead) -> list[Field]:
    return [(b"Upgrade", value) for value in request.headers.all(b"upgrade")]


def is_websocket(request: RequestHead) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455): the one upgrade that `cloudfront` rules pass on."""
    if b"upgrade" not in request.headers:
        return False
    protocols = (request.headers.combined(b"upgrade") or b"").lower().split(b",")
    return request.method == "GET" and asks_upgrade(request) and b"websocket" in [p.strip() for p in protocols]
