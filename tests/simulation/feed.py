"""The feed of a history: the real ends of it, and between them a way on which everything takes its time.

What goes one way keeps its order, as on a TCP connection: while the way is cut it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from edgeproxy.control.refusals import Refused
from edgeproxy.feed import Deployed, Heard, Invalidated, Record, Withdrawn, decode, reduced
from edgeproxy.following.kept import Update
from tests.simulation.control import Control
from tests.simulation.network import Network

POLL = 0.1


class Disk:
    """Where a node's follower keeps what it hears. What `write` has returned for is there for good."""

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.epoch, self.number, self.low_water = "", 0, 0
        self.records: list[Record] = []

    def state(self) -> Update:
        """See following.kept."""
        return Update(self.epoch, self.number, self.low_water, tuple(self.records), whole=True)

    def position(self) -> tuple[str, int]:
        """See following.kept."""
        return self.epoch, self.number

    def write(self, update: Update) -> None:
        """See following.kept."""
        known = [] if update.whole else list(self.records)
        new = {each.number for each in update.records}
        kept = [each for each in known if each.number not in new] + list(update.records)
        self.records = [
            each
            for each in reduced(sorted(kept, key=lambda each: each.number), update.low_water)
            if not isinstance(each, Withdrawn)
        ]
        self.epoch, self.number, self.low_water = update.epoch, update.number, update.low_water

    def since(self, epoch: str, number: int) -> Update:
        """See following.kept."""
        begin = number if epoch == self.epoch else -1
        records = tuple(each for each in self.records if each.number > begin)
        ids = frozenset(each.id for each in self.records if not isinstance(each, Invalidated))
        return Update(self.epoch, self.number, self.low_water, records, begin < 0, ids=ids)


class Way:
    """One direction of a connection."""

    def __init__(self, network: Network, name: str) -> None:
        self._network, self._ends = network, (name, "control")
        self._lines: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._last = 0.0

    async def write(self, data: bytes) -> None:
        """Send; b"" is the end."""
        now = asyncio.get_running_loop().time()
        self._last = max(self._last, now + self._network.delay())
        for line in data.splitlines(keepends=True) or [b""]:
            self._lines.put_nowait((self._last, line))

    async def readline(self) -> bytes:
        """What has arrived."""
        at, line = await self._lines.get()
        await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
        while not self._network.whole(*self._ends):  # noqa: ASYNC110  # there is no event for it: time has to pass
            await asyncio.sleep(POLL)
        return line


class Session:
    """Stands where a follower has its HTTP client."""

    def __init__(self, control: Control, network: Network, disk: Disk, violations: list[str]) -> None:
        self._control, self._network, self._disk, self._violations = control, network, disk, violations

    def post(self, url: str, *, params: dict[str, str], data: AsyncIterator[bytes], **more: Any) -> Connection:
        """See aiohttp."""
        return Connection(self._control, self._network, params, self._checked(data))

    async def _checked(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What the node says, which must be on its disk."""
        async for line in data:
            heard = decode(line)
            if isinstance(heard, Heard) and heard.number > self._disk.number:
                name = self._disk.incarnation
                self._violations.append(f"durable: {name} acknowledges {heard.number}, has {self._disk.number}")
            yield line


class Connection:
    """One exchange of the feed, with its server's side."""

    status = 200

    def __init__(self, control: Control, network: Network, words: dict[str, str], data: AsyncIterator[bytes]) -> None:
        self._control, self._network, self._words, self._data = control, network, words, data
        self._down, self._up = Way(network, words["node"]), Way(network, words["node"])
        self.content = self._down
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Connection:
        name = self._words["node"]
        await asyncio.sleep(self._network.delay())
        if not self._network.whole(name, "control"):
            raise OSError("the control plane cannot be reached")
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._carry()), loop.create_task(self._serve(name))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()

    async def _carry(self) -> None:
        async for data in self._data:
            await self._up.write(data)
        await self._up.write(b"")

    async def _serve(self, name: str) -> None:
        """As streams.Streams._serve does it, which cannot do without a web server."""
        plane, streams, number = self._control.plane, self._control.streams, int(self._words["from"])
        try:
            session, fresh = await plane.join(name, self._words["incarnation"], number, self._words["epoch"])
        except Refused:
            await self._down.write(b"")
            return
        request: Any = type("Request", (), {"content": self._up})  # Any: all that is used of it
        response: Any = self._down  # Any: as above
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(streams._listen(request, session)),
            loop.create_task(streams._tell(response, session, number, self._words["epoch"], fresh)),
            loop.create_task(session.replaced.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            plane.part(session)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._down.write(b"")


__all__ = ["Connection", "Deployed", "Disk", "Session"]
