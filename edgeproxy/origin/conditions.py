"""Preconditions and byte ranges as an origin answers them: RFC 9110 sections 13 and 14, without any I/O.

The caching tiers have their own reading of these sections. The demo origin shares none of it, so that a fault in one is
seen by the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum

from edgeproxy.headers import Headers

# Many small or overlapping ranges cost an origin far more than the viewer who asks (RFC 9110 section 17.15).
RANGES_MAX = 16
OVERLAPS_MAX = 2

_ENTITY_TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(rb"(\d*)-(\d*)")
_BEYOND = 10**18


@dataclass(frozen=True, slots=True)
class Validators:
    """What identifies a representation: its entity tag as sent, and when it changed in whole seconds since 1970."""

    etag: str | None = None
    last_modified: int | None = None


class Condition(Enum):
    """What the preconditions of a request ask for."""

    PROCEED = "perform the method"
    NOT_MODIFIED = "304: the client holds this representation"
    FAILED = "412: the client holds another representation"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `first` to `last` of a representation, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.last - self.first + 1


def http_date(seconds: float) -> str:
    """Seconds since 1970 as IMF-fixdate (RFC 9110 section 5.6.7)."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def seconds_of(date: bytes | None) -> int | None:
    """A date field as seconds since 1970; None when absent or unreadable (then it counts as not sent)."""
    if date is None:
        return None
    try:
        parsed = parsedate_to_datetime(date.decode("ascii"))
        return int(parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _lists(value: bytes, etag: str | None, *, strong: bool) -> bool:
    """Whether a list of entity tags, or `*`, names this one (RFC 9110 section 8.8.3.2)."""
    if value.strip() == b"*":
        return True
    if etag is None or (strong and etag.startswith("W/")):
        return False
    opaque = etag.removeprefix("W/").encode("latin-1")
    return any(tag == opaque and not (strong and weak) for weak, tag in _ENTITY_TAG.findall(value))


def evaluate(method: str, headers: Headers, validators: Validators) -> Condition:
    """The preconditions in their order of precedence (RFC 9110 section 13.2.2), up to If-Range."""
    if not _still_that(headers, validators):
        return Condition.FAILED
    if headers.combined(b"if-none-match") is None and method not in ("GET", "HEAD"):
        return Condition.PROCEED  # If-Modified-Since is for these two alone (section 13.1.3)
    if _held_already(headers, validators):
        return Condition.NOT_MODIFIED if method in ("GET", "HEAD") else Condition.FAILED
    return Condition.PROCEED


def _still_that(headers: Headers, validators: Validators) -> bool:
    """If-Match, or where it is absent If-Unmodified-Since (sections 13.1.1 and 13.1.4)."""
    if (wanted := headers.combined(b"if-match")) is not None:
        return _lists(wanted, validators.etag, strong=True)
    limit = seconds_of(headers.get(b"if-unmodified-since"))
    return limit is None or validators.last_modified is None or validators.last_modified <= limit


def _held_already(headers: Headers, validators: Validators) -> bool:
    """If-None-Match, or where it is absent If-Modified-Since (sections 13.1.2 and 13.1.3)."""
    if (held := headers.combined(b"if-none-match")) is not None:
        return _lists(held, validators.etag, strong=False)
    since = seconds_of(headers.get(b"if-modified-since"))
    return since is not None and validators.last_modified is not None and validators.last_modified <= since


def range_applies(headers: Headers, validators: Validators, now: float) -> bool:
    """Whether If-Range lets a Range count: a strong tag, or a date that cannot be ambiguous (section 13.1.5)."""
    wanted = headers.get(b"if-range")
    if wanted is None:
        return True
    if wanted.strip().startswith((b'"', b"W/")):
        return _lists(wanted, validators.etag, strong=True)
    modified = validators.last_modified
    return modified is not None and seconds_of(wanted) == modified and modified + 1 <= now


def _number(digits: bytes) -> int:
    # Longer than any length: its value does not matter, and reading thousands of digits has a cost.
    return int(digits) if len(digits) <= 18 else _BEYOND


def byte_ranges(value: bytes, length: int) -> tuple[Span, ...] | None:
    """The satisfiable ranges of a Range field, in the order asked (RFC 9110 section 14.1.2).

    None says that the field counts as not sent: another unit, bad syntax, or nothing there to take a part of.
    An empty tuple says 416: nothing satisfiable, more than RANGES_MAX ranges, or too much asked for twice.
    """
    unit, equals, listed = value.partition(b"=")
    if unit.strip().lower() != b"bytes" or not equals or length == 0:
        return None
    pieces = [piece.strip() for piece in listed.split(b",") if piece.strip()]
    spans: list[Span] = []
    for piece in pieces:
        match = _RANGE.fullmatch(piece)
        span = _span(match[1], match[2], length) if match and piece != b"-" else None
        if span is None:
            return None
        if span.length > 0:
            spans.append(span)
        if len(spans) > RANGES_MAX:
            return ()
    if not pieces:
        return None
    return tuple(spans) if _overlaps(spans) <= OVERLAPS_MAX else ()


def _span(first: bytes, last: bytes, length: int) -> Span | None:
    """One range-spec against a length: None when it is invalid, no byte long or less when it is unsatisfiable."""
    if not first:
        return Span(max(0, length - _number(last)), length - 1)
    start = _number(first)
    end = _number(last) if last else _BEYOND
    return Span(start, min(end, length - 1)) if start <= end else None


def _overlaps(spans: list[Span]) -> int:
    return sum(
        any(other.first <= span.last and span.first <= other.last for other in spans[:place])
        for place, span in enumerate(spans)
    )
