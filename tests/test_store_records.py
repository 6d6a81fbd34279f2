"""Records as they are written: what was meant comes back, and anything else is no record."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edgeproxy.headers import Headers
from edgeproxy.model import AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.store.memory import Terms
from edgeproxy.store.records import Bytes, Record, decode, encode, light, row_of, shard_of, variant_of, with_intervals

HEAD = StoredHead(
    status=206,
    reason=b"Odd",
    headers=Headers([(b"ETag", b'"1"'), (b"X", b""), (b"x", b"\xff")]),
    requested_at=1.5,
    received_at=2.5,
    as_of=AsOf("epoch", 77),
    method="GET",
    vary=((b"accept", b"a"), (b"x-l", None), (b"y", b"")),
    parts=((5, 9), (20, 30)),
    sources=(b"#tag", b"/path"),
)
RECORD = Record(
    b"E1 GET // /a", 8 << 32, HEAD, 100, Headers([(b"T", b"1")]), Terms(9.5, 3, 4), ((5, 9), (20, 30)), 6,
    Bytes(1 << 63, 14, 5, 96),
)  # fmt: skip
WHOLE = replace(RECORD, intervals=((0, 100),), head=replace(HEAD, parts=None, vary=(), sources=()))


@pytest.mark.parametrize("record", [RECORD, WHOLE, replace(WHOLE, length=0, intervals=((0, 0),))])
def test_a_record_comes_back(record: Record) -> None:
    data = encode(record)
    back = decode(record.key, record.id, data, record.shard)
    assert back == record
    assert back is not None
    assert back.row == row_of(data)
    slim = light(record.key, record.id, data)
    assert slim is not None
    assert (slim.as_of, slim.terms, slim.where, slim.length) == (HEAD.as_of, RECORD.terms, RECORD.where, record.length)
    assert (slim.row, slim.variant) == (back.row, variant_of(record.head.vary))


def test_any_change_of_a_byte_makes_it_none() -> None:
    data = encode(RECORD)
    for at in range(len(data)):
        hurt = bytearray(data)
        hurt[at] ^= 1
        assert decode(RECORD.key, 1, bytes(hurt), 0) is None
        assert decode(RECORD.key, 1, data[:at], 0) is None
        assert light(RECORD.key, 1, data[:at]) is None
    assert decode(RECORD.key, 1, data + b"\0", 0) is None
    assert decode(RECORD.key + b"b", 1, data, 0) is None, "another key"
    chance = random.Random(1)
    for size in range(300):
        assert decode(RECORD.key, 1, chance.randbytes(size), 0) is None


def test_what_has_too_many_fields_is_refused() -> None:
    crowded = replace(WHOLE, head=HEAD.with_headers(Headers([(b"a", b"b")] * 70_000)))
    with pytest.raises(ValueError, match="format"):
        encode(crowded)


def test_variants_differ_by_names_values_and_absence() -> None:
    values = ((), ((b"a", b""),), ((b"a", None),), ((b"a", b"b"),), ((b"ab", b""),), ((b"a", b""), (b"", b"")))
    assert len({variant_of(value) for value in values}) == len(values)


def test_a_head_tells_its_parts() -> None:
    assert with_intervals(HEAD, ((0, 100),), 100).parts is None
    assert with_intervals(HEAD, ((0, 50),), 100).parts == ((0, 50),)


def test_keys_are_spread_over_the_shards() -> None:
    counts = [0] * 16
    for number in range(1600):
        counts[shard_of(b"%d" % number, 16)] += 1
    assert min(counts) > 60
