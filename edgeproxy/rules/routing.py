"""Which behaviour a request falls under, and which way it goes (fact sheet 1.3, 5.1)."""

from __future__ import annotations

import re
from collections.abc import Container
from enum import Enum
from functools import lru_cache

from edgeproxy.message import RequestHead
from edgeproxy.model import Behavior, Distribution, Mode, Origin, OriginKind
from edgeproxy.outcome import Layer, Reason
from edgeproxy.values import value

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SLASHES = re.compile(rb"//+")


@value(frozen=True, slots=True)
class Route:
    """`cached`: look up and store. `straight`: to the origin itself, never through a regional."""

    cached: bool
    straight: bool
    reason: Reason | None


_THROUGH_THE_TIERS = Route(cached=True, straight=False, reason=None)
_BY_METHOD = Route(cached=False, straight=True, reason=Reason.METHOD)


def route(
    request: RequestHead,
    upgrade: bool,
    distribution: Distribution,
    behavior: Behavior,
    origin: Origin,
    tier_region: str | None,
) -> Route:
    """Which way a request goes. `tier_region`: where the regional that would serve stands, None without one.

    A GET or HEAD that brings content goes past the cache: the content would reach the origin without being
    part of the key (RFC 9110 section 9.3.1 warns of it).
    """
    if upgrade:
        return Route(cached=False, straight=True, reason=Reason.UPGRADE)
    cacheable = request.method in ("GET", "HEAD") or (
        request.method == "OPTIONS" and request.method in behavior.cached_methods
    )
    if not cacheable or _has_content(request):
        return _BY_METHOD
    if not behavior.caches:
        return Route(cached=False, straight=True, reason=Reason.DYNAMIC)
    if origin.kind is OriginKind.S3 and origin.region is not None and origin.region == tier_region:
        return Route(cached=True, straight=True, reason=Reason.SAME_REGION)
    return _THROUGH_THE_TIERS


class Stop(Enum):
    """Where a request goes next."""

    TIER = "the regional of this POP"
    SHIELD = "the regional in the region of Origin Shield"
    ORIGIN = "the origin"


def next_stop(way: Route, origin: Origin, mode: Mode, region: str, shields: Container[str], has_tier: bool) -> Stop:
    """Where a node of this mode in this region sends a request that it does not answer by itself (fact sheet 6).

    `shields`: regions with a regional. All that is sent to an origin with a shield goes through it, dynamic requests
    too; the regional that stands in its region is the shield, and asks the origin.
    """
    if mode is Mode.POP and has_tier and not way.straight:
        return Stop.TIER
    shielded = origin.shield is not None and origin.shield in shields and way.reason is not Reason.UPGRADE
    if shielded and (mode is Mode.POP or origin.shield != region):
        return Stop.SHIELD
    return Stop.ORIGIN


def layer_of(origin: Origin, mode: Mode, region: str) -> Layer:
    """What a node is called in Server-Timing (fact sheet 2.7)."""
    if mode is Mode.POP:
        return Layer.EDGE
    return Layer.SHIELD if origin.shield == region else Layer.REC


def choose_behavior(distribution: Distribution, path: bytes) -> Behavior:
    """The first behaviour whose pattern matches the normalised path; the last one, the default, matches all."""
    normalised = normalised_path(path)
    for behavior in distribution.behaviors[:-1]:
        if match_pattern(behavior.pattern, normalised):
            return behavior
    return distribution.behaviors[-1]


def match_pattern(pattern: str, path: bytes) -> bool:
    """Whether a path pattern covers a path: `*` any bytes, `?` exactly one, case counts (fact sheet 5.1).

    A pattern that does not begin with `/` means the same with it. Time grows with path times pattern and no faster,
    however many `*` there are: what stands between two `*` is found once, leftmost, and never looked for again.
    """
    first, middle, last = _compiled(pattern)
    start = first.match(path)
    if start is None:
        return False
    if last is None:
        return start.end() == len(path)
    position = start.end()
    for piece in middle:
        found = piece.search(path, position)
        if found is None:
            return False
        position = found.end()
    tail, size = last
    return len(path) - size >= position and tail.match(path, len(path) - size) is not None


def normalised_path(path: bytes) -> bytes:
    """A path as patterns see it; the raw one is keyed and forwarded.

    RFC 3986 section 6.2.2: escapes of unreserved characters are undone (so `%2e%2e` is a dot segment, as it is for most
    origins), the digits of others are upper case, and dot segments go; several slashes count as one before that.
    """
    if b"%" in path:
        path = _unescaped(path)
    if b"//" in path:
        path = _SLASHES.sub(b"/", path)
    if b"/." not in path:
        return path
    segments = path.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


@lru_cache(maxsize=4096)
def _compiled(
    pattern: str,
) -> tuple[re.Pattern[bytes], list[re.Pattern[bytes]], tuple[re.Pattern[bytes], int] | None]:
    """A pattern cut at its `*`: what the path begins with, what follows in order, what it ends with and its length."""
    rooted = pattern if pattern.startswith("/") else "/" + pattern
    pieces = _unescaped(rooted.encode()).split(b"*")
    if len(pieces) == 1:
        return _piece(pieces[0]), [], None
    middle = [_piece(piece) for piece in pieces[1:-1] if piece]
    return _piece(pieces[0]), middle, (_piece(pieces[-1]), len(pieces[-1]))


def _piece(text: bytes) -> re.Pattern[bytes]:
    return re.compile(b".".join(map(re.escape, text.split(b"?"))), re.DOTALL)


def _unescaped(path: bytes) -> bytes:
    return _ESCAPE.sub(_plain, path)


def _plain(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else match[0].upper()


def _has_content(request: RequestHead) -> bool:
    return b"transfer-encoding" in request.headers or request.headers.get(b"content-length") not in (None, b"0")
