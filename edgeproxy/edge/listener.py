"""Accepting: listening sockets, caps, TLS handshakes, and the end of all of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import Sequence
from typing import cast

from edgeproxy.edge.connection import Connection
from edgeproxy.edge.door import Door
from edgeproxy.telemetry.counters import Counter

BACKLOG = 1024
"""Connections the kernel completes before they are accepted."""

TLS_SHUTDOWN_SECONDS = 5.0
"""How long a viewer may take to answer close_notify."""

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


async def listen(door: Door, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None) -> Listener:
    """Serve on sockets that are bound and listening, TCP or Unix; HTTPS when there is a context."""
    listener = Listener(door, ssl_context)
    await listener.start(sockets)
    return listener


class Listener:
    """Connections from a set of sockets, from their acceptance to their end."""

    def __init__(self, door: Door, ssl_context: ssl.SSLContext | None) -> None:
        self.door = door
        self.ssl_context = ssl_context
        self.connections: set[Connection] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to accept."""
        for listening in sockets:
            self._servers.append(await _serve(self, listening))

    async def drain(self, deadline: float) -> None:
        """Accept no more, let what runs end within `deadline` seconds, abort the rest. Returns when all is over."""
        self._stop_accepting()
        for connection in list(self.connections):
            connection.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._empty.wait()
        for connection in list(self.connections):
            connection.abort()
        await self._empty.wait()

    async def close(self) -> None:
        """Accept no more and abort everything. Returns when all is over."""
        await self.drain(0)

    def _stop_accepting(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for handshake in self._handshakes:
            handshake.cancel()

    def arrived(self, arrival: Arrival, transport: asyncio.Transport) -> None:
        """A connection was accepted: let it in, or turn it away."""
        name = transport.get_extra_info("peername")
        arrival.address = str(name[0]) if isinstance(name, tuple) else ""
        counters = self.door.counters
        if not self.door.admitted.enter(arrival.address):
            counters.add(Counter.CONNECTIONS_REFUSED)
            if self.ssl_context is None:
                transport.write(_TOO_MANY)
            transport.close()
            return
        counters.add(Counter.CONNECTIONS)
        counters.add(Counter.CONNECTIONS_OPEN)
        self._empty.clear()
        if self.ssl_context is None:
            self._open(arrival, transport)
        else:
            transport.pause_reading()
            task = asyncio.get_running_loop().create_task(self._secure(arrival, transport, self.ssl_context))
            self._handshakes.add(task)
            task.add_done_callback(lambda done: self._secured(done, arrival))

    async def _secure(self, arrival: Arrival, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """The TLS handshake, within `header_timeout`: it is the first that a viewer must say."""
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                arrival,
                context,
                server_side=True,
                ssl_handshake_timeout=self.door.settings.header_timeout,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS,
            )
        except OSError:  # of the handshake, of the network, or late: all are the viewer's
            self.door.counters.add(Counter.TLS_FAILED)
            return
        if secured is not None and not arrival.lost:
            self._open(arrival, secured)

    def _secured(self, task: asyncio.Task[None], arrival: Arrival) -> None:
        self._handshakes.discard(task)
        if arrival.connection is None:
            self._left(arrival)

    def _open(self, arrival: Arrival, transport: asyncio.Transport) -> None:
        def closed(connection: Connection) -> None:
            self.connections.discard(connection)
            self._left(arrival)

        connection = arrival.connection = Connection(self.door, closed)
        self.connections.add(connection)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if arrival.early:
            connection.data_received(b"".join(arrival.early))

    def _left(self, arrival: Arrival) -> None:
        self.door.counters.add(Counter.CONNECTIONS_OPEN, -1)
        self.door.admitted.leave(arrival.address)
        if not self.connections and not self._handshakes:
            self._empty.set()


class Arrival(asyncio.Protocol):
    """The protocol of a transport until its connection begins.

    Behind a TLS handshake the first request may be there before the handshake's task has heard that it is done:
    it waits in `early`, one read of the transport at most.
    """

    __slots__ = ("_listener", "address", "connection", "early", "lost")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.address = ""
        self.connection: Connection | None = None
        self.early: list[bytes] = []
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.arrived(self, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self.early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def _serve(listener: Listener, listening: socket.socket) -> asyncio.Server:
    loop = asyncio.get_running_loop()

    def factory() -> Arrival:
        return Arrival(listener)

    if listening.family != socket.AF_UNIX:
        return await loop.create_server(factory, sock=listening, backlog=BACKLOG)
    if sys.version_info >= (3, 13):
        # The path belongs to whoever made the socket: another worker may serve on it after this one.
        return await loop.create_unix_server(factory, sock=listening, backlog=BACKLOG, cleanup_socket=False)
    return await loop.create_unix_server(factory, sock=listening, backlog=BACKLOG)
