"""Byte ranges (RFC 9110 section 14): what a request asks for, and what a partial response claims to be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import Rules
from edgeproxy.rules.validation import range_condition_holds
from edgeproxy.values import value

PARTS_MAX = 16
"""More ranges than this in one request are answered with the whole body, as RFC 9110 section 14.2 permits."""

PART_OVERHEAD = 80
"""Bytes that a multipart part costs at least; ranges nearer to each other than this are sent as one (14.2)."""

_HUGE = 10**18
_SPEC = re.compile(rb"(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(rb"[Bb][Yy][Tt][Ee][Ss] (?:(\d+)-(\d+)/(\d+|\*)|\*/(\d+))")


@value(frozen=True, slots=True)
class Part:
    """A range of bytes; `first` and `last` are both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Bytes in it."""
        return self.last - self.first + 1


@value(frozen=True, slots=True)
class Whole:
    """Answer with the whole body: no range was asked for, or none that has to be honoured."""


@value(frozen=True, slots=True)
class Unsatisfiable:
    """Answer 416: no range lies within the body."""


Selection: TypeAlias = Whole | Unsatisfiable | list[Part]


@value(frozen=True, slots=True)
class ContentRange:
    """A Content-Range: `part` is None in a 416, `length` (of the whole) is None where the sender did not know it."""

    part: Part | None
    length: int | None


def excessive(headers: Headers) -> bool:
    """Whether a Range names more parts than anybody needs: it is then taken as absent, here and upstream."""
    return sum(value.count(b",") for value in headers.all(b"range")) >= PARTS_MAX


def select(request: RequestHead, status: int, headers: Headers, length: int, rules: Rules = Rules.RFC9111) -> Selection:
    """Which bytes of a stored or fetched response the request gets.

    `status` and `headers` are those of the response without ranges, `length` its body's. Parts come back as asked,
    overlapping and close ones merged, so that the answer is never much larger than the body. In `cloudfront` rules
    ranges that do not ascend or that overlap mean the whole body (fact sheet 1.7).
    """
    values = request.headers.all(b"range")
    if request.method != "GET" or status != 200 or len(values) != 1:  # Range is no list field: two are none
        return Whole()
    asked = _specified(values[0])
    if asked is None or not range_condition_holds(request, headers):
        return Whole()
    parts = [part for part in (_within(spec, length) for spec in asked) if part]
    if not parts:
        # A suffix of an empty body is satisfiable (14.1.2) but has no bytes to name in a Content-Range.
        return Whole() if not length and any(first is None and last for first, last in asked) else Unsatisfiable()
    if rules is Rules.CLOUDFRONT:
        ascending = all(before.last < after.first for before, after in pairwise(parts))
        return parts if ascending else Whole()
    return _merged(parts)


def content_range(value: bytes) -> ContentRange | None:
    """A Content-Range value (section 14.4), None when it is malformed or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None:
        return None
    if match[4] is not None:
        return ContentRange(None, _number(match[4]))
    first, last = _number(match[1]), _number(match[2])
    length = None if match[3] == b"*" else _number(match[3])
    if last < first or last >= _HUGE or (length is not None and length <= last):
        return None
    return ContentRange(Part(first, last), length)


def received_part(response: ResponseHead) -> ContentRange | None:
    """What a 206 with a single part carries, None when it is no such response or its head contradicts itself."""
    values = response.headers.all(b"content-range")
    if response.status != 206 or len(values) != 1:
        return None
    claimed = content_range(values[0])
    if claimed is None or claimed.part is None:
        return None
    sizes = set(response.headers.all(b"content-length"))
    return claimed if sizes <= {b"%d" % claimed.part.length} else None


def content_range_field(part: Part, length: int) -> bytes:
    """The Content-Range of a 206."""
    return b"bytes %d-%d/%d" % (part.first, part.last, length)


def unsatisfied_range_field(length: int) -> bytes:
    """The Content-Range of a 416 (section 15.5.17)."""
    return b"bytes */%d" % length


def part_head(boundary: bytes, part: Part, content_type: bytes | None, length: int) -> bytes:
    """What stands before a part's bytes in a multipart/byteranges body (section 14.6), its line break included."""
    kind = b"" if content_type is None else b"Content-Type: %s\r\n" % content_type
    return b"\r\n--%s\r\n%sContent-Range: %s\r\n\r\n" % (boundary, kind, content_range_field(part, length))


def multipart_end(boundary: bytes) -> bytes:
    """What stands after the last part."""
    return b"\r\n--%s--\r\n" % boundary


def multipart_length(boundary: bytes, parts: Sequence[Part], content_type: bytes | None, length: int) -> int:
    """Bytes of the whole multipart/byteranges body."""
    heads = sum(len(part_head(boundary, part, content_type, length)) for part in parts)
    return heads + sum(part.length for part in parts) + len(multipart_end(boundary))


def _specified(value: bytes) -> list[tuple[int | None, int | None]] | None:
    """(first, last) of each range, (None, n) for the last n bytes; None when the field must or may be ignored."""
    unit, equals, listed = value.partition(b"=")
    if unit.lower() != b"bytes" or not equals:
        return None
    texts = [text.strip(b" \t") for text in listed.split(b",", PARTS_MAX + 1)]
    texts = [text for text in texts if text]
    if not 0 < len(texts) <= PARTS_MAX:
        return None
    specs: list[tuple[int | None, int | None]] = []
    for text in texts:
        match = _SPEC.fullmatch(text)
        if match is None or text == b"-":
            return None
        first = _number(match[1]) if match[1] else None
        last = _number(match[2]) if match[2] else None
        if first is not None and last is not None and last < first:
            return None
        specs.append((first, last))
    return specs


def _within(spec: tuple[int | None, int | None], length: int) -> Part | None:
    """The bytes a range specifies in a body of this length, None when there are none."""
    first, last = spec
    if first is None:
        size = min(last or 0, length)
        return Part(length - size, length - 1) if size else None
    if first >= length:
        return None
    return Part(first, length - 1 if last is None else min(last, length - 1))


def _merged(parts: list[Part]) -> list[Part]:
    """The parts in the order asked; those that overlap or nearly touch become one, in the place of the first."""
    joined: list[tuple[int, Part]] = []
    for place, part in sorted(enumerate(parts), key=lambda item: item[1].first):
        if joined and part.first <= joined[-1][1].last + PART_OVERHEAD:
            before, open_part = joined[-1]
            joined[-1] = (min(before, place), Part(open_part.first, max(open_part.last, part.last)))
        else:
            joined.append((place, part))
    return [part for _, part in sorted(joined, key=lambda item: item[0])]


def _number(digits: bytes) -> int:
    """A decimal number; anything beyond any body's length is one and the same (int() of long text is slow)."""
    digits = digits.lstrip(b"0")
    return min(int(digits or b"0"), _HUGE) if len(digits) <= 19 else _HUGE
