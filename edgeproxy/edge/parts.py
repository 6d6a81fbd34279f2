"""Parts of a body that is stored, or on its way there: 206, several parts, 416 (RFC 9110 section 14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from edgeproxy.edge.chain import Chain
from edgeproxy.edge.fill import Fill
from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody, RequestHead, ResponseHead
from edgeproxy.model import Rules
from edgeproxy.outcome import StoredHead
from edgeproxy.rules import ranges
from edgeproxy.store.tiers import Held

_BODY_FIELDS = frozenset({b"content-length", b"content-range"})
_OF_THE_WHOLE = frozenset({b"content-type", b"content-encoding", b"etag", b"last-modified"})
"""What would describe a representation that a 416 does not carry."""


Cut: TypeAlias = Callable[[int, int], Body]
"""A body of the bytes [first, end) of a response."""


def wanted(request: RequestHead, head: StoredHead, length: int, rules: Rules) -> list[ranges.Part]:
    """The bytes that a request gets of a response: parts, or all. None of them when it gets a 416."""
    chosen = ranges.select(request, head.status, head.headers, length, rules)
    if isinstance(chosen, ranges.Whole):
        return [ranges.Part(0, length - 1)] if length else []
    return [] if isinstance(chosen, ranges.Unsatisfiable) else chosen


def part_of(
    request: RequestHead, held: Held, rules: Rules, random_bytes: Callable[[int], bytes], cut: Cut
) -> tuple[ResponseHead, Body] | None:
    """The head and body that answer a Range request from a stored 200; None when the whole is due."""
    chosen = ranges.select(request, held.head.status, held.head.headers, held.length, rules)
    if isinstance(chosen, ranges.Whole):
        return None
    if isinstance(chosen, ranges.Unsatisfiable):
        return _unsatisfiable(held.head.headers, held.length), BytesBody()
    if len(chosen) == 1:
        part = chosen[0]
        return _partial(held.head.headers, part, held.length), cut(part.first, part.last + 1)
    return _multipart(held, chosen, random_bytes(12).hex().encode(), cut)


def part_of_fill(
    request: RequestHead, fill: Fill, rules: Rules, reading: Callable[[int, int | None], Body]
) -> tuple[ResponseHead, Body] | None:
    """As `part_of` from a fill, whose bytes `reading` gives from an offset on. None also for several parts: they would
    have to be collected first."""
    if fill.part is not None and fill.part.part is not None and fill.part.length is not None:
        # What was asked for and came is the part itself, as the origin cut it.
        return _partial(fill.head.headers, fill.part.part, fill.part.length), reading(0, None)
    if fill.length is None:
        return None
    chosen = ranges.select(request, fill.head.status, fill.head.headers, fill.length, rules)
    if isinstance(chosen, ranges.Unsatisfiable):
        return _unsatisfiable(fill.head.headers, fill.length), BytesBody()
    if isinstance(chosen, ranges.Whole) or len(chosen) > 1:
        return None
    return _partial(fill.head.headers, chosen[0], fill.length), reading(chosen[0].first, chosen[0].length)


def soon_there(request: RequestHead, fill: Fill, rules: Rules, ahead: int) -> bool:
    """Whether a fill of the whole brings the one part asked for within `ahead` bytes of what it has."""
    if fill.part is not None or fill.length is None:
        return False
    chosen = ranges.select(request, fill.head.status, fill.head.headers, fill.length, rules)
    return isinstance(chosen, list) and len(chosen) == 1 and chosen[0].first <= fill.received + ahead


def _partial(headers: Headers, part: ranges.Part, length: int) -> ResponseHead:
    field = (b"Content-Range", ranges.content_range_field(part, length))
    return ResponseHead(206, headers.without(_BODY_FIELDS).plus(field))


def _unsatisfiable(headers: Headers, length: int) -> ResponseHead:
    field = (b"Content-Range", ranges.unsatisfied_range_field(length))
    return ResponseHead(416, headers.without(_BODY_FIELDS | _OF_THE_WHOLE).plus(field))


def _multipart(held: Held, parts: Sequence[ranges.Part], boundary: bytes, cut: Cut) -> tuple[ResponseHead, Body]:
    headers = held.head.headers.without(_BODY_FIELDS)
    bodies: list[Body] = []
    for part in parts:
        bodies.append(BytesBody([ranges.part_head(boundary, part, headers.get(b"content-type"), held.length)]))
        bodies.append(cut(part.first, part.last + 1))
    bodies.append(BytesBody([ranges.multipart_end(boundary)]))
    kind = b"multipart/byteranges; boundary=" + boundary
    return ResponseHead(206, headers.replaced(b"Content-Type", kind)), Chain(bodies)
