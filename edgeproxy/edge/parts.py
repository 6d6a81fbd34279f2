"""Parts of a body that is stored, or on its way there: 206, several parts, 416 (RFC 9110 section 14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeproxy.edge.fill import Fill
from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody, RequestHead, ResponseHead
from edgeproxy.model import Rules
from edgeproxy.rules import ranges
from edgeproxy.store.memory import Stored
from edgeproxy.store.runs import cut

_BODY_FIELDS = frozenset({b"content-length", b"content-range"})
_OF_THE_WHOLE = frozenset({b"content-type", b"content-encoding", b"etag", b"last-modified"})
"""What would describe a representation that a 416 does not carry."""


def part_of(
    request: RequestHead,
    stored: Stored,
    rules: Rules,
    random_bytes: Callable[[int], bytes],
    lend: Callable[[Stored], Callable[[], None]],
) -> tuple[ResponseHead, Body] | None:
    """The head and body that answer a Range request from a stored 200; None when the whole is due.

    `lend` is called when bytes of the stored response are about to be read (MemoryStore.lend).
    """
    chosen = ranges.select(request, stored.head.status, stored.head.headers, stored.length, rules)
    if isinstance(chosen, ranges.Whole):
        return None
    if isinstance(chosen, ranges.Unsatisfiable):
        return _unsatisfiable(stored.head.headers, stored.length), BytesBody()
    if len(chosen) == 1:
        part = chosen[0]
        body = BytesBody(cut(stored.runs, part.first, part.last + 1), closed=lend(stored))
        return _partial(stored.head.headers, part, stored.length), body
    return _multipart(stored, chosen, random_bytes(12).hex().encode(), lend(stored))


def part_of_fill(request: RequestHead, fill: Fill, rules: Rules) -> tuple[ResponseHead, Body] | None:
    """As `part_of` from a fill. None also for several parts: they would have to be collected first."""
    if fill.part is not None and fill.part.part is not None and fill.part.length is not None:
        # What was asked for and came is the part itself, as the origin cut it.
        return _partial(fill.head.headers, fill.part.part, fill.part.length), fill.reader()
    if fill.length is None:
        return None
    chosen = ranges.select(request, fill.head.status, fill.head.headers, fill.length, rules)
    if isinstance(chosen, ranges.Unsatisfiable):
        return _unsatisfiable(fill.head.headers, fill.length), BytesBody()
    if isinstance(chosen, ranges.Whole) or len(chosen) > 1:
        return None
    return _partial(fill.head.headers, chosen[0], fill.length), fill.reader(chosen[0])


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


def _multipart(
    stored: Stored, parts: Sequence[ranges.Part], boundary: bytes, returned: Callable[[], None]
) -> tuple[ResponseHead, Body]:
    headers = stored.head.headers.without(_BODY_FIELDS)
    blocks: list[bytes] = []
    for part in parts:
        blocks.append(ranges.part_head(boundary, part, headers.get(b"content-type"), stored.length))
        blocks += cut(stored.runs, part.first, part.last + 1)
    blocks.append(ranges.multipart_end(boundary))
    kind = b"multipart/byteranges; boundary=" + boundary
    return ResponseHead(206, headers.replaced(b"Content-Type", kind)), BytesBody(blocks, closed=returned)
