"""Queries over TCP: bounded connections, pipelined, each answered in its turn (RFC 7766, RFC 9210)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial

from edgeproxy.dns.query import HEADER, QUERY_SIZE_MAX
from edgeproxy.settings import Resolver
from edgeproxy.telemetry.counters import Counter, Counters

_BACKLOG = 256


class Conversations:
    """All connections. `answer` gives the answer to a query's bytes and the asker's address, None for none."""

    def __init__(self, settings: Resolver, answer: Callable[[bytes, str], bytes | None], counters: Counters) -> None:
        self._answer = answer
        self._counters = counters
        self._servers: list[asyncio.Server] = []
        self._connections_max = settings.tcp_connections_max
        self._connections_per_client_max = settings.tcp_connections_per_client_max
        self._idle_timeout = settings.tcp_idle_timeout
        self._connections: set[asyncio.Task[None]] = set()
        self._clients: dict[str, int] = {}
        """Open connections by address of the peer."""
        self._closing = False

    async def start(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections."""
        for listener in listeners:
            self._servers.append(
                await asyncio.start_server(self._accept, sock=listener, backlog=_BACKLOG, limit=2 + QUERY_SIZE_MAX)
            )

    async def close(self) -> None:
        """Accept no more and end all connections."""
        self._closing = True
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers = []

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")  # None when it is gone already
        if peer is None or self._closing or self._is_full(str(peer[0])):
            self._counters.add(Counter.DNS_TCP_REFUSED)
            writer.transport.abort()
            return
        source = str(peer[0])
        self._clients[source] = self._clients.get(source, 0) + 1
        self._counters.add(Counter.DNS_TCP_CONNECTIONS)
        self._counters.add(Counter.DNS_TCP_OPEN)
        connection = asyncio.create_task(self._converse(reader, writer, source), name=f"dns tcp {source}")
        self._connections.add(connection)
        connection.add_done_callback(partial(self._ended, writer, source))

    def _is_full(self, source: str) -> bool:
        return (
            len(self._connections) >= self._connections_max
            or self._clients.get(source, 0) >= self._connections_per_client_max
        )

    def _ended(self, writer: asyncio.StreamWriter, source: str, connection: asyncio.Task[None]) -> None:
        """Runs however a connection ended, also when it was cancelled before its first step."""
        writer.transport.abort()  # All that was to be sent has been: see `_converse`.
        self._connections.discard(connection)
        self._counters.add(Counter.DNS_TCP_OPEN, -1)
        self._clients[source] -= 1
        if not self._clients[source]:
            del self._clients[source]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until all is sent: nothing piles up.
        try:
            while (wire := await self._receive(reader)) is not None:
                reply = self._answer(wire, source)
                if reply is not None:
                    writer.write(len(reply).to_bytes(2, "big") + reply)
                    async with asyncio.timeout(self._idle_timeout):
                        await writer.drain()
                await asyncio.sleep(0)  # Pipelined queries never wait for the socket: let others in between.
        except TimeoutError:
            self._counters.add(Counter.DNS_TCP_TIMEOUTS)
        except OSError:
            pass  # The peer went away; nobody is left to tell.

    async def _receive(self, reader: asyncio.StreamReader) -> bytes | None:
        """The next message (RFC 7766 §8); None at the end, or when its length is no query's. Raises TimeoutError."""
        async with asyncio.timeout(self._idle_timeout):
            try:
                length = int.from_bytes(await reader.readexactly(2), "big")
                if HEADER.size <= length <= QUERY_SIZE_MAX:
                    return await reader.readexactly(length)
            except asyncio.IncompleteReadError:
                return None
        self._counters.add(Counter.DNS_TCP_MALFORMED)
        return None
