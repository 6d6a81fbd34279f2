"""rules/ranges.py: byte ranges asked for and received (RFC 9110 section 14; fact sheet 1.7)."""

from __future__ import annotations

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.headers import Headers
from edgeproxy.model import Rules
from edgeproxy.rules.ranges import (
    PART_OVERHEAD,
    PARTS_MAX,
    ContentRange,
    Part,
    Unsatisfiable,
    Whole,
    content_range,
    content_range_field,
    excessive,
    foremost,
    multipart_end,
    multipart_length,
    part_head,
    received_part,
    select,
    unsatisfied_range_field,
)
from tests.messages import fields, request, response

WHOLE, NONE = Whole(), Unsatisfiable()


@pytest.mark.parametrize(
    ("value", "selection"),
    [
        ("bytes=0-99", [(0, 99)]),
        ("bytes=0-0", [(0, 0)]),
        ("bytes=900-", [(900, 999)]),
        ("bytes=900-5000", [(900, 999)]),
        ("bytes=-100", [(900, 999)]),
        ("bytes=-5000", [(0, 999)]),
        ("bytes=0-", [(0, 999)]),
        ("BYTES=0-9", [(0, 9)]),
        ("bytes= 0-9 ", [(0, 9)]),
        ("bytes=,0-9,,", [(0, 9)]),
        ("bytes=007-0009", [(7, 9)]),
        ("bytes=0-99999999999999999999999999", [(0, 999)]),
        ("bytes=-99999999999999999999999999", [(0, 999)]),
        ("bytes=0-9,500-509", [(0, 9), (500, 509)]),
        ("bytes=500-509, 0-9", [(500, 509), (0, 9)]),
        ("bytes=0-9,2000-", [(0, 9)]),
        ("bytes=0-9,-0", [(0, 9)]),
        # Overlapping and close ones become one, in the place of the first (14.2).
        ("bytes=0-9,5-19", [(0, 19)]),
        ("bytes=0-999,0-9,5-6", [(0, 999)]),
        ("bytes=0-9,20-29", [(0, 29)]),
        ("bytes=500-509,0-9,505-600", [(500, 600), (0, 9)]),
        ("bytes=0-9,500-509,5-600", [(0, 600)]),
        # Nothing to give.
        ("bytes=1000-", NONE),
        ("bytes=1000-2000", NONE),
        ("bytes=-0", NONE),
        ("bytes=5000-,-0", NONE),
        ("bytes=99999999999999999999999999-", NONE),
        # Not ranges: as if there were none.
        ("", WHOLE),
        ("bytes", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=,", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=5", WHOLE),
        ("bytes=9-5", WHOLE),
        ("bytes=0-9,9-5", WHOLE),
        ("bytes=0-9;10-19", WHOLE),
        ("bytes=+0-9", WHOLE),
        ("bytes=0 - 9", WHOLE),
        ("bytes=--5", WHOLE),
        ("bytes=0-5-9", WHOLE),
        ("bytes 0-9", WHOLE),
        ("lines=0-9", WHOLE),
        ("bytes=\xb2-", WHOLE),
        ("bytes=" + ",".join(f"{place}-{place}" for place in range(0, 1700, 100)), WHOLE),
    ],
)
def test_14_1_2_what_is_selected_of_1000_bytes(value: str, selection: object) -> None:
    expected = [Part(*pair) for pair in selection] if isinstance(selection, list) else selection
    assert select(request(f"Range: {value}"), 200, fields(), 1000) == expected


def test_16_ranges_are_honoured() -> None:
    value = ",".join(f"{place}-{place}" for place in range(0, PARTS_MAX * 100, 100))
    assert len(select(request(f"Range: bytes={value}"), 200, fields(), 5000)) == PARTS_MAX  # type: ignore[arg-type]  # a list


@pytest.mark.parametrize(
    ("value", "selection"),
    [
        ("bytes=0-9,20-29", [(0, 9), (20, 29)]),
        ("bytes=0-9,10-19", [(0, 9), (10, 19)]),
        ("bytes=0-9", [(0, 9)]),
        ("bytes=-9", [(991, 999)]),
        ("bytes=20-29,0-9", WHOLE),
        ("bytes=0-9,9-19", WHOLE),
        ("bytes=9-0", WHOLE),
        ("bytes=1000-", NONE),
    ],
)
def test_1_7_cloudfront_wants_ranges_ascending_and_apart(value: str, selection: object) -> None:
    expected = [Part(*pair) for pair in selection] if isinstance(selection, list) else selection
    assert select(request(f"Range: {value}"), 200, fields(), 1000, Rules.CLOUDFRONT) == expected


def test_14_2_who_gets_the_whole_whatever_is_asked() -> None:
    asked = request("Range: bytes=0-9")
    assert select(request(), 200, fields(), 1000) == WHOLE
    assert select(request("Range: bytes=0-9", method="HEAD"), 200, fields(), 1000) == WHOLE
    assert select(asked, 404, fields(), 1000) == WHOLE
    assert select(request("Range: bytes=0-9", "Range: bytes=20-29"), 200, fields(), 1000) == WHOLE
    assert select(request("Range: bytes=0-9", 'If-Range: "2"'), 200, fields('ETag: "1"'), 1000) == WHOLE
    assert select(request("Range: bytes=0-9", 'If-Range: "1"'), 200, fields('ETag: "1"'), 1000) == [Part(0, 9)]
    # A condition that fails decides before the range does (section 13.2.2).
    assert select(request("Range: bytes=9999-", 'If-Range: "2"'), 200, fields('ETag: "1"'), 1000) == WHOLE


@pytest.mark.parametrize(("value", "selection"), [("bytes=0-", NONE), ("bytes=-5", WHOLE), ("bytes=-0", NONE)])
def test_an_empty_body_has_no_range(value: str, selection: object) -> None:
    assert select(request(f"Range: {value}"), 200, fields(), 0) == selection


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes 0-9/10", ContentRange(Part(0, 9), 10)),
        (b"bytes 0-0/1", ContentRange(Part(0, 0), 1)),
        (b"Bytes 5-9/*", ContentRange(Part(5, 9), None)),
        (b"bytes */10", ContentRange(None, 10)),
        (b"bytes 0-9/9", None),
        (b"bytes 9-0/10", None),
        (b"bytes 0-9", None),
        (b"bytes=0-9/10", None),
        (b"bytes 0-9/10 ", None),
        (b"bytes  0-9/10", None),
        (b"bytes */*", None),
        (b"bytes -9/10", None),
        (b"bytes 0-/10", None),
        (b"lines 0-9/10", None),
        (b"bytes 0-9/10, bytes 0-9/10", None),
        (b"bytes 0-99999999999999999999999/*", None),
        (b"", None),
    ],
)
def test_14_4_content_range(value: bytes, expected: ContentRange | None) -> None:
    assert content_range(value) == expected


@pytest.mark.parametrize(
    ("status", "lines", "trusted"),
    [
        (206, ["Content-Range: bytes 0-4/10"], True),
        (206, ["Content-Range: bytes 0-4/10", "Content-Length: 5"], True),
        (206, ["Content-Range: bytes 0-4/10", "Content-Length: 4"], False),
        (206, ["Content-Range: bytes 0-4/10", "Content-Length: 5", "Content-Length: 6"], False),
        (206, ["Content-Range: bytes 0-4/10", "Content-Range: bytes 0-4/10"], False),
        (206, ["Content-Range: bytes */10"], False),
        (206, ["Content-Range: bytes 0-4/4"], False),
        (206, [], False),
        (200, ["Content-Range: bytes 0-4/10"], False),
        (416, ["Content-Range: bytes */10"], False),
    ],
)
def test_15_3_7_a_206_that_contradicts_itself_is_not_trusted(status: int, lines: list[str], trusted: bool) -> None:
    assert (received_part(response(*lines, status=status)) is not None) is trusted


def test_14_6_a_multipart_body_is_as_long_as_it_says() -> None:
    parts = [Part(0, 9), Part(500, 509)]
    body = b"".join(part_head(b"xyz", part, b"text/plain", 1000) + b"." * part.length for part in parts)
    body += multipart_end(b"xyz")
    assert body.startswith(b"\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-9/1000\r\n\r\n..........")
    assert body.endswith(b"\r\n--xyz--\r\n")
    assert multipart_length(b"xyz", parts, b"text/plain", 1000) == len(body)
    assert b"Content-Type" not in part_head(b"xyz", parts[0], None, 1000)


def test_field_values() -> None:
    assert content_range_field(Part(0, 9), 10) == b"bytes 0-9/10"
    assert unsatisfied_range_field(10) == b"bytes */10"


@given(
    specs=st.lists(st.tuples(st.integers(-5, 1200), st.integers(-5, 1200)), min_size=1, max_size=20),
    length=st.integers(0, 1000),
    rules=st.sampled_from(Rules),
)
def test_parts_never_overlap_and_are_never_more_than_the_body(
    specs: list[tuple[int, int]], length: int, rules: Rules
) -> None:
    value = ",".join(f"{'' if first < 0 else first}-{'' if last < 0 else last}" for first, last in specs)
    chosen = select(request(f"Range: bytes={value}"), 200, fields(), length, rules)
    if isinstance(chosen, list):
        taken = sorted((part.first, part.last) for part in chosen)
        assert 0 < len(taken) <= PARTS_MAX
        assert all(0 <= first <= last < length for first, last in taken)
        gap = PART_OVERHEAD if rules is Rules.RFC9111 else 0
        assert all(before[1] + gap < after[0] for before, after in pairwise(taken))


@given(st.one_of(st.binary(max_size=60), st.text("bytes=0123456789-, */", max_size=40).map(str.encode)))
def test_random_bytes_never_raise(value: bytes) -> None:
    select(request().with_headers(Headers([(b"Range", value)])), 200, fields(), 1000)
    content_range(value)


def test_long_values_take_no_time() -> None:
    started = process_time()
    for piece in (b"0-0,", b"9" * 1000, b",", b"0-,-0,"):
        value = b"bytes=" + piece * (100_000 // len(piece))
        select(request().with_headers(Headers([(b"Range", value)])), 200, fields(), 1000)
    content_range(b"bytes 0-" + b"9" * 100_000 + b"/*")
    assert process_time() - started < 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        ([b"bytes=0-1"], False),
        ([b"bytes=" + b",".join([b"0-0"] * 16)], False),
        ([b"bytes=" + b",".join([b"0-0"] * 17)], True),
        ([b"bytes=0-0,1-1"] * 16, True),
    ],
)
def test_14_2_a_range_of_more_parts_than_anybody_needs(values: list[bytes], expected: bool) -> None:
    assert excessive(Headers([(b"Range", value) for value in values])) is expected


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        (["bytes=0-1,5-6"], b"bytes=0-1"),
        (["bytes=7-900,5-6"], b"bytes=7-56"),
        (["bytes=7-,5-6"], b"bytes=7-56"),
        (["bytes=-3,5-6"], b"bytes=-3"),
        (["bytes=-900,0-1"], b"bytes=-50"),
        (["bytes=-0,0-1"], b"bytes=-0"),
        (["bytes=0-1"], None),
        (["bytes=x"], None),
        (["bytes=0-1,3-4", "bytes=0-1"], None),
        ([], None),
    ],
)
def test_the_foremost_of_several_parts(asked: list[str], first: bytes | None) -> None:
    assert foremost(fields(*(f"Range: {each}" for each in asked)), 50) == first
