"""The resolver's sockets: UDP and TCP on every listen address, each answering from the address that was asked.

The loop that reads datagrams is ours, on plain non-blocking sockets: no answer is ever queued here, since a datagram
that the system does not take at once is better lost (the asker tries again) than kept.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from edgeproxy.dns.answer import Reply, answer, servfail
from edgeproxy.dns.policy import Reason
from edgeproxy.dns.query import HEADER, QUERY_SIZE_MAX, Rcode
from edgeproxy.dns.zone import Zone
from edgeproxy.settings import Resolver
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.units import join_address, split_address

DATAGRAMS_MAX = 32
"""Datagrams answered in one go before other tasks get their turn."""
_PORT_ATTEMPTS = 32
"""A port that is free for TCP may be taken for UDP."""
_BACKLOG = 256

_BY_RCODE = {rcode: Counter[f"DNS_{rcode.name}"] for rcode in Rcode}
_BY_REASON = {reason: Counter[f"DNS_CHOSEN_{reason.name}"] for reason in Reason}


@dataclass(frozen=True, slots=True)
class Listener:
    """The two bound sockets of one address."""

    udp: socket.socket
    tcp: socket.socket

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return join_address(*self.udp.getsockname()[:2])

    def close(self) -> None:
        """Free the address."""
        self.udp.close()
        self.tcp.close()


def bind(addresses: Sequence[str]) -> list[Listener]:
    """Sockets for these HOST:PORT addresses; for port 0 one port that is free for UDP and TCP alike. Raises OSError."""
    listeners: list[Listener] = []
    try:
        for address in addresses:
            listeners.append(_bind(*split_address(address)))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bind(host: str, port: int) -> Listener:
    attempts = 1 if port else _PORT_ATTEMPTS
    while True:
        attempts -= 1
        tcp = _socket(host, port, socket.SOCK_STREAM)
        try:
            return Listener(_socket(host, tcp.getsockname()[1], socket.SOCK_DGRAM), tcp)
        except OSError:
            tcp.close()
            if not attempts:
                raise


def _socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 and [::] are two addresses.
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot answer DNS on {join_address(host, port)}: {error.strerror}") from error
    return made


async def serve(
    settings: Resolver, zone: Zone, counters: Counters, listeners: Sequence[Listener] | None = None
) -> Server:
    """Answer on these listeners, or on the addresses of the settings. Raises OSError when one cannot be had.

    The server owns the listeners from here on.
    """
    server = Server(settings, zone, counters, bind(settings.listen) if listeners is None else listeners)
    try:
        await server.start()
    except BaseException:  # cancelled or failed: either way the sockets are nobody else's
        await server.close()
        raise
    return server


class Server:
    """Answers queries from its zone until closed. Made by `serve`."""

    def __init__(self, settings: Resolver, zone: Zone, counters: Counters, listeners: Sequence[Listener]) -> None:
        self.addresses = tuple(listener.address for listener in listeners)
        """HOST:PORT of each listener, over UDP and TCP alike."""
        self._zone = zone
        self._down: frozenset[str] = frozenset()
        self._counters = counters
        self._listeners = listeners
        self._tcp: list[asyncio.Server] = []
        self._connections_max = settings.tcp_connections_max
        self._connections_per_client_max = settings.tcp_connections_per_client_max
        self._idle_timeout = settings.tcp_idle_timeout
        self._connections: set[asyncio.Task[None]] = set()
        self._clients: dict[str, int] = {}
        """Open connections by address of the peer."""
        self._closing = False

    def use(self, zone: Zone) -> None:
        """Answer from this zone from now on; connections stay open."""
        self._zone = zone

    def set_down(self, pops: Collection[str]) -> None:
        """These POPs, and no others, are out of service from now on."""
        self._down = frozenset(pops)

    async def start(self) -> None:
        """Begin to answer."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.add_reader(listener.udp.fileno(), self._read_datagrams, listener.udp)
            self._tcp.append(
                await asyncio.start_server(self._accept, sock=listener.tcp, backlog=_BACKLOG, limit=2 + QUERY_SIZE_MAX)
            )

    async def close(self) -> None:
        """Stop answering, end the connections, free the addresses. Once closed, nothing more happens."""
        self._closing = True
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.udp.fileno())
        for server in self._tcp:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for server in self._tcp:
            await server.wait_closed()
        for listener in self._listeners:
            listener.close()
        self._listeners, self._tcp = (), []

    def _answer(self, wire: bytes, source: str, *, udp: bool) -> bytes | None:
        self._counters.add(Counter.DNS_QUERIES_UDP if udp else Counter.DNS_QUERIES_TCP)
        try:
            reply = answer(self._zone, wire, source, udp=udp, down=self._down)
        except Exception:  # whatever it is, it is one query's: the asker is told, the others go on
            self._counters.add(Counter.DNS_FAILED)
            failure = servfail(wire)
            reply = Reply(failure, Rcode.SERVFAIL) if failure else None
        if reply is None:
            self._counters.add(Counter.DNS_UNANSWERED)
            return None
        self._count(reply)
        return reply.wire

    def _count(self, reply: Reply) -> None:
        self._counters.add(_BY_RCODE[reply.rcode])
        if reply.truncated:
            self._counters.add(Counter.DNS_TRUNCATED)
        if reply.choice is not None:
            self._counters.add(_BY_REASON[reply.choice.reason])
            if reply.by_subnet:
                self._counters.add(Counter.DNS_BY_SUBNET)

    def _read_datagrams(self, udp: socket.socket) -> None:
        for _ in range(DATAGRAMS_MAX):
            try:
                wire, peer = udp.recvfrom(QUERY_SIZE_MAX + 1)  # One byte more than allowed tells that it was longer.
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # An ICMP error for an earlier answer: some systems report it here.
            reply = self._answer(wire, peer[0], udp=True)
            if reply is None:
                continue
            try:
                udp.sendto(reply, peer)
            except OSError:  # No room, no route, port 0.
                self._counters.add(Counter.DNS_UNSENT)

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
                reply = self._answer(wire, source, udp=False)
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
