"""The two ends that other tests rely on, held against each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.authority import Authority
from tests.scripted import Ask, ScriptedOrigin, Viewer


async def test_a_whole_conversation() -> None:
    async with ScriptedOrigin() as origin, await Viewer.connect(origin.port) as viewer:
        await viewer.ask("/a?b", {"X-a": "1"}, b"hello", method="POST")
        ask = await origin.asked_for("/a?b")
        assert (ask.method, ask.header("x-A"), await ask.body()) == ("POST", "1", b"hello")
        await ask.answer(201, {"Location": "/c"}, b"made")
        status, fields = await viewer.read_head()
        assert (status, fields.get("location"), await viewer.read_body()) == (201, "/c", (b"made", True))
        assert (origin.requests, origin.connections, origin.open) == (1, 1, 1)


async def test_handlers_answer_by_path_and_everything_else_waits() -> None:
    async with ScriptedOrigin() as origin, await Viewer.connect(origin.port) as viewer:

        async def teapot(ask: Ask) -> None:
            await ask.answer(418)

        origin.on("/tea", teapot)
        await viewer.ask("/tea?black")
        assert (await viewer.read_head())[0] == 418
        await viewer.ask("/other", method="HEAD")
        await (await origin.asked_for("/other")).answer(200, {}, b"unseen")
        status, fields = await viewer.read_head()
        assert (status, fields.get("Content-Length"), await viewer.read_body()) == (200, "6", (b"", True))


@pytest.mark.parametrize(
    ("sent", "body", "whole"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello", True),
        (b"Content-Length: 9\r\n\r\nhello", b"hello", False),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", True),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"hello", False),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"hello", False),
        (b"\r\nhello", b"hello", True),
    ],
)
async def test_a_viewer_tells_a_whole_body_from_a_cut_one(sent: bytes, body: bytes, whole: bool) -> None:
    async with ScriptedOrigin() as origin, await Viewer.connect(origin.port) as viewer:
        await viewer.ask("/")
        ask = await origin.asked_for("/")
        ask.send(b"HTTP/1.1 200 OK\r\n" + sent)
        ask.close()
        await viewer.read_head()
        assert await viewer.read_body() == (body, whole)
        assert await viewer.closed()


async def test_a_reset_is_a_cut_even_without_framing() -> None:
    async with ScriptedOrigin() as origin, await Viewer.connect(origin.port) as viewer:
        await viewer.ask("/")
        ask = await origin.asked_for("/")
        ask.head(200)
        await viewer.read_head()
        ask.reset()
        assert await viewer.read_body() == (b"", False)


async def test_interim_heads_and_trailers_are_seen() -> None:
    async with ScriptedOrigin() as origin, await Viewer.connect(origin.port) as viewer:
        await viewer.ask("/")
        ask = await origin.asked_for("/")
        ask.head(103, {"Link": "</a>"})
        ask.head(200, {"Transfer-Encoding": "chunked"})
        ask.chunk(b"hello")
        ask.last_chunk({"Checksum": "1"})
        assert (await viewer.read_head())[0] == 103
        assert (await viewer.read_head())[0] == 200
        assert await viewer.read_body() == (b"hello", True)
        assert viewer.trailers.get("checksum") == "1"


async def test_the_origin_sees_a_viewer_leave() -> None:
    async with ScriptedOrigin() as origin, await Viewer.connect(origin.port) as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhello")
        ask = await origin.asked_for("/")
        viewer.reset()
        assert (await ask.body(), ask.cut) in [(b"hello", True), (b"", True)]
        await ask.gone()


async def test_both_speak_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ScriptedOrigin(tls=authority.server("a.test")) as origin:
        origin.always(200, {}, b"hello")
        async with await Viewer.connect(origin.port, tls=authority.client(), server_name="a.test") as viewer:
            await viewer.ask("/")
            await viewer.read_head()
            assert await viewer.read_body() == (b"hello", True)
