"""Files and parts of files, as a client gets them over a real connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from email import message_from_bytes
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.origin.server import Origin, serve

NOW = 1_800_000_000.0
BODY = bytes(range(256)) * 4


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    (tmp_path / "file.bin").write_bytes(BODY)
    os.utime(tmp_path / "file.bin", (NOW - 100, NOW - 100))
    (tmp_path / "empty").touch()
    running = await serve(tmp_path, "127.0.0.1:0", lambda: NOW)
    yield running
    await running.close()


@pytest.fixture
async def client(origin: Origin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(origin.url, auto_decompress=False) as session:
        yield session


async def test_a_file_comes_with_all_that_a_cache_needs(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin") as answer:
        assert await answer.read() == BODY
    fields = answer.headers
    assert fields["Content-Length"] == "1024"
    assert fields["Accept-Ranges"] == "bytes"
    assert fields["Cache-Control"] == "public, max-age=3600"
    assert fields["Last-Modified"] == "Fri, 15 Jan 2027 07:58:20 GMT"
    assert fields["Date"] == "Fri, 15 Jan 2027 08:00:00 GMT"


async def test_a_head_has_the_fields_of_the_get_and_no_body(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin") as get, client.head("/file.bin", headers={"Range": "bytes=0-1"}) as head:
        assert head.status == 200
        assert dict(head.headers) == dict(get.headers)
        assert await head.read() == b""


@pytest.mark.parametrize("field", ["If-None-Match", "If-Modified-Since"])
async def test_a_client_that_has_it_gets_304(client: aiohttp.ClientSession, field: str) -> None:
    async with client.get("/file.bin") as first:
        value = first.headers["ETag" if field == "If-None-Match" else "Last-Modified"]
    async with client.get("/file.bin", headers={field: value, "Range": "bytes=0-1"}) as second:
        assert second.status == 304
        for name in ("ETag", "Last-Modified", "Cache-Control", "Date"):
            assert second.headers[name] == first.headers[name]
        assert "Content-Length" not in second.headers


async def test_a_client_that_wants_another_version_gets_412(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin", headers={"If-Match": '"other"'}) as answer:
        assert answer.status == 412
        assert "Cache-Control" not in answer.headers


async def test_one_range_is_a_part(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin", headers={"Range": "bytes=1000-"}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == "bytes 1000-1023/1024"
        assert await answer.read() == BODY[1000:]


async def test_several_ranges_are_parts_with_their_places(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin", headers={"Range": "bytes=600-699,0-9,-1"}) as answer:
        assert answer.status == 206
        assert "Content-Range" not in answer.headers
        body = await answer.read()
    assert len(body) == int(answer.headers["Content-Length"])
    parts = message_from_bytes(b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n" + body)
    got = [(part["Content-Range"], part.get_payload(decode=True)) for part in parts.walk() if not part.is_multipart()]
    assert got == [
        ("bytes 600-699/1024", BODY[600:700]),
        ("bytes 0-9/1024", BODY[:10]),
        ("bytes 1023-1023/1024", BODY[-1:]),
    ]


async def test_a_range_beyond_the_end_gets_416_with_the_length(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin", headers={"Range": "bytes=1024-"}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == "bytes */1024"


async def test_a_range_of_another_version_gets_the_whole(client: aiohttp.ClientSession) -> None:
    async with client.get("/file.bin", headers={"Range": "bytes=0-1", "If-Range": '"other"'}) as answer:
        assert answer.status == 200
        assert await answer.read() == BODY


async def test_an_empty_file_is_whole_whatever_part_is_asked_for(client: aiohttp.ClientSession) -> None:
    async with client.get("/empty", headers={"Range": "bytes=0-"}) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "0")


async def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection(
    client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(256 * 2**20)
    async with asyncio.timeout(20), client.get("/large") as answer:
        await answer.content.readexactly(1)
        os.truncate(large, 2**20)
        with pytest.raises(aiohttp.ClientPayloadError):
            async for _ in answer.content.iter_any():
                pass
