"""Accepting: listening sockets, caps, TLS handshakes, and the end of all of it.

Sockets are accepted here rather than by the loop's own server, so that a connection is counted against the caps, and
owned by a task, from its first packet on: a handshake that never ends is somebody's connection too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence

from edgeproxy.edge.connection import Connection
from edgeproxy.edge.door import Door
from edgeproxy.message import Peer
from edgeproxy.telemetry.counters import Counter

ACCEPT_BATCH = 64
"""Connections accepted in one turn of the loop, so that a crowd at the door does not stop those inside."""

OUT_OF_SOCKETS_SECONDS = 1.0
"""Pause in accepting when the process, or the system, has no descriptor or memory left."""

TLS_SHUTDOWN_SECONDS = 5.0
"""How long a viewer may take to answer close_notify."""

UNSENT_MAX = 256 * 1024
"""Bytes that the system takes for a connection beyond those on their way. It would take megabytes, and a thousand
viewers that read nothing would have all of its memory for sockets."""

_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


async def listen(door: Door, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None) -> Listener:
    """Serve on sockets that are bound and listening, TCP or Unix; HTTPS when there is a context.

    The sockets are the listener's from now on: it closes them when it stops accepting.
    """
    return Listener(door, sockets, ssl_context)


class Listener:
    """Connections from a set of sockets, from their acceptance to their end."""

    def __init__(self, door: Door, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None) -> None:
        self._door = door
        self._context = ssl_context
        self._loop = asyncio.get_running_loop()
        self._sockets = list(sockets)
        self._retry: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.connections: set[Connection] = set()
        self._accepted: dict[Connection, socket.socket] = {}
        """Of connections that do not know their socket, and whose round-trip time is asked for."""
        for listening in self._sockets:
            listening.setblocking(False)
        self._start_accepting()

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

    # Called by connections

    def opened(self, connection: Connection) -> None:
        """As connection.Home."""
        self.connections.add(connection)
        if not self._sockets:
            connection.drain()

    def closed(self, connection: Connection) -> None:
        """As connection.Home."""
        self.connections.discard(connection)
        accepted = self._accepted.pop(connection, connection.accepted)
        if accepted is not None and self._door.round_trips is not None:
            self._door.round_trips.ended(accepted, self._door.monotonic())
        self._left(connection.client.address)

    # Accepting

    def _start_accepting(self) -> None:
        self._retry = None
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause_accepting(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())

    def _stop_accepting(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._pause_accepting()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        if self._context is not None:
            for task in self._entering:
                task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, name = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # Nothing can be accepted, and the socket stays readable: asking again at once would only burn time.
                self._pause_accepting()
                self._retry = self._loop.call_later(OUT_OF_SOCKETS_SECONDS, self._start_accepting)
                return
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                # asyncio does the first by itself only for sockets made with an explicit protocol number. A viewer that
                # has left already makes it fail on some systems.
                with contextlib.suppress(OSError):
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if _NOTSENT_LOWAT is not None:
                        accepted.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_MAX)
            self._admit(accepted, *_address_of(name))

    def _admit(self, accepted: socket.socket, address: str, port: int) -> None:
        if not self._door.admitted.enter(address):
            self._door.counters.add(Counter.CONNECTIONS_REFUSED)
            with accepted, contextlib.suppress(OSError):
                if self._context is None:
                    accepted.send(_TOO_MANY)
            return
        if self._door.peer is not Peer.WORKER:
            self._door.counters.add(Counter.CONNECTIONS)
            self._door.counters.add(Counter.CONNECTIONS_OPEN)
        self._empty.clear()
        connection = Connection(self._door, self, address, port, accepted if self._context is None else None)
        if self._door.round_trips is not None:
            self._door.round_trips.opened(accepted, address)
            if self._context is not None:
                self._accepted[connection] = accepted
        task = self._loop.create_task(self._enter(accepted, connection))
        self._entering.add(task)
        task.add_done_callback(lambda entered: self._entered(entered, accepted, connection))

    async def _enter(self, accepted: socket.socket, connection: Connection) -> None:
        """Make the transport; for HTTPS that includes the handshake, the first thing a viewer has to say in time."""
        secure = self._context is not None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._door.settings.header_timeout if secure else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if secure else None,
            )
        except OSError:  # of the handshake, of the network, or late: all are the viewer's
            if secure:
                self._door.counters.add(Counter.TLS_FAILED)

    def _entered(self, entered: asyncio.Task[None], accepted: socket.socket, connection: Connection) -> None:
        """What has become a connection says by itself when it is closed; this may have become none."""
        self._entering.discard(entered)
        if not connection.made:
            self._accepted.pop(connection, None)
            accepted.close()
            self._left(connection.client.address)
        self._check_empty()

    def _left(self, address: str) -> None:
        if self._door.peer is not Peer.WORKER:
            self._door.counters.add(Counter.CONNECTIONS_OPEN, -1)
        self._door.admitted.leave(address)
        self._check_empty()

    def _check_empty(self) -> None:
        if not self.connections and not self._entering:
            self._empty.set()


def _address_of(name: object) -> tuple[str, int]:
    """(address, port) of a peer; nothing for a Unix socket. IPv4 looks the same on any socket."""
    return (str(name[0]).removeprefix("::ffff:"), int(name[1])) if isinstance(name, tuple) else ("", 0)
