"""A sample of the queries, as JSON lines: every n-th, written in batches off the loop, dropped if that is too slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from edgeproxy.dns.query import Rcode, read
from edgeproxy.dns.tally import TYPES
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.telemetry.logfile import LogFile

LINES_MAX = 10_000
"""Lines that may wait to be written."""
FLUSH_SECONDS = 1.0
_ROTATE_SIZE, _ROTATE_KEEP = 64 << 20, 4


class QueryLog:
    """`share` of the queries goes to `path` ("-": standard output). `wall` gives seconds."""

    def __init__(self, path: str, share: float, wall: Callable[[], float], counters: Counters) -> None:
        self._file = LogFile(path, b"", rotate_size=_ROTATE_SIZE, rotate_keep=_ROTATE_KEEP)
        self._every = max(1, round(1 / share))
        self._left = 1
        self._wall = wall
        self._counters = counters
        self._lines: list[bytes] = []
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write from now on, once a second."""
        self._writer = asyncio.create_task(self._write_always(), name="dns query log")

    async def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._write()
        self._file.close()

    def saw(self, wire: bytes, source: str, reply: bytes) -> None:
        """A query and its answer; what is not in the sample costs nothing more."""
        self._left -= 1
        if self._left:
            return
        self._left = self._every
        if len(self._lines) >= LINES_MAX:
            self._counters.add(Counter.DNS_LOG_DROPPED)
            return
        self._lines.append(self._line(wire, source, reply))

    def _line(self, wire: bytes, source: str, reply: bytes) -> bytes:
        query = read(wire)
        said: dict[str, object] = {"time": round(self._wall(), 3), "source": source, "every": self._every}
        if query is not None and query.question is not None:
            said["name"] = _text(query.question.name)
            said["type"] = TYPES.get(query.question.type, f"TYPE{query.question.type}")
        if query is not None and query.edns is not None and query.edns.subnet is not None:
            subnet = query.edns.subnet
            said["subnet"] = f"{subnet.family}:{subnet.address.hex()}/{subnet.source}"
        said["rcode"] = Rcode(reply[3] & 15).name
        said["answers"] = int.from_bytes(reply[6:8], "big")
        said["bytes"] = len(reply)
        return json.dumps(said).encode() + b"\n"

    async def _write_always(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._write()

    async def _write(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            await asyncio.to_thread(self._append, b"".join(lines))
        except OSError:
            self._counters.add(Counter.DNS_LOG_DROPPED, len(lines))

    def _append(self, data: bytes) -> None:
        self._file.append(data)
        self._file.rotate_if_full()


def _text(name: bytes) -> str:
    """A wire name as people read it; what is no ordinary character as \\DDD (RFC 1035 §5.1)."""
    labels, position = [], 0
    while name[position]:
        label = name[position + 1 : position + 1 + name[position]]
        labels.append("".join(chr(c) if 33 <= c < 127 and c not in b".\\" else f"\\{c:03}" for c in label))
        position += 1 + name[position]
    return ".".join(labels) or "."
