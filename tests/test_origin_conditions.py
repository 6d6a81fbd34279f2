"""Preconditions and ranges of the demo origin, as tables."""

from __future__ import annotations

import pytest

from edgeproxy.headers import Headers
from edgeproxy.origin.conditions import (
    Condition,
    Span,
    Validators,
    byte_ranges,
    evaluate,
    http_date,
    range_applies,
    seconds_of,
)

CHANGED = 784_111_777
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"
KNOWN = Validators('"a,b"', CHANGED)
BARE = Validators()
PROCEED, NOT_MODIFIED, FAILED = Condition.PROCEED, Condition.NOT_MODIFIED, Condition.FAILED


@pytest.mark.parametrize(
    "text",
    [DATE, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
    ids=["IMF-fixdate", "RFC 850", "asctime"],
)
def test_all_three_forms_of_a_date_are_read(text: bytes) -> None:
    assert seconds_of(text) == CHANGED


@pytest.mark.parametrize("text", [None, b"", b"yesterday", b"\xff", b"Sun, 99 Nov 1994 08:49:37 GMT", b"1" * 5000])
def test_an_unreadable_date_counts_as_not_sent(text: bytes | None) -> None:
    assert seconds_of(text) is None


def test_a_date_is_written_in_the_form_that_everybody_reads() -> None:
    assert http_date(CHANGED + 0.9) == DATE.decode()


CONDITIONS = [
    # RFC 9110 section 13.1.2
    ("GET", [(b"If-None-Match", b'"a,b"')], KNOWN, NOT_MODIFIED),
    ("HEAD", [(b"If-None-Match", b'"a,b"')], KNOWN, NOT_MODIFIED),
    ("POST", [(b"If-None-Match", b'"a,b"')], KNOWN, FAILED),
    ("GET", [(b"If-None-Match", b'W/"a,b"')], KNOWN, NOT_MODIFIED),
    ("GET", [(b"If-None-Match", b'"x", "a,b"')], KNOWN, NOT_MODIFIED),
    ("GET", [(b"If-None-Match", b'"x"'), (b"if-none-match", b'"a,b"')], KNOWN, NOT_MODIFIED),
    ("GET", [(b"If-None-Match", b'"x"')], KNOWN, PROCEED),
    ("GET", [(b"If-None-Match", b'"A,B"')], KNOWN, PROCEED),
    ("GET", [(b"If-None-Match", b"a,b")], KNOWN, PROCEED),
    ("GET", [(b"If-None-Match", b"*")], KNOWN, NOT_MODIFIED),
    ("GET", [(b"If-None-Match", b'"a,b"')], BARE, PROCEED),
    # section 13.1.3, and 13.2.2: only without If-None-Match
    ("GET", [(b"If-Modified-Since", DATE)], KNOWN, NOT_MODIFIED),
    ("GET", [(b"If-Modified-Since", AFTER)], KNOWN, NOT_MODIFIED),
    ("GET", [(b"If-Modified-Since", BEFORE)], KNOWN, PROCEED),
    ("GET", [(b"If-Modified-Since", b"whenever")], KNOWN, PROCEED),
    ("POST", [(b"If-Modified-Since", DATE)], KNOWN, PROCEED),
    ("GET", [(b"If-Modified-Since", DATE)], BARE, PROCEED),
    ("GET", [(b"If-None-Match", b'"x"'), (b"If-Modified-Since", DATE)], KNOWN, PROCEED),
    # section 13.1.1
    ("GET", [(b"If-Match", b'"a,b"')], KNOWN, PROCEED),
    ("GET", [(b"If-Match", b"*")], KNOWN, PROCEED),
    ("GET", [(b"If-Match", b'W/"a,b"')], KNOWN, FAILED),
    ("GET", [(b"If-Match", b'"x"')], KNOWN, FAILED),
    ("GET", [(b"If-Match", b'"w"')], Validators('W/"w"'), FAILED),
    ("GET", [(b"If-Match", b'"a,b"'), (b"If-None-Match", b'"a,b"')], KNOWN, NOT_MODIFIED),
    # section 13.1.4, and 13.2.2: only without If-Match
    ("GET", [(b"If-Unmodified-Since", DATE)], KNOWN, PROCEED),
    ("GET", [(b"If-Unmodified-Since", BEFORE)], KNOWN, FAILED),
    ("GET", [(b"If-Unmodified-Since", BEFORE)], BARE, PROCEED),
    ("GET", [(b"If-Match", b'"a,b"'), (b"If-Unmodified-Since", BEFORE)], KNOWN, PROCEED),
    ("GET", [], KNOWN, PROCEED),
]


@pytest.mark.parametrize(("method", "fields", "validators", "expected"), CONDITIONS)
def test_preconditions(
    method: str, fields: list[tuple[bytes, bytes]], validators: Validators, expected: Condition
) -> None:
    assert evaluate(method, Headers(fields), validators) is expected


IF_RANGES = [
    (None, KNOWN, True),
    (b'"a,b"', KNOWN, True),
    (b'W/"a,b"', KNOWN, False),
    (b'"x"', KNOWN, False),
    (b'"w"', Validators('W/"w"'), False),
    (DATE, KNOWN, True),
    (AFTER, KNOWN, False),
    (BEFORE, KNOWN, False),
    (DATE, BARE, False),
    (b"*", KNOWN, False),
]


@pytest.mark.parametrize(("value", "validators", "expected"), IF_RANGES)
def test_if_range_needs_a_strong_match(value: bytes | None, validators: Validators, expected: bool) -> None:
    headers = Headers([(b"If-Range", value)] if value is not None else [])
    assert range_applies(headers, validators, now=CHANGED + 60) is expected


def test_if_range_with_a_date_of_this_very_second_is_too_weak() -> None:
    assert not range_applies(Headers([(b"If-Range", DATE)]), KNOWN, now=CHANGED + 0.5)


HUGE = b"9" * 4000
RANGES = [
    (b"bytes=0-0", 10, (Span(0, 0),)),
    (b"bytes=2-", 10, (Span(2, 9),)),
    (b"bytes=-3", 10, (Span(7, 9),)),
    (b"bytes=-30", 10, (Span(0, 9),)),
    (b"bytes=8-80", 10, (Span(8, 9),)),
    (b"Bytes = 1-2 , 4-5", 10, (Span(1, 2), Span(4, 5))),
    (b"bytes=,1-2,,", 10, (Span(1, 2),)),
    (b"bytes=5-6,0-1", 10, (Span(5, 6), Span(0, 1))),
    (b"bytes=5-6,10-11", 10, (Span(5, 6),)),
    (b"bytes=0-" + HUGE, 10, (Span(0, 9),)),
    (b"bytes=-" + HUGE, 10, (Span(0, 9),)),
    (b"bytes=0-4,2-6,4-8", 10, (Span(0, 4), Span(2, 6), Span(4, 8))),
    # 416
    (b"bytes=10-", 10, ()),
    (b"bytes=-0", 10, ()),
    (b"bytes=" + HUGE + b"-", 10, ()),
    (b"bytes=0-,0-,0-,0-", 10, ()),
    (b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(17)), 100, ()),
    # as if not sent
    (b"bytes=2-1", 10, None),
    (b"bytes=0-1,2-1", 10, None),
    (b"bytes=-", 10, None),
    (b"bytes=", 10, None),
    (b"bytes=,", 10, None),
    (b"bytes=a-b", 10, None),
    (b"bytes=+1-2", 10, None),
    (b"bytes=0x1-2", 10, None),
    (b"bytes 0-1", 10, None),
    (b"lines=0-1", 10, None),
    (b"bytes=0-", 0, None),
]


@pytest.mark.parametrize(("value", "length", "expected"), RANGES, ids=[case[0][:40].decode() for case in RANGES])
def test_ranges(value: bytes, length: int, expected: tuple[Span, ...] | None) -> None:
    assert byte_ranges(value, length) == expected
