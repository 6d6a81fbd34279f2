"""rules/partial.py: incomplete responses, their bytes and how they grow (RFC 9111 sections 3.3, 3.4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.model import AsOf, Rules
from edgeproxy.rules.partial import Intervals, combined, combines, complete_length, holds, missing, union
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
