"""Whether the edge compresses what an origin sent, how, and what its head then says (fact sheet 4.5).

Compressed is what goes into the store: the key holds the normalised Accept-Encoding, so each form of a response has a
key of its own, and a hit never compresses.
"""

from __future__ import annotations

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import Behavior, Rules
from edgeproxy.rules.freshness import lifetime_of
from edgeproxy.rules.key import normalised_accept_encoding
from edgeproxy.rules.storing import refusal

SMALLEST, LARGEST = 1_000, 10_000_000
"""Bytes of a body, as Content-Length says, that is compressed; both included."""
STATUSES = frozenset({200, 403, 404})

TYPES = frozenset(
    {f"application/{name}".encode() for name in (
        "dash+xml", "eot", "font", "font-sfnt", "javascript", "json", "opentype", "otf", "pdf", "pkcs7-mime",
        "protobuf", "rss+xml", "truetype", "ttf", "vnd.apple.mpegurl", "vnd.mapbox-vector-tile",
        "vnd.ms-fontobject", "wasm", "xhtml+xml", "xml", "x-font-opentype", "x-font-truetype", "x-font-ttf",
        "x-httpd-cgi", "x-javascript", "x-mpegurl", "x-opentype", "x-otf", "x-perl", "x-ttf")}
    | {f"font/{name}".encode() for name in ("eot", "opentype", "otf", "ttf")}
    | {f"text/{name}".encode() for name in (
        "css", "csv", "html", "javascript", "js", "plain", "richtext", "tab-separated-values", "xml",
        "x-component", "x-java-source", "x-script")}
    | {b"image/svg+xml", b"vnd.apple.mpegurl"}
)  # fmt: skip
"""Content types that are compressed, parameters apart."""


def coding_for(request: RequestHead, response: ResponseHead, behavior: Behavior, now: float) -> bytes | None:
    """`br` or `gzip` when the response is to be compressed for this request, else None. `now`: when it arrived.

    Brotli wins where both are possible.
    """
    if not behavior.compress or behavior.caching.rules is not Rules.CLOUDFRONT or request.method != "GET":
        return None
    headers = response.headers
    if response.status not in STATUSES or b"content-encoding" in headers:
        return None
    if media_type(headers) not in TYPES or not is_in_window(headers):
        return None
    key = behavior.key
    sent = None if request.version == "1.0" else request.headers.combined(b"accept-encoding")
    accepted = normalised_accept_encoding(sent, key.gzip, key.brotli)
    if accepted is None or accepted == b"identity" or not _is_kept(request, response, behavior, now):
        return None
    return b"br" if b"br" in accepted.split(b",") else b"gzip"


def media_type(headers: Headers) -> bytes:
    """The Content-Type without its parameters, in lower case (that those do not count is from memory)."""
    return (headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()


def is_in_window(headers: Headers) -> bool:
    """Whether there is one valid Content-Length of a size that is worth it."""
    sizes = headers.all(b"content-length")
    if len(sizes) != 1 or not sizes[0].isdigit() or len(sizes[0]) > 18:
        return False
    return SMALLEST <= int(sizes[0]) <= LARGEST


def _is_kept(request: RequestHead, response: ResponseHead, behavior: Behavior, now: float) -> bool:
    """TTL above 0: what is not cached is not compressed."""
    if refusal(request, response, behavior.caching, now) is not None:
        return False
    return lifetime_of(response.status, response.headers, now, behavior.caching) > 0


def compressed_head(head: ResponseHead, coding: bytes) -> ResponseHead:
    """The head of the compressed response: its length is not known yet, and its bytes are other ones now."""
    headers = head.headers.without({b"content-length", b"accept-ranges", b"content-md5"})
    headers = _with_entity_tag(headers).plus((b"Content-Encoding", coding))
    return head.with_headers(_varying(headers))


def _with_entity_tag(headers: Headers) -> Headers:
    """A strong ETag becomes weak, a weak one stays, a malformed one goes."""
    tag = headers.get(b"etag")
    if tag is None:
        return headers
    kept = headers.without({b"etag"})
    if tag.startswith(b'"'):
        return kept.plus((b"ETag", b"W/" + tag))
    return kept.plus((b"ETag", tag)) if tag.startswith(b"W/") else kept


def _varying(headers: Headers) -> Headers:
    """Vary names Accept-Encoding, for caches behind us (memory: captures show it; the guide is silent)."""
    named = headers.combined(b"vary")
    listed = [name.strip().lower() for name in (named or b"").split(b",")]
    if b"accept-encoding" in listed or b"*" in listed:
        return headers
    return headers.replaced(b"Vary", b"Accept-Encoding" if named is None else named + b", Accept-Encoding")


def vouching(request: RequestHead, response: ResponseHead) -> ResponseHead:
    """A 304 from an origin, about what is stored compressed: it names the strong ETag that the origin knows, and is
    asked about under the weak one that compressing made of it. Renamed, it is about what we have."""
    tag = response.headers.get(b"etag")
    asked = request.headers.combined(b"if-none-match")
    if response.status != 304 or tag is None or asked is None or not tag.startswith(b'"'):
        return response
    tags = [each.strip() for each in asked.split(b",")]
    if tag in tags or b"W/" + tag not in tags:
        return response
    return response.with_headers(response.headers.without({b"etag"}).plus((b"ETag", b"W/" + tag)))
