"""rules/dates.py: the three forms of RFC 9110 section 5.6.7, and nothing that only looks like them."""

from __future__ import annotations

import calendar
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.rules.dates import format_date, parse_date

NOW = 1_700_000_000.0  # in 2023
EXAMPLE = 784_111_777.0  # the date in RFC 9110 section 5.6.7


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
        (b"Sun Nov  6 08:49:37 1994", EXAMPLE),
        (b"Sun Nov 16 08:49:37 1994", EXAMPLE + 864_000),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Mon, 29 Feb 2016 23:59:59 GMT", 1_456_790_399),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        (b"Sat, 01 Jan 0001 00:00:00 GMT", -62_135_596_800),
    ],
)
def test_5_6_7_a_right_date_is_read(text: bytes, moment: float) -> None:
    assert parse_date(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        b"", b"0", b"-1", b"784111777",
        b"Sun, 6 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 94 08:49:37 GMT", b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Sun 06 Nov 1994 08:49:37 GMT", b"Sun,06 Nov 1994 08:49:37 GMT", b"Sun,  06 Nov 1994 08:49:37 GMT",
        b"sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 gmt",
        b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 08:49:37 +0000", b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08.49.37 GMT", b"Sun, 06-Nov-1994 08:49:37 GMT", b"06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT", b"Sun, 06 Nov 1994 08:60:37 GMT", b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Tue, 30 Feb 2016 00:00:00 GMT", b"Sun, 00 Nov 1994 08:49:37 GMT", b"Sat, 01 Jan 0000 00:00:00 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT ", b" Sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        b"Sun, 06-Nov-94 08:49:37 GMT", b"Sunday, 31-Feb-94 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 PST",
        b"Sun Nov 6 08:49:37 1994", b"Sun Nov  6 08:49:37 1994 GMT", b"Nov  6 08:49:37 1994",
        b"2023-11-14T22:13:20Z", b"Wednesday, 06-Nov-1994 08:49:37 GMT X", b"\xff" * 29,
    ],
)  # fmt: skip
def test_5_6_7_anything_else_is_no_date(text: bytes) -> None:
    assert parse_date(text, NOW) is None


@pytest.mark.parametrize(
    ("year_now", "two_digits", "year"),
    [(2023, 73, 2073), (2023, 75, 1975), (2023, 23, 2023), (2023, 0, 2000), (1999, 1, 2001), (1999, 99, 1999),
     (1999, 49, 2049), (1999, 51, 1951), (2060, 5, 2105), (1970, 70, 1970)],
)  # fmt: skip
def test_5_6_7_a_two_digit_year_is_never_more_than_50_years_ahead(year_now: int, two_digits: int, year: int) -> None:
    now = calendar.timegm((year_now, 6, 1, 0, 0, 0))
    expected = calendar.timegm((year, 3, 1, 1, 2, 3))
    assert parse_date(b"Monday, 01-Mar-%02d 01:02:03 GMT" % two_digits, now) == expected


def test_a_leap_day_of_two_digits_means_the_latest_year_that_has_it() -> None:
    now = calendar.timegm((2123, 1, 1, 0, 0, 0))  # 2100 is no leap year, 2000 is
    assert parse_date(b"Monday, 29-Feb-00 00:00:00 GMT", now) == calendar.timegm((2000, 2, 29, 0, 0, 0))


@given(st.integers(0, 253_402_300_799))
def test_what_is_written_is_read_back_and_is_what_others_write(moment: int) -> None:
    text = format_date(moment)
    assert parse_date(text, NOW) == moment
    assert text.decode() == email.utils.formatdate(moment, usegmt=True)


@pytest.mark.parametrize(
    ("moment", "text"),
    [(-5, b"Thu, 01 Jan 1970 00:00:00 GMT"), (1e18, b"Fri, 31 Dec 9999 23:59:59 GMT"),
     (784_111_777.9, b"Sun, 06 Nov 1994 08:49:37 GMT")],
)  # fmt: skip
def test_what_cannot_be_written_is_clamped(moment: float, text: bytes) -> None:
    assert format_date(moment) == text


@given(st.binary(max_size=40), st.floats(-1e12, 1e12))
def test_random_bytes_never_raise(text: bytes, now: float) -> None:
    parse_date(text, now)


@given(st.from_regex(rb"[SMTWF][a-z]{2,8},? ?\d\d[- ][A-Z][a-z]{2}[- ]\d{2,4} \d\d:\d\d:\d\d GMT", fullmatch=True))
def test_what_nearly_is_a_date_never_raises(text: bytes) -> None:
    parse_date(text, NOW)
