"""What lies between the machines of a history: it delays everything, overtakes, and is cut now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from edgeproxy.errors import BodyAborted, OriginError, OriginUnreachable
from edgeproxy.headers import Headers
from edgeproxy.message import Body, RequestHead, ResponseHead, no_body
from edgeproxy.upstream.client import Exchange, Patience, Target

CONNECT_SECONDS = 1.0
"""How long it takes to find out that nobody answers."""


class Server(Protocol):
    """Somebody who answers requests."""

    name: str

    async def serve(self, request: RequestHead, body: Body) -> tuple[ResponseHead, Body]:
        """An answer. Raises OriginUnreachable when nobody is there, OriginError when whoever was there is gone."""
        ...


@dataclass
class Network:
    """All of it. Nodes are known by name, servers by target."""

    random: Random
    servers: dict[Target, Server] = field(default_factory=dict)
    cut: set[frozenset[str]] = field(default_factory=set)
    slow: float = 0.05

    def delay(self) -> float:
        """Of one message: mostly short, sometimes long enough for others to overtake it."""
        return self.random.random() ** 3 * self.slow + 0.001

    def whole(self, one: str, other: str) -> bool:
        """Whether these two hear each other."""
        return frozenset((one, other)) not in self.cut

    async def ask(self, source: str, target: Target, request: RequestHead, body: Body) -> Exchange:
        """One request and the head of its answer."""
        server = self.servers.get(target)
        if server is None or not self.whole(source, server.name):
            await asyncio.sleep(CONNECT_SECONDS)
            raise OriginUnreachable(f"{target} cannot be reached")
        await asyncio.sleep(self.delay())
        head, answer = await server.serve(request, body)
        await asyncio.sleep(self.delay())
        if not self.whole(source, server.name):
            answer.close()
            raise OriginError(f"{target} is not heard any more")
        way = _Way(self, source, server.name, answer)
        return Exchange(head, way, None, reused=False, connect_seconds=0.0, first_byte_seconds=0.0)


class _Way:
    """A body on its way: each piece takes its time, and it may be cut."""

    def __init__(self, network: Network, source: str, server: str, body: Body) -> None:
        self._network = network
        self._ends = (source, server)
        self._body = body

    @property
    def length(self) -> int | None:
        return self._body.length

    @property
    def trailers(self) -> Headers:
        return self._body.trailers

    async def read(self) -> bytes:
        block = await self._body.read()
        if block:
            await asyncio.sleep(self._network.delay())
        if not self._network.whole(*self._ends):
            raise BodyAborted("the way is cut")
        return block

    def close(self) -> None:
        self._body.close()


class Client:
    """Stands where a node has its upstream client."""

    def __init__(self, name: str, network: Network) -> None:
        self._name = name
        self._network = network

    async def exchange(
        self,
        target: Target,
        request: RequestHead,
        body: Body,
        patience: Patience,
        *,
        interim: Callable[[ResponseHead], None] = lambda head: None,
        upgrade: bool = False,
    ) -> Exchange:
        """As upstream.client.Client does it."""
        return await self._network.ask(self._name, target, request, body)

    async def close(self) -> None:
        """There is nothing to close."""


__all__ = ["Client", "Network", "Server", "no_body"]
