"""The addresses that a cache is tried with."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.origin.experiments import Pattern
from edgeproxy.origin.server import Origin, serve

NOW = 1_800_000_000.5


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    running = await serve(tmp_path, "127.0.0.1:0", lambda: NOW)
    yield running
    await running.close()


@pytest.fixture
async def client(origin: Origin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(origin.url) as session:
        yield session


async def test_the_time_is_the_clock_given_and_never_stored(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/time") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.json() == {"seconds": NOW, "date": "Fri, 15 Jan 2027 08:00:00 GMT"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_an_echo_tells_what_arrived(client: aiohttp.ClientSession, method: str) -> None:
    body = b"" if method == "GET" else b"x" * 100_000
    async with client.request(method, "/echo?b=2&a=%20", data=body, headers={"X-Case": "Kept"}) as answer:
        echo = await answer.json()
    assert (echo["method"], echo["target"]) == (method, "/echo?b=2&a=%20")
    assert ["X-Case", "Kept"] in echo["headers"]
    assert echo["body"] == {
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "start": "x" * min(1024, len(body)),
    }
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_upload_is_counted_and_not_kept(client: aiohttp.ClientSession) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(256):
            yield bytes(2**20)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with client.put("/echo", data=blocks()) as answer:
        assert (await answer.json())["body"]["size"] == 256 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize("code", [200, 204, 304, 404, 418, 451, 503, 599])
async def test_a_status_as_asked(client: aiohttp.ClientSession, code: int) -> None:
    async with client.get(f"/status/{code}") as answer:
        assert answer.status == code
        assert "Cache-Control" not in answer.headers
    async with client.get(f"/status/{code}?max-age=5") as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=5"


async def test_a_redirect_says_where_to(client: aiohttp.ClientSession) -> None:
    async with client.get("/status/302", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/")


async def test_a_slow_answer_drips(client: aiohttp.ClientSession) -> None:
    async with client.get("/slow?first=0&every=0.01&count=3") as answer:
        assert await answer.content.readline() == b"line 1 of 3\n"
        assert await answer.read() == b"line 2 of 3\nline 3 of 3\n"
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        assert "Content-Length" not in answer.headers


async def test_a_slow_answer_waits_before_its_first_byte(client: aiohttp.ClientSession) -> None:
    start = asyncio.get_running_loop().time()
    async with client.get("/slow?first=0.2&count=1") as answer:
        assert asyncio.get_running_loop().time() - start >= 0.2
        assert await answer.read() == b"line 1 of 1\n"


async def test_a_slow_answer_ends_when_its_client_leaves(origin: Origin) -> None:
    reader, writer = await asyncio.open_connection(*origin.address.split(":"))
    writer.write(b"GET /slow?first=0&every=60&count=2 HTTP/1.1\r\nHost: here\r\n\r\n")
    await reader.readuntil(b"line 1 of 2\n")
    writer.transport.abort()
    async with asyncio.timeout(5):  # the deadline for answers that still run is 10 s
        await origin.close()


async def test_bytes_are_cacheable_and_have_ranges(client: aiohttp.ClientSession) -> None:
    async with client.get("/bytes/100") as answer:
        whole = await answer.read()
        assert len(whole) == 100
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
    async with client.get("/bytes/100?max-age=7", headers={"Range": "bytes=10-29"}) as part:
        assert part.headers["ETag"] == answer.headers["ETag"]
        assert part.headers["Cache-Control"] == "public, max-age=7"
        assert await part.read() == whole[10:30]
    async with client.get("/bytes/100", headers={"If-None-Match": answer.headers["ETag"]}) as again:
        assert again.status == 304


async def test_the_last_bytes_of_50_gb_come_at_once(client: aiohttp.ClientSession) -> None:
    async with client.get("/bytes/50000000000", headers={"Range": "bytes=-16"}) as answer:
        assert answer.headers["Content-Range"] == "bytes 49999999984-49999999999/50000000000"
        assert await answer.read() == b"%015x\n" % 49_999_999_984


async def test_a_line_of_the_pattern_is_its_own_offset() -> None:
    pattern = Pattern()
    for offset in (0, 16, 65_520, 65_536, 2**32, 2**39 + 16 * 4095):
        assert await pattern.read(offset, 16) == b"%015x\n" % offset
    whole = await pattern.read(0, 200_000)
    assert await pattern.read(65_530, 70_001) == whole[65_530 : 65_530 + 70_001]
    assert await pattern.read(5, 0) == b""


async def test_chosen_header_fields_come_as_they_are(client: aiohttp.ClientSession) -> None:
    query = "Cache-Control=max-age%3D3&Set-Cookie=a%3D1&Set-Cookie=b%3D2&Date=never&Content-Type=text/x&Server=me"
    async with client.get(f"/headers?{query}") as answer:
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers["Cache-Control"] == "max-age=3"
        assert answer.headers.getall("Date") == ["never"]
        assert answer.headers.getall("Content-Type") == ["text/x"]
        assert answer.headers.getall("Server") == ["me"]
        assert ["Date", "never"] in (await answer.json(content_type=None))["headers"]


async def test_a_chosen_validator_makes_the_answer_conditional(client: aiohttp.ClientSession) -> None:
    async with client.get("/headers?ETag=%22v1%22", headers={"If-None-Match": '"v1"'}) as answer:
        assert (answer.status, answer.headers["ETag"]) == (304, '"v1"')


async def test_a_websocket_sends_everything_back(client: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(20), client.ws_connect("/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(bytes(100_000))
        assert await socket.receive_bytes() == bytes(100_000)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/status/199", "the status is '199': expected a whole number from 200 to 599"),
        ("/status/9999999999999999999999", "expected a whole number from 200 to 599"),
        ("/status/x", "expected a whole number"),
        ("/status/200?max-age=-1", "max-age is '-1'"),
        ("/slow?first=nan", "first is 'nan': expected a number from 0 to 60"),
        ("/slow?first=61", "expected a number from 0 to 60"),
        ("/slow?every=1e9", "every is '1e9'"),
        ("/slow?count=0", "count is '0': expected a whole number from 1 to 1000"),
        ("/slow?count=1.5", "count is '1.5'"),
        ("/bytes/-1", "the number of bytes is '-1'"),
        ("/bytes/1099511627777", "from 0 to 1099511627776"),
        ("/bytes/%C2%B2", "expected a whole number"),
        ("/headers?Content-Length=1", "Content-Length belongs to the connection"),
        ("/headers?transfer-encoding=chunked", "belongs to the connection"),
        ("/headers?a%20b=1", "is no header field"),
        ("/headers?a=1%0d%0ab:2", "is no header field"),
        ("/headers?" + "&".join(f"a{n}=1" for n in range(65)), "at most 64 header fields"),
        ("/ws", "this address speaks WebSocket"),
    ],
)
async def test_a_bad_value_gets_400_and_a_sentence(client: aiohttp.ClientSession, path: str, sentence: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 400
        assert sentence in await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
