"""A response's body between the connection that fills it and the reader that empties it."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Headers
from edgeproxy.upstream.body import JOIN_MAX, ResponseBody, UpgradedTunnel


class Tap:
    """A connection that notes what a body or a tunnel asks of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.written = b""

    def more(self, body: ResponseBody) -> None:
        self.asked.append("more")

    def give_up(self, body: ResponseBody) -> None:
        self.asked.append("give up")

    async def write(self, data: bytes) -> None:
        self.written += data

    def finish(self) -> None:
        self.asked.append("finish")

    def hang_up(self) -> None:
        self.asked.append("hang up")


def made(length: int | None = None, limit: int = 1000) -> tuple[ResponseBody, Tap]:
    tap = Tap()
    return ResponseBody(tap, limit, length, length is None), tap


async def test_what_waits_is_read_and_the_length_counts_down() -> None:
    body, _ = made(10)
    body.feed(b"hello")
    assert (body.length, body.to_come) == (10, 5)
    assert await body.read() == b"hello"
    assert (body.length, body.to_come) == (5, 5)
    body.feed(b"world")
    body.end()
    assert await body.read() == b"world"
    assert await body.read() == b""
    assert body.length == 0


async def test_a_reader_waits_for_the_next_piece_and_for_the_end() -> None:
    body, _ = made()
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    assert not reading.done()
    body.feed(b"a")
    assert await reading == b"a"
    ending = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.end(Headers([(b"X", b"1")]))
    assert await ending == b""
    assert body.trailers.get(b"x") == b"1"


async def test_small_pieces_are_joined_and_large_ones_are_not_copied() -> None:
    body, _ = made(limit=10 * JOIN_MAX)
    large = b"x" * JOIN_MAX
    for piece in (b"a", b"b", b"c", large, b"d"):
        body.feed(piece)
    assert await body.read() == b"abc"
    assert await body.read() is large
    assert await body.read() == b"d"


async def test_it_is_full_at_the_limit_and_asks_for_more_at_half_of_it() -> None:
    body, tap = made(limit=JOIN_MAX * 4)
    piece = b"x" * JOIN_MAX
    for count in range(4):
        assert not body.full, count
        body.feed(piece)
    assert body.full
    await body.read()
    assert (body.full, tap.asked) == (False, [])
    await body.read()
    assert tap.asked == ["more"]


async def test_what_came_before_a_cut_is_read_first() -> None:
    body, _ = made()
    body.feed(b"hel")
    body.abort(BodyAborted("cut"))
    assert await body.read() == b"hel"
    for _ in range(2):
        with pytest.raises(BodyAborted):
            await body.read()


async def test_a_waiting_reader_is_told_of_a_cut() -> None:
    body, _ = made()
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.abort(BodyAborted("cut"))
    with pytest.raises(BodyAborted):
        await reading


async def test_a_body_that_is_complete_cannot_be_cut_any_more() -> None:
    body, _ = made()
    body.end()
    body.abort(BodyAborted("cut"))
    assert await body.read() == b""


async def test_a_closed_body_never_looks_as_if_it_had_ended() -> None:
    body, tap = made()
    body.feed(b"hel")
    waiting = asyncio.ensure_future(body.read())
    await waiting
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.close()
    body.close()
    with pytest.raises(BodyAborted):
        await reading
    body.end()
    with pytest.raises(BodyAborted):
        await body.read()
    assert tap.asked == ["more", "give up"]


async def test_a_closed_body_keeps_no_bytes_but_knows_how_many_are_to_come() -> None:
    body, tap = made(10)
    body.feed(b"abc")
    body.close()
    assert (tap.asked, body.to_come) == (["give up"], 7)
    body.feed(b"defgh")
    assert body.to_come == 2


async def test_closing_a_complete_body_bothers_no_connection() -> None:
    body, tap = made()
    body.end()
    body.close()
    assert tap.asked == []


async def test_a_cancelled_read_loses_nothing() -> None:
    body, _ = made()
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    body.feed(b"a")
    assert await body.read() == b"a"


async def test_a_tunnel_joins_both_directions() -> None:
    body, tap = made()
    tunnel = UpgradedTunnel(tap, body)
    await tunnel.write(b"ping")
    body.feed(b"pong")
    assert (tap.written, await tunnel.read()) == (b"ping", b"pong")
    tunnel.finish()
    tunnel.close()
    assert tap.asked == ["more", "finish", "give up", "hang up"]
