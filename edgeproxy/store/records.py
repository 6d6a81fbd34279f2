"""What the disk tier remembers of a stored response, and the bytes it is written as. Pure.

A record is one row of its shard's index. It says what the response's head was, on what terms it is kept, which of its
bytes are there, and by which checksum they are known. It is written as

    check    8 bytes    xxh3 of the key and of all that follows
    fixed    see _FIXED
    lengths  4 bytes for each text, _ABSENT for one that is None
    intervals 16 bytes for each, only where not the whole body is there
    texts    epoch, method, reason, sources, then names and values of fields, trailers and Vary

little-endian. What does not read exactly so, in this version, under this key, is no record: `decode` and `light` return
None, and whoever found it removes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from itertools import chain

from xxhash import xxh3_64_intdigest

from edgeproxy.headers import Field, Headers
from edgeproxy.model import AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.store.intervals import Intervals
from edgeproxy.store.memory import Terms
from edgeproxy.values import value

VERSION = 1
INTERVALS_MAX = 1024
"""Most intervals of one body; what would make one more is not kept."""

_CHECK = struct.Struct("<Q")
_FIXED = struct.Struct("<HHHHHHH dddqqq QQQQQQB")
_ABSENT = 0xFFFFFFFF

VaryValues = tuple[tuple[bytes, bytes | None], ...]


@value(frozen=True, slots=True)
class Bytes:
    """Where a record's bytes are, and how they are known.

    A small body is in the segment that the record's id names; `check` is that of its bytes. A larger one has a file of
    its own, by number; `check` is that of the first `logged` bytes of its log, which names its pieces.
    """

    check: int
    size: int
    """Bytes of disk that this takes, index apart."""
    file: int = 0
    logged: int = 0


@value(frozen=True, slots=True)
class Record:
    """One stored response on disk."""

    key: bytes
    id: int
    """Its place in its shard, which is also its age: what has the lowest leaves first. Not the same for ever."""
    head: StoredHead
    length: int
    """Of the complete body."""
    trailers: Headers
    terms: Terms
    intervals: Intervals
    """Which bytes are there; ((0, length),) for the whole body."""
    shard: int
    where: Bytes
    body: bytes | None = field(default=None, repr=False, compare=False)
    """The bytes of a small body, all its intervals together, checked."""
    row: int = field(default=0, repr=False, compare=False)
    """The check it was written with: another one means that it has changed since."""

    @property
    def whole(self) -> bool:
        """Whether all bytes are there."""
        return self.intervals == ((0, self.length),)


@value(frozen=True, slots=True)
class Light:
    """What sweeping needs to know of a record."""

    key: bytes
    id: int
    as_of: AsOf
    terms: Terms
    variant: int
    """What tells it from other responses under its key."""
    length: int
    where: Bytes
    row: int


def variant_of(vary: VaryValues) -> int:
    """A number that is the same for the same values of the same fields."""
    texts = list(chain.from_iterable(vary))
    return xxh3_64_intdigest(_lengths(texts) + b"".join(filter(None, texts)))


def _lengths(texts: list[bytes | None]) -> bytes:
    return struct.pack(f"<{len(texts)}I", *[_ABSENT if text is None else len(text) for text in texts])


def encode(record: Record) -> bytes:
    """The record as it is written. Raises ValueError for what has too many fields to be one."""
    head, terms, where = record.head, record.terms, record.where
    intervals = () if record.whole else record.intervals
    texts: list[bytes | None] = [head.as_of.epoch.encode(), head.method.encode(), head.reason, *head.sources]
    texts += chain.from_iterable(head.headers)
    texts += chain.from_iterable(record.trailers)
    texts += chain.from_iterable(head.vary)
    try:
        fixed = _FIXED.pack(
            VERSION, head.status, len(head.headers), len(record.trailers), len(head.vary),
            len(head.sources), len(intervals), head.requested_at, head.received_at, terms.keep_until,
            terms.generation, terms.edition, head.as_of.number, variant_of(head.vary),
            record.length, where.check, where.size, where.file, where.logged, int(record.whole),
        )  # fmt: skip
    except struct.error as error:
        raise ValueError(str(error)) from None
    spans = struct.pack(f"<{2 * len(intervals)}Q", *chain.from_iterable(intervals))
    data = b"".join([fixed, _lengths(texts), spans, *filter(None, texts)])
    return _CHECK.pack(xxh3_64_intdigest(record.key + data)) + data


def _sound(key: bytes, data: bytes) -> bool:
    if len(data) < _CHECK.size + _FIXED.size:
        return False
    (check,) = _CHECK.unpack_from(data)
    (version,) = struct.unpack_from("<H", data, _CHECK.size)
    return bool(version == VERSION and check == xxh3_64_intdigest(key + data[_CHECK.size :]))


def row_of(data: bytes) -> int:
    """The check that a row begins with."""
    (check,) = _CHECK.unpack_from(data)
    return int(check)


def light(key: bytes, id: int, data: bytes) -> Light | None:
    """What sweeping needs of a row; None when it is no record."""
    if not _sound(key, data):
        return None
    fixed = _FIXED.unpack_from(data, _CHECK.size)
    fields, trailers, vary, sources, spans = fixed[2:7]
    keep_until, generation, edition, number, variant, length, check, size, file, logged, _ = fixed[9:]
    at = _CHECK.size + _FIXED.size
    (epoch,) = struct.unpack_from("<I", data, at)
    at += 4 * (3 + sources + 2 * (fields + trailers + vary)) + 16 * spans
    as_of = AsOf(data[at : at + epoch].decode(), number)
    terms = Terms(keep_until, generation, edition)
    return Light(key, id, as_of, terms, variant, length, Bytes(check, size, file, logged), row_of(data))


def decode(key: bytes, id: int, data: bytes, shard: int) -> Record | None:
    """A row as a record; None when it is none."""
    if not _sound(key, data):
        return None
    fixed = _FIXED.unpack_from(data, _CHECK.size)
    status, fields, trailers, vary, sources, spans, requested_at, received_at = fixed[1:9]
    keep_until, generation, edition, number, _, length, check, size, file, logged, whole = fixed[9:]
    count = 3 + sources + 2 * (fields + trailers + vary)
    at = _CHECK.size + _FIXED.size
    lengths = struct.unpack_from(f"<{count}I", data, at)
    bounds = struct.unpack_from(f"<{2 * spans}Q", data, at + 4 * count)
    intervals = ((0, length),) if whole else tuple(zip(bounds[::2], bounds[1::2], strict=True))
    texts = _texts(data, at + 4 * count + 16 * spans, lengths)
    epoch, method, reason = (next(texts) or b"" for _ in range(3))
    named = tuple(next(texts) or b"" for _ in range(sources))
    head_fields = Headers(_fields(texts, fields))
    trailer_fields = Headers(_fields(texts, trailers))
    varied = tuple((next(texts) or b"", next(texts)) for _ in range(vary))
    head = StoredHead(
        status, reason, head_fields, requested_at, received_at, AsOf(epoch.decode(), number), method.decode(), varied,
        None if whole else intervals, named,
    )  # fmt: skip
    terms = Terms(keep_until, generation, edition)
    where = Bytes(check, size, file, logged)
    return Record(key, id, head, length, trailer_fields, terms, intervals, shard, where, row=row_of(data))


def _texts(data: bytes, at: int, lengths: Iterable[int]) -> Iterator[bytes | None]:
    for length in lengths:
        if length == _ABSENT:
            yield None
        else:
            yield data[at : at + length]
            at += length


def _fields(texts: Iterator[bytes | None], count: int) -> Iterator[Field]:
    for _ in range(count):
        yield next(texts) or b"", next(texts) or b""


def shard_of(key: bytes, shards: int) -> int:
    """The shard that a key belongs to, whoever holds it."""
    return xxh3_64_intdigest(key) % shards


def with_intervals(head: StoredHead, intervals: Intervals, length: int) -> StoredHead:
    """The head of a response of which these bytes are there."""
    parts = None if intervals == ((0, length),) else intervals
    return head if head.parts == parts else replace(head, parts=parts)
