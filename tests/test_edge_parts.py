"""Parts of stored bodies and of bodies on their way: head and bytes, or the whole where that is due."""

from __future__ import annotations

import pytest

from edgeproxy.edge.fill import Fill, Windows
from edgeproxy.edge.parts import part_of, part_of_fill, soon_there, wanted
from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody
from edgeproxy.model import Rules
from edgeproxy.rules.ranges import ContentRange, Part
from edgeproxy.store.deposit import Deposit
from edgeproxy.store.memory import MemoryStore, Stored, Terms
from edgeproxy.store.runs import Run
from edgeproxy.store.runs import cut as cut_runs
from edgeproxy.telemetry.counters import Counters
from tests.messages import NOW, request, stored

DIGITS = b"0123456789"
HEAD = stored("Cache-Control: max-age=60", 'ETag: "1"', "Content-Type: text/x", "Content-Length: 10")


def whole() -> Stored:
    return Stored(b"k", 1, HEAD, (Run(0, 10, (b"0123", b"456789")),), 10, Headers(), Terms(NOW, 0))


async def read(body: Body) -> bytes:
    """All of it."""
    blocks = []
    while block := await body.read():
        blocks.append(block)
    return b"".join(blocks)


def filling(*, part: ContentRange | None = None, body: bytes = DIGITS) -> Fill:
    writer = MemoryStore(10_000, 10_000, 4, Counters()).begin(b"k", len(body))
    assert writer is not None
    return Fill(HEAD, BytesBody([body]), Deposit(writer), Windows(1, 1), Counters(), lambda: True, part)


def cut(first: int, end: int) -> Body:
    return BytesBody(cut_runs(whole().runs, first, end))


@pytest.mark.parametrize(
    ("asked", "status", "named", "body"),
    [
        ("bytes=2-5", 206, b"bytes 2-5/10", b"2345"),
        ("bytes=-1", 206, b"bytes 9-9/10", b"9"),
        ("bytes=10-", 416, b"bytes */10", b""),
    ],
)
async def test_a_part_of_what_is_stored(asked: str, status: int, named: bytes, body: bytes) -> None:
    made = part_of(request(f"Range: {asked}"), whole(), Rules.RFC9111, bytes, cut)
    assert made is not None
    head, stream = made
    assert (head.status, head.headers.get(b"content-range"), stream.length) == (status, named, len(body))
    assert await read(stream) == body
    assert (b"etag" in head.headers) is (status == 206)
    assert b"content-length" not in head.headers


async def test_several_parts_come_with_a_boundary_of_their_own() -> None:
    long = Stored(b"k", 1, HEAD, (Run(0, 1000, (bytes(1000),)),), 1000, Headers(), Terms(NOW, 0))
    made = part_of(
        request("Range: bytes=0-1,900-901"),
        long,
        Rules.RFC9111,
        lambda count: b"\x01" * count,
        lambda first, end: BytesBody([bytes(end - first)]),
    )
    assert made is not None
    head, stream = made
    assert head.headers.get(b"content-type") == b"multipart/byteranges; boundary=" + b"01" * 12
    sent = await read(stream)
    assert sent.count(b"--" + b"01" * 12) == 3
    assert sent.count(b"Content-Type: text/x") == 2


@pytest.mark.parametrize("asked", ["lines=0-1", "bytes=5-3"])
def test_the_whole_is_due(asked: str) -> None:
    assert part_of(request(f"Range: {asked}"), whole(), Rules.RFC9111, bytes, cut) is None


def test_a_condition_that_fails_makes_the_whole_due() -> None:
    asking = request("Range: bytes=0-1", 'If-Range: "2"')
    assert part_of(asking, whole(), Rules.RFC9111, bytes, cut) is None
    fill = filling()
    assert part_of_fill(asking, fill, Rules.RFC9111, fill.reader) is None


def test_a_fill_gives_one_part_but_not_several() -> None:
    fill = filling()
    made = part_of_fill(request("Range: bytes=2-5"), fill, Rules.RFC9111, fill.reader)
    assert made is not None
    assert (made[0].status, made[0].headers.get(b"content-range"), made[1].length) == (206, b"bytes 2-5/10", 4)
    long = filling(body=bytes(1000))
    assert part_of_fill(request("Range: bytes=0-1,900-901"), long, Rules.RFC9111, long.reader) is None


def test_a_fill_of_a_part_is_given_as_it_came() -> None:
    fill = filling(part=ContentRange(Part(100, 109), 500))
    made = part_of_fill(request("Range: bytes=100-200"), fill, Rules.RFC9111, fill.reader)
    assert made is not None
    assert (made[0].status, made[0].headers.get(b"content-range")) == (206, b"bytes 100-109/500")
    assert made[1].length == 10


@pytest.mark.parametrize(
    ("asked", "ahead", "soon"),
    [
        ("bytes=5-6", 5, True),
        ("bytes=5-6", 4, False),
        ("bytes=0-", 0, True),
        ("bytes=10-", 99, False),
        ("x=1", 99, False),
    ],
)
def test_what_is_far_ahead_is_not_waited_for(asked: str, ahead: int, soon: bool) -> None:
    assert soon_there(request(f"Range: {asked}"), filling(), Rules.RFC9111, ahead) is soon


def test_a_fill_of_a_part_brings_no_other_part() -> None:
    fill = filling(part=ContentRange(Part(0, 9), 500))
    assert not soon_there(request("Range: bytes=0-1"), fill, Rules.RFC9111, 99)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [([], [Part(0, 9)]), (["Range: bytes=2-3,-1"], [Part(2, 9)]), (["Range: bytes=10-"], [])],
)
def test_the_bytes_a_request_gets(asked: list[str], parts: list[Part]) -> None:
    assert wanted(request(*asked), HEAD, 10, Rules.RFC9111) == parts
    assert wanted(request(*asked), HEAD, 0, Rules.RFC9111) == []
