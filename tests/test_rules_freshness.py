"""rules/freshness.py: RFC 9111 section 4.2, beside a second model written from its formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.model import Caching
from edgeproxy.rules.cachecontrol import DELTA_MAX, response_directives
from edgeproxy.rules.freshness import (
    HEURISTIC_MAX,
    age_value,
    current_age,
    date_value,
    explicit_lifetime,
    keep_until,
    lifetime,
    remaining,
)
from tests.messages import NOW, PLAIN, cloudfront, fields, stored

DAY = 86_400


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Cache-Control: max-age=60"], 60),
        (["Cache-Control: s-maxage=5, max-age=60"], 5),
        (["Cache-Control: max-age=60", "Expires: {+5}"], 60),
        (["Cache-Control: max-age=0", "Expires: {+5}"], 0),
        (["Cache-Control: max-age=x", "Expires: {+5}"], 0),
        (["Expires: {+60}", "Date: {+0}"], 60),
        (["Expires: {+60}", "Date: {-30}"], 90),
        (["Expires: {+60}", "Date: {+30}"], 30),
        (["Expires: {+60}", "Date: wrong"], 60),
        (["Expires: {+60}"], 60),
        (["Expires: {-60}"], 0),
        (["Expires: 0"], 0),
        (["Expires: -1"], 0),
        (["Expires: soon"], 0),
        (["Expires: {+60}", "Expires: {+60}"], 60),
        (["Expires: {+60}", "Expires: {+90}"], 0),
        (["Expires: {+60}", "Expires: 0"], 0),
        (["CDN-Cache-Control: max-age=7", "Cache-Control: max-age=60"], 7),
        (["CDN-Cache-Control: foo", "Expires: {+60}"], 0),
        # Heuristic: a tenth of the time since the last change, and a week at most (section 4.2.2).
        (["Date: {+0}", "Last-Modified: {-1000}"], 100),
        (["Last-Modified: {-1000}"], 100),
        (["Date: {-500}", "Last-Modified: {-1000}"], 50),
        (["Date: {+0}", "Last-Modified: {+100}"], 0),
        (["Date: {+0}", "Last-Modified: yesterday"], 0),
        (["Date: {+0}", "Last-Modified: {-99999999}"], HEURISTIC_MAX),
        (["Date: {+0}", "Last-Modified: {-1000}", "Expires: {+0}"], 0),
        (["Date: {+0}", "Last-Modified: {-1000}", "Cache-Control: public"], 100),
        (["Date: {+0}"], 0),
        ([], 0),
    ],
)
def test_4_2_1_lifetime(lines: list[str], seconds: float) -> None:
    assert lifetime(stored(*lines), PLAIN) == seconds


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_4_2_2_a_status_that_may_be_given_a_heuristic_lifetime(status: int) -> None:
    assert lifetime(stored("Last-Modified: {-1000}", status=status), PLAIN) == 100


@pytest.mark.parametrize("status", [201, 202, 205, 299, 302, 303, 307, 400, 401, 403, 431, 500, 502, 503, 504, 599])
def test_4_2_2_a_status_that_may_not(status: int) -> None:
    assert lifetime(stored("Last-Modified: {-1000}", "Cache-Control: public", status=status), PLAIN) == 0
    assert lifetime(stored("Last-Modified: {-1000}", "Cache-Control: max-age=9", status=status), PLAIN) == 9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("007", 7), ("7, 9", 7), ("7 ,9", 7), ("-1", 0), ("1.5", 0), ("x, 7", 0), ("", 0), (",7", 0),
     ("7;a", 0), ("+7", 0), ("99999999999", DELTA_MAX), ("3000000000", DELTA_MAX), ("9" * 5000, DELTA_MAX)],
)  # fmt: skip
def test_5_1_age(value: str, seconds: int) -> None:
    assert age_value(fields(f"Age: {value}")) == seconds


def test_5_1_of_several_lines_the_first_counts() -> None:
    assert age_value(fields("Age: 7", "Age: 9")) == 7
    assert age_value(fields()) == 0


@pytest.mark.parametrize(
    ("lines", "age", "delay", "seconds"),
    [
        (["Date: {+0}"], 0, 0, 0),
        (["Date: {+0}", "Age: 5"], 0, 0, 5),
        (["Date: {-5}"], 0, 0, 5),
        (["Date: {-5}", "Age: 30"], 0, 0, 30),
        (["Date: {-30}", "Age: 5"], 0, 0, 30),
        (["Date: {+30}"], 0, 0, 0),
        (["Date: {-100}"], 100, 0, 100),
        (["Date: {-100}", "Age: 5"], 100, 0, 105),
        (["Date: {+0}"], 0, 3, 3),
        (["Date: {+0}", "Age: 5"], 0, 3, 8),
        (["Date: {-6}", "Age: 5"], 0, 3, 8),
        ([], 40, 2, 42),
    ],
)
def test_4_2_3_age(lines: list[str], age: float, delay: float, seconds: float) -> None:
    assert current_age(stored(*lines, age=age, delay=delay), NOW) == seconds


def test_a_clock_set_back_makes_nothing_younger() -> None:
    assert current_age(stored("Age: 5", "Date: {+0}"), NOW - 1000) == 5
    assert current_age(stored("Date: {+0}", delay=-1000), NOW) == 0


def test_what_is_left_counts_the_age() -> None:
    assert remaining(stored("Cache-Control: max-age=60", "Age: 20", "Date: {-10}", age=10), PLAIN, NOW) == 30


def test_a_tier_that_held_it_for_a_while_takes_nothing_off_twice() -> None:
    """Expires counts from Date, and the tier above adds an Age: 60 seconds were given, 25 of them are gone."""
    assert remaining(stored("Date: {-25}", "Expires: {+35}", "Age: 25"), PLAIN, NOW) == 35
    assert remaining(stored("Date: {-25}", "Expires: {+35}", "Age: 25"), cloudfront(), NOW) == 35


def test_3_cloudfront_lays_its_table_over_this() -> None:
    caching = cloudfront(10, 100, 1000)
    assert lifetime(stored("Cache-Control: max-age=5"), caching) == 10
    assert lifetime(stored("Last-Modified: {-999999}"), caching) == 100
    assert lifetime(stored("Expires: {+50}"), caching) == 50
    assert lifetime(stored("CDN-Cache-Control: max-age=7"), caching) == 100


@pytest.mark.parametrize(
    ("lines", "caching", "seconds"),
    [
        (["Cache-Control: max-age=60"], PLAIN, 60 + 500),
        (["Cache-Control: max-age=60", "Age: 20"], PLAIN, 40 + 500),
        (["Cache-Control: max-age=60", "Age: 90"], PLAIN, 500),
        (["Cache-Control: max-age=60"], cloudfront(0, 0, 1000), 60 + 500),
        (["Cache-Control: max-age=60"], cloudfront(0, 0, 300), 300),
        (["Cache-Control: max-age=600"], cloudfront(0, 0, 100), 100),
    ],
)
def test_how_long_something_is_of_use(lines: list[str], caching: Caching, seconds: float) -> None:
    assert keep_until(stored(*lines), caching, 500) == NOW + seconds


def test_a_fresh_error_is_kept_although_max_ttl_is_shorter() -> None:
    assert keep_until(stored(status=404), cloudfront(0, 0, 5), 500) == NOW + 10


# The same section once more, from its formulas, by another hand: numbers instead of field values.
moments = st.one_of(st.none(), st.integers(-100_000, 100_000))
counts = st.one_of(st.none(), st.integers(0, 100_000))


@given(date=moments, age=counts, delay=st.integers(0, 60), resident=st.integers(0, 100_000))
def test_4_2_3_a_second_model_of_age_agrees(date: int | None, age: int | None, delay: int, resident: int) -> None:
    lines = [f"Age: {age}"] if age is not None else []
    response_time = int(NOW) - resident
    lines += [f"Date: {{{date:+d}}}"] if date is not None else []
    date_there = response_time if date is None else int(NOW) + date
    apparent_age = max(0, response_time - date_there)
    corrected_initial_age = max(apparent_age, (age or 0) + delay)
    assert current_age(stored(*lines, age=resident, delay=delay), NOW) == corrected_initial_age + resident


@given(shared=counts, own=counts, expires=moments, date=moments, modified=moments)
def test_4_2_1_a_second_model_of_lifetime_agrees(
    shared: int | None, own: int | None, expires: int | None, date: int | None, modified: int | None
) -> None:
    lines = [
        f"Cache-Control: {name}={value}"
        for name, value in (("s-maxage", shared), ("max-age", own))
        if value is not None
    ]
    for name, offset in (("Expires", expires), ("Date", date), ("Last-Modified", modified)):
        lines += [f"{name}: {{{offset:+d}}}"] if offset is not None else []
    made = 0 if date is None else date
    if shared is not None:
        expected: float = shared
    elif own is not None:
        expected = own
    elif expires is not None:
        expected = max(0, expires - made)
    elif modified is not None:
        expected = min(max(0, made - modified) / 10, 7 * DAY)
    else:
        expected = 0
    assert lifetime(stored(*lines), PLAIN) == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from(["Cache-Control", "Expires", "Date", "Age", "Last-Modified"]),
                          st.text(st.characters(max_codepoint=255), max_size=30)), max_size=5))  # fmt: skip
def test_random_fields_never_raise_nor_give_a_negative_time(pairs: list[tuple[str, str]]) -> None:
    kept = stored(*(f"{name}: {value.replace('{', '')}" for name, value in pairs))
    assert lifetime(kept, PLAIN) >= 0
    assert lifetime(kept, cloudfront()) >= 0
    assert current_age(kept, NOW) >= 0


def test_date_is_the_arrival_where_there_is_none() -> None:
    assert date_value(fields(), 5.0) == 5.0
    assert date_value(fields("Date: now"), 5.0) == 5.0
    assert date_value(fields("Date: {+1}"), 5.0) == NOW + 1


def test_nothing_explicit_is_not_zero() -> None:
    headers = fields("Cache-Control: public")
    assert explicit_lifetime(headers, response_directives(headers, PLAIN.rules), NOW) is None
