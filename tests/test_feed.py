"""Lines of the feed: there and back, and what is none."""

from __future__ import annotations

import pytest

from edgeproxy.errors import OriginInvalid
from edgeproxy.feed import (
    Beat,
    Deployed,
    Heard,
    Hello,
    Invalidated,
    Line,
    Marker,
    Record,
    Withdrawn,
    decode,
    encode,
    reduced,
)

LINES: list[Line] = [
    Deployed(1, "E1", "ETAG", {"Comment": "ü"}, ({"CachePolicy": {"Id": "p"}},), "E0"),
    Withdrawn(2, "E1"),
    Invalidated(3, "I1", "E1", ("/*", "/a?b=c"), ("tag",), True),
    Hello("EPOCH", 3, 1, 2.5, 10, False),
    Beat(3, 1, 7),
    Heard(3, 8, True, "EPOCH"),
    Marker("whole", 3),
    Marker("end", 3),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_comes_out_as_it_went_in(line: Line) -> None:
    data = encode(line)
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    assert decode(data) == line


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        b'{"do":"deployed"}',
        b'{"do":"nothing","number":1}',
        b'{"do":"end","number":-1}',
        b'{"do":"end","number":true}',
        b'{"do":"end","number":"1"}',
        b'{"do":"withdrawn","number":1,"id":7}',
        b'{"do":"deployed","number":1,"id":"E","etag":"","config":[]}',
        b'{"do":"invalidated","number":1,"id":"I","distribution":"E","paths":7}',
        b'{"do":"invalidated","number":1,"id":"I","distribution":"E","soft":"no"}',
        b'{"do":"hello","number":1,"epoch":"E","low_water":"0","heartbeat":1}',
        b'{"do":"beat","number":1,"low_water":0,"heard":null}',
        b'{"do":"heard","number":1,"line":0.5}',
        b'{"do":"withdrawn","number":1,"id":"E","more":1}',
        b'{"do":"noticed","number":1,"node":"fra","what":"happy"}',
        b'{"do":"noticed","number":1,"node":7,"what":"lost"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_line_is_refused(data: bytes) -> None:
    with pytest.raises(OriginInvalid):
        decode(data)


def deployed(number: int, id: str) -> Deployed:
    return Deployed(number, id, "", {})


def test_only_the_last_word_on_a_distribution_counts_and_invalidations_above_the_mark() -> None:
    records: list[Record] = [
        deployed(1, "A"),
        Invalidated(2, "I2", "A"),
        deployed(3, "B"),
        deployed(4, "A"),
        Withdrawn(5, "B"),
        Invalidated(6, "I6", "A"),
    ]
    assert [each.number for each in reduced(records, 0)] == [2, 4, 5, 6]
    assert [each.number for each in reduced(records, 2)] == [4, 5, 6]
    assert [each.number for each in reduced(records, 5)] == [4, 6]
    assert [each.number for each in reduced(records, 9)] == [4]
