"""A front door on loopback with a pipeline that is one function of the test."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from edgeproxy.edge.door import Door
from edgeproxy.edge.listener import Listener, listen
from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, BytesBody, Delivery, Incoming, Peer, ResponseHead
from edgeproxy.settings import Connections
from edgeproxy.telemetry.counters import Counter, Counters
from tests.scripted import PATIENCE, Viewer

Handle = Callable[[Incoming], Awaitable[Answer]]


def answer(status: int = 200, body: bytes = b"", *fields: tuple[bytes, bytes]) -> Answer:
    """An answer whose body is in memory."""
    return Answer(ResponseHead(status, Headers(fields)), BytesBody([body]))


async def read_all(incoming: Incoming) -> bytes:
    """A request's whole body."""
    blocks = []
    while block := await incoming.body.read():
        blocks.append(block)
    return b"".join(blocks)


async def say_target(incoming: Incoming) -> Answer:
    """Answers with the method and the target."""
    return answer(200, incoming.head.method.encode() + b" " + incoming.head.target)


async def echo(incoming: Incoming) -> Answer:
    """Answers with the request's body, trailers included."""
    body = await read_all(incoming)
    return Answer(ResponseHead(200, Headers()), Drip([body], trailers=incoming.body.trailers))


class Drip:
    """A body of unknown length, a block a read; ends, or is cut, behind the last. Says when it was closed."""

    def __init__(self, blocks: list[bytes], *, trailers: Headers = Headers(), cut: bool = False) -> None:
        self.length: int | None = None
        self.trailers = trailers
        self.reads = 0
        self.closed = asyncio.Event()
        self._blocks = blocks
        self._cut = cut

    async def read(self) -> bytes:
        self.reads += 1
        if self._blocks:
            return self._blocks.pop(0)
        if self._cut:
            raise BodyAborted("cut by the script")
        return b""

    def close(self) -> None:
        self.closed.set()


class Stalled(Drip):
    """A body whose first block comes and whose second never does."""

    async def read(self) -> bytes:
        if self._blocks:
            return await super().read()
        await self.closed.wait()
        raise AssertionError("read after close")


class Front:
    """The front door under test; `deliveries` is what it said of each answer it was given."""

    def __init__(
        self,
        handle: Handle,
        *,
        tls: ssl.SSLContext | None = None,
        peer: Peer = Peer.VIEWER,
        unix_path: Path | None = None,
        **settings: float,
    ) -> None:
        self._handle = handle
        self._tls = tls
        self._unix_path = unix_path
        self.counters = Counters()
        self.deliveries: list[Delivery] = []
        self.door = Door(
            self._handled,
            Connections(**settings),  # type: ignore[arg-type]  # the test names settings as it needs them
            self.counters,
            lambda: 0.0,
            lambda: asyncio.get_running_loop().time(),
            self._refused,
            494,
            peer,
        )
        self.listener: Listener
        self.port = 0

    async def __aenter__(self) -> Self:
        if self._unix_path is None:
            listening = socket.socket()
            listening.bind(("127.0.0.1", 0))
            self.port = listening.getsockname()[1]
        else:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(self._unix_path))
        listening.listen()
        self.listener = await listen(self.door, [listening], self._tls)
        return self

    async def __aexit__(self, *exc: object) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.listener.close()
        assert self.counters[Counter.CONNECTIONS_OPEN] == 0, "a connection is still counted as open"
        assert self.counters[Counter.TUNNELS_OPEN] == 0, "a tunnel is still counted as open"

    async def viewer(self) -> Viewer:
        """A new connection to it."""
        return await Viewer.connect(self.port)

    async def _handled(self, incoming: Incoming) -> Answer:
        made = await self._handle(incoming)
        made.sent = self.deliveries.append
        return made

    def _refused(self, status: int, sentence: str) -> Answer:
        made = answer(status, sentence.encode())
        made.sent = self.deliveries.append
        return made


async def exchange(viewer: Viewer, request: bytes, method: str = "GET") -> tuple[int, bytes]:
    """Send a request and read its whole answer: (status, body)."""
    await viewer.send(request)
    return await answered(viewer, method)


async def answered(viewer: Viewer, method: str = "GET") -> tuple[int, bytes]:
    """The next answer: (status, body). A cut body is a failure."""
    status, _ = await viewer.read_head(method)
    body, complete = await viewer.read_body()
    assert complete
    return status, body
