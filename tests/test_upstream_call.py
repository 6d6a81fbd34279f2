"""A request's body on its way out: framing, waiting for 100 (Continue), bodies that are not what they say."""

from __future__ import annotations

import asyncio
import time
from math import inf

import pytest

from edgeproxy.errors import BodyAborted, Side, ViewerError
from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody, RequestHead, ignore_interim
from edgeproxy.upstream.call import JOIN_MAX, Call, send_body, with_body
from tests.asking import PATIENT


class Outlet:
    """Takes whatever is written."""

    def __init__(self) -> None:
        self.written = b""

    async def write(self, data: bytes) -> None:
        self.written += data


class Stream:
    """A body whose length is said, or not, whatever it is."""

    def __init__(self, *blocks: bytes, length: int | None = None, trailers: Headers = Headers()) -> None:
        self._blocks = list(blocks)
        self.length = length
        self.trailers = trailers

    async def read(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""

    def close(self) -> None:
        self._blocks.clear()


class Late(Stream):
    """A body that has to be waited for, for a turn of the loop."""

    def __init__(self, block: bytes) -> None:
        super().__init__(block, length=len(block))

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return await super().read()


def call_with(body: Body, expect: bool = False) -> Call:
    fields = Headers([(b"Expect", b"100-Continue")] if expect else [])
    return Call(RequestHead("POST", b"/", b"a", fields), body, PATIENT, ignore_interim, False, inf)


async def sent(call: Call, expect_timeout: float = 10) -> bytes:
    outlet = Outlet()
    await send_body(call, outlet, expect_timeout)
    return outlet.written


async def test_a_body_of_known_length_goes_out_as_it_is() -> None:
    call = call_with(BytesBody([b"hello ", b"world"]))
    assert (call.unsent, call.pulled) == (True, False)
    assert await sent(call) == b"hello world"
    assert (call.unsent, call.sending, call.pulled) == (False, False, True)


async def test_a_body_of_unknown_length_is_chunked_with_its_trailers() -> None:
    body = Stream(b"hello", b"!", trailers=Headers([(b"Checksum", b"1")]))
    assert await sent(call_with(body)) == b"5\r\nhello\r\n1\r\n!\r\n0\r\nChecksum: 1\r\n\r\n"


async def test_an_empty_body_of_unknown_length_is_one_last_chunk() -> None:
    assert await sent(call_with(Stream())) == b"0\r\n\r\n"


async def test_a_body_longer_than_its_length_is_never_written_beyond_it() -> None:
    call, outlet = call_with(Stream(b"hel", b"lo", length=4)), Outlet()
    with pytest.raises(ViewerError):
        await send_body(call, outlet, 10)
    assert outlet.written == b"hel"
    assert call.unsent


async def test_a_body_shorter_than_its_length_is_a_cut_of_the_viewers_making() -> None:
    call = call_with(Stream(b"hel", length=4))
    with pytest.raises(BodyAborted) as caught:
        await sent(call)
    assert caught.value.side is Side.VIEWER
    assert call.unsent


async def test_the_body_waits_for_100() -> None:
    call = call_with(BytesBody([b"x"]), expect=True)
    sending = asyncio.ensure_future(sent(call))
    await asyncio.sleep(0)
    assert not call.pulled
    call.decide_to_send(True)
    call.decide_to_send(False)
    assert await sending == b"x"


async def test_the_body_stays_here_when_a_final_head_comes_instead_of_100() -> None:
    call = call_with(BytesBody([b"x"]), expect=True)
    call.decide_to_send(False)
    assert await sent(call) == b""
    assert (call.pulled, call.unsent, call.sending) == (False, True, False)


async def test_without_any_word_the_body_goes_out_after_a_while() -> None:
    started = time.perf_counter()
    assert await sent(call_with(BytesBody([b"x"]), expect=True), expect_timeout=0.02) == b"x"
    assert time.perf_counter() - started >= 0.015


async def test_a_body_that_is_there_goes_out_with_its_head() -> None:
    call = call_with(BytesBody([b"hello ", b"world"]))
    assert with_body(call, b"HEAD ") == b"HEAD hello world"
    assert (call.left, call.unsent, call.sending, call.pulled) == (0, False, False, True)


async def test_what_is_too_much_for_one_piece_follows() -> None:
    block = b"x" * JOIN_MAX
    call = call_with(BytesBody([block, b"rest"]))
    assert with_body(call, b"HEAD ") == b"HEAD " + block
    assert call.unsent
    assert await sent(call) == b"rest"
    assert not call.unsent


async def test_a_head_goes_out_alone_before_a_body_that_is_not_there_or_is_chunked() -> None:
    waiting = call_with(Late(b"late"))
    assert with_body(waiting, b"HEAD ") == b"HEAD "
    assert (waiting.left, waiting.unsent) == (4, True)
    assert await sent(waiting) == b"late"
    assert with_body(call_with(Stream(b"hello")), b"HEAD ") == b"HEAD "


@pytest.mark.parametrize(("blocks", "error"), [((b"hel", b"lo"), ViewerError), ((b"hel",), BodyAborted)])
async def test_a_body_that_is_not_as_long_as_it_says_is_not_begun(blocks: tuple[bytes, ...], error: type) -> None:
    call = call_with(Stream(*blocks, length=4))
    with pytest.raises(error):
        with_body(call, b"HEAD ")
    assert call.unsent
