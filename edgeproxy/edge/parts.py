"""Parts of a stored body: 206, several parts, 416 (RFC 9110 section 14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody, RequestHead, ResponseHead
from edgeproxy.model import Rules
from edgeproxy.rules import ranges
from edgeproxy.store.memory import Stored

_BODY_FIELDS = frozenset({b"content-length", b"content-range"})
_OF_THE_WHOLE = frozenset({b"content-type", b"content-encoding", b"etag", b"last-modified"})
"""What would describe a representation that a 416 does not carry."""


def part_of(
    request: RequestHead, stored: Stored, rules: Rules, random_bytes: Callable[[int], bytes]
) -> tuple[ResponseHead, Body] | None:
    """The head and body that answer a Range request from a stored 200; None when the whole is due."""
    chosen = ranges.select(request, stored.head.status, stored.head.headers, stored.length, rules)
    if isinstance(chosen, ranges.Whole):
        return None
    headers = stored.head.headers.without(_BODY_FIELDS)
    if isinstance(chosen, ranges.Unsatisfiable):
        field = (b"Content-Range", ranges.unsatisfied_range_field(stored.length))
        return ResponseHead(416, headers.without(_OF_THE_WHOLE).plus(field)), BytesBody()
    if len(chosen) == 1:
        field = (b"Content-Range", ranges.content_range_field(chosen[0], stored.length))
        return ResponseHead(206, headers.plus(field)), BytesBody(cut(stored.blocks, chosen[0]))
    return _multipart(headers, stored, chosen, random_bytes(12).hex().encode())


def _multipart(
    headers: Headers, stored: Stored, parts: Sequence[ranges.Part], boundary: bytes
) -> tuple[ResponseHead, Body]:
    blocks: list[bytes] = []
    for part in parts:
        blocks.append(ranges.part_head(boundary, part, headers.get(b"content-type"), stored.length))
        blocks += cut(stored.blocks, part)
    blocks.append(ranges.multipart_end(boundary))
    kind = b"multipart/byteranges; boundary=" + boundary
    return ResponseHead(206, headers.replaced(b"Content-Type", kind)), BytesBody(blocks)


def cut(blocks: Sequence[bytes], part: ranges.Part) -> Iterator[bytes]:
    """The bytes from `first` to `last`, both included; blocks that lie inside are not copied."""
    start = 0
    for block in blocks:
        end = start + len(block)
        if end > part.first and start <= part.last:
            yield block[max(part.first - start, 0) : part.last + 1 - start]
        start = end
