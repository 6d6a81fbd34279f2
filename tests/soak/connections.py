"""Connections by the thousand, on a real process: what idle ones cost, and what viewers that read nothing cost others.

Prints its figures; raises AssertionError when one is beyond what is promised.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.commands import command, url_in
from tests.scripted import Ask, ScriptedOrigin, Viewer
from tests.tier import config_for, port_of

IDLE_MAX = 3 * 1024
"""Bytes of the process that an idle connection may cost on which only hits were asked for."""
IDLE_AFTER_PIPELINE_MAX = 12 * 1024
SLOW_MAX = 512 * 1024
"""Bytes of the process that a viewer which reads nothing may cost."""

LARGE = 10 * 1024 * 1024
HIT = b"GET /hit HTTP/1.1\r\nHost: demo.edge.localhost\r\nUser-Agent: soak\r\n\r\n"
PASSED = b"GET /passed HTTP/1.1\r\nHost: demo.edge.localhost\r\nUser-Agent: soak\r\n\r\n"
LARGE_HITS = b"GET /large HTTP/1.1\r\nHost: demo.edge.localhost\r\n\r\n" * 20

SETTINGS = """
[[distributions]]
id = "demo"
file = "demo.json"
[[nodes]]
name = "pop"
mode = "pop"
listen = ["127.0.0.1:0"]
workers = 1
[connections]
connections_max = 100000
connections_per_client_max = 100000
idle_timeout = "1 h"
write_timeout = "1 h"
"""


@dataclass
class Process:
    """The worker that is measured."""

    pid: int
    ticks: int = field(default_factory=lambda: os.sysconf("SC_CLK_TCK"))

    def resident(self) -> int:
        """Bytes of memory in use."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the worker is gone")

    def processor_seconds(self) -> float:
        """User and system time so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / self.ticks


async def respond(ask: Ask) -> None:
    fresh = {"Cache-Control": "max-age=3600"}
    if ask.target == "/passed":
        await ask.answer(200, {"Cache-Control": "no-store"}, bytes(1000))
    else:
        await ask.answer(200, fresh, bytes(LARGE if ask.target == "/large" else 1000))


class Many:
    """Plain sockets in one thread: they cost this process little."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self.sockets: list[socket.socket] = []

    async def open(self, count: int) -> None:
        for _ in range(count):
            opened = socket.socket()
            opened.setblocking(False)
            await self._loop.sock_connect(opened, ("127.0.0.1", self._port))
            self.sockets.append(opened)

    async def ask_all(self, head: bytes) -> None:
        """One request on each, and its answer to the last byte."""
        for opened in self.sockets:
            await self._loop.sock_sendall(opened, head)
            got = b""
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < 1000:
                got += await self._loop.sock_recv(opened, 65536)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for opened in self.sockets:
            opened.close()


async def hit_times(port: int, count: int) -> tuple[float, float]:
    """Median and 99th percentile of a hit's time on one connection, seconds."""
    times = []
    async with await Viewer.connect(port) as viewer:
        for _ in range(count):
            began = time.perf_counter()
            await viewer.send(HIT)
            await viewer.read_head("GET")
            await viewer.read_body()
            times.append(time.perf_counter() - began)
    times.sort()
    return times[count // 2], times[count * 99 // 100]


async def search(idle: int, slow: int) -> None:
    """All of it, on one process."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Path(directory) / "settings.toml"
        settings.write_text(SETTINGS)
        async with ScriptedOrigin() as origin:
            origin.otherwise(respond)
            (Path(directory) / "demo.json").write_text(json.dumps(config_for(origin.port)))
            arguments = ["serve", "--config", str(settings), "--node", "pop", "--data-dir", directory]
            async with command(*arguments) as running:
                port = port_of(url_in(await running.says("listens on")))
                (pid,) = running.children()
                await measure_idle(Process(pid), port, idle)
                await measure_slow(Process(pid), port, slow)


async def measure_idle(worker: Process, port: int, count: int) -> None:
    with Many(port) as warm, Many(port) as many:
        await warm.open(200)
        await warm.ask_all(HIT)
        before = worker.resident()
        await many.open(count)
        opened = (worker.resident() - before) / count
        await many.ask_all(HIT)
        lane = (worker.resident() - before) / count
        await many.ask_all(PASSED)
        pipeline = (worker.resident() - before) / count
    sys.stdout.write(
        f"{count} connections, bytes of the worker for each: {opened:.0f} when accepted, {lane:.0f} after a hit,"
        f" {pipeline:.0f} after a request through the pipeline\n"
    )
    assert lane <= IDLE_MAX
    assert pipeline <= IDLE_AFTER_PIPELINE_MAX


async def measure_slow(worker: Process, port: int, count: int) -> None:
    async with await Viewer.connect(port) as viewer:
        for _ in range(3):
            await viewer.ask("/large", host="demo.edge.localhost")
            await viewer.read_head()
            await viewer.read_body()
    alone = await hit_times(port, 2000)
    before = worker.resident()
    with Many(port) as many:
        await many.open(count)
        for opened in many.sockets:
            await asyncio.get_running_loop().sock_sendall(opened, LARGE_HITS)
        beside = await hit_times(port, 2000)
        used = worker.processor_seconds()
        await asyncio.sleep(5)  # what happens in this time is what is measured
        used = worker.processor_seconds() - used
        each = (worker.resident() - before) / count
    sys.stdout.write(
        f"{count} viewers that read nothing of 20 answers of 10 MiB: {each:.0f} bytes of the worker for each,"
        f" {used:.2f} s of processor time in 5 s; a hit beside them takes {beside[0] * 1e6:.0f} µs, p99"
        f" {beside[1] * 1e6:.0f} (alone {alone[0] * 1e6:.0f}, p99 {alone[1] * 1e6:.0f})\n"
    )
    assert each <= SLOW_MAX
    assert used <= 0.25


def run(idle: int, slow: int) -> int:
    """The whole search. Returns the command's exit code."""
    asyncio.run(search(idle, slow))
    return 0
