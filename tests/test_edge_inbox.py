"""Bytes between a transport that pushes and a reader that pulls."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.edge.bodies import ChunkedDecoder, LengthDecoder
from edgeproxy.edge.http1 import Limits
from edgeproxy.edge.inbox import DRAIN_MAX, Inbox, Pace, RequestBody
from edgeproxy.errors import BodyAborted, Side
from edgeproxy.settings import Connections


class Source:
    """A transport that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def hold(self) -> None:
        self.told.append("hold")

    def go_on(self) -> None:
        self.told.append("go on")

    def expect(self, waiting: bool) -> None:
        self.told.append("wait" if waiting else "got")


PATIENT = Pace(60, 0, lambda: 0.0)
"""For what is not about time."""


def body_of(length: int | None, source: Source, began: list[str] | None = None) -> RequestBody:
    limits = Limits.of(Connections(), 431)
    decoder = ChunkedDecoder(limits, 1000) if length is None else LengthDecoder(length)
    return RequestBody(decoder, source, 100, lambda: None if began is None else began.append("began"), PATIENT)


async def test_what_waits_is_got_in_one_piece_and_then_the_end() -> None:
    inbox = Inbox(Source(), 100)
    inbox.put([b"one ", b"two "])
    inbox.put([b"three"])
    inbox.finish()
    assert await inbox.get() == b"one two three"
    assert await inbox.get() == await inbox.get() == b""
    assert inbox.received == 13


async def test_the_source_is_held_above_the_mark_and_goes_on_when_read() -> None:
    source = Source()
    inbox = Inbox(source, 10)
    inbox.put([b"x" * 10])
    assert source.told == []
    inbox.put([b"x"])
    assert source.told == ["hold"]
    await inbox.get()
    assert source.told == ["hold", "go on"]


async def test_a_reader_that_waits_is_seen_and_woken() -> None:
    source = Source()
    inbox = Inbox(source, 10)
    reader = asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    assert source.told == ["wait"]
    inbox.put([b"x"])
    assert await reader == b"x"
    assert source.told == ["wait", "got", "go on"]


async def test_a_fault_overtakes_what_waits_and_the_first_one_stays() -> None:
    inbox = Inbox(Source(), 10)
    inbox.put([b"x"])
    inbox.fail(BodyAborted("first"))
    inbox.fail(BodyAborted("second"))
    for _ in range(2):
        with pytest.raises(BodyAborted, match="first"):
            await inbox.get()


async def test_a_fault_after_the_end_changes_nothing() -> None:
    inbox = Inbox(Source(), 10)
    inbox.put([b"x"])
    inbox.finish()
    inbox.fail(BodyAborted("late"))
    assert await inbox.get() == b"x"
    assert await inbox.get() == b""


async def test_a_reader_that_is_cancelled_leaves_the_bytes_to_the_next() -> None:
    source = Source()
    inbox = Inbox(source, 10)
    reader = asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    inbox.put([b"x"])
    assert await inbox.get() == b"x"
    assert source.told[:2] == ["wait", "got"]


async def test_a_body_says_how_much_is_to_come_and_when_it_was_first_wanted() -> None:
    began: list[str] = []
    body = body_of(5, Source(), began)
    assert body.length == 5
    reader = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    assert began == ["began"]
    assert body.feed(b"hel") == b""
    assert await reader == b"hel"
    assert (body.length, body.arrived) == (2, False)
    assert body.feed(b"loGET") == b"GET"
    assert (body.length, body.arrived, body.bytes_in) == (2, True, 5)
    assert await body.read() == b"lo"
    assert await body.read() == b""
    assert began == ["began"]


async def test_a_body_that_is_already_there_is_not_asked_for() -> None:
    began: list[str] = []
    body = body_of(5, Source(), began)
    body.feed(b"hello")
    assert await body.read() == b"hello"
    assert not began


async def test_a_broken_body_tells_its_reader_that_the_viewer_is_why() -> None:
    body = body_of(None, Source())
    assert body.feed(b"x\r\n") == b""
    with pytest.raises(BodyAborted) as fault:
        await body.read()
    assert (fault.value.status, fault.value.side) == (400, Side.VIEWER)
    assert body.broken


async def test_a_closed_body_drops_a_small_rest_and_holds_back_a_large_one() -> None:
    source = Source()
    small, large = body_of(DRAIN_MAX + 1, source), body_of(DRAIN_MAX + 2, source)
    for body in (small, large):
        body.feed(b"x")
        body.close()
        body.close()
        with pytest.raises(BodyAborted):
            await body.read()
    assert (small.wasted, large.wasted) == (False, True)
    assert source.told == ["go on"]
    small.feed(b"x")
    assert source.told == ["go on"]
    large.feed(b"")
    assert source.told == ["go on", "hold"]
    assert small.feed(b"x" * (DRAIN_MAX - 1) + b"next") == b"next"


def test_a_viewer_may_pause_but_not_send_slower_on_the_whole_than_the_rate() -> None:
    now = [0.0]
    pace = Pace(10, 100, lambda: now[0])
    assert pace.wait(0) == 10
    now[0] = 9
    assert pace.wait(100) == 2  # ten seconds of grace and one for a hundred bytes, nine of them gone
    now[0] = 10
    assert pace.wait(100_000) == 10


def test_time_in_which_nobody_waits_for_the_viewer_is_not_its_fault() -> None:
    now = [0.0]
    pace = Pace(10, 100, lambda: now[0])
    pace.wait(0)
    now[0] = 5
    pace.rest()
    now[0] = 1000
    assert pace.wait(0) == 5


def test_without_a_rate_only_the_next_bytes_matter() -> None:
    now = [0.0]
    pace = Pace(10, 0, lambda: now[0])
    pace.wait(0)
    now[0] = 1000
    assert pace.wait(1) == 10


async def test_a_length_that_was_not_known_stays_unknown_when_the_end_has_come() -> None:
    """Whoever asked at the head framed the body by the answer, and asks again when it sends the body."""
    late, early = body_of(None, Source()), body_of(None, Source())
    assert late.length is None
    for body in (late, early):
        body.feed(b"1\r\na\r\n0\r\n\r\n")
        assert body.arrived
    assert (late.length, early.length) == (None, 1)
