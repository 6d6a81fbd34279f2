"""Running the real command in processes of its own, and waiting for what it says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""Seconds a process may take to start or to end."""


class Running:
    """A started command: what it printed, and its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.lines.append(line.decode().rstrip())
            self._more.set()
        self._more.set()

    async def says(self, part: str) -> str:
        """The first line with this part in it; waits for it. Fails when the process ends without it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines:
                    if part in line:
                        return line
                assert not self._reading.done(), f"ended without {part!r}:\n" + "\n".join(self.lines)
                self._more.clear()
                await self._more.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal the parent process."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()

    def children(self) -> list[int]:
        """Pids of its children."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]


@asynccontextmanager
async def command(*arguments: str, environment: dict[str, str] | None = None) -> AsyncIterator[Running]:
    """`edgeproxy ARGUMENTS`, output and errors together; stopped at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edgeproxy",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await running.ended()
            except TimeoutError:
                process.kill()
                raise


async def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    async with command(*arguments, environment=environment) as running:
        return await running.ended(), "\n".join(running.lines)


async def fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """GET (or POST) by Python's own client, on a thread."""

    def get() -> tuple[int, bytes]:
        request = urllib.request.Request(url, data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return await asyncio.to_thread(get)


async def status_of(admin: str) -> dict[str, Any]:
    """A node's /status."""
    answer: dict[str, Any] = json.loads((await fetch(admin + "/status"))[1])
    return answer


def admin_in(line: str) -> str:
    """The admin URL in the line a node starts with."""
    return line.split("admin ")[1].split(",")[0]


def url_in(line: str) -> str:
    """The first URL a node listens on, in the line it starts with."""
    return line.split("listens on ")[1].split(",")[0]
