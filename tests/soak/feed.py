"""Many nodes follow one control plane: how long from a change to the last acknowledgement, and what it costs.

The control plane is the real command in a process of its own; the followers are as small as they can be, in this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeproxy.feed import Beat, Deployed, Heard, Hello, Invalidated, Marker, Withdrawn, decode, encode
from tests.commands import command, fetch
from tests.distributions import config
from tests.wire import until

SETTINGS = '[control]\nlisten = "127.0.0.1:0"\n[[distributions]]\nfile = "demo.json"\n'


@dataclass
class Follower:
    """A node as far as the feed knows."""

    name: str
    number: int = -1
    lines: int = 0

    async def run(self, host: str, port: int) -> None:
        """Follow until cancelled; acknowledge whatever comes."""
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        target = f"/feed?node={self.name}&incarnation={self.name}&epoch=&from=0"
        head = f"POST {target} HTTP/1.1\r\nHost: {host}:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        self._say(writer, 0)
        try:
            await reader.readuntil(b"\r\n\r\n")
            rest = b""
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                rest += (await reader.readexactly(size + 2))[:-2]
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    self._hear(writer, line)
        finally:
            writer.close()

    def _hear(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        words = decode(line)
        if isinstance(words, Hello | Deployed | Withdrawn | Invalidated):
            if isinstance(words, Hello):
                return
            self.number = words.number
        elif isinstance(words, Marker):
            self.number = words.number
        if isinstance(words, Beat | Deployed | Withdrawn | Invalidated) or (
            isinstance(words, Marker) and words.kind == "end"
        ):
            self._say(writer, self.number)

    def _say(self, writer: asyncio.StreamWriter, number: int) -> None:
        self.lines += 1
        data = encode(Heard(number, self.lines))
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@dataclass
class Figures:
    """What was measured."""

    joined: float
    completed: list[float]
    cpu_per_change: float
    cpu_idle: float
    memory: int


async def measure(nodes: int, changes: int, idle: float) -> Figures:
    """Have so many nodes follow, and so many invalidations made one after the other."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, max(4096, 4 * nodes)), most))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cdn.toml").write_text(SETTINGS)
        (folder / "demo.json").write_text(json.dumps(config()))
        arguments = ("control", "--config", str(folder / "cdn.toml"), "--data-dir", str(folder))
        async with command(*arguments) as running:
            url = (await running.says("control plane listens on")).rpartition(" ")[2]
            pid = running.children()[0]
            host, port = url.removeprefix("http://").rsplit(":", 1)
            followers = [Follower(f"n{number}") for number in range(nodes)]
            began = time.perf_counter()
            tasks = [asyncio.create_task(each.run(host, int(port))) for each in followers]
            await until(lambda: all(each.number >= 1 for each in followers) or any(task.done() for task in tasks))
            joined = time.perf_counter() - began
            try:
                return await _changes(url, pid, changes, idle, joined)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def _changes(url: str, pid: int, changes: int, idle: float, joined: float) -> Figures:
    before, completed = cpu(pid), []
    for number in range(changes):
        began = time.perf_counter()
        words = {"distribution": "demo", "paths": [f"/{number}*"]}
        made = await _asked(url + "/invalidations", json.dumps(words).encode())
        while made["status"] != "Completed":
            seen = len(made["waiting_for"])
            made = await _asked(f"{url}/invalidations/{made['id']}?nodes={seen}&wait=1")
        completed.append(time.perf_counter() - began)
    used = (cpu(pid) - before) / max(1, changes)
    before = cpu(pid)
    if idle:
        await asyncio.sleep(idle)
    return Figures(joined, completed, used, (cpu(pid) - before) / idle if idle else 0, resident(pid))


async def _asked(url: str, data: bytes | None = None) -> Any:
    return json.loads((await fetch(url, data))[1])


async def run(nodes: int, changes: int) -> int:
    """Measure and print."""
    figures = await measure(nodes, changes, idle=9)
    times = sorted(figures.completed)
    sys.stdout.write(
        f"{nodes} nodes: all follow after {figures.joined:.2f} s; from a change to the last acknowledgement "
        f"{1000 * statistics.median(times):.0f} ms (median of {changes}), {1000 * times[-1]:.0f} ms at most; "
        f"CPU {1000 * figures.cpu_per_change:.0f} ms a change, {100 * figures.cpu_idle:.1f} % of a core when idle; "
        f"{figures.memory / 2**20:.0f} MiB resident\n"
    )
    return 0
