"""Load for the searches: bodies known by their name, an origin that has them all, viewers that check every byte."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.commands import Running, admin_in, command, url_in
from tests.tier import config_for, port_of

MB = 1_000_000
UNIT = 1 << 20
HOST = "demo.edge.localhost"
STEP = 256 * 1024


@lru_cache(maxsize=512)
def _base(name: str) -> bytes:
    made = random.Random(name).randbytes(UNIT)
    return made + made


def piece(name: str, first: int, end: int) -> bytes:
    """The bytes [first, end) of a body; those of each MiB are those of the first one, turned by a little more."""
    blocks = []
    while first < end:
        number, offset = divmod(first, UNIT)
        length = min(UNIT - offset, end - first)
        start = number * 7919 % UNIT + offset
        start = start - UNIT if start >= UNIT else start
        blocks.append(_base(name)[start : start + length])
        first += length
    return b"".join(blocks)


class Origin:
    """Has a body for every path /NAME/LENGTH, answers single ranges, and counts."""

    def __init__(self) -> None:
        self.requests: Tally[str] = Tally()
        self.sent: Tally[str] = Tally()
        self.port = 0
        self.release: asyncio.Event | None = None
        """Answers wait for it, when there is one."""
        self.edition = "1"
        """Part of every validator."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Origin:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                await self._answer(head[0].split(" ")[1], fields, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, fields: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self.requests[path] += 1
        if self.release is not None:
            await self.release.wait()
        _, name, size = path.split("/")
        length, tag = int(size), f'"{name}-{size}-{self.edition}"'
        first, end, status, more = 0, length, "200 OK", ""
        if "range" in fields and fields.get("if-range", tag) == tag:
            start, _, last = fields["range"].removeprefix("bytes=").partition("-")
            first = int(start) if start else max(0, length - int(last))
            end = min(length, int(last) + 1) if start and last else length
            status, more = "206 Partial Content", f"Content-Range: bytes {first}-{end - 1}/{length}\r\n"
        writer.write(
            f"HTTP/1.1 {status}\r\nETag: {tag}\r\nCache-Control: max-age=86400\r\n{more}"
            f"Content-Length: {end - first}\r\n\r\n".encode()
        )
        while first < end:
            data = piece(name + self.edition, first, min(end, first + STEP))
            writer.write(data)
            self.sent[path] += len(data)
            first += len(data)
            await writer.drain()


@dataclass(slots=True)
class Taken:
    """What a viewer got."""

    status: int = 0
    length: int = 0
    """Bytes of the body that came."""
    whole: bool = False
    wrong: bool = False
    """A byte was not what it should be."""
    cache: str = ""


async def take(
    port: int, path: str, *, asked: tuple[int, int] | None = None, most: int | None = None, pause: float = 0,
    edition: str = "1", host: str = HOST,
) -> Taken:  # fmt: skip
    """GET a path, or the bytes `asked` of it (both ends included); leave after `most`. Waits `pause` s a step."""
    got = Taken()
    name = path.split("/")[1]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=STEP)
    except OSError:
        return got
    try:
        wanted = "" if asked is None else f"Range: bytes={asked[0]}-{asked[1]}\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{wanted}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        got.status = int(head.split(" ")[1])
        fields = {key.lower(): value for key, _, value in (line.partition(": ") for line in head.split("\r\n"))}
        got.cache = fields.get("x-cache", "")
        if got.status not in (200, 206):
            return got
        position = asked[0] if asked is not None and got.status == 206 else 0
        end = position + int(fields["content-length"])
        while data := await reader.read(STEP):
            got.wrong = got.wrong or data != piece(name + edition, position, position + len(data))
            position += len(data)
            got.length += len(data)
            if most is not None and got.length >= most:
                break
            if pause:
                await asyncio.sleep(pause)
        got.whole = position == end
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()
    return got


def rss(pids: list[int]) -> int:
    """Bytes that processes hold in memory, files mapped by them apart."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


@dataclass(slots=True)
class Nodes:
    """Started nodes, by name."""

    running: dict[str, Running]
    ports: dict[str, int]
    admins: dict[str, str]

    def pids(self, name: str) -> list[int]:
        """Of its workers."""
        return self.running[name].children()


def settings(directory: Path, origin: int, text: str, nodes: str) -> Path:
    """A settings file with one distribution in front of the origin."""
    (directory / "demo.json").write_text(json.dumps(config_for(origin)))
    file = directory / "settings.toml"
    file.write_text(f'{text}\n[[distributions]]\nfile = "demo.json"\n{nodes}\n')
    return file


@asynccontextmanager
async def one_node(directory: Path, origin: int, text: str, *, workers: int = 1) -> AsyncIterator[Nodes]:
    """A POP in front of the origin; `text` is the rest of its settings."""
    node = f'[[nodes]]\nname = "pop"\nmode = "pop"\nlisten = ["127.0.0.1:0"]\nworkers = {workers}'
    file = settings(directory, origin, text, node)
    async with command("serve", "--config", str(file), "--data-dir", str(directory / "data")) as running:
        line = await running.says("listens on")
        yield Nodes({"pop": running}, {"pop": port_of(url_in(line))}, {"pop": admin_in(line)})


@asynccontextmanager
async def two_tiers(directory: Path, origin: int, text: str) -> AsyncIterator[Nodes]:
    """A POP and its regional."""
    regional = '[[nodes]]\nname = "regional"\nmode = "regional"\nlisten = ["127.0.0.1:{port}"]\nworkers = 1\n'
    pop = '[[nodes]]\nname = "pop"\nmode = "pop"\nlisten = ["127.0.0.1:0"]\nworkers = 1\nupstream = "regional"'
    port = _free_port()
    file = settings(directory, origin, text, regional.format(port=port) + pop)
    data = ("--config", str(file), "--data-dir", str(directory / "data"))
    async with command("serve", *data, "--node", "regional") as above:
        await above.says("listens on")
        async with command("serve", *data, "--node", "pop") as below:
            line = await below.says("listens on")
            yield Nodes(
                {"regional": above, "pop": below},
                {"pop": port_of(url_in(line)), "regional": port},
                {"pop": admin_in(line)},
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that another process does. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)
