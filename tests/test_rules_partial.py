"""rules/partial.py: incomplete responses, their bytes and how they grow (RFC 9111 sections 3.3, 3.4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.model import AsOf, Rules
from edgeproxy.rules.partial import (
    Intervals,
    begun,
    combined,
    combines,
    completable,
    complete_length,
    gap,
    holds,
    joined,
    missing,
    of_one_body,
    union,
)
from edgeproxy.rules.ranges import Part
from tests.messages import NOW, request, response, stored

TAG = 'ETag: "1"'
FRESH = "Cache-Control: max-age=60"
MIDDLE = stored(FRESH, TAG, "Content-Range: bytes 2-4/10", "X-A: 1", "Age: 5", status=206, as_of=AsOf("0", 5))

intervals = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), max_size=6).map(
    lambda pairs: union((), tuple((start, start + size) for start, size in pairs))
)


def bytes_in(parts: Intervals) -> set[int]:
    return {byte for start, end in parts for byte in range(start, end)}


@pytest.mark.parametrize(
    ("lines", "length"),
    [(["Content-Length: 10"], 10), (["Content-Length: 0"], 0), (["Content-Length: x"], None), ([], None),
     (["Content-Length: " + "9" * 30], None)],
)  # fmt: skip
def test_the_complete_length(lines: list[str], length: int | None) -> None:
    assert complete_length(stored(*lines)) == length


@given(held=intervals, first=st.integers(0, 50), size=st.integers(1, 20))
def test_what_is_missing_is_what_is_wanted_and_not_held(held: Intervals, first: int, size: int) -> None:
    wanted = Part(first, first + size - 1)
    gaps = missing(held, wanted)
    assert [byte for gap in gaps for byte in range(gap.first, gap.last + 1)] == sorted(
        set(range(first, first + size)) - bytes_in(held)
    )


@given(one=intervals, other=intervals)
def test_a_union_holds_the_bytes_of_both_and_its_intervals_stand_apart(one: Intervals, other: Intervals) -> None:
    both = union(one, other)
    assert bytes_in(both) == bytes_in(one) | bytes_in(other)
    assert all(before[1] < after[0] for before, after in pairwise(both))


def test_3_3_what_an_incomplete_response_is_enough_for() -> None:
    unknown = replace(MIDDLE, headers=MIDDLE.headers.without({b"content-length"}))
    assert not holds(unknown, request("Range: bytes=2-4"), Rules.RFC9111)
    assert holds(MIDDLE, request("Range: bytes=2-4"), Rules.RFC9111)
    assert not holds(MIDDLE, request(), Rules.RFC9111)
    assert holds(MIDDLE, request("Range: bytes=10-"), Rules.RFC9111), "a 416 needs no byte"
    assert holds(stored(FRESH), request(), Rules.RFC9111)


@pytest.mark.parametrize(
    ("lines", "status", "expected"),
    [
        ([TAG, "Content-Range: bytes 5-9/10"], 206, True),
        ([TAG, "Content-Range: bytes 5-9/11"], 206, False),
        ([TAG, "Content-Range: bytes 5-9/*"], 206, False),
        (['ETag: "2"', "Content-Range: bytes 5-9/10"], 206, False),
        (['ETag: W/"1"', "Content-Range: bytes 5-9/10"], 206, False),
        (["Content-Range: bytes 5-9/10"], 206, False),
        ([TAG, "Content-Range: bytes 9-5/10"], 206, False),
        ([TAG, "Content-Range: bytes 5-9/10"], 200, False),
        ([TAG], 206, False),
    ],
)
def test_3_4_only_bytes_of_the_same_strong_validator_are_combined(
    lines: list[str], status: int, expected: bool
) -> None:
    assert combines(MIDDLE, response(*lines, status=status), NOW) is expected


@pytest.mark.parametrize("tag", [[], ['ETag: W/"1"']])
def test_3_4_without_a_strong_validator_nothing_is_combined(tag: list[str]) -> None:
    weak = stored(FRESH, *tag, "Content-Range: bytes 2-4/10", status=206)
    assert not combines(weak, response(*tag, "Content-Range: bytes 5-9/10", status=206), NOW)


def test_8_8_2_2_an_old_last_modified_is_strong() -> None:
    dated = ("Last-Modified: {-1000}", "Date: {+0}")
    kept = stored(FRESH, *dated, "Content-Range: bytes 2-4/10", status=206)
    assert combines(kept, response(*dated, "Content-Range: bytes 5-9/10", status=206), NOW)


def test_errors_are_not_combined() -> None:
    assert not combines(replace(MIDDLE, status=404), response(TAG, "Content-Range: bytes 5-9/10", status=206), NOW)


def test_3_4_a_response_grows_until_it_is_complete() -> None:
    end = response(TAG, FRESH, "Content-Range: bytes 5-9/10", "Content-Length: 5", "X-A: 2", status=206)
    grown = combined(MIDDLE, end, requested_at=NOW + 1, received_at=NOW + 2, as_of=AsOf("0", 9))
    assert (grown.parts, grown.received_at) == (((2, 10),), NOW + 2)
    assert grown.as_of == AsOf("0", 5), "a body is as old as its oldest bytes"
    assert grown.headers.all(b"content-length") == [b"10"]
    assert grown.headers.all(b"x-a") == [b"2"]
    assert b"content-range" not in grown.headers
    assert b"age" not in grown.headers
    start = response(TAG, FRESH, "Content-Range: bytes 0-3/10", status=206)
    whole = combined(grown, start, requested_at=NOW + 3, received_at=NOW + 4, as_of=AsOf("0", 9))
    assert whole.parts is None
    assert combined(whole, start, requested_at=NOW, received_at=NOW, as_of=AsOf("0", 9)).parts is None


def test_only_a_partial_response_adds_bytes() -> None:
    with pytest.raises(ValueError, match="partial"):
        combined(MIDDLE, response(TAG), requested_at=NOW, received_at=NOW, as_of=AsOf("0", 9))


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ((), (0, 0), (0, 9)),
        ((), (25, 25), (20, 29)),
        ((), (25, 31), (20, 39)),
        ((), (98, 104), (90, 104)),
        (((0, 23),), (25, 25), (23, 29)),
        (((27, 40),), (25, 26), (20, 26)),
        (((0, 3), (90, 105)), (12, 80), (10, 89)),
    ],
)
def test_missing_bytes_are_fetched_on_a_grid_up_to_what_is_held(
    held: Intervals, wanted: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert gap(held, Part(*wanted), 105, 10, 0) == Part(*expected)


def test_what_lies_ahead_is_fetched_too() -> None:
    assert gap((), Part(5, 5), 105, 10, 2) == Part(0, 29)
    assert gap(((22, 23),), Part(5, 5), 105, 10, 2) == Part(0, 21)
    assert gap((), Part(100, 100), 105, 10, 2) == Part(100, 104)


@given(held=intervals, first=st.integers(0, 49), interval=st.integers(1, 9), ahead=st.integers(0, 3))
def test_what_is_fetched_has_the_byte_and_none_that_is_held(
    held: Intervals, first: int, interval: int, ahead: int
) -> None:
    if first in bytes_in(held):
        return
    part = gap(held, Part(first, first), 50, interval, ahead)
    assert part.first <= first <= part.last < 50
    assert not bytes_in(held) & set(range(part.first, part.last + 1))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [([TAG, "Content-Length: 10"], True), (["Content-Length: 10"], False), ([TAG], False)],
)
def test_3_3_what_came_of_a_body_is_kept_where_the_rest_may_be_added(lines: list[str], expected: bool) -> None:
    head = begun(stored(FRESH, *lines), 0, 4)
    assert (head is not None) is expected
    if head is not None:
        assert head.parts == ((0, 4),)
        assert completable(head)


def test_3_3_of_an_error_or_of_nothing_no_part_is_kept() -> None:
    whole = stored(FRESH, TAG, "Content-Length: 10")
    assert begun(replace(whole, status=404), 0, 4) is None
    assert begun(whole, 4, 4) is None
    assert not completable(whole)


def test_3_4_two_incomplete_responses_of_one_body_become_one() -> None:
    other = stored(FRESH, TAG, "Content-Range: bytes 5-9/10", "X-A: 2", status=206, as_of=AsOf("0", 3))
    assert of_one_body(MIDDLE, other)
    both = joined(MIDDLE, other)
    assert (both.parts, both.as_of, both.headers.get(b"x-a")) == (((2, 10),), AsOf("0", 3), b"2")
    start = stored(FRESH, TAG, "Content-Range: bytes 0-3/10", status=206)
    assert joined(both, start).parts is None
    assert joined(joined(both, start), start).parts is None


@pytest.mark.parametrize("lines", [['ETag: "2"'], ['ETag: W/"1"'], []])
def test_3_4_bytes_of_other_bodies_stay_apart(lines: list[str]) -> None:
    other = stored(FRESH, *lines, "Content-Range: bytes 5-9/10", status=206)
    assert not of_one_body(MIDDLE, other)
    assert not of_one_body(other, MIDDLE)
    assert not of_one_body(MIDDLE, stored(FRESH, TAG, "Content-Range: bytes 5-9/11", status=206))
    assert not of_one_body(replace(MIDDLE, status=404), replace(MIDDLE, status=404))
