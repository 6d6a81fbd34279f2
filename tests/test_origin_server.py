"""The demo origin as a whole: what it serves by itself, what it counts, and how it starts and stops."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.errors import ConfigError
from edgeproxy.origin.server import PATHS_MAX, SITE, Origin, Requests, serve

NOW = 1_800_000_000.0


def wall() -> float:
    return NOW


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    running = await serve(SITE, "127.0.0.1:0", wall)
    yield running
    await running.close()


@pytest.fixture
async def client(origin: Origin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(origin.url) as session:
        yield session


@pytest.mark.parametrize(
    ("path", "kind", "lifetime"),
    [
        ("/", "text/html; charset=utf-8", 60),
        ("/style.css", "text/css; charset=utf-8", 3600),
        ("/app.js", "text/javascript; charset=utf-8", 3600),
        ("/icon.svg", "image/svg+xml", 3600),
        ("/postcard.svg", "image/svg+xml", 3600),
    ],
)
async def test_the_demo_site_is_all_there(client: aiohttp.ClientSession, path: str, kind: str, lifetime: int) -> None:
    async with client.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == f"public, max-age={lifetime}"
        assert answer.headers["Server"] == "edgeproxy-origin"


async def test_what_is_not_there_is_remembered_shortly(client: aiohttp.ClientSession) -> None:
    async with client.get("/none<b>") as answer:
        assert answer.status == 404
        assert answer.headers["Cache-Control"] == "public, max-age=10"
        assert "<b>" not in await answer.text()


async def test_a_folder_without_its_slash_is_a_redirect_that_keeps_the_query(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.html").write_text("docs")
    origin = await serve(tmp_path, "127.0.0.1:0", wall)
    async with aiohttp.ClientSession(origin.url) as client:
        async with client.get("/docs?a=1", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, "./docs/?a=1")
        async with client.get("/docs") as answer:
            assert await answer.text() == "docs"
    await origin.close()


async def test_a_file_from_the_future_does_not_say_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (4e9, 4e9))
    origin = await serve(tmp_path, "127.0.0.1:0", wall)
    async with aiohttp.ClientSession(origin.url) as client, client.get("/file") as answer:
        assert answer.headers["Last-Modified"] == answer.headers["Date"]
    await origin.close()


async def test_files_are_only_read(client: aiohttp.ClientSession) -> None:
    async with client.post("/index.html", data=b"x") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


async def test_requests_are_counted_by_path(client: aiohttp.ClientSession) -> None:
    for path in ("/icon.svg", "/icon.svg?v=2", "/none"):
        await (await client.get(path)).read()
    await (await client.post("/echo", data=b"x")).read()
    for _ in range(2):
        async with client.get("/origin/requests") as answer:
            assert await answer.json() == {"total": 4, "paths": {"/icon.svg": 2, "/none": 1, "/echo": 1}}


async def test_the_counter_has_an_end(client: aiohttp.ClientSession) -> None:
    requests = Requests()
    for number in range(PATHS_MAX + 5):
        requests.count(f"/{number}")
    requests.count("/0")
    requests.count("/" + "x" * 2000)
    assert requests.total == PATHS_MAX + 7
    assert requests.paths["(other paths)"] == 6
    assert requests.paths["/0"] == 2


async def test_closing_lets_a_running_answer_end_and_says_goodbye_to_websockets() -> None:
    origin = await serve(SITE, "127.0.0.1:0", wall)
    async with asyncio.timeout(20), aiohttp.ClientSession(origin.url) as client, client.ws_connect("/ws") as socket:
        answer = await client.get("/slow?first=0&every=0.2&count=2")
        assert await answer.content.readline() == b"line 1 of 2\n"
        closing = asyncio.create_task(origin.close())
        assert await answer.read() == b"line 2 of 2\n"
        goodbye = await socket.receive()
        assert (goodbye.type, goodbye.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)
        await closing
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/")


async def test_closing_cuts_what_outlives_the_deadline() -> None:
    origin = await serve(SITE, "127.0.0.1:0", wall, deadline=0.05)
    async with asyncio.timeout(20), aiohttp.ClientSession(origin.url) as client:
        answer = await client.get("/slow?first=0&every=60&count=2")
        await answer.content.readline()
        await origin.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_client_that_leaves_is_nothing_to_log(origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection(*origin.address.split(":"))
    writer.write(b"GET /bytes/1000000000 HTTP/1.1\r\nHost: here\r\n\r\n")
    await reader.readexactly(1)
    writer.transport.abort()
    await origin.close()
    assert caplog.records == []


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError) as caught:
        await serve(SITE, f"127.0.0.1:{taken.getsockname()[1]}", wall)
    assert "taken by another program; choose another port, or 0 for any free one" in str(caught.value)


@pytest.mark.parametrize("listen", ["127.0.0.1", "192.0.2.1:0", "nobody:80"])
async def test_an_address_that_cannot_be_had_is_said(listen: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT of this machine"):
        await serve(SITE, listen, wall)


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder that exists"):
        await serve(tmp_path / "none", "127.0.0.1:0", wall)
